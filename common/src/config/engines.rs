use std::collections::BTreeMap;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use super::rates;
use crate::work::{Format, Kind};

/// The table of engines, by name: `[engines.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Engines(BTreeMap<String, Engine>);

/// Which program or wire format an engine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineType {
    /// Built-in writer: chapters from headings, the source's own sentences.
    Extractive,
    /// espeak-ng, as a program on this machine.
    Espeak,
    /// An OpenAI-compatible server.
    OpenAi,
    /// Does nothing at once: for benchmarks of the fleet itself.
    Noop,
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
    /// `…__API_KEY` (or `…__API_KEY_FILE`): sent as a bearer token.
    #[serde(default, skip_serializing)]
    pub api_key: Option<String>,
    /// `…__MODEL`: name of the model an `openai` server is asked for.
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
    /// `…__TIMEOUT_MS`: for one whole call. Default 60000.
    #[serde(default = "minute")]
    pub timeout_ms: u64,
    /// `…__EXPECTED_MS`: what one task usually takes; tickets under 50 ms together share a message. Default 1000.
    #[serde(default = "second")]
    pub expected_ms: u32,
}

/// `[defaults]`: the engine for each kind of task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// `PODFLEET__DEFAULTS__OUTLINE`. Default `extractive`.
    pub outline: String,
    /// `PODFLEET__DEFAULTS__SCRIPT`. Default `extractive`.
    pub script: String,
    /// `PODFLEET__DEFAULTS__TTS`. Default `espeak`.
    pub tts: String,
    /// `PODFLEET__DEFAULTS__MIX`: `builtin`, or `none` with the `noop` engine: a benchmark without the mixing step. Default
    /// `builtin`.
    pub mix: String,
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults {
            outline: "extractive".into(),
            script: "extractive".into(),
            tts: "espeak".into(),
            mix: "builtin".into(),
        }
    }
}

impl Defaults {
    /// The engine for a kind; mixing and joining are the fleet's own.
    pub fn engine(&self, kind: Kind) -> &str {
        match kind {
            Kind::Outline => &self.outline,
            Kind::Script => &self.script,
            Kind::Tts => &self.tts,
            Kind::Mix | Kind::Join => "builtin",
        }
    }
}

impl Engines {
    pub fn get(&self, name: &str) -> Option<&Engine> {
        self.0.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Engine)> {
        self.0.iter().map(|(name, engine)| (name.as_str(), engine))
    }

    pub fn insert(&mut self, name: &str, engine: Engine) {
        self.0.insert(name.to_owned(), engine);
    }

    pub(super) fn add_built_in(&mut self) {
        let built_in =
            [("extractive", Engine::extractive()), ("espeak", Engine::espeak()), ("noop", Engine::noop())];
        for (name, engine) in built_in {
            self.0.entry(name.to_owned()).or_insert(engine);
        }
    }

    pub(super) fn check(&self, defaults: &Defaults) -> anyhow::Result<()> {
        for kind in [Kind::Outline, Kind::Script, Kind::Tts] {
            let name = defaults.engine(kind);
            let Some(engine) = self.get(name) else {
                bail!(
                    "defaults.{kind} is \"{name}\", but there is no [engines.{name}]; known: {:?}",
                    self.0.keys()
                );
            };
            if !engine.kinds.contains(&kind) {
                bail!("defaults.{kind} is \"{name}\", but engines.{name}.kinds does not list {kind}");
            }
        }
        if !(defaults.mix == "builtin" || defaults.mix == "none" && defaults.tts == "noop") {
            bail!("defaults.mix is \"{}\"; use builtin (none goes only with the noop engine)", defaults.mix);
        }
        for (name, engine) in self.iter() {
            if engine.r#type == EngineType::OpenAi && engine.url.is_none() {
                bail!("engines.{name}.url is missing: an openai engine needs the base address of its server");
            }
            for (language, rate) in &engine.rates {
                rates::check(name, language, *rate)?;
            }
            if engine.concurrency == 0 {
                bail!("engines.{name}.concurrency is 0; give at least 1");
            }
        }
        Ok(())
    }
}

impl Engine {
    fn new(r#type: EngineType, kinds: &[Kind]) -> Engine {
        Engine {
            r#type,
            kinds: kinds.to_vec(),
            url: None,
            api_key: None,
            model: None,
            voices: Vec::new(),
            languages: Vec::new(),
            formats: Vec::new(),
            rates: BTreeMap::new(),
            needs_source: false,
            concurrency: four(),
            timeout_ms: minute(),
            expected_ms: second(),
        }
    }

    fn extractive() -> Engine {
        Engine {
            needs_source: true,
            formats: vec![Format::Dialogue, Format::Monologue],
            expected_ms: 100,
            ..Engine::new(EngineType::Extractive, &[Kind::Outline, Kind::Script])
        }
    }

    fn espeak() -> Engine {
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
    fn noop() -> Engine {
        Engine {
            concurrency: 64,
            expected_ms: 1,
            ..Engine::new(EngineType::Noop, &[Kind::Outline, Kind::Script, Kind::Tts, Kind::Mix, Kind::Join])
        }
    }

    /// What makes its results differ from those of another engine of the same type.
    pub fn identity(&self) -> String {
        format!("{:?}/{}", self.r#type, self.model.as_deref().unwrap_or_default())
    }

    /// Words (syllables, characters) a minute in a language, for planning lengths. Never 0.
    pub fn rate(&self, language: &str) -> u32 {
        // Rates given for some languages leave the others as they were.
        let built_in = rates::ESPEAK.iter().filter(|_| self.r#type == EngineType::Espeak);
        let built_in: BTreeMap<&str, &u32> = built_in.map(|(language, rate)| (*language, rate)).collect();
        rates::rate(|tag| self.rates.get(tag).or_else(|| built_in.get(tag).copied()), language).max(1)
    }

    /// Whether the engine does this language, by its primary tag (`ko` for `ko-KR`).
    pub fn speaks(&self, language: &str) -> bool {
        let primary = language.split('-').next().unwrap_or(language);
        self.languages.is_empty() || self.languages.iter().any(|known| known.eq_ignore_ascii_case(primary))
    }
}

fn four() -> u16 {
    4
}
fn minute() -> u64 {
    60_000
}
fn second() -> u32 {
    1_000
}

/// A list in TOML, or one string with commas in an environment variable.
fn comma_separated<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
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
