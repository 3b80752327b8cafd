//! One engine tried out, as `podfleet doctor` does it: a spoken sentence in each language that people here write in, or a small outline.
//! Neither cache nor breaker nor rate has a part in it: it is the engine that is asked.

use std::time::{Duration, Instant};

use common::config::{Audio, Config, Engine};
use common::work::{Brief, Format, OutlineInput, Pace, Speaker, SpeechInput};

use crate::audio::{SAMPLE_RATE, segment};
use crate::engine::{self, Built, Call, SpeechEngine, WritingEngine};
use crate::failure::Failure;

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(30);
const SENTENCES: [(&str, &str); 2] =
    [("en", "This sentence tries the voice."), ("ko", "이 문장은 목소리를 시험합니다.")];
const SOURCE: &str = "The moon pulls the sea. Twice a day the water rises, and twice a day it falls. Fishermen know the hours by heart.";

/// What an engine did when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// In one sentence.
    pub did: String,
    /// The voices that podcasts can choose, if it speaks.
    pub voices: String,
}

/// Asks the engine `name` of the configuration.
pub async fn examine(config: &Config, name: &str) -> Result<Examined, Failure> {
    let none = || Failure::permanent_config(format!("there is no engine \"{name}\""));
    let settings = config.engines.get(name).ok_or_else(none)?;
    let wrong = |error: anyhow::Error| Failure::permanent_config(format!("{error:#}"));
    let built = engine::build_alone(name, settings).map_err(wrong)?;
    match built {
        Built::Speech(engine) => {
            engine.check().await.map_err(wrong)?;
            let did = speak(&*engine, settings, &config.audio).await?;
            Ok(Examined { did, voices: voices(settings) })
        }
        Built::Writing(engine) => {
            engine.check().await.map_err(wrong)?;
            Ok(Examined { did: write(&*engine, settings).await?, voices: String::new() })
        }
        Built::Noop => Ok(Examined { did: "answers with fixtures".into(), voices: String::new() }),
    }
}

fn voices(settings: &Engine) -> String {
    match settings.voices.len() {
        0 => "no voices are listed, so all speakers sound the same".into(),
        1..=6 => format!("voices {}", settings.voices.join(", ")),
        more => format!("{more} voices, {} first", settings.voices[..3].join(", ")),
    }
}

async fn speak(engine: &dyn SpeechEngine, settings: &Engine, audio: &Audio) -> Result<String, Failure> {
    let mut told = Vec::new();
    for (language, text) in SENTENCES.into_iter().filter(|(language, _)| settings.speaks(language)) {
        let voice = settings.voices.first().cloned().unwrap_or_else(|| "default".into());
        let input = SpeechInput { text: text.into(), voice, language: language.into(), take: 0 };
        let began = Instant::now();
        let recording = engine.speak(&input, &Call::new(key(), PATIENCE)).await?;
        let took = began.elapsed();
        let prepared = segment::prepare(&recording.bytes, text, audio).map_err(|rejected| {
            Failure::permanent_config(format!("it answered, but what it says in \"{language}\" is of no use"))
                .because(rejected)
        })?;
        let ms = prepared.samples * 1_000 / u64::from(SAMPLE_RATE);
        told.push(format!("{language}: {:.1} s of speech in {:.1} s", ms as f64 / 1e3, took.as_secs_f64()));
    }
    if told.is_empty() {
        return Ok(format!("was not tried: it speaks {}", settings.languages.join(", ")));
    }
    Ok(format!("spoke a sentence ({})", told.join("; ")))
}

async fn write(engine: &dyn WritingEngine, settings: &Engine) -> Result<String, Failure> {
    let language =
        if settings.speaks("en") { "en" } else { settings.languages.first().map_or("en", String::as_str) };
    let speaker = Speaker { name: "Ada".into(), voice: "default".into(), role: None };
    let brief = Brief {
        title: Some("The tides".into()),
        topic: None,
        language: language.into(),
        format: Format::Monologue,
        target_minutes: Some(1),
        speakers: vec![speaker],
        pace: Pace::default(),
    };
    let input = OutlineInput { brief, source: None, chapters: Vec::new() };
    let began = Instant::now();
    let outline = engine.outline(&input, Some(SOURCE), &Call::new(key(), PATIENCE)).await?;
    let took = began.elapsed().as_secs_f64();
    Ok(format!("wrote an outline of {} chapters in {took:.1} s", outline.chapters.len()))
}

/// Never the same: a provider is to answer, and not to remember.
fn key() -> String {
    format!("doctor-{}", uuid::Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_built_in_engines_do_what_they_are_for() {
        let config = Config::load(None).unwrap();
        let spoken = examine(&config, "espeak").await.unwrap();
        assert!(spoken.did.contains("en: ") && spoken.did.contains("ko: "), "{spoken:?}");
        assert!(spoken.voices.contains("voices"), "{spoken:?}");
        let written = examine(&config, "extractive").await.unwrap();
        assert!(written.did.starts_with("wrote an outline of "), "{written:?}");
        assert!(examine(&config, "nobody").await.unwrap_err().message.contains("no engine"));
    }
}
