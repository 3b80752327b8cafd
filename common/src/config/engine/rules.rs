//! What follows from an engine's settings.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Engine, EngineType, rates};
use crate::config::Problems;
use crate::work::Kind;

impl Engine {
    /// What makes its results differ from those of another engine of the same type: all settings that a result depends on, and
    /// none of those that say where and how fast it is asked.
    pub fn identity(&self) -> String {
        let asked = serde_json::json!([
            self.voice_identity(),
            self.temperature,
            self.max_output_tokens,
            self.context_tokens,
            self.max_input,
            self.input_unit,
            self.audio_format,
        ]);
        asked.to_string()
    }

    /// What a listener can tell it by.
    fn voice_identity(&self) -> serde_json::Value {
        serde_json::json!([self.r#type, self.model, self.instructions, self.speed])
    }

    /// Whether a listener hears the same voices from the other engine: another account or region of the same provider.
    pub fn sounds_like(&self, other: &Engine) -> bool {
        self.voice_identity() == other.voice_identity()
            && (other.voices.is_empty() || self.voices.iter().all(|voice| other.voices.contains(voice)))
            && (other.voices.is_empty() || !self.voices.is_empty())
    }

    /// Whether the engine does this language, by its primary tag (`ko` for `ko-KR`).
    pub fn speaks(&self, language: &str) -> bool {
        let primary = language.split('-').next().unwrap_or(language);
        self.languages.is_empty() || self.languages.iter().any(|known| known.eq_ignore_ascii_case(primary))
    }

    /// Words (syllables, characters) a minute in a language, for planning lengths. Never 0.
    pub fn rate(&self, language: &str) -> u32 {
        // Rates given for some languages leave the others as they were.
        let built_in = rates::ESPEAK.iter().filter(|_| self.r#type == EngineType::Espeak);
        let built_in: BTreeMap<&str, &u32> = built_in.map(|(language, rate)| (*language, rate)).collect();
        rates::rate(|tag| self.rates.get(tag).or_else(|| built_in.get(tag).copied()), language).max(1)
    }

    /// Base addresses, the first one first.
    pub fn addresses(&self) -> Vec<&str> {
        let all = self.url.iter().chain(&self.urls).map(|url| url.trim()).filter(|url| !url.is_empty());
        let mut addresses = Vec::new();
        for url in all {
            if !addresses.contains(&url) {
                addresses.push(url);
            }
        }
        addresses
    }

    /// How long one whole call may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.unwrap_or(if self.streams() { 600_000 } else { 60_000 }))
    }

    /// How long a server may take to begin its answer.
    pub fn first_byte_timeout(&self) -> Duration {
        let usual = if self.streams() { Duration::from_secs(120) } else { self.timeout() };
        self.first_byte_timeout_ms.map_or(usual, Duration::from_millis).min(self.timeout())
    }

    /// Answers of language models come word by word, recordings whole.
    fn streams(&self) -> bool {
        self.r#type == EngineType::OpenAi && !self.kinds.contains(&Kind::Tts)
    }

    /// Millionths of the currency unit for these units.
    pub fn cost_micros(&self, input: u64, cached: u64, output: u64) -> i64 {
        let cached = cached.min(input);
        let fresh = (input - cached) as f64 * self.price_input;
        let known = cached as f64 * self.price_cached.unwrap_or(self.price_input);
        (fresh + known + output as f64 * self.price_output).round() as i64
    }

    pub(in crate::config) fn check(&self, name: &str, problems: &mut Problems) {
        let key = |key: &str| format!("engines.{name}.{key}");
        problems.add_if(self.concurrency == 0, &key("concurrency"), "is 0", "give at least 1");
        for (language, rate) in &self.rates {
            rates::check(name, language, *rate, problems);
        }
        self.breaker.check(name, problems);
        if self.r#type != EngineType::OpenAi {
            return;
        }
        let speaks = self.kinds.contains(&Kind::Tts);
        let writes = self.kinds.iter().any(|kind| matches!(kind, Kind::Outline | Kind::Script));
        let mixes = self.kinds.iter().any(|kind| matches!(kind, Kind::Mix | Kind::Join));
        let prices = [self.price_input, self.price_cached.unwrap_or(0.0), self.price_output];
        let tokens = self.max_output_tokens >= 256
            && self.context_tokens >= self.max_output_tokens.saturating_add(1_000);
        let patient = self.connect_timeout_ms > 0 && self.idle_timeout_ms > 0 && !self.timeout().is_zero();
        let mut refuse = |wrong: bool, name: &str, reason: String, remedy: &str| {
            problems.add_if(wrong, &key(name), reason, remedy);
        };
        let missing = || "is missing".to_owned();
        refuse(
            self.addresses().is_empty(),
            "url",
            missing(),
            "an openai engine needs the base address of its server",
        );
        refuse(
            speaks && writes,
            "kinds",
            "mixes writing and speech, which need different models".into(),
            "make two engines of it",
        );
        refuse(mixes, "kinds", "lists mix or join".into(), "a server can do outline and script, or tts");
        refuse(
            writes && self.model.as_deref().is_none_or(str::is_empty),
            "model",
            missing(),
            "a writing engine needs the name of its language model",
        );
        refuse(
            !prices.iter().all(|price| (0.0..1e6).contains(price)),
            "price_…",
            format!("is {prices:?}"),
            "give prices of a million units, from 0 to 1000000",
        );
        refuse(
            !self.speed.is_none_or(|speed| (0.25..=4.0).contains(&speed)),
            "speed",
            format!("is {:?}", self.speed.unwrap_or_default()),
            "it must be from 0.25 to 4",
        );
        refuse(
            !self.temperature.is_none_or(|temperature| (0.0..=2.0).contains(&temperature)),
            "temperature",
            format!("is {:?}", self.temperature.unwrap_or_default()),
            "it must be from 0 to 2",
        );
        refuse(self.max_input < 20, "max_input", format!("is {}", self.max_input), "give at least 20");
        refuse(
            !tokens,
            "context_tokens",
            format!("is {}, and max_output_tokens {}", self.context_tokens, self.max_output_tokens),
            "it must be at least 1000 more than max_output_tokens, and that at least 256",
        );
        refuse(!patient, "…timeout_ms", "has a timeout of 0 ms".into(), "give milliseconds");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(json: serde_json::Value) -> Engine {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn units_become_cost() {
        let settings = serde_json::json!({"type": "openai", "kinds": "script", "price_input": 2.5, "price_output": 10.0});
        let check = |settings: &serde_json::Value, (input, cached, output), expected| {
            assert_eq!(engine(settings.clone()).cost_micros(input, cached, output), expected);
        };
        check(&settings, (1_000, 0, 500), 7_500);
        check(&settings, (1_000, 800, 500), 7_500);
        let mut cheaper = settings;
        cheaper["price_cached"] = 0.25.into();
        check(&cheaper, (1_000, 800, 500), 5_700);
        check(&cheaper, (1_000, 2_000, 0), 250);
    }

    #[test]
    fn an_identity_is_what_results_depend_on_and_nothing_else() {
        let with = |change: serde_json::Value| {
            let mut json =
                serde_json::json!({"type": "openai", "kinds": "tts", "url": "http://a", "model": "m"});
            json.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            engine(json).identity()
        };
        let plain = with(serde_json::json!({}));
        let (instructed, fast) =
            (serde_json::json!({"instructions": "x2"}), serde_json::json!({"speed": 2.0}));
        assert_ne!(with(instructed.clone()), with(fast.clone()), "one setting does not look like another");
        for change in [
            instructed,
            fast,
            serde_json::json!({"model": "n"}),
            serde_json::json!({"temperature": 0.5}),
            serde_json::json!({"max_output_tokens": 4096}),
            serde_json::json!({"context_tokens": 100_000}),
            serde_json::json!({"max_input": 500}),
            serde_json::json!({"input_unit": "bytes"}),
            serde_json::json!({"audio_format": "mp3"}),
        ] {
            assert_ne!(with(change.clone()), plain, "{change}");
        }
        for change in [
            serde_json::json!({"url": "http://b"}),
            serde_json::json!({"api_key": "k"}),
            serde_json::json!({"concurrency": 9}),
            serde_json::json!({"timeout_ms": 9}),
            serde_json::json!({"price_input": 9.0}),
            serde_json::json!({"expected_ms": 9}),
            serde_json::json!({"voices": "a,b"}),
        ] {
            assert_eq!(with(change.clone()), plain, "{change}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused_with_their_name() {
        let check = |change: serde_json::Value, words: &str| {
            let mut json =
                serde_json::json!({"type": "openai", "kinds": "script", "url": "http://a", "model": "m"});
            json.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let mut problems = Problems::default();
            engine(json).check("x", &mut problems);
            let error = problems.to_string();
            assert!(error.contains("engines.x") && error.contains(words), "{error}");
        };
        check(serde_json::json!({"kinds": "script,tts"}), "two engines");
        check(serde_json::json!({"model": null}), "model is missing");
        check(serde_json::json!({"url": ""}), "url is missing");
        check(serde_json::json!({"price_input": -1.0}), "price");
        check(serde_json::json!({"speed": 9.0}), "speed");
        check(serde_json::json!({"context_tokens": 100}), "context_tokens");
        check(serde_json::json!({"idle_timeout_ms": 0}), "timeout");
        check(serde_json::json!({"max_input": 1}), "max_input");
    }

    #[test]
    fn a_writer_must_begin_sooner_than_it_must_end() {
        let check = |change: serde_json::Value, expected: (u64, u64)| {
            let mut json =
                serde_json::json!({"type": "openai", "kinds": "script", "url": "http://a", "model": "m"});
            json.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let engine = engine(json);
            let found = (engine.first_byte_timeout().as_secs(), engine.timeout().as_secs());
            assert_eq!(found, expected, "{change}");
        };
        check(serde_json::json!({}), (120, 600));
        check(serde_json::json!({"kinds": "tts"}), (60, 60));
        check(serde_json::json!({"first_byte_timeout_ms": 300_000}), (300, 600));
        check(serde_json::json!({"timeout_ms": 20_000}), (20, 20));
    }

    #[test]
    fn addresses_are_told_once_each() {
        let json = serde_json::json!({"type": "openai", "kinds": "tts", "url": "http://a", "urls": "http://b, http://a"});
        assert_eq!(engine(json).addresses(), ["http://a", "http://b"]);
    }
}
