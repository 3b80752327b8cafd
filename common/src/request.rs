//! A request for a podcast: the same JSON over HTTP and AMQP. Reading it is strict, and every refusal names the field, the
//! reason and what would be right.

mod checks;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Config, Engine};
pub use crate::language::detect_language;
use crate::topology::Lane;
use crate::work::{Brief, ChapterRequest, Format, Kind, Pace, Speaker};

/// Longest source text, in bytes.
pub const MAX_SOURCE_BYTES: usize = 1_000_000;
/// A body may be this much longer than the source in it: JSON escapes.
pub const MAX_BODY_BYTES: usize = 2 * MAX_SOURCE_BYTES + 64 * 1024;

const MAX_TITLE: usize = 300;
const MAX_TOPIC: usize = 2_000;
const MAX_BRIEF: usize = 2_000;
const MAX_CHAPTERS: usize = 50;
const MAX_SPEAKERS: usize = 8;
const MAX_NAME: usize = 100;
const MAX_METADATA: usize = 50;
const MINUTES: std::ops::RangeInclusive<u16> = 1..=180;
/// What a podcast may take when its request does not say.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(24 * 3600);
const MAX_DEADLINE: Duration = Duration::from_secs(30 * 24 * 3600);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{"required": ["topic"]}, {"required": ["source"]}]))]
pub struct PodcastRequest {
    /// Default: the text's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_TITLE), regex(pattern = r"\S"))]
    pub title: Option<String>,
    /// What it is about. Alone, it needs an engine that invents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_TOPIC), regex(pattern = r"\S"))]
    pub topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// BCP 47. Default: that of the text; an address needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// How long the episode shall last. Default: as long as the text takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 180))]
    pub target_minutes: Option<u16>,
    /// Default: the headings of the text, or the engine's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_CHAPTERS))]
    pub chapters: Vec<ChapterRequest>,
    /// Each with a name of its own. Default: as many as the format has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_SPEAKERS))]
    pub speakers: Vec<SpeakerRequest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// After so long it fails as `expired`. Default 86400, a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub deadline_seconds: Option<u64>,
    /// Told when it has ended: https to a public address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub callback_url: Option<String>,
    /// The episode's cover in the feed: JPEG or PNG, square, at https on a public address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub cover_url: Option<String>,
    /// Your own; kept, and not read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = MAX_METADATA))]
    pub metadata: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["text"]}, {"required": ["url"]}]))]
pub struct Source {
    /// Text, Markdown or HTML, at most 1,000,000 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_SOURCE_BYTES), regex(pattern = r"\S"))]
    pub text: Option<String>,
    /// A page of these, fetched when the outline begins: https to a public address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpeakerRequest {
    #[schemars(length(max = MAX_NAME), regex(pattern = r"\S"))]
    pub name: String,
    /// One that the speech engine has for the language. Default: the next one that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_NAME), regex(pattern = r"\S"))]
    pub voice: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    High,
    #[default]
    Normal,
    Low,
}

impl Priority {
    pub fn lane(self) -> Lane {
        match self {
            Priority::High => Lane::High,
            Priority::Normal => Lane::Normal,
            Priority::Low => Lane::Low,
        }
    }
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// Path of the field, as in `speakers[1].voice`; `body` for the whole.
    pub field: String,
    pub reason: String,
    /// What would be right.
    pub remedy: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}. {}", self.field, self.reason, self.remedy)
    }
}

/// A request that the fleet can fulfil, with everything fixed that was left open.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    pub request: PodcastRequest,
    /// Of the parsed request: equal requests have equal hashes, however they were written.
    pub hash: String,
    pub lane: Lane,
    pub brief: Brief,
    pub engines: ChosenEngines,
    pub deadline: Timestamp,
    /// Seconds of work that the podcast is expected to be, for its place in the order.
    pub expected_work: Duration,
    /// What it counts for in its tenant's day.
    pub characters: u64,
}

/// The engine of each kind of task, fixed at acceptance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenEngines {
    pub outline: String,
    pub script: String,
    pub tts: String,
    /// `builtin`, or `none`: chapters are joined as they are.
    pub mix: String,
}

/// Reads and checks a request. `since` is when the deadline began to run.
pub fn accept(
    body: &[u8],
    config: &Config,
    now: Timestamp,
    since: Timestamp,
) -> Result<Accepted, Vec<Fault>> {
    let request = parse(body).map_err(|fault| vec![fault])?;
    check(request, config, now, since)
}

/// Reads a request without judging it.
pub fn parse(body: &[u8]) -> Result<PodcastRequest, Fault> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(fault("body", "it is empty", r#"Send JSON, for example {"source": {"text": "…"}}"#));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let request: PodcastRequest = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let broken = error.inner().is_syntax() || error.inner().is_eof();
        // A field may be called nothing.
        let field = if broken || path == "." || path.is_empty() { "body".to_owned() } else { path };
        fault(&field, &plain(error.inner()), "Compare it with the fields of a request in the README")
    })?;
    deserializer.end().map_err(|error| {
        fault("body", &format!("there is more after the JSON object: {error}"), "Send one JSON object")
    })?;
    Ok(request)
}

fn plain(error: &serde_json::Error) -> String {
    if error.is_syntax() || error.is_eof() {
        format!("it is not valid JSON: {error}")
    } else {
        error.to_string()
    }
}

