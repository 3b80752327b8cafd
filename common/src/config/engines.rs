use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Problems;
use super::engine::Engine;
use crate::work::Kind;

/// The table of engines, by name: `[engines.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Engines(BTreeMap<String, Engine>);

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

    /// The engines that are there without configuration.
    pub fn built_in() -> [(&'static str, Engine); 3] {
        [("extractive", Engine::extractive()), ("espeak", Engine::espeak()), ("noop", Engine::noop())]
    }

    pub(super) fn add_built_in(&mut self) {
        for (name, engine) in Self::built_in() {
            self.0.entry(name.to_owned()).or_insert(engine);
        }
    }

    /// The engines to ask for a task, in order: the one that was chosen, then its fallbacks that know the kind.
    pub fn order<'a>(&'a self, first: &'a str, kind: Kind) -> Vec<&'a str> {
        let fallbacks = self.get(first).map(|engine| engine.fallback.as_slice()).unwrap_or_default();
        let known = |name: &&str| self.get(name).is_some_and(|engine| engine.kinds.contains(&kind));
        std::iter::once(first).chain(fallbacks.iter().map(String::as_str).filter(known)).collect()
    }

    pub(super) fn check(&self, defaults: &Defaults, problems: &mut Problems) {
        for kind in [Kind::Outline, Kind::Script, Kind::Tts] {
            let name = defaults.engine(kind);
            let key = format!("defaults.{kind}");
            match self.get(name) {
                None => problems.add(
                    key,
                    format!("is \"{name}\", but there is no [engines.{name}]"),
                    format!("use one of {:?}", self.0.keys()),
                ),
                Some(engine) if !engine.kinds.contains(&kind) => problems.add(
                    key,
                    format!("is \"{name}\", but engines.{name}.kinds does not list {kind}"),
                    "name an engine that does it",
                ),
                Some(_) => {}
            }
        }
        problems.add_if(
            !(defaults.mix == "builtin" || defaults.mix == "none" && defaults.tts == "noop"),
            "defaults.mix",
            format!("is \"{}\"", defaults.mix),
            "use builtin (none goes only with the noop engine)",
        );
        for (name, engine) in self.iter() {
            engine.check(name, problems);
            self.check_fallback(name, engine, problems);
        }
    }

    fn check_fallback(&self, name: &str, engine: &Engine, problems: &mut Problems) {
        let key = format!("engines.{name}.fallback");
        for other in &engine.fallback {
            let Some(fallback) = self.get(other) else {
                let reason = format!("names \"{other}\", but there is no [engines.{other}]");
                problems.add(&key, reason, format!("use one of {:?}", self.0.keys()));
                continue;
            };
            if other == name || !fallback.kinds.iter().any(|kind| engine.kinds.contains(kind)) {
                let reason = format!("names \"{other}\", which does none of its kinds");
                problems.add(&key, reason, "name another engine");
                continue;
            }
            let changes = engine.kinds.contains(&Kind::Tts) && !engine.sounds_like(fallback);
            if changes && !engine.fallback_changes_voice {
                let remedy = format!(
                    "give both the same type, model, instructions, speed and voices, or allow it with \
                     engines.{name}.fallback_changes_voice = true"
                );
                problems.add(&key, format!("names \"{other}\", which speaks with other voices"), remedy);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engines(json: serde_json::Value) -> Engines {
        let mut engines: Engines = serde_json::from_value(json).unwrap();
        engines.add_built_in();
        engines
    }

    fn problems(engines: &Engines) -> String {
        let mut problems = Problems::default();
        engines.check(&Defaults::default(), &mut problems);
        problems.to_string()
    }

    #[test]
    fn fallbacks_keep_the_voice_unless_they_may_change_it() {
        let voice = |model: &str, fallback: &str, changes: bool| {
            serde_json::json!({"type": "openai", "kinds": "tts", "url": "http://a", "model": model, "voices": "x,y",
                               "fallback": fallback, "fallback_changes_voice": changes})
        };
        let check = |first: &str, second: &str, changes: bool, refused: Option<&str>| {
            let both =
                serde_json::json!({"one": voice(first, "two", changes), "two": voice(second, "", false)});
            let told = problems(&engines(both));
            match refused {
                None => assert_eq!(told, ""),
                Some(words) => assert!(told.contains(words), "{told}"),
            }
        };
        check("m", "m", false, None);
        check("m", "n", false, Some("other voices"));
        check("m", "n", true, None);
        let missing = engines(serde_json::json!({"one": voice("m", "nobody", false)}));
        assert!(problems(&missing).contains("no [engines.nobody]"));
    }

    #[test]
    fn the_order_is_the_chosen_engine_and_then_its_fallbacks() {
        let writer = serde_json::json!({"type": "openai", "kinds": "outline,script", "url": "http://a",
                                        "fallback": "extractive,espeak"});
        let engines = engines(serde_json::json!({"writer": writer}));
        assert_eq!(engines.order("writer", Kind::Script), ["writer", "extractive"]);
        assert_eq!(engines.order("extractive", Kind::Script), ["extractive"]);
        assert_eq!(engines.order("gone", Kind::Script), ["gone"]);
    }
}
