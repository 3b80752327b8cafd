//! What the engines of OpenAI's wire format share: a pool of servers, their limits, a timeout for each phase, and what
//! their refusals mean. Nothing here trusts a server: bodies are bounded, redirects are not followed, messages are
//! quoted without what was sent.

mod adaptive;
pub(crate) mod answer;
pub(super) mod pool;
mod reply;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use common::class::Class;
use common::config::Engine;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, HeaderValue, InvalidHeaderValue};
use serde_json::Value;

use self::pool::{Lease, Pool, Quirks};
pub(super) use self::reply::Reply;
use super::rate::Rate;
use crate::failure::Failure;

/// What is read of an answer that is an error.
const MAX_ERROR: u64 = 64 * 1024;
/// What is read of a list of voices or models, and how long that may take.
const MAX_LIST: u64 = 1024 * 1024;
const LIST_TIMEOUT: Duration = Duration::from_secs(5);
/// A call waits for the engine's rate this long with its permit, which keeps others from coming; longer, and the ticket waits
/// instead.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// When there may be a place at a server, if there was none for as long as that.
const PLACE_LATER: Duration = Duration::from_secs(1);
/// A quotation that shares this many characters with what was sent repeats it.
const ECHO_CHARS: usize = 24;

/// A client of one engine's servers. It holds the key, so it has no `Debug`.
pub(super) struct Client {
    name: String,
    key: Option<String>,
    pool: Pool,
    http: reqwest::Client,
    rate: Arc<Rate>,
    first_byte: Duration,
    idle: Duration,
    total: Duration,
}

/// One call.
pub(super) struct Question<'a> {
    pub(super) path: &'a str,
    pub(super) idempotency_key: &'a str,
    /// What it is expected to use of the engine's rate.
    pub(super) units: u64,
    /// What is left of the attempt.
    pub(super) time_left: Duration,
    /// The server to ask, where it matters which; else the pool chooses.
    pub(super) server: Option<&'a str>,
    /// Most bytes of an answer.
    pub(super) most: u64,
    /// What must not be quoted back in messages.
    pub(super) payload: &'a [&'a str],
}

/// Why there is no answer. With a status, the server said so itself.
pub(super) struct Refused {
    pub(super) status: Option<u16>,
    /// Which server it was.
    pub(super) server: Option<String>,
    pub(super) failure: Failure,
}

impl Client {
    /// `name` is the engine's in the configuration: failures begin with it.
    pub(super) fn new(name: &str, settings: &Engine) -> anyhow::Result<Client> {
        let bases: Vec<String> =
            settings.addresses().into_iter().map(|url| base(name, url)).collect::<anyhow::Result<_>>()?;
        anyhow::ensure!(
            !bases.is_empty(),
            "engines.{name}.url is missing; give an address such as http://127.0.0.1:8880"
        );
        let key = settings.api_key.clone().filter(|key| !key.is_empty());
        if let Some(key) = &key {
            bearer(key).with_context(|| format!("engines.{name}.api_key has characters that no key has"))?;
        }
        // The process may have chosen a provider of TLS already; then this changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_millis(settings.connect_timeout_ms))
            // A redirect would carry the text, and perhaps the key, to a server that nobody configured.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .with_context(|| format!("setting up the client of engines.{name}"))?;
        let total = settings.timeout();
        Ok(Client {
            name: name.to_owned(),
            key,
            pool: Pool::new(name, bases, usize::from(settings.concurrency)),
            http,
            rate: Arc::new(Rate::new(name, settings, None)),
            first_byte: settings.first_byte_timeout(),
            idle: Duration::from_millis(settings.idle_timeout_ms),
            total,
        })
    }

    /// The rate counts what other workers take, too.
    pub(super) fn sharing(self, rate: Arc<Rate>) -> Client {
        Client { rate, ..self }
    }

