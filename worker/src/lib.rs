//! A worker: takes tickets from its lanes, does them with its engines, and publishes their outcomes. It holds no database
//! connection: it needs the broker, the cache, the blobs and its engines.
//!
//! Read in this order: [`session`] (the loop), [`buffer`] (which ticket next), [`mod@run`] (one ticket), [`task`] (what each kind
//! does), [`outbox`] (an outcome is confirmed before its ticket is acked).

pub mod audio;
mod buffer;
pub mod engine;
pub mod examine;
pub mod failure;
pub mod fuzzing;
mod outbox;
mod run;
pub mod sample;
mod session;
mod source;
mod task;
pub mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, bail};
use common::backoff::Reconnect;
use common::blobs::Blobs;
use common::cache::Cache;
use common::config::Config;
use common::outbound::Outbound;
use common::process::{self, Readiness};
use common::work::Kind;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::engine::Engines;
use crate::engine::pace::Measured;

/// What one worker process does.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Kinds of task it takes. Empty: outline, script and tts.
    pub kinds: Vec<Kind>,
    /// Permits for each kind, instead of `worker.concurrency`.
    pub concurrency: Option<u16>,
}

/// Shared handles of every task.
pub(crate) struct Env {
    pub(crate) config: Arc<Config>,
    pub(crate) id: String,
    pub(crate) kinds: Vec<Kind>,
    /// Tasks of one kind at a time.
    pub(crate) permits: usize,
    pub(crate) blobs: Blobs,
    pub(crate) cache: Cache,
    /// For the addresses of sources.
    pub(crate) outbound: Outbound,
    pub(crate) engines: Engines,
    /// How long speech has lasted so far.
    pub(crate) measured: Arc<Measured>,
    pub(crate) readiness: Readiness,
}

/// Runs a worker until shutdown.
pub async fn run(
    config: Arc<Config>,
    options: Options,
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let env = Arc::new(prepare(config, options)?);
    env.engines.check(&env.config).await.context("an engine of this worker is not as configured")?;
    let mut background = JoinSet::new();
    let (bind, readiness, token) =
        (env.config.worker.health_bind.clone(), env.readiness.clone(), shutdown.clone());
    background.spawn(async move { process::serve_health(&bind, readiness, metrics, token).await });
    let ended = tokio::select! {
        ended = supervise(&env, &shutdown) => ended,
        failed = process::first_failure(&mut background, &shutdown) => failed,
    };
    shutdown.cancel();
    while let Some(ended) = background.join_next().await {
        ended.map_err(anyhow::Error::from).flatten()?;
    }
    ended
}

fn prepare(config: Arc<Config>, options: Options) -> anyhow::Result<Env> {
    let kinds =
        if options.kinds.is_empty() { vec![Kind::Outline, Kind::Script, Kind::Tts] } else { options.kinds };
    let permits = usize::from(options.concurrency.unwrap_or(config.worker.concurrency));
    if permits == 0 {
        bail!("the worker's concurrency is 0; give at least 1 with --concurrency or worker.concurrency");
    }
    let cache = Cache::new(&config.cache)?;
    Ok(Env {
        id: process::identity("worker"),
        engines: Engines::build(&config, &kinds, &cache)
            .context("an engine of this worker cannot be used")?,
        blobs: Blobs::open(&config.blobs)?,
        outbound: Outbound::new(&config.outbound)?,
        measured: Measured::new(cache.clone()),
        cache,
        readiness: Readiness::default(),
        permits,
        kinds,
        config,
    })
}

/// Builds a session, and another after each that failed. Tasks in hand go on meanwhile, and their outcomes are published by
/// the next session.
async fn supervise(env: &Arc<Env>, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let mut reconnect = Reconnect::default();
    let mut work = session::Work::new();
    while !shutdown.is_cancelled() || work.is_busy() {
        let started = std::time::Instant::now();
        let ended = session::hold(env, &mut work, shutdown).await;
        env.readiness.set(false);
        let Err(error) = ended else { return Ok(()) };
        if shutdown.is_cancelled() && !work.is_busy() {
            tracing::warn!(error = format!("{error:#}"), "the worker's last session did not end in order");
            return Ok(());
        }
        if shutdown.is_cancelled() && std::time::Instant::now() >= work.leaves_by(env) {
            // What is in hand is delivered again by the broker, and committed work is found in the blob store.
            return Err(error);
        }
        if started.elapsed() > std::time::Duration::from_secs(10) {
            reconnect.reset();
        }
        let delay = reconnect.next_delay();
        tracing::warn!(error = format!("{error:#}"), ?delay, "the worker's session ended; building another");
        metrics::counter!("podfleet_sessions_ended_total", "role" => "worker").increment(1);
        // Whoever leaves while the broker is away has work in hand that was paid for: it is told as soon as the broker is back.
        if shutdown.is_cancelled() {
            let left = work.leaves_by(env).saturating_duration_since(std::time::Instant::now());
            tokio::time::sleep(delay.min(left)).await;
        } else {
            shutdown.run_until_cancelled(tokio::time::sleep(delay)).await;
        }
    }
    Ok(())
}

/// Permits by kind, as heartbeats report them.
pub(crate) fn permits_by_kind(env: &Env) -> BTreeMap<Kind, u32> {
    env.kinds.iter().map(|kind| (*kind, u32::try_from(env.permits).unwrap_or(u32::MAX))).collect()
}
