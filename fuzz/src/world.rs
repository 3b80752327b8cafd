//! What decoders are given besides the bytes: a configuration, a podcast, a brief.

use std::sync::OnceLock;

use common::config::{Config, Engines};
use common::request::ChosenEngines;
use common::store::podcasts::{Podcast, State};
use common::topology::Lane;
use common::work::{Brief, ChapterPlan, Format, Pace, Price, ScriptInput, Speaker};
use jiff::Timestamp;
use uuid::Uuid;

/// Noon on a Sunday: the same in every run, so that a found input is found again.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(784_468_800).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The defaults, with the built-in engines.
pub(crate) fn config() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let mut config = Config::default();
        for (name, engine) in Engines::built_in() {
            config.engines.insert(name, engine);
        }
        config
    })
}

pub(crate) const LANGUAGES: [&str; 4] = ["en", "ko-KR", "de", "ja"];

pub(crate) fn brief(language: &str) -> Brief {
    let speaker = |name: &str, voice: &str| Speaker { name: name.into(), voice: voice.into(), role: None };
    Brief {
        title: None,
        topic: None,
        language: language.into(),
        format: Format::Dialogue,
        target_minutes: None,
        speakers: vec![speaker("Mina", "f2"), speaker("Ben", "m3")],
        pace: Pace::default(),
    }
}

pub(crate) fn script(language: &str, plan: ChapterPlan) -> ScriptInput {
    ScriptInput {
        brief: brief(language),
        chapter: 0,
        chapters: 2,
        plan,
        previous_title: None,
        next_title: Some("Neap tides".into()),
    }
}

pub(crate) fn podcast(state: State) -> Podcast {
    Podcast {
        id: Uuid::nil(),
        tenant: "t".into(),
        principal: "p".into(),
        state,
        generation: 1,
        lane: Lane::Normal,
        rank: 0,
        engines: ChosenEngines {
            outline: "extractive".into(),
            script: "extractive".into(),
            tts: "espeak".into(),
            mix: "builtin".into(),
        },
        brief: brief("en"),
        title: None,
        traceparent: None,
        deadline: Timestamp::MAX,
        event_seq: 1,
        chapters_total: 2,
        chapters_written: 0,
        chapters_mixed: 0,
        segments_total: 2,
        segments_done: 0,
        episode: None,
        failure: None,
        saved: Price::default(),
        created_at: now(),
        first_audio_at: None,
        callback_url: None,
    }
}
