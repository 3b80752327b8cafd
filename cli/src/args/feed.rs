//! `podfleet feed …`

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Server;

#[derive(Debug, Subcommand)]
pub(crate) enum FeedCommand {
    /// Show what the feed of your tenant says of itself
    Show(FeedShow),
    /// Change what it says; what is not given stays as it is
    Set(FeedSet),
    /// Make a token for players, and print the address to give to them: nobody can show it again, and the one before opens nothing any more
    Token(FeedToken),
}

#[derive(Debug, Args)]
pub(crate) struct FeedShow {
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Debug, Args)]
pub(crate) struct FeedSet {
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    pub(crate) settings: FeedSettings,
    /// First forget what was set before: what is not given here is said in general words
    #[arg(long)]
    pub(crate) reset: bool,
}

/// As the API names them.
#[derive(Debug, Args, Serialize)]
pub(crate) struct FeedSettings {
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) author: Option<String>,
    /// Of the owner; directories write there
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    /// The site that belongs to it
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
    /// A BCP 47 tag, such as ko
    #[arg(long, value_name = "TAG")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) language: Option<String>,
    /// One of Apple's categories, such as Education
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) category: Option<String>,
    /// Whether it is for adults alone
    #[arg(long, value_name = "YES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) explicit: Option<bool>,
    /// Its cover: JPEG or PNG, square, 1400 to 3000 pixels wide
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_url: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct FeedToken {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Only take the token away: from then on the feed opens with a key alone
    #[arg(long)]
    pub(crate) remove: bool,
}

impl FeedCommand {
    pub(crate) fn server(&self) -> &Server {
        match self {
            FeedCommand::Show(FeedShow { server })
            | FeedCommand::Set(FeedSet { server, .. })
            | FeedCommand::Token(FeedToken { server, .. }) => server,
        }
    }
}
