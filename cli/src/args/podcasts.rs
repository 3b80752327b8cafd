//! `podfleet submit`, `list` and `download`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use common::request::{Priority, SpeakerRequest};
use common::work::Format;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{Server, id, priority};

#[derive(Debug, Args)]
pub(crate) struct Submit {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Text or Markdown to make a podcast of, at most 1 MB; - reads standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Title of the episode [default: from the text]
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// Language as a BCP 47 tag, such as ko or en [default: that of the text]
    #[arg(long, value_name = "TAG")]
    pub(crate) language: Option<String>,
    /// Length to aim for
    #[arg(long, value_name = "N")]
    pub(crate) minutes: Option<u16>,
    /// How the speakers share the text
    #[arg(long, value_parser = format())]
    pub(crate) format: Option<Format>,
    /// Which lane it takes
    #[arg(long, value_parser = priority())]
    pub(crate) priority: Option<Priority>,
    /// A speaker, and the voice to speak with; give it once for each speaker
    #[arg(long = "speaker", value_name = "NAME[=VOICE]", value_parser = speaker)]
    pub(crate) speakers: Vec<SpeakerRequest>,
    /// Seconds after which it is no longer wanted
    #[arg(long, value_name = "SECONDS")]
    pub(crate) deadline: Option<u64>,
    /// The same key and text are the same podcast, however often they are sent [default: a new one]
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Stay until it is finished
    #[arg(long)]
    pub(crate) wait: bool,
    /// Wait, then save the episode here
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    pub(crate) filter: ListFilter,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
}

/// As the API names it.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct ListFilter {
    /// Only podcasts in this state
    #[arg(long, value_parser = ["running", "completed", "failed", "cancelled"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<String>,
    /// Only podcasts of this priority
    #[arg(long, value_parser = priority())]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) priority: Option<Priority>,
    /// Only podcasts in this language, as they show it: a BCP 47 tag, such as ko or en-GB
    #[arg(long, value_name = "TAG")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) language: Option<String>,
    /// Only what was asked for at this time or later, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Timestamp>,
    /// Only what was asked for before this time
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(crate) struct Download {
    #[command(flatten)]
    pub(crate) server: Server,
    #[arg(value_name = "ID", value_parser = id)]
    pub(crate) id: Uuid,
    /// Where to save it [default: the title, in this folder]; - writes to standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The transcript instead of the audio
    #[arg(long, value_name = "FORMAT", value_parser = ["vtt", "srt", "json", "txt"], conflicts_with = "chapters")]
    pub(crate) transcript: Option<String>,
    /// The list of chapters (JSON) instead of the audio
    #[arg(long)]
    pub(crate) chapters: bool,
}

fn format() -> impl TypedValueParser<Value = Format> {
    let all = [Format::Dialogue, Format::Monologue, Format::Interview, Format::Debate];
    PossibleValuesParser::new(all.map(Format::as_str)).try_map(move |name| {
        all.into_iter().find(|format| format.as_str() == name).ok_or("it is not a format")
    })
}

/// `Anna` or `Anna=en-gb`.
fn speaker(text: &str) -> Result<SpeakerRequest, String> {
    let (name, voice) = match text.split_once('=') {
        Some((name, voice)) => (name.trim(), Some(voice.trim())),
        None => (text.trim(), None),
    };
    if name.is_empty() {
        return Err("the speaker has no name; write NAME or NAME=VOICE".into());
    }
    if voice == Some("") {
        return Err(format!(
            "the voice of {name} is empty; write {name}=VOICE, or {name} alone for any voice"
        ));
    }
    Ok(SpeakerRequest { name: name.to_owned(), voice: voice.map(str::to_owned), role: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speakers_are_a_name_and_perhaps_a_voice() {
        let check = |text: &str, name: &str, voice: Option<&str>| {
            let speaker = speaker(text).unwrap();
            assert_eq!((speaker.name.as_str(), speaker.voice.as_deref()), (name, voice), "{text}");
        };
        check("Anna", "Anna", None);
        check("Anna=en-gb", "Anna", Some("en-gb"));
        check(" 민지 = ko+f2 ", "민지", Some("ko+f2"));
        check("A=b=c", "A", Some("b=c"));
        for bad in ["", "=voice", "Anna=", "  "] {
            assert!(speaker(bad).is_err(), "{bad:?}");
        }
    }
}
