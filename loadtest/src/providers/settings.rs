//! How a simulated provider behaves.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::gate::Limits;
use super::latency::Latency;
use super::rules::{Endpoint, Misbehaviour, Rule};
use super::tones::RATE;

/// Behaviour of a provider. `Settings::default()` answers at once and without faults, two seconds a segment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Of the random numbers behind latencies, rules and texts: equal seeds give equal sequences. Default 1.
    pub seed: u64,
    /// When given, every call must carry it as a bearer token.
    #[serde(skip)]
    pub key: Option<String>,
    pub speech: Speech,
    pub chat: Chat,
    /// In order.
    pub rules: Vec<Rule>,
}

/// `[speech]`: `POST /v1/audio/speech`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Speech {
    /// Until the recording is sent. Default none.
    pub latency: Latency,
    /// Of a recording: `{ seconds = 2.0 }` or `"natural"`. Default 2 s.
    pub length: Length,
    pub limits: Limits,
    /// For a million characters, in dollars. Default 15.
    pub price_per_million: f64,
}

/// `[chat]`: `POST /v1/chat/completions`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chat {
    /// Until the first token. Default none.
    pub first_token: Latency,
    /// Pace of the others; 0 sends them all at once. Default 0.
    pub tokens_per_second: f64,
    /// When given, the pace follows from it: until the last token, of a prompt that is not cached.
    pub whole: Option<Latency>,
    pub limits: Limits,
    pub prompt_cache: PromptCache,
    /// For a million tokens of the prompt, of the cached part of it, and of the answer, in dollars. Default 2.5, 1.25 and 10.
    pub prices_per_million: [f64; 3],
    pub writing: Writing,
}

/// `[chat.prompt_cache]`: what the provider remembers of prompts, in steps of 128 tokens from their start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptCache {
    /// Shorter prefixes are not cached. Default 1024.
    pub min_tokens: u64,
    /// The share of a call's time that a prompt saves of which everything is cached. Default 0.3.
    pub saves: f64,
}

/// `[chat.writing]`: what is written where a schema leaves it open. What the prompt asks for wins.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Writing {
    /// `en`, `ko`, or `auto`, which is what the prompt is about. Default `auto`.
    pub language: Language,
    /// Chapters of an outline. Default 3.
    pub chapters: usize,
    /// Turns of a script. Default 6.
    pub turns: usize,
    /// Words of a turn. Default 25.
    pub words: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    Auto,
    En,
    Ko,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    Seconds(f64),
    /// What it takes to say: 13 letters or 6 syllables of Hangul a second.
    Natural,
    /// Samples at 24 kHz for a text.
    #[serde(skip)]
    Rule(Arc<dyn Fn(&str) -> usize + Send + Sync>),
}

impl Default for Settings {
    fn default() -> Self {
        Settings { seed: 1, key: None, speech: Speech::default(), chat: Chat::default(), rules: Vec::new() }
    }
}

impl Default for Speech {
    fn default() -> Self {
        Speech {
            latency: Latency::NONE,
            length: Length::Seconds(2.0),
            limits: Limits::default(),
            price_per_million: 15.0,
        }
    }
}

impl Default for Chat {
    fn default() -> Self {
        Chat {
            first_token: Latency::NONE,
            tokens_per_second: 0.0,
            whole: None,
            limits: Limits::default(),
            prompt_cache: PromptCache { min_tokens: 1024, saves: 0.3 },
            prices_per_million: [2.5, 1.25, 10.0],
            writing: Writing::default(),
        }
    }
}

impl Default for PromptCache {
    fn default() -> Self {
        Chat::default().prompt_cache
    }
}

impl Default for Writing {
    fn default() -> Self {
        Writing { language: Language::Auto, chapters: 3, turns: 6, words: 25 }
    }
}

impl Settings {
    /// Reads a file: TOML, or JSON when it is named so.
    pub fn read(file: &Path) -> anyhow::Result<Settings> {
        let name = file.display();
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
        let settings: Settings = if file.extension().is_some_and(|extension| extension == "json") {
            serde_json::from_str(&text).with_context(|| format!("{name} is not right"))?
        } else {
            toml::from_str(&text).with_context(|| format!("{name} is not right"))?
        };
        settings.check().with_context(|| format!("{name} is not right"))?;
        Ok(settings)
    }

