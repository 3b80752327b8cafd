//! The command line. Every flag's text is its documentation.

pub(crate) mod acts;
pub(crate) mod dead;
pub(crate) mod doctor;
pub(crate) mod feed;
pub(crate) mod keys;
pub(crate) mod limits;
pub(crate) mod loadtest;
pub(crate) mod podcasts;
pub(crate) mod webhooks;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use common::request::Priority;
use common::work::Kind;
use uuid::Uuid;

const EXIT_CODES: &str = "\
Exit codes: 0 done · 1 it failed · 2 wrong usage or configuration · 3 a program is missing · 130, 143 interrupted";

/// Turns texts into podcasts, on a fleet of workers that survives whatever is killed.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// TOML file with the configuration; variables such as PODFLEET__BROKER__URL override it
    #[arg(long, global = true, env = "PODFLEET_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything on this machine: private servers and all roles, until Ctrl-C
    Dev(Dev),
    /// Make two sample episodes, one English and one Korean, from nothing to MP3
    Demo(Demo),
    /// Run the HTTP API and the AMQP intake
    Producer(Producer),
    /// Run a worker: plans, writes and speaks
    Worker(Worker),
    /// Run a collector: commits results, dispatches tasks, mixes
    Collector(Role),
    /// Bring the database's schema up to date
    Migrate(Migrate),
    /// Try out what this broker, database, cache, blob store and engines really do, and say what that means; leaves nothing behind
    Doctor(doctor::Doctor),
    /// Print what a shell needs to complete commands, for example: source <(podfleet completions bash)
    Completions(Completions),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Ask for a podcast
    Submit(podcasts::Submit),
    /// List podcasts, newest first
    List(podcasts::List),
    /// Show one podcast: where it is, and what is in its way
    Show(One),
    /// Follow a podcast to its end
    Watch(One),
    /// Cancel a podcast
    Cancel(Cancel),
    /// Let a podcast that failed go on: everything that was given up in it
    Replay(acts::Replay),
    /// Finish a podcast that failed without what could not be spoken; its transcript says what is missing
    FinishWithout(acts::FinishWithout),
    /// Have segments of a finished podcast said again, the same or something else; the episode before plays until that is there
    Retake(acts::Retake),
    /// Show what a podcast says: each segment with its place
    Script(One),
    /// Erase a podcast that has ended, with its audio, texts and dead letters; `cancel` ends one that runs
    Erase(acts::Erase),
    /// Let a podcast that waits go sooner, or later
    Priority(acts::Priority),
    /// Hold back work: of a kind, a lane, an engine or a tenant, or of what all of them fit
    Pause(acts::Pause),
    /// List the pauses that are in force
    Pauses(acts::Pauses),
    /// End a pause
    Resume(acts::Resume),
    /// Show what waits in each lane, and for how long
    Queues(Fleet),
    /// Show the workers that were heard of in the last seconds, and what they have in hand
    Workers(Fleet),
    /// List what was erased, and whether all of it is gone
    Erasures(Fleet),
    /// Download an episode, its transcript or its chapters
    Download(podcasts::Download),
    /// Look at what was given up, and let it go on
    #[command(subcommand)]
    Dead(dead::DeadCommand),
    /// Say who may use the API
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Say how much a tenant may ask for
    #[command(subcommand)]
    Limits(limits::LimitsCommand),
    /// Look at what was sent to callback addresses
    #[command(subcommand)]
    Webhooks(webhooks::WebhooksCommand),
    /// Say what your tenant's feed tells players, and who may read it
    #[command(subcommand)]
    Feed(feed::FeedCommand),
    /// Measure the fleet
    #[command(subcommand)]
    Loadtest(loadtest::LoadtestCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration and print what is in force, without secrets
    Check {
        /// Print JSON instead of TOML
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Print JSON on standard output; errors are JSON on standard error
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// What every role takes.
#[derive(Debug, Args)]
pub(crate) struct Role {
    /// Leave when this process is gone
    #[arg(long, hide = true, value_name = "PID")]
    pub(crate) parent: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Producer {
    #[command(flatten)]
    pub(crate) role: Role,
    /// Let whoever reaches the API from this machine do everything, without a key; only with producer.bind on loopback
    #[arg(long, env = "PODFLEET_TRUST_LOOPBACK")]
    pub(crate) trust_loopback: bool,
    /// Write the address of the API to this file once it listens
    #[arg(long, hide = true, value_name = "PATH")]
    pub(crate) ready_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Worker {
    #[command(flatten)]
    pub(crate) role: Role,
    /// Kinds of task to take
    #[arg(long, value_name = "KINDS", value_delimiter = ',', default_value = "outline,script,tts", value_parser = kind())]
    pub(crate) tasks: Vec<Kind>,
    /// Tasks of each kind at a time, instead of worker.concurrency
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) concurrency: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Folder for the servers' data, episodes and logs
    #[arg(long, value_name = "DIR", default_value = ".podfleet")]
    pub(crate) data: PathBuf,
    /// Port of the API on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub(crate) port: u16,
    /// Worker processes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(..=64))]
    pub(crate) workers: u16,
    /// Collector processes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(..=16))]
    pub(crate) collectors: u16,
    /// Use the servers of the configuration instead of starting private ones
    #[arg(long)]
    pub(crate) external: bool,
    /// Print one JSON object on standard output once it runs: addresses, how to get in, where the logs are; errors are JSON on standard error
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Folder for the servers' data and logs; what is there is used again
    #[arg(long, value_name = "DIR", default_value = ".podfleet")]
    pub(crate) data: PathBuf,
    /// Folder for the episodes
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub(crate) out: PathBuf,
    /// Print one JSON object on standard output; errors are JSON on standard error
    #[arg(long)]
    pub(crate) json: bool,
}

/// What every client command takes.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Address of the API [default: that of `podfleet dev` in this folder, else http://127.0.0.1:8080]
    #[arg(long, env = "PODFLEET_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// A key to the API; `podfleet dev` on this machine needs none
    #[arg(long, env = "PODFLEET_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
    /// Print JSON on standard output; errors are JSON on standard error
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    #[command(flatten)]
    pub(crate) server: Server,
    #[arg(value_name = "ID", value_parser = id)]
    pub(crate) id: Uuid,
}

#[derive(Debug, Args)]
pub(crate) struct Cancel {
    #[command(flatten)]
    pub(crate) server: Server,
    #[arg(value_name = "ID", value_parser = id)]
    pub(crate) id: Uuid,
    /// Only tell what would be cancelled
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Something that the fleet tells of itself.
#[derive(Debug, Args)]
pub(crate) struct Fleet {
    #[command(flatten)]
    pub(crate) server: Server,
}

impl Command {
    /// Whether errors are to be JSON too.
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Command::Submit(podcasts::Submit { server, .. })
            | Command::List(podcasts::List { server, .. })
            | Command::Show(One { server, .. })
            | Command::Watch(One { server, .. })
            | Command::Cancel(Cancel { server, .. })
            | Command::Queues(Fleet { server })
            | Command::Workers(Fleet { server })
            | Command::Erasures(Fleet { server })
            | Command::Download(podcasts::Download { server, .. }) => server.json,
            Command::Replay(acts::Replay { server, .. })
            | Command::FinishWithout(acts::FinishWithout { server, .. })
            | Command::Retake(acts::Retake { server, .. })
            | Command::Erase(acts::Erase { server, .. })
            | Command::Script(One { server, .. })
            | Command::Priority(acts::Priority { server, .. }) => server.json,
            Command::Pause(acts::Pause { server, .. })
            | Command::Pauses(acts::Pauses { server, .. })
            | Command::Resume(acts::Resume { server, .. }) => server.json,
            Command::Dead(dead) => dead.server().json,
            Command::Keys(keys) => keys.server().json,
            Command::Limits(limits) => limits.json(),
            Command::Webhooks(webhooks) => webhooks.server().json,
            Command::Feed(feed) => feed.server().json,
            Command::Dev(dev) => dev.json,
            Command::Demo(demo) => demo.json,
            Command::Migrate(migrate) => migrate.json,
            Command::Doctor(doctor) => doctor.json,
            Command::Config(ConfigCommand::Check { json }) => *json,
            Command::Loadtest(loadtest) => loadtest.wants_json(),
            _ => false,
        }
    }
}

pub(crate) fn kind() -> impl TypedValueParser<Value = Kind> {
    let names = Kind::ALL.map(Kind::as_str);
    PossibleValuesParser::new(names).try_map(|name| Kind::parse(&name).ok_or("it is not a kind of task"))
}

pub(crate) fn priority() -> impl TypedValueParser<Value = Priority> {
    PossibleValuesParser::new(["high", "normal", "low"]).map(|name| match name.as_str() {
        "high" => Priority::High,
        "low" => Priority::Low,
        _ => Priority::Normal,
    })
}

pub(crate) fn id(text: &str) -> Result<Uuid, String> {
    Uuid::parse_str(text.trim())
        .map_err(|_| "it is not the id of a podcast; `podfleet list` shows them".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_worker_takes_the_kinds_it_is_given() {
        let worker = |arguments: &[&str]| match Cli::try_parse_from(arguments).map(|cli| cli.command) {
            Ok(Command::Worker(worker)) => Ok(worker.tasks),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        };
        assert_eq!(worker(&["podfleet", "worker"]).unwrap(), [Kind::Outline, Kind::Script, Kind::Tts]);
        assert_eq!(worker(&["podfleet", "worker", "--tasks", "mix,join"]).unwrap(), [Kind::Mix, Kind::Join]);
        assert!(
            worker(&["podfleet", "worker", "--tasks", "sing"])
                .unwrap_err()
                .contains("possible values: outline")
        );
    }

    #[test]
    fn ids_are_refused_with_a_hint() {
        let error = Cli::try_parse_from(["podfleet", "show", "42"]).unwrap_err().to_string();
        assert!(error.contains("podfleet list"), "{error}");
    }
}
