//! `podfleet dead …`

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use common::class::Class;
use common::work::Kind;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::Server;

#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List dead letters, newest first: what was given up, and why
    List(DeadList),
    /// Group dead letters by their cause
    Groups(DeadList),
    /// Show one: its cause, what to do, its history; its input only with --payload
    Show(DeadShow),
    /// Let podcasts go on where they stopped: those of some letters, or of all that match a filter
    Replay(DeadReplay),
    /// Change the input of what was given up, and replay it
    Edit(DeadEdit),
    /// Say that nothing more is to be done
    Discard(DeadDiscard),
    /// List replays of many, newest first: how far they are, by whom and why
    Replays(DeadReplays),
    /// Follow a replay of many to its end
    Progress(DeadMany),
    /// Cancel a replay of many: what waits stays as it is
    Cancel(DeadMany),
}

/// Which letters.
#[derive(Clone, Debug, Default, Args, Serialize)]
pub(crate) struct DeadFilter {
    /// Only tasks of this kind
    #[arg(long, value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::as_str)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// Only failures of this class
    #[arg(long, value_parser = PossibleValuesParser::new(Class::ALL.map(Class::as_str)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) class: Option<String>,
    /// Only tasks of this engine
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) engine: Option<String>,
    /// Only letters of this podcast
    #[arg(long, value_name = "ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) podcast: Option<Uuid>,
    /// Only letters of this cause, as `dead groups` names it
    #[arg(long, value_name = "HEX")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fingerprint: Option<String>,
    /// Only letters about tasks, about podcasts out of time, or about messages
    #[arg(long, value_parser = ["task", "podcast", "message"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// Only letters from this time on, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Timestamp>,
    /// Only letters before this time
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(crate) struct DeadList {
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    pub(crate) filter: DeadFilter,
    /// Only letters in this state
    #[arg(long, default_value = "open", value_parser = ["open", "replayed", "discarded", "all"])]
    pub(crate) state: String,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct DeadShow {
    #[command(flatten)]
    pub(crate) server: Server,
    #[arg(value_name = "ID", value_parser = letter)]
    pub(crate) id: Uuid,
    /// Show the input in full; that you looked at it is written down
    #[arg(long)]
    pub(crate) payload: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DeadReplay {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Letters to replay; without any, all open ones that match the filter
    #[arg(value_name = "ID", value_parser = letter, conflicts_with_all = ["kind", "class", "engine", "podcast", "fingerprint", "source", "since", "until", "all", "dry_run", "rate"])]
    pub(crate) ids: Vec<Uuid>,
    #[command(flatten)]
    pub(crate) filter: DeadFilter,
    /// All open letters, when no filter is given
    #[arg(long)]
    pub(crate) all: bool,
    /// Only tell how many letters these are, and what they would cost
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// At most this many letters a minute [default: 60]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_200))]
    pub(crate) rate: Option<u32>,
    /// Do not wait for a replay of many; `dead progress` follows it later
    #[arg(long)]
    pub(crate) detach: bool,
    /// Why; it is written down
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DeadEdit {
    #[command(flatten)]
    pub(crate) server: Server,
    #[arg(value_name = "ID", value_parser = letter)]
    pub(crate) id: Uuid,
    /// The new input (JSON); - reads standard input [default: opens the old one in $VISUAL or $EDITOR]
    #[arg(long, value_name = "FILE")]
    pub(crate) payload: Option<PathBuf>,
    /// Why; it is written down
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DeadDiscard {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Only tell what would be discarded
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[arg(value_name = "ID", value_parser = letter, required = true)]
    pub(crate) ids: Vec<Uuid>,
    /// Why; it is written down
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct DeadMany {
    #[command(flatten)]
    pub(crate) server: Server,
    /// The replay, as `dead replay` named it
    #[arg(value_name = "REPLAY", value_parser = replay)]
    pub(crate) id: Uuid,
}

#[derive(Debug, Args)]
pub(crate) struct DeadReplays {
    #[command(flatten)]
    pub(crate) server: Server,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) limit: u16,
}

impl DeadCommand {
    pub(super) fn server(&self) -> &Server {
        match self {
            DeadCommand::List(DeadList { server, .. })
            | DeadCommand::Groups(DeadList { server, .. })
            | DeadCommand::Show(DeadShow { server, .. })
            | DeadCommand::Replay(DeadReplay { server, .. })
            | DeadCommand::Edit(DeadEdit { server, .. })
            | DeadCommand::Discard(DeadDiscard { server, .. })
            | DeadCommand::Replays(DeadReplays { server, .. })
            | DeadCommand::Progress(DeadMany { server, .. })
            | DeadCommand::Cancel(DeadMany { server, .. }) => server,
        }
    }
}

fn letter(text: &str) -> Result<Uuid, String> {
    Uuid::parse_str(text.trim())
        .map_err(|_| "it is not the id of a dead letter; `podfleet dead list` shows them".into())
}

fn replay(text: &str) -> Result<Uuid, String> {
    Uuid::parse_str(text.trim())
        .map_err(|_| "it is not the id of a replay; `podfleet dead replays` lists them".into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;

    fn parse(arguments: &[&str]) -> Result<DeadCommand, String> {
        match Cli::try_parse_from(["podfleet", "dead"].iter().chain(arguments)).map(|cli| cli.command) {
            Ok(Command::Dead(command)) => Ok(command),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_replay_is_of_some_letters_or_of_a_filter() {
        let id = Uuid::nil().to_string();
        let Ok(DeadCommand::Replay(replay)) = parse(&["replay", &id, &id]) else { panic!("two letters") };
        assert_eq!(replay.ids.len(), 2);
        let Ok(DeadCommand::Replay(replay)) =
            parse(&["replay", "--kind", "tts", "--class", "timeout", "--dry-run"])
        else {
            panic!("a filter")
        };
        assert!(replay.ids.is_empty() && replay.dry_run);
        assert_eq!(
            serde_json::to_value(&replay.filter).unwrap(),
            serde_json::json!({"kind": "tts", "class": "timeout"})
        );
        assert!(parse(&["replay", &id, "--kind", "tts"]).is_err());
        assert!(parse(&["replay", "42"]).unwrap_err().contains("dead list"));
        assert!(parse(&["replay", "--class", "sad"]).unwrap_err().contains("permanent_input"));
    }

    #[test]
    fn a_discard_needs_a_letter_and_a_reason() {
        let id = Uuid::nil().to_string();
        assert!(parse(&["discard", &id, "--reason", "spam"]).is_ok());
        assert!(parse(&["discard", &id]).unwrap_err().contains("--reason"));
        assert!(parse(&["discard", "--reason", "spam"]).is_err());
    }
}
