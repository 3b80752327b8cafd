//! A simulated provider: a real server in OpenAI's wire formats, with latencies, limits, a ledger of what it was asked and paid,
//! and misbehaviour by rule. What it says can be found again in the finished episode.

mod call;
mod chat;
mod containers;
mod control;
mod faults;
mod gate;
mod gzip;
mod latency;
mod ledger;
mod plan;
mod rules;
mod settings;
mod socket;
mod speech;
pub mod tones;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use gate::Limits;
pub use latency::Latency;
pub use ledger::{CallRecord, Ledger, Outcome, Tokens};
pub use rules::{Endpoint, Misbehaviour, Rule, Words};
pub use settings::{Chat, Language, Length, PromptCache, Settings, Speech, Writing};
pub use tones::{Mark, decode_numbers, number_in};

/// The largest request that is read.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// A provider that is running. It stops when dropped.
pub struct Provider {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: Option<JoinHandle<std::io::Result<()>>>,
}

/// What every call can reach.
struct Shared {
    settings: Settings,
    rules: Mutex<rules::Rules>,
    ledger: Mutex<Ledger>,
    random: Mutex<fastrand::Rng>,
    prefixes: Mutex<chat::Prefixes>,
    speech_gate: gate::Gate,
    chat_gate: gate::Gate,
    stopping: CancellationToken,
}

impl Provider {
    /// Listens on a free loopback port.
    pub async fn start(settings: Settings) -> anyhow::Result<Provider> {
        Provider::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), settings).await
    }

    /// `POST /v1/audio/speech` speaks, `POST /v1/chat/completions` writes, `GET /ledger` tells what was asked, `/rules` are read
    /// (GET), added to (POST) and taken away (DELETE). Fails for an address that others can reach, unless there is a key.
    pub async fn bind(address: SocketAddr, settings: Settings) -> anyhow::Result<Provider> {
        anyhow::ensure!(
            address.ip().is_loopback() || settings.key.as_ref().is_some_and(|key| !key.is_empty()),
            "{address} can be reached from other machines; give the provider a key, or bind it to 127.0.0.1"
        );
        settings.check()?;
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr().context("the address of a simulated provider")?;
        let shared = Arc::new(Shared::new(settings)?);
        let routes = routes(&shared).into_make_service_with_connect_info::<socket::Switch>();
        let server = axum::serve(socket::Sockets(listener), routes)
            .with_graceful_shutdown(shared.stopping.clone().cancelled_owned());
        let server = Some(tokio::spawn(server.into_future()));
        Ok(Provider { address, shared, server })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Base address, without `/v1`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has been asked so far.
    pub fn ledger(&self) -> Ledger {
        locked(&self.shared.ledger).clone()
    }

    /// More rules, after those that are there. Fails for rules that make no sense.
    pub fn add_rules(&self, rules: Vec<Rule>) -> anyhow::Result<()> {
        locked(&self.shared.rules).add(rules).map_err(anyhow::Error::msg)
    }

    pub fn clear_rules(&self) {
        locked(&self.shared.rules).clear();
    }

    /// Ends the server. Calls that stall are given up, others are answered first.
    pub async fn stop(mut self) -> Ledger {
        self.shared.stopping.cancel();
        if let Some(server) = self.server.take() {
            // The server ends because it was told to; what became of its calls is in the ledger.
            let _ = server.await;
        }
        self.ledger()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.shared.stopping.cancel();
        if let Some(server) = self.server.take() {
            server.abort();
        }
    }
}

impl Shared {
    fn new(settings: Settings) -> anyhow::Result<Shared> {
        let mut rules = rules::Rules::new(Vec::new(), settings.seed);
        rules.add(settings.rules.clone()).map_err(anyhow::Error::msg)?;
        Ok(Shared {
            rules: Mutex::new(rules),
            ledger: Mutex::default(),
            random: Mutex::new(fastrand::Rng::with_seed(settings.seed)),
            prefixes: Mutex::default(),
            speech_gate: gate::Gate::new(settings.speech.limits),
            chat_gate: gate::Gate::new(settings.chat.limits),
            stopping: CancellationToken::new(),
            settings,
        })
    }
}

fn routes(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/audio/speech", post(speech::speak))
        .route("/v1/chat/completions", post(chat::complete))
        .route("/v1/models", get(control::models))
        .route("/ledger", get(control::ledger))
        .route("/rules", get(control::rules).post(control::add_rules).delete(control::clear_rules))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(shared.clone(), control::authorise))
        .with_state(shared.clone())
}

/// What is shared stays true when a handler panicked: every change to it is complete in itself.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
