//! What tickets carry in and outcomes carry out, per kind of task. The collector builds the inputs, a worker answers
//! with the results; both only see these types.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Pauses;

/// The five kinds of task, in the order in which a podcast meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Outline,
    Script,
    Tts,
    Mix,
    Join,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Outline, Kind::Script, Kind::Tts, Kind::Mix, Kind::Join];

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Outline => "outline",
            Kind::Script => "script",
            Kind::Tts => "tts",
            Kind::Mix => "mix",
            Kind::Join => "join",
        }
    }

    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What engines were asked and what they took for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Price {
    /// Answers that were paid for.
    pub calls: i64,
    /// Millionths of the currency unit.
    pub micros: i64,
}

impl Price {
    pub fn is_nothing(&self) -> bool {
        *self == Price::default()
    }

    #[must_use]
    pub fn and(self, other: Price) -> Price {
        Price {
            calls: self.calls.saturating_add(other.calls),
            micros: self.micros.saturating_add(other.micros),
        }
    }
}

/// What the time of a piece of work depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// Who speaks; empty for everything else.
    pub voice: String,
    /// Of what is spoken or mixed; 0 where the time does not depend on it.
    pub chars: i64,
}

/// How the speakers share the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    #[default]
    Dialogue,
    Monologue,
    Interview,
    Debate,
}

impl Format {
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Dialogue => "dialogue",
            Format::Monologue => "monologue",
            Format::Interview => "interview",
            Format::Debate => "debate",
        }
    }
}

/// A speaker with the voice of the speech engine that was fixed at acceptance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speaker {
    pub name: String,
    pub voice: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// Text that travels inline while it is small and as a blob key when it is not. Of an outline it may also be an address, whose
/// page is fetched when the task begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextRef {
    Inline(String),
    Blob(String),
    Url(String),
}

/// What the speakers, the language and the length are: the same for every writing task of a podcast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Brief {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// BCP 47.
    pub language: String,
    pub format: Format,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_minutes: Option<u16>,
    pub speakers: Vec<Speaker>,
    /// How long words take, for the length asked for.
    #[serde(default)]
    pub pace: Pace,
}

/// How fast the podcast's speech engine speaks its language and how long the silences are, as configured when it was accepted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pace {
    /// The engine, where it is known: podcasts accepted by older builds do not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Words a minute (syllables in Korean, characters where words are not spaced), silences not counted. 0: not known.
    pub per_minute: u32,
    pub pauses: Pauses,
}

impl Pace {
    /// Units a minute: as configured, else what is usual in the language. Never 0.
    pub fn rate(&self, language: &str) -> u32 {
        if self.per_minute > 0 { self.per_minute } else { crate::config::usual_rate(language) }
    }
}

/// A chapter that the request asks for by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChapterRequest {
    #[schemars(length(max = 300), regex(pattern = r"\S"))]
    pub title: String,
    /// What it shall tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brief: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutlineInput {
    pub brief: Brief,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<TextRef>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chapters: Vec<ChapterRequest>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutlineResult {
    pub title: String,
    pub chapters: Vec<ChapterPlan>,
}

/// One chapter of an outline: its title, what it is about and the part of the source that it tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChapterPlan {
    pub title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub brief: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<TextRef>,
    /// How much this chapter may say, in words (syllables in Korean, characters where words are not spaced): its share of the
    /// length asked for, silences already taken off. 0: all of its source.
    #[serde(default)]
    pub budget: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScriptInput {
    /// The podcast's brief, with the outline's title.
    pub brief: Brief,
    /// This chapter's place, from 0.
    pub chapter: u16,
    pub chapters: u16,
    pub plan: ChapterPlan,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_title: Option<String>,
}

/// The silence that follows a turn, by its reason. Lengths are configuration (`[audio]`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pause {
    /// The same speaker goes on within a paragraph.
    Sentence,
    /// Another speaker takes over.
    #[default]
    Turn,
    /// A new paragraph begins.
    Paragraph,
    /// The chapter ends.
    Chapter,
}

