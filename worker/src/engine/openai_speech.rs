//! Any server that speaks OpenAI's `POST /v1/audio/speech`.

use std::sync::Arc;

use bytes::Bytes;
use common::config::{AudioFormat, Engine, InputUnit};
use common::work::SpeechInput;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::openai_http::{Client, Question, answer};
use super::rate::Rate;
use super::{Call, Recording, SpeechEngine};
use crate::failure::Failure;
use crate::text::{Weight, normalise, pieces};

const PATH: &str = "/v1/audio/speech";
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// Sent when the configuration names no model: servers with one model ignore it.
const DEFAULT_MODEL: &str = "tts-1";

/// Bytes of a WAV header, and what PCM without one is on this wire: mono, 24 kHz, 16 bits.
const WAV_HEADER: u32 = 44;
const PCM_RATE: u32 = 24_000;

/// A client of one engine's speech servers. It holds the key, so it has no `Debug`.
pub struct OpenAiSpeech {
    client: Client,
    settings: Engine,
}

impl OpenAiSpeech {
    /// `name` is the engine's in the configuration: failures begin with it.
    pub fn new(name: &str, settings: &Engine) -> anyhow::Result<OpenAiSpeech> {
        Ok(OpenAiSpeech { client: Client::new(name, settings)?, settings: settings.clone() })
    }

    /// Its rate counts what other workers take, too.
    pub(super) fn sharing(self, rate: Arc<Rate>) -> OpenAiSpeech {
        OpenAiSpeech { client: self.client.sharing(rate), ..self }
    }

    fn body(&self, input: &SpeechInput) -> Value {
        let settings = &self.settings;
        let mut body = json!({
            "model": settings.model.as_deref().unwrap_or(DEFAULT_MODEL),
            "input": input.text,
            "voice": input.voice,
            "response_format": settings.audio_format.as_str(),
        });
        if let Some(instructions) = &settings.instructions {
            body["instructions"] = json!(instructions);
        }
        if let Some(speed) = settings.speed {
            body["speed"] = json!(speed);
        }
        body
    }

    async fn ask(&self, input: &SpeechInput, call: &Call) -> Result<Bytes, Failure> {
        let payload = [input.text.as_str()];
        let question = Question {
            path: PATH,
            idempotency_key: &call.idempotency_key,
            units: units(&input.text, self.settings.input_unit),
            time_left: call.time_left,
            server: None,
            most: MAX_ANSWER,
            payload: &payload,
        };
        let body = self.body(input);
        let reply = self.client.ask(&question, |_| body.clone()).await.map_err(|refused| refused.failure)?;
        let bytes = reply.whole().await?;
        match answer::no_recording(&bytes) {
            Some(failure) => Err(self.client.told(failure, &payload)),
            None if self.settings.audio_format == AudioFormat::Pcm => Ok(with_header(bytes)),
            None => Ok(bytes),
        }
    }

    /// The voices that the server lists, if it does. Kokoro-FastAPI and others list them as names or objects.
    async fn listed_voices(&self) -> Result<Option<Vec<String>>, Failure> {
        let list = self.client.list("/v1/audio/voices").await?;
        let voices =
            list.as_ref().map(|list| list.get("voices").or_else(|| list.get("data")).unwrap_or(list));
        Ok(voices.and_then(Value::as_array).map(|voices| voices.iter().filter_map(name).collect()))
    }
}

impl SpeechEngine for OpenAiSpeech {
    fn speak<'a>(
        &'a self,
        input: &'a SpeechInput,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Recording, Failure>> {
        async move {
            let bytes = self.ask(input, call).await?;
            Ok(Recording { bytes, units: units(&input.text, self.settings.input_unit) })
        }
        .boxed()
    }

    fn pieces(&self, text: &str, language: &str) -> Vec<String> {
        let text = normalise::unmarked(text);
        pieces(&text, language, weight(self.settings.input_unit), self.settings.max_input as usize)
    }

    fn check(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        async move {
            let Some(listed) = self.listed_voices().await?.filter(|listed| !listed.is_empty()) else {
                return Ok(());
            };
            let missing: Vec<&str> = self
                .settings
                .voices
                .iter()
                .filter(|voice| !has(&listed, voice))
                .map(String::as_str)
                .collect();
            anyhow::ensure!(
                missing.is_empty(),
                "its server has no voice {}; it lists {}",
                missing.join(", "),
                answer::bounded(&listed.join(", "))
            );
            Ok(())
        }
        .boxed()
    }
}

/// Some servers mix voices with a plus sign, or give each a weight: `af_sky+af_bella(2)`.
fn has(listed: &[String], voice: &str) -> bool {
    let plain = |part: &str| part.split('(').next().unwrap_or_default().trim().to_owned();
    listed.iter().any(|known| known == voice) || voice.split('+').all(|part| listed.contains(&plain(part)))
}

fn name(voice: &Value) -> Option<String> {
    let object = |field: &str| voice.get(field)?.as_str();
    let name =
        voice.as_str().or_else(|| object("id")).or_else(|| object("voice_id")).or_else(|| object("name"));
    name.map(str::to_owned)
}

fn weight(unit: InputUnit) -> Weight {
    match unit {
        InputUnit::Characters => Weight::Characters,
        InputUnit::Bytes => Weight::Bytes,
        InputUnit::Tokens => Weight::Tokens,
    }
}

fn units(text: &str, unit: InputUnit) -> u64 {
    weight(unit).of(text) as u64
}

/// Raw samples get a header, so that they can be read like any recording. A server that answers with a container all the
/// same is left alone.
pub(crate) fn with_header(bytes: Bytes) -> Bytes {
    let contained = [&b"RIFF"[..], b"ID3", b"fLaC", b"OggS", b"\xff\xfb", b"\xff\xf3"];
    let Ok(length) = u32::try_from(bytes.len() & !1) else { return bytes };
    if contained.iter().any(|start| bytes.starts_with(start)) {
        return bytes;
    }
    let mut wav = Vec::with_capacity(bytes.len() + WAV_HEADER as usize);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(length + WAV_HEADER - 8).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt ");
    wav.extend_from_slice(&16u32.to_le_bytes());
    // PCM, one channel.
    wav.extend_from_slice(&1u16.to_le_bytes());
    wav.extend_from_slice(&1u16.to_le_bytes());
    wav.extend_from_slice(&PCM_RATE.to_le_bytes());
    wav.extend_from_slice(&(PCM_RATE * 2).to_le_bytes());
    wav.extend_from_slice(&2u16.to_le_bytes());
    wav.extend_from_slice(&16u16.to_le_bytes());
    wav.extend_from_slice(b"data");
    wav.extend_from_slice(&length.to_le_bytes());
    wav.extend_from_slice(&bytes[..length as usize]);
    Bytes::from(wav)
}

#[cfg(test)]
mod tests;
