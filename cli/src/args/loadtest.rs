//! The command line of `podfleet loadtest`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use common::config::Order;

#[derive(Debug, Subcommand)]
pub(crate) enum LoadtestCommand {
    /// Users who submit and watch, on a fleet of real processes with simulated providers: each figure beside its goal
    Run(Run),
    /// Every promised figure in one run, with what broker, database and peers do alone beside it
    Bench(Bench),
    /// Compare repeated runs of two builds; exit code 1 if the new one is worse
    Compare(Compare),
    /// Mix an hour of the segments in a list: the process that `bench` measures
    #[command(hide = true)]
    Mix {
        #[arg(value_name = "LIST")]
        list: PathBuf,
    },
    /// Kill, freeze and cut off whatever a fleet consists of while it works, and check that nothing is lost
    Chaos(Chaos),
    /// Let two builds work side by side, in every order of an upgrade and back, and check that nothing is lost
    Mixed(Mixed),
    /// Run simulated providers of speech and chat, with latencies, limits and misbehaviour, until Ctrl-C
    Providers(Providers),
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// How much is asked for: 5, 20 or 50 requests a minute; `soak` is medium with roles killed and restarted, `cache` asks for
    /// 200 articles again and again, `order` for short and long podcasts, more than can be spoken for a while, `baseline` makes one podcast in sequence and one on the fleet
    #[arg(value_parser = ["light", "medium", "heavy", "soak", "cache", "order", "baseline"])]
    pub(crate) scenario: String,
    /// How long requests arrive [default: 5; soak 30, cache 20, order 10]
    #[arg(long, value_name = "M")]
    pub(crate) minutes: Option<f64>,
    /// Decides about arrivals and latencies
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Worker processes [default: 2; order 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) workers: Option<u16>,
    /// Segments that one worker has spoken at a time [default: 32; order 6]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) speech: Option<u16>,
    /// Whose work goes first: `work` (shares and expected work) or `arrival` (first come, first served)
    #[arg(long, value_name = "ORDER", default_value = "work", value_parser = order)]
    pub(crate) order: Order,
    /// Let requests choose from so many articles, the first ones most often, instead of each being about another
    #[arg(long, value_name = "N")]
    pub(crate) articles: Option<usize>,
    /// Keep so many pages of the dashboard open meanwhile
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) pages: u16,
    /// Everything so many times as fast: latencies of the providers, and arrivals [default: 1; cache 12, order 10]
    #[arg(long, value_name = "TIMES")]
    pub(crate) faster: Option<f64>,
    /// Write the report here as JSON; the page beside it ends in .html [default: out/loadtest/SCENARIO.json]
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// As a configuration names it.
fn order(word: &str) -> Result<Order, String> {
    match word {
        "work" => Ok(Order::Work),
        "arrival" => Ok(Order::Arrival),
        _ => Err("give `work` or `arrival`".to_owned()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct Providers {
    /// Where to listen; port 0 takes a free one. What other machines can reach needs a key
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8900")]
    pub(crate) bind: SocketAddr,
    /// TOML or JSON file with latencies, limits and rules, as in docs/providers.md [default: answer at once, rightly]
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Option<PathBuf>,
    /// Take the latencies of the performance goals: a script in 9.5 s, a segment in 0.9 s, with their spread
    #[arg(long, conflicts_with = "rules")]
    pub(crate) goals: bool,
    /// Ask every caller for this as a bearer token
    #[arg(long, env = "PODFLEET_PROVIDERS_KEY", value_name = "KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Chaos {
    /// Decides about every fault; without it, one is chosen and printed
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How long faults go on
    #[arg(long, value_name = "M", default_value_t = 3.0)]
    pub(crate) minutes: f64,
    /// Only faults with one of these words in their names, comma-separated: `worker`, `broker wiped`, `crash collector`
    #[arg(long, value_name = "WORDS", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Seconds for which nothing may move after the last fault while anything is not at rest
    #[arg(long, value_name = "SECONDS", default_value_t = 240)]
    pub(crate) rest: u64,
    /// Write the report to this file as JSON, too
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Mixed {
    /// The other build's `podfleet`, an older one
    #[arg(long, value_name = "PATH")]
    pub(crate) with: PathBuf,
    /// Seconds for which each mixture works
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) stage: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Only these parts, comma-separated
    #[arg(long, value_name = "PARTS", value_delimiter = ',', value_enum)]
    pub(crate) only: Vec<Part>,
    /// Run Celery and BullMQ in turn with ours; they are installed below .podfleet/peers with pip and npm
    #[arg(long)]
    pub(crate) peers: bool,
    /// How often each takes its turn
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=20))]
    pub(crate) rounds: u16,
    /// Workflows all at once
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub(crate) workflows: usize,
    /// Workflows one after another
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) alone: usize,
    /// Worker processes of the workflows
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) workers: u16,
    /// Minutes of each load scenario
    #[arg(long, value_name = "M", default_value_t = 0.4)]
    pub(crate) minutes: f64,
    /// Decides about arrivals and latencies
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Write the report here as JSON; the page beside it ends in .html [default: out/bench/latest.json]
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Broker and database alone, the commit path, a million waiting tasks
    Floors,
    /// Tasks that do nothing, alone and saturated, and the peers
    Workflows,
    /// One podcast, in sequence and on the fleet
    Podcasts,
    /// Light, medium, heavy, restarts, caches
    Loads,
    /// Workers 1 to 8
    Scaling,
    /// Who goes first when there is more than can be spoken, against first come, first served
    Order,
    /// An hour of speech
    Mixing,
}

impl Part {
    pub(crate) const ALL: [Part; 7] = [
        Part::Floors,
        Part::Workflows,
        Part::Podcasts,
        Part::Loads,
        Part::Scaling,
        Part::Order,
        Part::Mixing,
    ];
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Part::Floors => "floors",
            Part::Workflows => "workflows",
            Part::Podcasts => "podcasts",
            Part::Loads => "loads",
            Part::Scaling => "scaling",
            Part::Order => "order",
            Part::Mixing => "mixing",
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// A report, or a folder of reports of repeated runs
    #[arg(value_name = "OLD")]
    pub(crate) old: PathBuf,
    /// The same of the new build
    #[arg(value_name = "NEW")]
    pub(crate) new: PathBuf,
    /// TOML file that says how much worse is too much [default: 10 %, more for the tails]
    #[arg(long, value_name = "FILE")]
    pub(crate) thresholds: Option<PathBuf>,
    /// Show what stayed the same, too
    #[arg(long)]
    pub(crate) all: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

impl LoadtestCommand {
    pub(super) fn wants_json(&self) -> bool {
        match self {
            LoadtestCommand::Run(run) => run.json,
            LoadtestCommand::Bench(bench) => bench.json,
            LoadtestCommand::Compare(compare) => compare.json,
            LoadtestCommand::Mix { .. } => true,
            LoadtestCommand::Mixed(_) => false,
            LoadtestCommand::Chaos(chaos) => chaos.json,
            LoadtestCommand::Providers(providers) => providers.json,
        }
    }
}
