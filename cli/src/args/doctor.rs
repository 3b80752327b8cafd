//! `podfleet doctor`

use clap::{Args, ValueEnum};
use serde::Serialize;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Area {
    Broker,
    Database,
    Cache,
    Blobs,
    Engines,
}

impl Area {
    pub(crate) const ALL: [Area; 5] = [Area::Broker, Area::Database, Area::Cache, Area::Blobs, Area::Engines];
}

impl std::fmt::Display for Area {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Area::Broker => "broker",
            Area::Database => "database",
            Area::Cache => "cache",
            Area::Blobs => "blobs",
            Area::Engines => "engines",
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Look at these alone
    #[arg(long, value_name = "AREAS", value_delimiter = ',')]
    pub(crate) only: Vec<Area>,
    /// Ask no engine that costs money: those of type openai
    #[arg(long)]
    pub(crate) free: bool,
    /// Print JSON on standard output; errors are JSON on standard error
    #[arg(long)]
    pub(crate) json: bool,
}
