//! Any server that speaks OpenAI's `POST /v1/audio/speech`.

mod answer;

use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use common::config::Engine;
use common::work::SpeechInput;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use reqwest::header::{HeaderValue, InvalidHeaderValue};

use super::{Call, Recording, SpeechEngine};
use crate::failure::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// What is read of an answer that is no recording.
const MAX_ERROR: usize = 64 * 1024;

/// Sent when the configuration names no model: servers with one model ignore it.
const DEFAULT_MODEL: &str = "tts-1";

/// A client of one server. It holds the key, so it has no `Debug`.
pub struct OpenAiSpeech {
    name: String,
    url: String,
    model: String,
    key: Option<String>,
    timeout: Duration,
    http: reqwest::Client,
}

impl OpenAiSpeech {
    /// `name` is the engine's in the configuration: failures begin with it.
    pub fn new(name: &str, settings: &Engine) -> anyhow::Result<OpenAiSpeech> {
        let base = settings.url.as_deref().unwrap_or_default().trim_end_matches('/').trim_end_matches("/v1");
        let address = reqwest::Url::parse(base).with_context(|| {
            format!("engines.{name}.url is \"{base}\"; give an address such as http://127.0.0.1:8880")
        })?;
        anyhow::ensure!(
            matches!(address.scheme(), "http" | "https"),
            "engines.{name}.url is \"{base}\"; it must begin with http:// or https://"
        );
        let key = settings.api_key.clone().filter(|key| !key.is_empty());
        if let Some(key) = &key {
            bearer(key).with_context(|| format!("engines.{name}.api_key has characters that no key has"))?;
        }
        // The process may have chosen a provider of TLS already; then this changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect would carry the text, and perhaps the key, to a server that nobody configured.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .with_context(|| format!("setting up the client of engines.{name}"))?;
        Ok(OpenAiSpeech {
            name: name.to_owned(),
            url: format!("{base}/v1/audio/speech"),
            model: settings.model.clone().unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
            key,
            timeout: Duration::from_millis(settings.timeout_ms),
            http,
        })
    }

    async fn ask(&self, input: &SpeechInput, call: &Call) -> Result<Bytes, Failure> {
        let timeout = self.timeout.min(call.time_left);
        let mut request =
            self.http.post(&self.url).timeout(timeout).header("Idempotency-Key", &call.idempotency_key).json(
                &serde_json::json!({
                    "model": self.model,
                    "input": input.text,
                    "voice": input.voice,
                    "response_format": "wav",
                }),
            );
        if let Some(key) = &self.key
            && let Ok(bearer) = bearer(key)
        {
            request = request.header(reqwest::header::AUTHORIZATION, bearer);
        }
        let mut response = request.send().await.map_err(|error| self.broken(error, timeout))?;
        let status = response.status();
        if !status.is_success() {
            let headers = response.headers().clone();
            // An error that breaks off is an error all the same: its status is known.
            let body = body(&mut response, MAX_ERROR).await.map(|(bytes, _)| bytes).unwrap_or_default();
            let failure = answer::refusal(status, &headers, &body, Timestamp::now());
            return Err(self.told(failure, input));
        }
        let (bytes, whole) =
            body(&mut response, MAX_ANSWER).await.map_err(|error| self.broken(error, timeout))?;
        if !whole {
            return Err(self.told(Failure::transient("answered with more than 64 MB for one segment"), input));
        }
        match answer::no_recording(&bytes) {
            Some(failure) => Err(self.told(failure, input)),
            None => Ok(bytes),
        }
    }

    /// Names the engine, and takes out what a server may have echoed: the key, the text.
    fn told(&self, mut failure: Failure, input: &SpeechInput) -> Failure {
        let mut message = std::mem::take(&mut failure.message);
        if let Some(key) = &self.key {
            message = message.replace(key.as_str(), "[key]");
        }
        if !input.text.trim().is_empty() {
            message = message.replace(input.text.trim(), "[text]");
        }
        failure.message = format!("engine {} {}", self.name, answer::bounded(&message));
        failure
    }

    /// No answer, or half of one.
    fn broken(&self, error: reqwest::Error, timeout: Duration) -> Failure {
        let name = &self.name;
        // The address may hold a password.
        let error = error.without_url();
        if error.is_connect() {
            Failure::transient(format!("engine {name} cannot be reached: is its server running?"))
                .because(error)
        } else if error.is_timeout() {
            Failure::timeout(format!("engine {name} gave no whole answer within {} ms", timeout.as_millis()))
                .because(error)
        } else if error.is_builder() {
            Failure::permanent_config(format!("engine {name} cannot be asked: the request is not valid HTTP"))
                .because(error)
        } else {
            Failure::transient(format!("engine {name} broke off its answer")).because(error)
        }
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
            Ok(Recording { bytes, units: input.text.chars().count() as u64 })
        }
        .boxed()
    }
}

fn bearer(key: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {key}"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The body up to `most` bytes, and whether that is all of it.
async fn body(response: &mut reqwest::Response, most: usize) -> Result<(Bytes, bool), reqwest::Error> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > most {
            return Ok((bytes.freeze(), false));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes.freeze(), true))
}

#[cfg(test)]
mod tests;
