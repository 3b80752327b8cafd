//! The client commands: one file each.

pub(crate) mod acts;
pub(crate) mod cancel;
pub(crate) mod completions;
pub(crate) mod dead;
pub(crate) mod download;
pub(crate) mod feed;
pub(crate) mod fleet;
pub(crate) mod keys;
pub(crate) mod limits;
pub(crate) mod list;
pub(crate) mod pauses;
pub(crate) mod script;
pub(crate) mod show;
pub(crate) mod submit;
pub(crate) mod watch;
pub(crate) mod webhooks;
