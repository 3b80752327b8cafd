//! Configuration: defaults, then a TOML file, then `PODFLEET__SECTION__KEY`; a secret may come from a file named by
//! `PODFLEET__SECTION__KEY_FILE`. Unknown keys are refused. Each field's doc names its variable, unit and default.

mod audio;
mod engine;
mod engines;
mod fleet;
mod limits;
mod outbound;
mod problems;
mod rates;
mod retries;

use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

pub use audio::{Audio, Pauses};
pub use engine::{AudioFormat, Engine, EngineType, InputUnit};
pub use engines::{Defaults, Engines};
pub use fleet::{Blobs, Broker, Cache, Collector, Database, Order, Producer, Sweep, Telemetry, Worker};
pub use limits::Limits;
pub use outbound::Outbound;
pub use problems::Problems;
pub use rates::usual_rate;
pub use retries::{Breaker, Policy, PolicyChanges};

/// Everything a role can be told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub broker: Broker,
    pub database: Database,
    pub cache: Cache,
    pub blobs: Blobs,
    pub producer: Producer,
    pub limits: Limits,
    pub outbound: Outbound,
    pub worker: Worker,
    pub collector: Collector,
    pub audio: Audio,
    /// The engines by name; every role reads the same table. Names given here are added to the built-in ones.
    pub engines: Engines,
    /// Which engine does what when a request does not say.
    pub defaults: Defaults,
    pub policy: Policy,
    pub telemetry: Telemetry,
}

impl Config {
    /// Reads the file, if one is named, then the environment, and checks the whole.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Config> {
        let secrets = secrets_from_files()?;
        Self::from_sources(file, std::env::vars().chain(secrets).collect())
    }

    fn from_sources(file: Option<&Path>, vars: Vec<(String, String)>) -> anyhow::Result<Config> {
        let vars: config::Map<String, String> = vars
            .into_iter()
            .filter(|(name, _)| name.starts_with("PODFLEET__") && !name.ends_with("_FILE"))
            .collect();
        let build = |built_in: Option<config::Config>| {
            let mut builder = config::Config::builder();
            if let Some(built_in) = built_in {
                builder = builder.add_source(built_in);
            }
            if let Some(path) = file {
                builder = builder.add_source(config::File::from(path).format(config::FileFormat::Toml));
            }
            let environment = config::Environment::with_prefix("PODFLEET")
                .prefix_separator("__")
                .separator("__")
                .try_parsing(true)
                .source(Some(vars.clone()));
            builder.add_source(environment).build().context("reading the configuration")
        };
        let given = build(None)?;
        let settings = build(Some(built_in_engines(&given)?))?;
        let mut config: Config = settings.try_deserialize().map_err(|error| problems::unreadable(&error))?;
        config.engines.add_built_in();
        config.check()?;
        Ok(config)
    }

    /// When the tasks of an engine are tried again.
    pub fn policy_of(&self, engine: &str) -> Policy {
        self.engines.get(engine).map_or(self.policy, |settings| settings.policy.of(&self.policy))
    }

    /// Bad combinations fail at start, with what to do about them.
    pub fn check(&self) -> Result<(), Problems> {
        let mut problems = Problems::default();
        self.audio.check(&mut problems);
        self.engines.check(&self.defaults, &mut problems);
        let (producer, collector, blobs) = (&self.producer, &self.collector, &self.blobs);
        problems.add_if(
            producer.page_connections == 0,
            "producer.page_connections",
            "is 0",
            "give at least 1: the dashboard reads over connections of its own",
        );
        problems.add_if(
            !(100..=2_000).contains(&producer.page_timeout_ms),
            "producer.page_timeout_ms",
            format!("is {}", producer.page_timeout_ms),
            "give a number from 100 to 2000: a page is answered within 10 s, however many of its figures are late",
        );
        problems.add_if(
            collector.partitions == 0 || collector.partitions > 64,
            "collector.partitions",
            format!("is {}", collector.partitions),
            "give a number from 1 to 64",
        );
        problems.add_if(
            collector.lost_after_seconds < 10,
            "collector.lost_after_seconds",
            format!("is {}", collector.lost_after_seconds),
            "give at least 10: workers tell every 5 s what they hold",
        );
        problems.add_if(
            blobs.keep_days < 2,
            "blobs.keep_days",
            format!("is {}", blobs.keep_days),
            "give at least 2: the cache refers to blobs for a day",
        );
        problems.add_if(
            blobs.sweep_seconds == 0,
            "blobs.sweep_seconds",
            "is 0",
            "give at least 1, or turn the sweep off with blobs.sweep=off",
        );
        problems.or(())
    }
}

