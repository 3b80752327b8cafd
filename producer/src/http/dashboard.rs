//! The dashboard: pages for people, made here and complete without JavaScript. htmx and one small script of ours make them live.
//!
//! A page never loads the database: it has connections of its own, [`parts`] leaves out what is late, [`looks`] lets open pages share.
//! [`frame`] stands around every page (cookies, security headers, problems as pages), [`layout`] is what all pages share,
//! [`words`] says it in English or Korean. Pages read through `common::store` and act through the handlers of the API.

pub(super) mod acts;
pub(super) mod assets;
pub(super) mod dead_letters;
mod episode;
mod figures;
pub(super) mod frame;
mod layout;
pub(super) mod letter;
pub(super) mod live;
pub(super) mod looks;
pub(super) mod new;
pub(super) mod now;
mod parts;
pub(super) mod podcast;
pub(super) mod podcasts;
pub(super) mod replays;
pub(super) mod script;
pub(super) mod session;
pub(super) mod voices;
mod waterfall;
mod words;
