//! `podfleet webhooks …`

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::{One, Server};

#[derive(Debug, Subcommand)]
pub(crate) enum WebhooksCommand {
    /// List what was sent to the callback_url of a podcast, and what came of it
    List(One),
    /// Send one again, whatever came of it
    Replay(WebhooksReplay),
    /// Show the secrets that sign webhooks of your tenant, newest first
    Secret(WebhooksSecret),
}

#[derive(Debug, Args)]
pub(crate) struct WebhooksReplay {
    #[command(flatten)]
    pub(crate) server: Server,
    /// As `podfleet webhooks list` shows it
    #[arg(value_name = "ID")]
    pub(crate) id: Uuid,
}

#[derive(Debug, Args)]
pub(crate) struct WebhooksSecret {
    #[command(flatten)]
    pub(crate) server: Server,
    /// First make a new one; the one before signs beside it for a day
    #[arg(long)]
    pub(crate) rotate: bool,
}

impl WebhooksCommand {
    pub(crate) fn server(&self) -> &Server {
        match self {
            WebhooksCommand::List(One { server, .. })
            | WebhooksCommand::Replay(WebhooksReplay { server, .. })
            | WebhooksCommand::Secret(WebhooksSecret { server, .. }) => server,
        }
    }
}