/// Words that one speaker says in one breath: one segment of speech.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Index into `Brief::speakers`.
    pub speaker: u8,
    pub text: String,
    #[serde(default)]
    pub pause: Pause,
    #[serde(default, skip_serializing_if = "Place::is_body")]
    pub place: Place,
}

/// What a turn is in its episode. Everything but the body may be the writer's own words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// What the episode is about; of the built-in writer, the source's own sentences.
    #[default]
    Body,
    /// Welcomes, and says what comes.
    Opening,
    /// Leads into a chapter.
    Transition,
    /// Ends the episode.
    Closing,
    /// It could not be spoken and is left out: there is silence in its place, and the transcript says so.
    Gap,
}

impl Place {
    const ALL: [Place; 5] = [Place::Body, Place::Opening, Place::Transition, Place::Closing, Place::Gap];

    pub fn as_str(self) -> &'static str {
        match self {
            Place::Body => "body",
            Place::Opening => "opening",
            Place::Transition => "transition",
            Place::Closing => "closing",
            Place::Gap => "gap",
        }
    }

    pub fn parse(name: &str) -> Option<Place> {
        Place::ALL.into_iter().find(|place| place.as_str() == name)
    }

    fn is_body(&self) -> bool {
        *self == Place::Body
    }
}

/// One part of a script. A script streams its turns: parts count from 0 and the outcome of the last one is `final`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptPart {
    pub turns: Vec<Turn>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeechInput {
    pub text: String,
    pub voice: String,
    /// BCP 47.
    pub language: String,
    /// Raised to have the same text said again differently.
    #[serde(default)]
    pub take: u16,
}

/// A spoken segment as it lies in the blob store: mono 24 kHz 16-bit WAV, trimmed, faded and levelled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpeechResult {
    pub audio: String,
    /// Length in samples at 24 kHz.
    pub samples: u64,
    /// Integrated loudness after levelling (EBU R 128), when the segment was long enough to have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lufs: Option<f64>,
    /// True peak after levelling, in dBTP.
    pub true_peak_dbtp: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixInput {
    pub segments: Vec<MixSegment>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixSegment {
    /// The segment's place in its chapter, from 0; names the segment when its audio is missing.
    pub segment: u32,
    pub speaker: String,
    pub text: String,
    pub audio: String,
    pub samples: u64,
    pub pause: Pause,
    #[serde(default, skip_serializing_if = "Place::is_body")]
    pub place: Place,
}

/// A chapter as MP3 frames without a tag, and its cues as JSON ([`Cue`] list), both in the blob store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixResult {
    pub audio: String,
    pub cues: String,
    /// Number of MP3 frames.
    pub frames: u64,
    pub duration_ms: u64,
    pub segments: u32,
    /// How loud the frames are, decoded again: how often each level (in tenths of LUFS) occurs in blocks of 400 ms. Of a mix from
    /// before that was noted, nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loudness: Vec<(i16, u32)>,
    /// Of the same, in dBTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub true_peak_dbtp: Option<f64>,
}

/// One line of a transcript, timed from the start of its chapter (in a mix) or of the episode (after the join).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cue {
    pub start_ms: u64,
    pub end_ms: u64,
    pub speaker: String,
    pub text: String,
    #[serde(default, skip_serializing_if = "Place::is_body")]
    pub place: Place,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JoinInput {
    pub title: String,
    pub language: String,
    pub chapters: Vec<JoinChapter>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JoinChapter {
    pub title: String,
    pub mix: MixResult,
}

/// The finished episode: every key names a blob.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    pub audio: String,
    pub transcript_vtt: String,
    pub transcript_srt: String,
    pub transcript_json: String,
    pub transcript_txt: String,
    pub chapters_json: String,
    pub bytes: u64,
    pub duration_ms: u64,
    pub segments: u32,
    /// Integrated loudness of the encoded file as decoded again, when measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lufs: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub true_peak_dbtp: Option<f64>,
}