/// The built-in engines below what is given, key by key. One that is given another type is another engine.
fn built_in_engines(given: &config::Config) -> anyhow::Result<config::Config> {
    let mut engines = Engines::default();
    for (name, engine) in Engines::built_in() {
        let engine_type = serde_json::to_value(engine.r#type)?;
        let given_type = given.get_string(&format!("engines.{name}.type")).ok();
        if given_type.is_none_or(|given| engine_type.as_str() == Some(given.as_str())) {
            engines.insert(name, engine);
        }
    }
    #[derive(Serialize)]
    struct BuiltIn {
        engines: Engines,
    }
    config::Config::try_from(&BuiltIn { engines }).context("the built-in engines as configuration")
}

/// `PODFLEET__DATABASE__URL_FILE=/run/secrets/db` stands for `PODFLEET__DATABASE__URL=<what the file holds>`.
fn secrets_from_files() -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for (name, path) in std::env::vars() {
        if let Some(key) = name.strip_suffix("_FILE")
            && name.starts_with("PODFLEET__")
        {
            let secret = std::fs::read_to_string(&path)
                .with_context(|| format!("{name} names {path}, which cannot be read"))?;
            found.push((key.to_owned(), secret.trim_end().to_owned()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_env(pairs: &[(&str, &str)]) -> anyhow::Result<Config> {
        Config::from_sources(None, pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
    }

    #[test]
    fn environment_reaches_snake_case_fields() {
        let config = from_env(&[("PODFLEET__DATABASE__MAX_CONNECTIONS", "7")]).unwrap();
        assert_eq!(config.database.max_connections, 7);
    }

    #[test]
    fn engines_can_be_added_by_environment() {
        let config = from_env(&[
            ("PODFLEET__ENGINES__VOICE__TYPE", "openai"),
            ("PODFLEET__ENGINES__VOICE__KINDS", "tts"),
            ("PODFLEET__ENGINES__VOICE__URL", "http://127.0.0.1:1"),
        ]);
        assert!(config.unwrap().engines.get("voice").is_some());
    }

    #[test]
    fn a_key_of_a_built_in_engine_changes_that_key_alone() {
        let config = from_env(&[("PODFLEET__ENGINES__ESPEAK__CONCURRENCY", "9")]).unwrap();
        let (changed, before) = (config.engines.get("espeak").unwrap(), Engine::espeak());
        assert_eq!(*changed, Engine { concurrency: 9, ..before });
        assert_eq!(config.engines.get("extractive").unwrap(), &Engine::extractive());
        let config = from_env(&[("PODFLEET__ENGINES__ESPEAK__VOICES", "f1")]).unwrap();
        assert_eq!(config.engines.get("espeak").unwrap().voices, ["f1"]);
    }

    #[test]
    fn a_built_in_name_with_another_type_is_another_engine() {
        let given = [
            ("PODFLEET__ENGINES__ESPEAK__TYPE", "openai"),
            ("PODFLEET__ENGINES__ESPEAK__KINDS", "tts"),
            ("PODFLEET__ENGINES__ESPEAK__URL", "http://127.0.0.1:1"),
        ];
        let config = from_env(&given).unwrap();
        assert_eq!(config.engines.get("espeak").unwrap().voices, Vec::<String>::new());
    }

    #[test]
    fn rates_of_speech_are_settings() {
        let config = from_env(&[
            ("PODFLEET__ENGINES__VOICE__TYPE", "openai"),
            ("PODFLEET__ENGINES__VOICE__KINDS", "tts"),
            ("PODFLEET__ENGINES__VOICE__URL", "http://127.0.0.1:1"),
            ("PODFLEET__ENGINES__VOICE__RATES__KO", "250"),
        ])
        .unwrap();
        let voice = config.engines.get("voice").unwrap();
        assert_eq!((voice.rate("ko-KR"), voice.rate("en-GB"), voice.rate("xx")), (250, 175, 150));
        assert_eq!(config.engines.get("espeak").unwrap().rate("ko"), 317);
        let error = from_env(&[
            ("PODFLEET__ENGINES__NOOP__TYPE", "noop"),
            ("PODFLEET__ENGINES__NOOP__KINDS", "tts"),
            ("PODFLEET__ENGINES__NOOP__RATES__EN", "0"),
        ])
        .unwrap_err();
        assert!(format!("{error:#}").contains("engines.noop.rates.en is 0"), "{error:#}");
    }

    #[test]
    fn an_engine_may_have_a_policy_and_a_breaker_of_its_own() {
        let config = from_env(&[
            ("PODFLEET__POLICY__MAX_FAILURES", "7"),
            ("PODFLEET__POLICY__CAP_MS", "9000"),
            ("PODFLEET__ENGINES__ESPEAK__POLICY__MAX_FAILURES", "2"),
            ("PODFLEET__ENGINES__ESPEAK__BREAKER__FAILURES", "0"),
        ])
        .unwrap();
        let policy = |engine: &str| (config.policy_of(engine).max_failures, config.policy_of(engine).cap_ms);
        assert_eq!(
            (policy("espeak"), policy("extractive"), policy("gone")),
            ((2, 9000), (7, 9000), (7, 9000))
        );
        assert_eq!(
            config.engines.get("espeak").unwrap().breaker,
            Breaker { failures: 0, ..Breaker::default() }
        );
        let error = from_env(&[("PODFLEET__ENGINES__ESPEAK__POLICY__COLOUR", "1")]).unwrap_err();
        assert!(format!("{error:#}").contains("colour"), "{error:#}");
        let error = from_env(&[("PODFLEET__ENGINES__ESPEAK__BREAKER__OPEN_MS", "40000")]).unwrap_err();
        assert!(format!("{error:#}").contains("engines.espeak.breaker"), "{error:#}");
    }

    #[test]
    fn every_problem_is_told_with_its_key_and_what_to_do() {
        let error = from_env(&[
            ("PODFLEET__AUDIO__SAMPLE_RATE", "8000"),
            ("PODFLEET__COLLECTOR__PARTITIONS", "0"),
            ("PODFLEET__PRODUCER__PAGE_CONNECTIONS", "0"),
            ("PODFLEET__PRODUCER__PAGE_TIMEOUT_MS", "5000"),
            ("PODFLEET__ENGINES__MINE__TYPE", "openai"),
            ("PODFLEET__ENGINES__MINE__KINDS", "outline"),
            ("PODFLEET__DEFAULTS__TTS", "nobody"),
        ])
        .unwrap_err();
        let Some(Problems(problems)) = error.downcast_ref() else { panic!("{error:#}") };
        let keys: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(
            keys,
            [
                "audio.sample_rate",
                "defaults.tts",
                "engines.mine.url",
                "engines.mine.model",
                "producer.page_connections",
                "producer.page_timeout_ms",
                "collector.partitions"
            ]
        );
        assert!(problems.iter().all(|problem| !problem.reason.is_empty() && !problem.remedy.is_empty()));
        assert!(error.to_string().starts_with("audio.sample_rate is 8000; use 24000 or 44100\n"), "{error}");
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = from_env(&[("PODFLEET__BROKER__COLOUR", "red")]).unwrap_err();
        assert!(format!("{error:#}").contains("colour"), "{error:#}");
    }
}
