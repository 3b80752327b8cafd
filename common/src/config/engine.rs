mod rules;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rates;
use super::retries::{Breaker, PolicyChanges};
use crate::work::{Format, Kind};

/// Which program or wire format an engine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineType {
    /// Built-in writer: chapters from headings, the source's own sentences.
    Extractive,
    /// espeak-ng, as a program on this machine.
    Espeak,
    /// An OpenAI-compatible server: `/v1/chat/completions` for `outline` and `script`, `/v1/audio/speech` for `tts`.
    OpenAi,
    /// Does nothing at once: for benchmarks of the fleet itself.
    Noop,
}

/// What a speech server counts when it limits its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputUnit {
    #[default]
    Characters,
    /// Of UTF-8: a Hangul syllable is three.
    Bytes,
    /// Estimated: a quarter of one for an ASCII character, one and a half for any other.
    Tokens,
}

/// The container that a speech server is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AudioFormat {
    #[default]
    Wav,
    Mp3,
    Flac,
    /// Mono, 24 kHz, 16 bits, without a header.
    Pcm,
}

impl AudioFormat {
    pub fn as_str(self) -> &'static str {
        match self {
            AudioFormat::Wav => "wav",
            AudioFormat::Mp3 => "mp3",
            AudioFormat::Flac => "flac",
            AudioFormat::Pcm => "pcm",
        }
    }
}

/// `[engines.NAME]`: one engine. Voices and limits stand here, where every role reads them, so that the producer can
/// refuse what no worker could do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// `PODFLEET__ENGINES__NAME__TYPE`: `extractive`, `espeak`, `openai` or `noop`.
    pub r#type: EngineType,
    /// `…__KINDS`: which tasks it does, comma-separated: `outline`, `script`, `tts`.
    #[serde(deserialize_with = "comma_separated")]
    pub kinds: Vec<Kind>,
    /// `…__URL`: base address of an `openai` server, without `/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `…__URLS`: more servers with the same models and voices, comma-separated; the one with the fewest calls in flight is asked.
    #[serde(default, deserialize_with = "comma_separated")]
    pub urls: Vec<String>,
    /// `…__API_KEY` (or `…__API_KEY_FILE`): sent as a bearer token.
    #[serde(default, skip_serializing)]
    pub api_key: Option<String>,
    /// `…__MODEL`: name of the model an `openai` server is asked for. A writing engine needs one; default for speech `tts-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `…__VOICES`: names it can speak with, comma-separated; requests may name these only. Empty: any name is passed on.
    #[serde(default, deserialize_with = "comma_separated")]
    pub voices: Vec<String>,
    /// `…__LANGUAGES`: primary language tags it can do, comma-separated. Empty: any.
    #[serde(default, deserialize_with = "comma_separated")]
    pub languages: Vec<String>,
    /// `…__FORMATS`: formats it can honestly write, comma-separated. Empty: any.
    #[serde(default, deserialize_with = "comma_separated")]
    pub formats: Vec<Format>,
    /// `…__RATES__LANGUAGE`: how fast it speaks a language, in words a minute (syllables in Korean, characters in Japanese and
    /// Chinese), silences between turns not counted. `target_minutes` is planned with it. By tag in lower case (`ko`, `pt-br`).
    /// Default for `espeak`: as measured (en 195, ko 317, …); else what people usually speak (en 175, ko 290, …).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rates: BTreeMap<String, u32>,
    /// `…__NEEDS_SOURCE`: cannot write from a topic alone. Default false.
    #[serde(default)]
    pub needs_source: bool,
    /// `…__CONCURRENCY`: calls at a time from one worker process. Default 4.
    #[serde(default = "four")]
    pub concurrency: u16,
    /// `…__TIMEOUT_MS`: for one whole call. Default 60000 for speech, 600000 for writing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// `…__CONNECT_TIMEOUT_MS`: until an `openai` server is connected. Default 3000.
    #[serde(default = "three_seconds")]
    pub connect_timeout_ms: u64,
    /// `…__FIRST_BYTE_TIMEOUT_MS`: until it begins to answer. Default 120000 for writing, which comes word by word; for speech
    /// the whole call's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_timeout_ms: Option<u64>,
    /// `…__IDLE_TIMEOUT_MS`: between two pieces of its answer. Default 30000.
    #[serde(default = "half_a_minute")]
    pub idle_timeout_ms: u64,
    /// `…__EXPECTED_MS`: what one task usually takes; tickets under 50 ms together share a message. Default 1000.
    #[serde(default = "second")]
    pub expected_ms: u32,
    /// `…__REQUESTS_PER_MINUTE`: of the whole fleet. Default 0: as many as `concurrency` allows.
    #[serde(default)]
    pub requests_per_minute: u32,
    /// `…__UNITS_PER_MINUTE`: tokens (writing) or input units (speech) of the whole fleet. Default 0: no limit.
    #[serde(default)]
    pub units_per_minute: u32,
    /// `…__MAX_INPUT`: the most that a speech server takes at once, in `input_unit`; longer segments are spoken in pieces. Default
    /// 4096.
    #[serde(default = "four_thousand")]
    pub max_input: u32,
    /// `…__INPUT_UNIT`: `characters`, `bytes` or `tokens`. Default `characters`.
    #[serde(default)]
    pub input_unit: InputUnit,
    /// `…__AUDIO_FORMAT`: what a speech server is asked for: `wav`, `mp3`, `flac` or `pcm`. Default `wav`.
    #[serde(default)]
    pub audio_format: AudioFormat,
    /// `…__INSTRUCTIONS`: how to speak, for servers that understand it. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// `…__SPEED`: 0.25 to 4. Default: not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
    /// `…__TEMPERATURE`: 0 to 2. Default: not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// `…__MAX_OUTPUT_TOKENS`: longest answer of a language model. Default 8192.
    #[serde(default = "eight_thousand")]
    pub max_output_tokens: u32,
    /// `…__CONTEXT_TOKENS`: what a language model reads and answers at once. A longer source is shared among the chapters. Default
    /// 32768.
    #[serde(default = "thirty_thousand")]
    pub context_tokens: u32,
    /// `…__PRICE_INPUT`: of a million input units (tokens; characters of speech), in the currency in which cost is counted. Default 0.
    #[serde(default)]
    pub price_input: f64,
    /// `…__PRICE_CACHED`: of a million input tokens that the provider had cached. Default: as `price_input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_cached: Option<f64>,
    /// `…__PRICE_OUTPUT`: of a million output tokens. Default 0.
    #[serde(default)]
    pub price_output: f64,
    /// `…__FALLBACK`: engines to ask, in order, when this one fails, comma-separated. Default none.
    #[serde(default, deserialize_with = "comma_separated")]
    pub fallback: Vec<String>,
    /// `…__FALLBACK_CHANGES_VOICE`: a speaker may get another voice in the middle of a podcast. Default false: only engines that
    /// sound the same are fallbacks.
    #[serde(default)]
    pub fallback_changes_voice: bool,
    /// `…__POLICY__…`: when its tasks are tried again, where that is not as in `[policy]`.
    #[serde(default)]
    pub policy: PolicyChanges,
    /// `…__BREAKER__…`: when it is left alone.
    #[serde(default)]
    pub breaker: Breaker,
}

