//! Simulated providers: real servers on a free port of this machine, with a ledger of what they were asked and faults on
//! demand. What they say can be found again in the finished episode.

mod answer;
mod ledger;
mod settings;
pub mod tones;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use answer::Shared;
pub use ledger::{CallRecord, Ledger, Outcome};
pub use settings::{Failing, Latency, Length, Settings};
pub use tones::{Mark, decode_numbers, number_in};

/// A speech provider that is running. It stops when dropped.
pub struct Provider {
    address: SocketAddr,
    shared: Arc<Shared>,
    stopping: CancellationToken,
    server: Option<JoinHandle<std::io::Result<()>>>,
}

impl Provider {
    /// Listens on a free loopback port: `POST /v1/audio/speech` speaks, `GET /ledger` tells what was asked.
    pub async fn start(settings: Settings) -> anyhow::Result<Provider> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("a free port for a simulated provider")?;
        let address = listener.local_addr().context("the address of a simulated provider")?;
        let stopping = CancellationToken::new();
        let shared = Arc::new(Shared::new(settings, stopping.clone()));
        let routes = Router::new()
            .route("/v1/audio/speech", post(answer::speak))
            .route("/ledger", get(answer::ledger))
            .with_state(shared.clone());
        let server = axum::serve(listener, routes).with_graceful_shutdown(stopping.clone().cancelled_owned());
        let server = Some(tokio::spawn(server.into_future()));
        Ok(Provider { address, shared, stopping, server })
    }

    /// Base address, without `/v1`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has been asked so far.
    pub fn ledger(&self) -> Ledger {
        locked(&self.shared.ledger).clone()
    }

    /// Ends the server. Calls that stall are given up, others are answered first.
    pub async fn stop(mut self) -> Ledger {
        self.stopping.cancel();
        if let Some(server) = self.server.take() {
            // The server ends because it was told to; what became of its calls is in the ledger.
            let _ = server.await;
        }
        self.ledger()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stopping.cancel();
        if let Some(server) = self.server.take() {
            server.abort();
        }
    }
}

/// The ledger stays true when a handler panicked: every change to it is complete in itself.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
