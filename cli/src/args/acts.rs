//! `podfleet replay`, `finish-without`, `retake`, `erase`, `priority`, `pause`, `pauses` and `resume`: what support and operators decide.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use common::access;
use common::request::Priority as Urgency;
use common::topology::Lane;
use common::work::Kind;
use serde::Serialize;
use uuid::Uuid;

use super::keys::KeysServer;
use super::{Server, id, kind, priority};

#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) server: Server,
    #[arg(value_name = "ID", value_parser = id)]
    pub(crate) id: Uuid,
    /// Why; it is written down
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct FinishWithout {
    #[command(flatten)]
    pub(crate) server: Server,
    #[arg(value_name = "ID", value_parser = id)]
    pub(crate) id: Uuid,
    /// Segments as CHAPTER.SEGMENT, such as 2.5 [default: all that were given up]
    #[arg(value_name = "PLACE", value_parser = place)]
    pub(crate) places: Vec<Place>,
    /// Why; it is written down
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Retake {
    #[command(flatten)]
    pub(crate) server: Server,
    #[arg(value_name = "ID", value_parser = id)]
    pub(crate) id: Uuid,
    /// Segments as CHAPTER.SEGMENT, such as 2.5; `podfleet script ID` shows them
    #[arg(value_name = "PLACE", value_parser = place, required = true)]
    pub(crate) places: Vec<Place>,
    /// What it says from now on, with one place [default: the same, said another time]
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// Why; it is written down
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Stay until it is finished
    #[arg(long)]
    pub(crate) wait: bool,
}

/// A segment's place. Both numbers are from 0, as the API counts; people count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    pub(crate) chapter: u16,
    pub(crate) segment: u16,
}

#[derive(Debug, Args)]
pub(crate) struct Erase {
    #[command(flatten)]
    pub(crate) server: Server,
    #[arg(value_name = "ID", value_parser = id)]
    pub(crate) id: Uuid,
    /// Only tell what would go
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Why; it is written down, and stays
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Priority {
    #[command(flatten)]
    pub(crate) server: Server,
    #[arg(value_name = "ID", value_parser = id)]
    pub(crate) id: Uuid,
    #[arg(value_name = "PRIORITY", value_parser = priority())]
    pub(crate) priority: Urgency,
    /// Why; it is written down
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// What is out already is finished, deadlines go on, and nothing that is held back is lost.
#[derive(Debug, Args)]
#[group(id = "scope", multiple = true, required = true, args = ["kind", "lane", "engine", "tenant", "everyone", "all"])]
pub(crate) struct Pause {
    #[command(flatten)]
    pub(crate) server: KeysServer,
    /// Only tasks of this kind
    #[arg(long, value_parser = kind())]
    pub(crate) kind: Option<Kind>,
    /// Only tasks of this priority
    #[arg(long, value_parser = lane())]
    pub(crate) lane: Option<Lane>,
    /// Only tasks of this engine
    #[arg(long, value_name = "NAME")]
    pub(crate) engine: Option<String>,
    /// Only tasks of this tenant [default: over the API that of the key, else `default`]
    #[arg(long, value_name = "NAME", value_parser = tenant)]
    pub(crate) tenant: Option<String>,
    /// Of every tenant; beside the database, or on a machine that is trusted
    #[arg(long, conflicts_with = "tenant")]
    pub(crate) everyone: bool,
    /// Everything of the tenant
    #[arg(long, conflicts_with_all = ["kind", "lane", "engine"])]
    pub(crate) all: bool,
    /// Why; it is written down, and shown with what waits
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Pauses {
    #[command(flatten)]
    pub(crate) server: KeysServer,
}

#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(crate) server: KeysServer,
    /// The pause, as `podfleet pauses` names it
    #[arg(value_name = "ID", value_parser = pause)]
    pub(crate) id: Uuid,
    /// Why; it is written down
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

fn lane() -> impl TypedValueParser<Value = Lane> {
    let names = Lane::ALL.map(Lane::as_str);
    PossibleValuesParser::new(names).try_map(|name| Lane::parse(&name).ok_or("it is not a lane"))
}

fn tenant(text: &str) -> Result<String, String> {
    if access::is_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("it cannot be a tenant; use {}", access::NAME_RULE))
    }
}

/// `2.5`: the fifth segment of the second chapter.
fn place(text: &str) -> Result<Place, String> {
    let parse = |number: &str| number.parse::<u16>().ok()?.checked_sub(1);
    let (chapter, segment) = text.split_once('.').unzip();
    match (chapter.and_then(parse), segment.and_then(parse)) {
        (Some(chapter), Some(segment)) => Ok(Place { chapter, segment }),
        _ => Err("write CHAPTER.SEGMENT, both from 1; `podfleet script ID` shows them".into()),
    }
}

fn pause(text: &str) -> Result<Uuid, String> {
    Uuid::parse_str(text.trim())
        .map_err(|_| "it is not the id of a pause; `podfleet pauses` shows them".into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Command, String> {
        Cli::try_parse_from(["podfleet"].iter().chain(arguments))
            .map(|cli| cli.command)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_pause_says_what_it_is_about_and_why() {
        let Ok(Command::Pause(pause)) =
            parse(&["pause", "--kind", "tts", "--lane", "low", "--reason", "the voices are repaired"])
        else {
            panic!("a pause")
        };
        assert_eq!((pause.kind, pause.lane, pause.everyone), (Some(Kind::Tts), Some(Lane::Low), false));
        assert!(parse(&["pause", "--all", "--reason", "x"]).is_ok());
        assert!(parse(&["pause", "--reason", "x"]).unwrap_err().contains("--everyone"), "of what?");
        assert!(parse(&["pause", "--kind", "tts"]).unwrap_err().contains("--reason"));
        assert!(parse(&["pause", "--tenant", "a b", "--reason", "x"]).unwrap_err().contains("letters"));
        assert!(parse(&["pause", "--tenant", "a", "--everyone", "--reason", "x"]).is_err());
        assert!(parse(&["resume", "42"]).unwrap_err().contains("podfleet pauses"));
    }

    #[test]
    fn places_are_counted_from_one() {
        assert_eq!(place("2.5"), Ok(Place { chapter: 1, segment: 4 }));
        for bad in ["", "2", "0.1", "1.0", "1.x", "1.2.3", "-1.2"] {
            assert!(place(bad).unwrap_err().contains("podfleet script"), "{bad:?}");
        }
        let id = Uuid::nil().to_string();
        assert!(matches!(parse(&["finish-without", &id]), Ok(Command::FinishWithout(_))));
        assert!(parse(&["retake", &id]).unwrap_err().contains("PLACE"));
        assert!(matches!(parse(&["retake", &id, "1.1", "1.2"]), Ok(Command::Retake(_))));
    }

    #[test]
    fn a_priority_is_one_of_three() {
        let id = Uuid::nil().to_string();
        assert!(matches!(parse(&["priority", &id, "high"]), Ok(Command::Priority(_))));
        assert!(parse(&["priority", &id, "urgent"]).unwrap_err().contains("normal"));
        assert!(matches!(parse(&["replay", &id]), Ok(Command::Replay(_))));
    }
}
