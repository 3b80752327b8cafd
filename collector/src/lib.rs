//! The collector: the only writer of task state. It takes whatever outcomes have arrived, commits them in one transaction
//! together with the tasks that they unlock, acks, and publishes those tickets.
//!
//! Read in this order: [`session`] (the loop), [`commit`] (one transaction), [`advance`] (what an outcome changes: pure),
//! [`sweep`] (what the clock changes), [`window`] (how much may be on its way), [`queues`] (the broker's memory), [`leaderless`] (queues
//! that the broker has lost), [`inspect`] (missed fan-ins, counters), [`orphans`] (blobs that nobody needs).

pub mod advance;
mod awaited;
mod commit;
mod dead;
mod inspect;
mod leaderless;
mod mixers;
mod orphans;
mod plan;
mod queues;
mod session;
mod sweep;
mod tally;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::backoff::Reconnect;
use common::blobs::Blobs;
use common::config::Config;
use common::process::{self, Readiness};
use common::publisher::Ledger;
use common::store::{self, Store};
use common::topology::DeadLetters;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::tally::Tally;

/// One for the session, one for the sweep of blobs, and one that holds the lock while the broker is set up.
const CONNECTIONS: usize = 3;

/// What a collector works with, for its lifetime.
#[derive(Debug)]
pub(crate) struct Env {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Store,
    pub(crate) blobs: Blobs,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) readiness: Readiness,
    pub(crate) tally: Tally,
    /// Whether the broker was found to keep no leader for a queue that was declared the usual way.
    pub(crate) loses_leaders: AtomicBool,
}

impl Env {
    pub(crate) fn keeps_no_leaders(&self) {
        self.loses_leaders.store(true, Ordering::Relaxed);
    }

    pub(crate) fn dead_letters(&self) -> DeadLetters {
        match self.loses_leaders.load(Ordering::Relaxed) {
            false => DeadLetters::AtLeastOnce,
            true => DeadLetters::AtMostOnce,
        }
    }
}

/// Runs a collector until shutdown.
pub async fn run(
    config: Arc<Config>,
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let env = Env {
        store: Store::new(&config.database, "collector", CONNECTIONS)?,
        blobs: Blobs::open(&config.blobs)?,
        ledger: Ledger::new(),
        readiness: Readiness::default(),
        tally: Tally::default(),
        loses_leaders: AtomicBool::new(false),
        config,
    };
    let mut background = JoinSet::new();
    let bind = env.config.collector.health_bind.clone();
    let (readiness, token) = (env.readiness.clone(), shutdown.clone());
    background.spawn(async move { process::serve_health(&bind, readiness, metrics, token).await });
    background.spawn(orphans::sweep(
        env.store.clone(),
        env.blobs.clone(),
        env.config.clone(),
        shutdown.clone(),
    ));
    if env.config.collector.mixers > 0 {
        background.spawn(mixers::supervise(env.config.clone(), shutdown.clone()));
    }
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

/// Builds a session, and another after each that failed: everything is rebuilt, nothing recovers by itself.
async fn supervise(env: &Env, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let mut reconnect = Reconnect::default();
    let (mut migrated, mut is_first) = (false, true);
    while !shutdown.is_cancelled() {
        let started = std::time::Instant::now();
        let ended = async {
            if !migrated {
                match shutdown.run_until_cancelled(store::migrate(&env.config.database)).await {
                    Some(ended) => ended?,
                    None => return Ok(()),
                };
                migrated = true;
            }
            session::run(env, shutdown, std::mem::take(&mut is_first)).await
        }
        .await;
        env.readiness.set(false);
        let Err(error) = ended else { return Ok(()) };
        if started.elapsed() > std::time::Duration::from_secs(10) {
            reconnect.reset();
        }
        let delay = reconnect.next_delay();
        tracing::warn!(
            error = format!("{error:#}"),
            ?delay,
            "the collector's session ended; building another"
        );
        metrics::counter!("podfleet_sessions_ended_total", "role" => "collector").increment(1);
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}
