//! What every role does as a process: its identity, its shutdown signal, its health and metrics address.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A name for this process that no other has: host, process id and a random tail.
pub fn identity(role: &str) -> String {
    let tail = uuid::Uuid::new_v4().simple().to_string();
    format!("{role}-{}-{}-{}", hostname(), std::process::id(), &tail[..8])
}

pub fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".into(), |name| name.trim().to_owned())
}

/// A token that is cancelled by SIGTERM or SIGINT. A second signal ends the process at once, with 130 or 143.
/// Call it before anything connects: a signal must never meet the default disposition.
pub fn shutdown_on_signals() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("registering SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("registering SIGINT")?;
    let token = CancellationToken::new();
    let shutdown = token.clone();
    // Lives as long as the process: it waits for the second signal until the very end.
    tokio::spawn(async move {
        loop {
            let code = tokio::select! {
                _ = terminate.recv() => 143,
                _ = interrupt.recv() => 130,
            };
            if shutdown.is_cancelled() {
                tracing::warn!("second signal: leaving at once");
                std::process::exit(code);
            }
            tracing::info!("shutting down: finishing what is in hand");
            shutdown.cancel();
        }
    });
    Ok(token)
}

/// Whether the role can do its work; `/readyz` answers with it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The answer to `/readyz`.
    pub fn answer(&self) -> (StatusCode, &'static str) {
        if self.is_ready() {
            (StatusCode::OK, "ready\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready: waiting for the broker or the database\n")
        }
    }
}

/// `/livez` (the process runs its event loop), `/readyz`, `/metrics`.
pub fn health_routes(readiness: Readiness, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/livez", get(|| async { ALIVE }))
        .route("/readyz", get(move || async move { readiness.answer() }))
        .route("/metrics", get(move || async move { rendered(&metrics) }))
}

/// The answer to `/livez`.
pub const ALIVE: &str = "ok\n";

/// The answer to `/metrics`.
pub fn rendered(metrics: &PrometheusHandle) -> impl IntoResponse + use<> {
    record_memory();
    ([("content-type", "text/plain; version=0.0.4")], metrics.render())
}

/// Serves the health routes until shutdown.
pub async fn serve_health(
    bind: &str,
    readiness: Readiness,
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(bind).await.with_context(|| format!("listening on {bind}"))?;
    tracing::info!(address = %listener.local_addr()?, "health and metrics");
    let upkeep = keep_up(metrics.clone(), shutdown.clone());
    let serving = axum::serve(listener, health_routes(readiness, metrics))
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .into_future();
    let (served, ()) = tokio::join!(serving, upkeep);
    served.context("serving health and metrics")
}

/// Folds what histograms have recorded, so that they stay small when nobody scrapes.
async fn keep_up(metrics: PrometheusHandle, shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(std::time::Duration::from_secs(5));
    while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
        metrics.run_upkeep();
    }
}

/// Waits for a failure of what runs in the background. After shutdown was asked for, an end in order is none; before, it is.
pub async fn first_failure(
    background: &mut JoinSet<anyhow::Result<()>>,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    while let Some(ended) = background.join_next().await {
        ended.context("a background task panicked")??;
        anyhow::ensure!(shutdown.is_cancelled(), "a background task ended before its time");
    }
    std::future::pending().await
}

/// Binds a listener; the address is known at once, also when port 0 was asked for.
pub async fn listen(bind: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(bind).await.with_context(|| {
        format!("cannot listen on {bind}; choose another address with PODFLEET__PRODUCER__BIND")
    })?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn record_memory() {
    if let Some(bytes) = resident_bytes() {
        #[allow(clippy::cast_precision_loss)]
        metrics::gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
}

/// Resident memory now, from `/proc/self/statm`.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}
