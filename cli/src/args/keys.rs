//! `podfleet keys …`

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use common::access::{self, Role};
use jiff::{Span, SpanRelativeTo};
use uuid::Uuid;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key, and print it: nobody can show it again
    Create(KeysCreate),
    /// List keys, newest first; the keys themselves are kept nowhere
    List(KeysList),
    /// Revoke a key: within 5 s every producer refuses it
    Revoke(KeysRevoke),
}

/// Where keys are looked after. In the database, like `podfleet migrate`, unless there is an API to ask.
#[derive(Debug, Args)]
pub(crate) struct KeysServer {
    /// Ask this API instead of the database [default: that of `podfleet dev` in this folder, if it runs]
    #[arg(long, env = "PODFLEET_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// An admin's key, for the API
    #[arg(long, env = "PODFLEET_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
    /// Print JSON on standard output; errors are JSON on standard error
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KeysCreate {
    #[command(flatten)]
    pub(crate) server: KeysServer,
    /// Whose podcasts the key is for [default: over the API that of its own key, else `default`]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) tenant: Option<String>,
    /// What the key may do; each role may also do what those before it may
    #[arg(long, value_parser = role())]
    pub(crate) role: Role,
    /// What the audit trail calls whoever uses it [default: the key's first characters]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) name: Option<String>,
    /// How long it opens, such as 90d or 12h [default: until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = life)]
    pub(crate) expires: Option<Duration>,
    /// Requests a minute with this key, below the limit of its tenant
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) requests_per_minute: Option<i32>,
}

#[derive(Debug, Args)]
pub(crate) struct KeysList {
    #[command(flatten)]
    pub(crate) server: KeysServer,
    /// Only keys of this tenant
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) tenant: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct KeysRevoke {
    #[command(flatten)]
    pub(crate) server: KeysServer,
    /// Only tell which key it is
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// As `podfleet keys list` shows it
    #[arg(value_name = "ID")]
    pub(crate) id: Uuid,
}

impl KeysCommand {
    pub(crate) fn server(&self) -> &KeysServer {
        match self {
            KeysCommand::Create(KeysCreate { server, .. })
            | KeysCommand::List(KeysList { server, .. })
            | KeysCommand::Revoke(KeysRevoke { server, .. }) => server,
        }
    }
}

fn role() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::as_str))
        .try_map(|name| Role::parse(&name).ok_or("it is not a role"))
}

pub(crate) fn name(text: &str) -> Result<String, String> {
    if access::is_name(text) { Ok(text.to_owned()) } else { Err(format!("use {}", access::NAME_RULE)) }
}

/// A day has 24 hours here.
fn life(text: &str) -> Result<Duration, String> {
    let span: Option<Span> = text.parse().ok();
    let duration = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    duration
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "write it as 90d, 12h or 30m".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_days_hours_or_minutes() {
        assert_eq!(life("90d").unwrap(), Duration::from_secs(90 * 24 * 3600));
        assert_eq!(life("1d 12h").unwrap(), Duration::from_secs(36 * 3600));
        for bad in ["", "90", "0s", "-1h", "soon", "1mo"] {
            assert!(life(bad).is_err(), "{bad}");
        }
    }
}