impl Engine {
    fn new(r#type: EngineType, kinds: &[Kind]) -> Engine {
        Engine {
            r#type,
            kinds: kinds.to_vec(),
            url: None,
            urls: Vec::new(),
            api_key: None,
            model: None,
            voices: Vec::new(),
            languages: Vec::new(),
            formats: Vec::new(),
            rates: BTreeMap::new(),
            needs_source: false,
            concurrency: four(),
            timeout_ms: None,
            connect_timeout_ms: three_seconds(),
            first_byte_timeout_ms: None,
            idle_timeout_ms: half_a_minute(),
            expected_ms: second(),
            requests_per_minute: 0,
            units_per_minute: 0,
            max_input: four_thousand(),
            input_unit: InputUnit::default(),
            audio_format: AudioFormat::default(),
            instructions: None,
            speed: None,
            temperature: None,
            max_output_tokens: eight_thousand(),
            context_tokens: thirty_thousand(),
            price_input: 0.0,
            price_cached: None,
            price_output: 0.0,
            fallback: Vec::new(),
            fallback_changes_voice: false,
            policy: PolicyChanges::default(),
            breaker: Breaker::default(),
        }
    }

    pub(super) fn extractive() -> Engine {
        Engine {
            needs_source: true,
            formats: vec![Format::Dialogue, Format::Monologue],
            expected_ms: 100,
            ..Engine::new(EngineType::Extractive, &[Kind::Outline, Kind::Script])
        }
    }

    pub(super) fn espeak() -> Engine {
        // Chinese and Japanese are left out on purpose: espeak-ng cannot read their characters.
        let languages = "en ko de fr es it pt nl pl sv da nb fi cs hu ro el tr ru uk id vi";
        let voices = "f2 m3 f4 m7 f1 m1 f3 m2 f5 m4";
        Engine {
            languages: languages.split(' ').map(str::to_owned).collect(),
            voices: voices.split(' ').map(str::to_owned).collect(),
            rates: rates::ESPEAK.iter().map(|(language, rate)| ((*language).to_owned(), *rate)).collect(),
            expected_ms: 300,
            ..Engine::new(EngineType::Espeak, &[Kind::Tts])
        }
    }

    /// Fixtures for benchmarks: every task of a podcast, done at once.
    pub(super) fn noop() -> Engine {
        Engine {
            concurrency: 64,
            expected_ms: 1,
            ..Engine::new(EngineType::Noop, &[Kind::Outline, Kind::Script, Kind::Tts, Kind::Mix, Kind::Join])
        }
    }
}

fn four() -> u16 {
    4
}
fn second() -> u32 {
    1_000
}
fn three_seconds() -> u64 {
    3_000
}
fn half_a_minute() -> u64 {
    30_000
}
fn four_thousand() -> u32 {
    4_096
}
fn eight_thousand() -> u32 {
    8_192
}
fn thirty_thousand() -> u32 {
    32_768
}

/// A list in TOML, or one string with commas in an environment variable.
pub(super) fn comma_separated<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        List(Vec<String>),
        Text(String),
    }
    let words = match Either::deserialize(deserializer)? {
        Either::List(words) => words,
        Either::Text(text) => {
            text.split(',').map(|word| word.trim().to_owned()).filter(|w| !w.is_empty()).collect()
        }
    };
    words
        .into_iter()
        .map(|word| serde_json::from_value(serde_json::Value::String(word)).map_err(serde::de::Error::custom))
        .collect()
}
