//! The producer: thin. It accepts requests over HTTP and AMQP, in one transaction for as many as have arrived, and shows how
//! podcasts come along. It never waits for a worker, and the API answers while the broker is away.
//!
//! Read in this order: [`http`] (the API), [`intake`] (the same over AMQP), [`accept`] (one transaction for both), [`link`]
//! (what the acceptor knows of the broker), [`session`] (the broker), [`live`] (watchers), [`listen`] (audio while it is made), [`replay`] (dead letters again).

mod accept;
mod cancel;
mod eraser;
mod forecast;
pub mod fuzzing;
mod http;
mod intake;
mod keyring;
mod line;
mod link;
mod listen;
mod live;
mod replay;
mod roster;
mod session;
mod waiting;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use common::access::Role;
use common::backoff::Reconnect;
use common::blobs::Blobs;
use common::config::Config;
use common::process::Readiness;
use common::publisher::Ledger;
use common::store::{self, Bounds, Store, keys};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::accept::Acceptor;
use crate::forecast::Forecast;
use crate::http::rate::Rates;
use crate::keyring::Keyring;
use crate::line::Line;
use crate::link::Link;
use crate::listen::Listeners;
pub use crate::listen::{LiveEncoder, NewEncoder};
use crate::live::Hub;
use crate::roster::Roster;
use crate::waiting::Waiting;

/// How often the database is asked whether it is there.
const PING: Duration = Duration::from_secs(2);
/// How often the metrics library tidies up.
const UPKEEP: Duration = Duration::from_secs(5);

/// Every route of the API and who may use it.
pub use http::{Access, ROUTES, Route, Say};

/// How a producer is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whoever reaches the API from this machine may do everything, without a key. The listener must be on loopback.
    pub trusts_loopback: bool,
    /// For those who listen while an episode is made.
    pub new_encoder: NewEncoder,
    /// For those who want to hear a voice before they choose one.
    pub say: Say,
}

/// Nobody could use the API.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "there is no key, so nobody could use the API. Make one with `podfleet keys create --tenant NAME --role admin`; \
     to try things out on this machine alone, use `podfleet dev`, or --trust-loopback"
)]
pub struct NoKeys;

/// On whose behalf something is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) tenant: String,
    pub(crate) principal: String,
    pub(crate) role: Role,
    /// The key that was shown; none over AMQP, and on a machine that is trusted.
    pub(crate) key: Option<Uuid>,
    /// Of this key alone.
    pub(crate) requests_per_minute: Option<u32>,
}

impl Caller {
    /// Whoever sits at this machine, where that is enough.
    pub(crate) fn local() -> Caller {
        Caller {
            tenant: "default".into(),
            principal: "local".into(),
            role: Role::Admin,
            key: None,
            requests_per_minute: None,
        }
    }
}

/// What a producer works with, for its lifetime.
#[derive(Debug)]
pub(crate) struct Env {
    pub(crate) config: Arc<Config>,
    /// For reads and cancels; the acceptor has a connection of its own.
    pub(crate) store: Store,
    /// For what people look at, in the dashboard: whatever that takes, nobody else waits for it.
    pub(crate) pages: Store,
    pub(crate) blobs: Blobs,
    pub(crate) link: Link,
    pub(crate) hub: Hub,
    pub(crate) forecast: Forecast,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) trusts_loopback: bool,
    pub(crate) waiting: Waiting,
    pub(crate) rates: Rates,
    pub(crate) line: Line,
    pub(crate) roster: Roster,
    /// Whether the database answers. Without the broker a producer still accepts: the dispatcher publishes later.
    pub(crate) readiness: Readiness,
}