    /// What no provider could do.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let chat = &self.chat;
        let pace = chat.tokens_per_second;
        anyhow::ensure!((0.0..=1e6).contains(&pace), "chat.tokens_per_second is {pace}; give 0 to 1000000");
        let saves = chat.prompt_cache.saves;
        anyhow::ensure!((0.0..=1.0).contains(&saves), "chat.prompt_cache.saves is {saves}; give 0 to 1");
        let Writing { chapters, turns, words, .. } = chat.writing;
        for (name, count) in [("chapters", chapters), ("turns", turns), ("words", words)] {
            anyhow::ensure!((1..=1000).contains(&count), "chat.writing.{name} is {count}; give 1 to 1000");
        }
        if let Length::Seconds(seconds) = self.speech.length {
            anyhow::ensure!((0.0..=600.0).contains(&seconds), "speech.length is {seconds} s; give 0 to 600");
        }
        for limits in [self.speech.limits, chat.limits] {
            anyhow::ensure!(limits.concurrency != Some(0), "a concurrency of 0 answers nobody");
        }
        for price in chat.prices_per_million.iter().chain([&self.speech.price_per_million]) {
            anyhow::ensure!((0.0..=1e6).contains(price), "a price is {price}; give 0 to 1000000 dollars");
        }
        Ok(())
    }

    /// The latencies of the performance goals: an outline at once, a chapter's script in 9.5 s, a segment of speech in 0.9 s, each
    /// around its median, half as long again at the 95th percentile.
    pub fn performance_goals() -> Settings {
        let around = |ms: u64| Latency::LogNormal {
            median: Duration::from_millis(ms),
            p95: Duration::from_millis(ms * 3 / 2),
        };
        let mut settings = Settings::default();
        settings.speech.latency = around(900);
        settings.speech.length = Length::Natural;
        settings.chat.first_token = around(600);
        settings.chat.whole = Some(around(9_500));
        let outline = Rule {
            endpoint: Some(Endpoint::Chat),
            schema: Some("outline".into()),
            latency: Some(Latency::NONE),
            ..Rule::default()
        };
        settings.rules.push(Rule { name: "outline at once".into(), ..outline });
        settings
    }

    /// Speech takes this long.
    #[must_use]
    pub fn speech_latency(mut self, latency: Latency) -> Settings {
        self.speech.latency = latency;
        self
    }

    /// One more rule, after those that are there.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Settings {
        self.rules.push(rule);
        self
    }

    /// The first `calls` calls fail with `status`; `retry_after` is sent in whole seconds, rounded up. Given more than
    /// once, the rules follow each other.
    #[must_use]
    pub fn fail_first(self, calls: u64, status: u16, retry_after: Option<Duration>) -> Settings {
        self.rule(Rule {
            status: Some(status),
            retry_after_ms: retry_after.and_then(|wait| u64::try_from(wait.as_millis()).ok()),
            ..Rule::new(Misbehaviour::ServerError).times(calls)
        })
    }

    /// The first `calls` calls, after those that fail, are never answered.
    #[must_use]
    pub fn stall_first(self, calls: u64) -> Settings {
        self.rule(Rule::new(Misbehaviour::StallBefore).times(calls))
    }

    /// The exact length of each recording, by a rule on its text. Shorter ones than a second cannot hold their number and
    /// are a second long.
    #[must_use]
    pub fn samples_for(mut self, rule: impl Fn(&str) -> usize + Send + Sync + 'static) -> Settings {
        self.speech.length = Length::Rule(Arc::new(rule));
        self
    }
}

impl Length {
    pub(super) fn samples(&self, text: &str) -> usize {
        let seconds = match self {
            Length::Seconds(seconds) => *seconds,
            Length::Natural => text.chars().map(seconds_to_say).sum::<f64>().clamp(1.0, 600.0),
            Length::Rule(rule) => return rule(text),
        };
        (seconds * f64::from(RATE)).round() as usize
    }
}

fn seconds_to_say(letter: char) -> f64 {
    match letter {
        'a'..='z' | 'A'..='Z' => 1.0 / 13.0,
        '0'..='9' => 0.25,
        _ if letter.is_alphanumeric() && letter.len_utf8() >= 3 => 1.0 / 6.0,
        _ if letter.is_alphanumeric() => 1.0 / 13.0,
        _ => 0.0,
    }
}

impl std::fmt::Debug for Length {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Length::Seconds(seconds) => f.debug_tuple("Seconds").field(seconds).finish(),
            Length::Natural => f.write_str("Natural"),
            Length::Rule(_) => f.write_str("Rule"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Settings, String> {
        let file = std::env::temp_dir().join(format!("podfleet-providers-{}-{name}", std::process::id()));
        std::fs::write(&file, text).unwrap();
        let settings = Settings::read(&file).map_err(|error| format!("{error:#}"));
        std::fs::remove_file(&file).unwrap();
        settings
    }

    #[test]
    fn a_file_says_what_differs() {
        let toml = r#"
            [speech]
            latency = { median_ms = 900, p95_ms = 1500 }
            length = "natural"
            limits = { concurrency = 4, queue = 10 }
            [chat]
            tokens_per_second = 80
            writing = { language = "ko", turns = 4 }
            [[rules]]
            contains = "tides"
            do = "reset_middle"
            times = 1
        "#;
        let settings = read("good.toml", toml).unwrap();
        assert_eq!(settings.rules, [Rule::new(Misbehaviour::ResetMiddle).on("tides").times(1)]);
        assert_eq!(settings.speech.limits.concurrency, Some(4));
        assert_eq!((settings.chat.writing.turns, settings.chat.writing.words), (4, 25));
        // What is in force can be written down and read again.
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(read("again.json", &json).unwrap().rules, settings.rules);
    }

    #[test]
    fn wrong_files_are_refused_with_the_place() {
        let check = |text: &str, words: &str| {
            let error = read("bad.toml", text).unwrap_err();
            assert!(error.contains(words), "{error}");
        };
        check("speach = 1", "speach");
        check("[speech]\nlatency = { fixed = 1 }", "fixed");
        check("[speech]\nlength = { seconds = 1e9 }", "speech.length");
        check("[chat]\ntokens_per_second = -1", "tokens_per_second");
        check("[chat.prompt_cache]\nsaves = 2", "saves");
        check("[chat.writing]\nturns = 0", "turns");
    }

    #[test]
    fn natural_recordings_follow_their_text() {
        let seconds = |text: &str| Length::Natural.samples(text) as f64 / f64::from(RATE);
        assert!((seconds(&"tide ".repeat(26)) - 8.0).abs() < 0.1);
        assert!((seconds(&"바다 ".repeat(12)) - 4.0).abs() < 0.1);
        assert_eq!(seconds("Hm."), 1.0);
    }
}