fn fault(field: &str, reason: &str, remedy: &str) -> Fault {
    Fault { field: field.into(), reason: reason.into(), remedy: remedy.into() }
}

fn check(
    request: PodcastRequest,
    config: &Config,
    now: Timestamp,
    since: Timestamp,
) -> Result<Accepted, Vec<Fault>> {
    let mut faults = Vec::new();
    checks::texts(&request, &mut faults);
    checks::addresses(&request, config, &mut faults);
    checks::numbers(&request, &mut faults);
    let deadline = checks::deadline(&request, now, since, &mut faults);
    let format = request.format.unwrap_or_default();
    let language = checks::language(&request, &mut faults);
    let engines = ChosenEngines {
        outline: config.defaults.outline.clone(),
        script: config.defaults.script.clone(),
        tts: config.defaults.tts.clone(),
        mix: config.defaults.mix.clone(),
    };
    let named = |name: &str| config.engines.get(name);
    if let (Some(outline), Some(script), Some(tts)) =
        (named(&engines.outline), named(&engines.script), named(&engines.tts))
    {
        for (name, engine) in [(&engines.outline, outline), (&engines.script, script)] {
            checks::writer(name, engine, &request, format, &mut faults);
        }
        checks::speech(&engines, [outline, script, tts], &request, &language, &mut faults);
        if faults.is_empty() {
            let speakers = speakers(&request, format, tts);
            let pace = Pace {
                engine: Some(engines.tts.clone()),
                per_minute: tts.rate(&language),
                pauses: config.audio.pauses.clone(),
            };
            let expected_work = expected_work(&request);
            let brief = Brief {
                title: request.title.clone(),
                topic: request.topic.clone(),
                language,
                format,
                target_minutes: request.target_minutes,
                speakers,
                pace,
            };
            let lane = request.priority.unwrap_or_default().lane();
            let hash = hash(&request);
            let characters = characters(&request);
            return Ok(Accepted { request, hash, lane, brief, engines, deadline, expected_work, characters });
        }
    } else {
        faults.push(fault(
            "defaults",
            "an engine of the configuration does not exist",
            "Run `podfleet config check`",
        ));
    }
    Err(faults)
}

/// Fields are serialised in one order, so equal requests give equal text.
fn hash(request: &PodcastRequest) -> String {
    blake3::hash(&serde_json::to_vec(request).unwrap_or_default()).to_hex().to_string()
}

/// The speakers with a voice each: as asked for, else the engine's voices in their order.
fn speakers(request: &PodcastRequest, format: Format, tts: &Engine) -> Vec<Speaker> {
    let count = match (request.speakers.len(), format) {
        (0, Format::Monologue) => 1,
        (0, _) => 2,
        (asked, _) => asked,
    };
    let mut free = tts
        .voices
        .iter()
        .filter(|voice| !request.speakers.iter().any(|speaker| speaker.voice.as_ref() == Some(*voice)));
    (0..count)
        .map(|i| {
            let asked = request.speakers.get(i);
            let voice = asked
                .and_then(|speaker| speaker.voice.clone())
                .or_else(|| free.next().cloned())
                .or_else(|| tts.voices.get(i % tts.voices.len().max(1)).cloned())
                .unwrap_or_else(|| "default".to_owned());
            Speaker {
                name: asked.map_or_else(|| format!("Speaker {}", i + 1), |speaker| speaker.name.clone()),
                voice,
                role: asked.and_then(|speaker| speaker.role.clone()),
            }
        })
        .collect()
}

/// How much will be said, at 15 characters a second: of the length asked for, else all of the source, else (of a topic, or of a page
/// that nobody has read yet) six minutes.
pub fn expected_chars(request: &PodcastRequest) -> u64 {
    let text = request.source.as_ref().and_then(|source| source.text.as_ref());
    match (request.target_minutes, text) {
        (None, Some(text)) => text.len() as u64,
        (minutes, _) => u64::from(minutes.unwrap_or(6)) * 60 * 15,
    }
}

/// About a third of the time that the episode will last, while nothing better is known.
fn expected_work(request: &PodcastRequest) -> Duration {
    Duration::from_secs((expected_chars(request) / 45).max(1))
}

/// Characters of its text. What is written from a topic or from a page that nobody has read yet counts as a thousand a minute
/// of the length asked for, ten minutes if none is.
fn characters(request: &PodcastRequest) -> u64 {
    match request.source.as_ref().and_then(|source| source.text.as_ref()) {
        Some(text) => text.chars().count() as u64,
        None => 1_000 * u64::from(request.target_minutes.unwrap_or(10)),
    }
}

/// Which engine a kind of task goes to.
impl ChosenEngines {
    pub fn engine(&self, kind: Kind) -> &str {
        match kind {
            Kind::Outline => &self.outline,
            Kind::Script => &self.script,
            Kind::Tts => &self.tts,
            // Fixtures mix and join with themselves, so that a benchmark of the fleet decodes no audio.
            Kind::Mix | Kind::Join if self.tts == "noop" => "noop",
            Kind::Mix | Kind::Join => "builtin",
        }
    }

    /// Whether chapters are mixed before they are joined. Only fixtures are not.
    pub fn mixes_chapters(&self) -> bool {
        self.mix != "none"
    }
}

#[cfg(test)]
mod tests;