/// Runs a producer until shutdown. Serves the API on `listener`, also while the broker or the database is away.
pub async fn run(
    config: Arc<Config>,
    options: Options,
    metrics: PrometheusHandle,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let ledger = Ledger::new();
    let key_store = Store::new(&config.database, "producer keys", 1)?;
    // One accepts, one reads keys, one asks whether the database is there; the others read.
    let connections = config.database.max_connections.max(4) - 3;
    let env = Arc::new(Env {
        store: Store::new(&config.database, "producer", connections)?,
        pages: page_store(&config)?,
        blobs: Blobs::open(&config.blobs)?,
        link: Link::new(ledger.clone()),
        hub: Hub::default(),
        forecast: Forecast::default(),
        keyring: Arc::default(),
        trusts_loopback: options.trusts_loopback,
        waiting: Waiting::new(config.producer.max_waiting),
        rates: Rates::default(),
        line: Line::default(),
        roster: Roster::default(),
        readiness: Readiness::default(),
        config,
    });
    let most = env.config.producer.max_listeners;
    let listeners = Listeners::new(options.new_encoder, most, shutdown.clone());
    let (acceptor, intake) = Acceptor::new(env.clone(), ledger)?;
    // The acceptor outlives what hands it requests, so that each of them is answered.
    let answered = CancellationToken::new();
    let mut behind = JoinSet::new();
    behind.spawn(acceptor.run(answered.clone()));
    behind.spawn(watch_database(env.clone(), answered.clone()));
    behind.spawn(upkeep(metrics.clone(), answered.clone()));
    behind.spawn(keyring::run(env.keyring.clone(), key_store, answered.clone()));
    let mut front = JoinSet::new();
    front.spawn(http::serve(
        listener,
        http::App::new(env.clone(), intake.clone(), listeners.clone(), options.say, metrics),
        shutdown.clone(),
    ));
    front.spawn(supervise(env.clone(), intake.clone(), shutdown.clone()));
    front.spawn(replay::many::run(env.clone(), intake, shutdown.clone()));
    front.spawn(waiting::watch(env.clone(), shutdown.clone()));
    front.spawn(webhooks::run(env.clone(), shutdown.clone()));
    front.spawn(eraser::run(env.clone(), shutdown.clone()));
    front.spawn(forecast::run(env.clone(), shutdown.clone()));
    front.spawn(live::run(env, shutdown.clone()));
    let ended = tokio::select! {
        Some(ended) = front.join_next() => flatten(ended),
        Some(ended) = behind.join_next() => flatten(ended),
    };
    shutdown.cancel();
    let front = join_all(front).await;
    listeners.ended().await;
    answered.cancel();
    ended.and(front).and(join_all(behind).await)
}

/// A page and each figure of it have so long; the whole page is there before a request has to be answered.
fn page_store(config: &Config) -> anyhow::Result<Store> {
    let statement = config.producer.page_timeout();
    let bounds = Bounds { wait: statement, statement, whole: statement * 7 / 2 };
    Store::bounded(&config.database, "producer pages", config.producer.page_connections, bounds)
}

/// Waits for all of them; tells the first error.
async fn join_all(mut tasks: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        result = result.and(flatten(ended));
    }
    result
}

fn flatten(ended: Result<anyhow::Result<()>, JoinError>) -> anyhow::Result<()> {
    ended.context("a task of the producer panicked")?
}

/// Builds a session with the broker, and another after each that failed: everything is rebuilt, nothing recovers by itself.
async fn supervise(env: Arc<Env>, intake: accept::Intake, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut reconnect = Reconnect::default();
    while !shutdown.is_cancelled() {
        let started = std::time::Instant::now();
        let Err(error) = session::run(&env, &intake, &shutdown).await else { return Ok(()) };
        if started.elapsed() > Duration::from_secs(10) {
            reconnect.reset();
        }
        let delay = reconnect.next_delay();
        tracing::warn!(
            error = format!("{error:#}"),
            ?delay,
            "the producer's session ended; building another"
        );
        metrics::counter!("podfleet_sessions_ended_total", "role" => "producer").increment(1);
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}

/// Brings the schema up to date as soon as the database is there, and from then on tells whether it answers. Ends with an error
/// when there is no key: a producer that nobody can use is a mistake.
async fn watch_database(env: Arc<Env>, shutdown: CancellationToken) -> anyhow::Result<()> {
    // A connection of its own: readers that hold all of theirs do not make the database look gone.
    let store = Store::new(&env.config.database, "producer watch", 1)?;
    let work = async {
        let mut reconnect = Reconnect::default();
        while let Err(error) = prepare(&env).await {
            if error.is::<NoKeys>() {
                return Err(error);
            }
            let delay = reconnect.next_delay();
            tracing::warn!(error = format!("{error:#}"), ?delay, "the database is not ready; trying again");
            tokio::time::sleep(delay).await;
        }
        let mut tick = tokio::time::interval(PING);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let answer = store.ping().await;
            if let (Err(error), true) = (&answer, env.readiness.is_ready()) {
                tracing::warn!(error = format!("{error:#}"), "the database does not answer");
            }
            env.readiness.set(answer.is_ok());
        }
    };
    let ended: anyhow::Result<()> = tokio::select! {
        ended = work => ended,
        () = shutdown.cancelled() => Ok(()),
    };
    env.readiness.set(false);
    ended
}

async fn prepare(env: &Env) -> anyhow::Result<()> {
    store::migrate(&env.config.database).await?;
    if !env.trusts_loopback && env.store.run(async |client| keys::valid(client).await).await?.is_empty() {
        return Err(NoKeys.into());
    }
    Ok(())
}

async fn upkeep(metrics: PrometheusHandle, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            _ = tick.tick() => metrics.run_upkeep(),
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}
