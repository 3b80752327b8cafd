//! A sentence by a voice, for whoever has to choose one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use common::config::Config;
use common::work::SpeechInput;

use crate::audio::segment;
use crate::engine::{self, Built, Call};
use crate::task::sample_sentence;

/// Longer nobody waits for it.
const LONGEST: Duration = Duration::from_secs(8);

/// A WAV file in which the voice of the default speech engine says a sentence. It is made here and now, and asks the engine beside
/// the fleet's own limits: whoever offers it keeps what was made.
pub async fn say(config: Arc<Config>, voice: String, language: String) -> anyhow::Result<Vec<u8>> {
    let name = config.defaults.tts.as_str();
    let settings = config.engines.get(name).with_context(|| format!("there is no [engines.{name}]"))?;
    let text = sample_sentence(&language).with_context(|| format!("there is no sentence in {language}"))?;
    let Built::Speech(engine) = engine::build_alone(name, settings)? else {
        bail!("the engine {name} cannot speak")
    };
    let input = SpeechInput { text: text.to_owned(), voice, language, take: 0 };
    let call = Call::new("sample", LONGEST);
    let recording =
        tokio::time::timeout(LONGEST, engine.speak(&input, &call)).await.context("it took too long")??;
    let audio = config.audio.clone();
    let prepared =
        tokio::task::spawn_blocking(move || segment::prepare_joined(&[(recording.bytes, text)], &audio));
    Ok(prepared.await.context("decoding panicked")?.map_err(|rejected| anyhow::anyhow!("{rejected}"))?.wav)
}
