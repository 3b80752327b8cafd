//! `podfleet limits …`

use clap::{Args, Subcommand};

use super::keys::name;

#[derive(Debug, Subcommand)]
pub(crate) enum LimitsCommand {
    /// Show what a tenant may ask for, and what it has asked for
    Show(LimitsShow),
    /// Give a tenant limits of its own; works on the database, and holds within 5 s
    Set(LimitsSet),
}

#[derive(Debug, Args)]
pub(crate) struct LimitsShow {
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = name)]
    pub(crate) tenant: String,
    /// Print JSON on standard output; errors are JSON on standard error
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is left out stays as it is.
#[derive(Debug, Args)]
pub(crate) struct LimitsSet {
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) tenant: String,
    /// Requests a minute to the HTTP API of each producer; 0: no limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i32::MAX as i64))]
    pub(crate) requests_per_minute: Option<u32>,
    /// Podcasts that run at the same time; 0: no limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i32::MAX as i64))]
    pub(crate) podcasts_in_flight: Option<u32>,
    /// Characters of source text a day, by UTC; 0: no limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub(crate) characters_per_day: Option<u64>,
    /// First forget what was set before: what is not given here is as configured
    #[arg(long)]
    pub(crate) reset: bool,
    /// Print JSON on standard output; errors are JSON on standard error
    #[arg(long)]
    pub(crate) json: bool,
}

impl LimitsCommand {
    pub(crate) fn json(&self) -> bool {
        match self {
            LimitsCommand::Show(show) => show.json,
            LimitsCommand::Set(set) => set.json,
        }
    }
}
