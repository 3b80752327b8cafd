//! Engines: each that a podcast gets by default is asked for a little of what it is for.

use common::config::{Config, EngineType};
use worker::examine::{Examined, examine};

use super::Findings;

pub(super) async fn look(config: &Config, free: bool, found: &mut Findings) {
    for (name, engine) in config.engines.iter() {
        let default = engine.kinds.iter().any(|kind| config.defaults.engine(*kind) == name);
        let kinds = engine.kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
        let what = format!("{name} ({kinds})");
        if engine.r#type == EngineType::Noop {
            continue;
        }
        if free && engine.r#type == EngineType::OpenAi {
            found.note(&what, "not asked, because it costs money", "leave --free out to try it");
            continue;
        }
        match examine(config, name).await {
            Ok(Examined { voices, did }) => {
                let told = if voices.is_empty() { did } else { format!("{did}; {voices}") };
                let means = if default {
                    "new podcasts use it"
                } else {
                    "podcasts use it when they ask for it, or as a fallback"
                };
                found.ok(&what, told, means);
            }
            Err(failure) if default => found.bad(
                &what,
                failure.to_string(),
                "new podcasts use it: their work would wait, or fail",
                remedy(engine.r#type),
            ),
            Err(failure) => {
                found.note(&what, failure.to_string(), "no podcast uses it unless it is asked for")
            }
        }
    }
}

fn remedy(engine: EngineType) -> &'static str {
    match engine {
        EngineType::Espeak => "Install espeak-ng: `make setup` does",
        EngineType::OpenAi => {
            "Look at its url, api_key and model in `podfleet config check`, and at the server"
        }
        EngineType::Extractive | EngineType::Noop => "Report this: it is built in",
    }
}