    /// Asks one server after another until one is connected, and gives its answer if its status is 2xx.
    pub(super) async fn ask<'a>(
        &'a self,
        question: &Question<'_>,
        mut body: impl FnMut(Quirks) -> Value + Send,
    ) -> Result<Reply<'a>, Refused> {
        let began = Instant::now();
        self.wait_for_room(question).await.map_err(Refused::of)?;
        let mut lease = self.wait_for_place(question).await.map_err(Refused::of)?;
        // The waits are this side's; the call has its whole time after them.
        let left = question.time_left.saturating_sub(began.elapsed());
        let until = Instant::now() + self.total.min(left);
        let mut tried = 0;
        loop {
            tried += 1;
            match self.ask_one(question, &body(lease.quirks(Instant::now())), lease, until).await {
                // Nothing was sent: another server can be asked at once.
                Err((refused, true)) if tried < self.pool.len() && Instant::now() < until => {
                    tracing::info!(engine = self.name, error = %refused.failure, "asking another server of the pool");
                    lease = self.wait_for_place(question).await.map_err(Refused::of)?;
                }
                Err((refused, _)) => return Err(refused),
                Ok(reply) => return Ok(reply),
            }
        }
    }

    /// What `question` was expected to use turned out as `used`.
    pub(super) async fn correct(&self, question: &Question<'_>, used: u64) {
        self.rate.correct(question.units, used).await;
    }

    async fn wait_for_room(&self, question: &Question<'_>) -> Result<(), Failure> {
        let most = LONGEST_WAIT.min(question.time_left / 2);
        let wait = self.rate.take(question.units, most).await.map_err(|wait| {
            let message = format!("engine {} is asked as often as its rate allows", self.name);
            Failure::parked(message, wait)
        })?;
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// As many calls are in flight as the servers were found to take: this one waits for its turn.
    async fn wait_for_place(&self, question: &Question<'_>) -> Result<Lease<'_>, Failure> {
        let most = LONGEST_WAIT.min(question.time_left / 2);
        self.pool.place(question.server, most).await.ok_or_else(|| {
            let message = format!("engine {} is asked as much at a time as it takes", self.name);
            Failure::parked(message, PLACE_LATER)
        })
    }

    /// The flag of an error: the server could not be connected.
    async fn ask_one<'a>(
        &'a self,
        question: &Question<'_>,
        body: &Value,
        lease: Lease<'a>,
        until: Instant,
    ) -> Result<Reply<'a>, (Refused, bool)> {
        let url = format!("{}{}", lease.base, question.path);
        let request = self.authorised(self.http.post(url)).json(body);
        let request = request.header("Idempotency-Key", question.idempotency_key);
        let left = until.saturating_duration_since(Instant::now());
        let wait = self.first_byte.min(left);
        let response = match tokio::time::timeout(wait, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                lease.failed(Instant::now());
                let unconnected = error.is_connect();
                return Err((Refused::of(self.broken(error)), unconnected));
            }
            Err(_) => {
                lease.failed(Instant::now());
                let message =
                    format!("engine {} did not begin to answer within {} ms", self.name, wait.as_millis());
                return Err((Refused::of(Failure::timeout(message)), false));
            }
        };
        let status = response.status();
        let headers = response.headers().clone();
        let most = if status.is_success() { question.most } else { MAX_ERROR };
        let good = status.is_success();
        let mut reply = Reply { client: self, lease, response, until, read: 0, most, good };
        if status.is_success() {
            reply.lease.seen(false, Instant::now());
            return match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
                None | Some(b"identity" | b"") => Ok(reply),
                // Nobody asked for it, and what it unpacks to is anybody's guess.
                Some(_) => {
                    let failure = Failure::transient("packed its answer, which it was not asked to");
                    Err((Refused::of(self.told(failure, question.payload)), false))
                }
            };
        }
        if matches!(status.as_u16(), 408 | 429 | 500..) {
            reply.lease.failed(Instant::now());
        }
        // An error that breaks off, or goes on without end, is an error all the same: its status is known.
        let body = reply.start().await;
        let failure = answer::refusal(status, &headers, &body, Timestamp::now());
        if failure.class == Class::Throttled || status.as_u16() == 503 {
            reply.lease.seen(true, Instant::now());
        }
        let failure = self.told(failure, question.payload);
        let server = Some(reply.lease.base.clone());
        Err((Refused { status: Some(status.as_u16()), server, failure }, false))
    }

    fn authorised(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match self.key.as_deref().map(bearer) {
            Some(Ok(bearer)) => request.header(AUTHORIZATION, bearer),
            _ => request,
        }
    }

    /// What the first server lists under `path`; nothing if it knows no such list.
    pub(super) async fn list(&self, path: &str) -> Result<Option<Value>, Failure> {
        let until = Instant::now() + LIST_TIMEOUT;
        let Some(lease) = self.pool.choose(None, Instant::now()) else { return Ok(None) };
        let request = self.authorised(self.http.get(format!("{}{path}", lease.base)));
        let response = tokio::time::timeout(LIST_TIMEOUT, request.send())
            .await
            .map_err(|_| Failure::timeout(format!("engine {} did not answer {path}", self.name)))?
            .map_err(|error| self.broken(error))?;
        if !response.status().is_success() {
            return Ok(None);
        }
        let reply = Reply { client: self, lease, response, until, read: 0, most: MAX_LIST, good: true };
        Ok(serde_json::from_slice(&reply.whole().await?).ok())
    }

    /// Names the engine, and takes out what a server may have echoed: the key, the text.
    pub(super) fn told(&self, mut failure: Failure, payload: &[&str]) -> Failure {
        let mut message = std::mem::take(&mut failure.message);
        if let Some(key) = &self.key {
            message = message.replace(key.as_str(), "[key]");
        }
        for text in payload.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
            message = message.replace(text, "[text]");
        }
        let mut message = answer::bounded(&message);
        if payload.iter().any(|text| echoes(&message, text)) {
            let plain = message.split(':').next().unwrap_or_default();
            message = format!("{plain}: [its message repeats the request]");
        }
        failure.message = format!("engine {} {message}", self.name);
        failure
    }

    /// No answer, or half of one.
    fn broken(&self, error: reqwest::Error) -> Failure {
        let name = &self.name;
        // The address may hold a password.
        let error = error.without_url();
        if error.is_connect() {
            Failure::transient(format!("engine {name} cannot be reached: is its server running?"))
                .because(error)
        } else if error.is_builder() {
            Failure::permanent_config(format!("engine {name} cannot be asked: the request is not valid HTTP"))
                .because(error)
        } else {
            Failure::transient(format!("engine {name} broke off its answer")).because(error)
        }
    }
}

impl Refused {
    pub(super) fn of(failure: Failure) -> Refused {
        Refused { status: None, server: None, failure }
    }
}

fn base(name: &str, url: &str) -> anyhow::Result<String> {
    let base = url.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches('/');
    // An address may hold a password: it is not repeated whole.
    let address = reqwest::Url::parse(base).with_context(|| {
        format!("engines.{name}.url is no address; give one such as http://127.0.0.1:8880")
    })?;
    anyhow::ensure!(
        matches!(address.scheme(), "http" | "https"),
        "engines.{name}.url begins with \"{}:\"; it must begin with http:// or https://",
        address.scheme()
    );
    Ok(base.to_owned())
}

fn bearer(key: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {key}"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether a message quotes a long piece of what was sent.
fn echoes(message: &str, payload: &str) -> bool {
    let chars: Vec<char> = message.chars().collect();
    let windows = chars.windows(ECHO_CHARS).step_by(ECHO_CHARS / 2);
    windows.map(|window| window.iter().collect::<String>()).any(|window| payload.contains(&window))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echoes_are_found() {
        let payload = "The tide rises twice a day because the Moon pulls at the sea, and the sea follows.";
        assert!(echoes(&format!("cannot do this: {payload}"), payload));
        assert!(!echoes("The model is overloaded at the moment, please try again later.", payload));
        assert!(!echoes("short", payload));
    }

    #[test]
    fn addresses_are_taken_with_and_without_their_end() {
        for url in ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"] {
            assert_eq!(base("x", url).unwrap(), "http://h:1");
        }
        assert_eq!(base("x", "https://h/openai/v1").unwrap(), "https://h/openai");
        for url in ["", "localhost:8880", "ftp://user:secret@x"] {
            let error = format!("{:#}", base("x", url).unwrap_err());
            assert!(error.contains("engines.x.url") && !error.contains("secret"), "{error}");
        }
    }
}
