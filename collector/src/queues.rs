//! The broker's queues, which only collectors declare, and the marker that tells whether the broker still is the one that tickets
//! were given to.

use std::time::Duration;

use anyhow::{Context, ensure};
use common::store::{Store, fleet, tasks::repair};
use common::topology::{
    self, DEAD_QUEUE, DeadLetters, Lane, NOT_FOUND, REQUESTS_QUEUE, declare_queue, epoch_queue, lane_queue,
    outcomes_queue_name,
};
use common::work::Kind;
use common::{amqp, crash};
use deadpool_postgres::Client;
use futures_util::future::try_join_all;
use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use uuid::Uuid;

use crate::{Env, leaderless, sweep};

/// Setting up a broker, with every call that may hang and every queue that may be silent.
const SETTING_UP: Duration = Duration::from_secs(180);
/// The database ends transactions that are idle for 5 s.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// What a passive declaration says of a queue.
enum Found {
    /// It exists and holds this many messages that nobody has taken.
    Messages(u32),
    Missing,
}

/// Makes sure that every queue exists and works, and that the epoch is the broker's. What was dispatched into a broker or a lane
/// that has forgotten it becomes ready again.
pub(crate) async fn prepare(env: &Env, connection: &Connection) -> anyhow::Result<()> {
    let timeout = env.config.broker.timeout();
    topology::declare_exchanges(connection, timeout).await?;
    let silent = leaderless::silent(connection, all(env), timeout).await;
    // A queue without a leader may have ended the connection.
    if silent.is_empty() && !is_any_missing(env, connection).await? {
        let (queues, single_active) = (outcomes(env), env.config.collector.single_active);
        try_join_all(
            queues
                .iter()
                .map(|queue| declare_queue(connection, queue, single_active, env.dead_letters(), timeout)),
        )
        .await?;
        return topology::bind_queues(connection, timeout).await;
    }
    let mut client = env.store.client().await?;
    let set_up = tokio::time::timeout(SETTING_UP, set_up(env, &mut client, silent)).await;
    let set_up = set_up.context("the broker was not set up in time").flatten();
    if set_up.is_err() {
        env.store.discard(client);
    }
    set_up?;
    ensure!(connection.status().connected(), "a queue without a leader ended the connection");
    Ok(())
}

/// A second collector at the same time would delete what the first has made. So the first holds a lock, in a transaction that the
/// database ends by itself when it hears nothing any more.
async fn set_up(env: &Env, client: &mut Client, silent: Vec<String>) -> anyhow::Result<()> {
    let tx = client.transaction().await?;
    ensure!(fleet::lock_set_up(&tx).await?, "another collector sets up the broker's queues");
    let work = async {
        leaderless::delete(env, silent).await?;
        with_connection(env, async |connection| make_missing(env, connection).await).await
    };
    let holds_on = async {
        loop {
            tokio::time::sleep(SIGN_OF_LIFE).await;
            let sign = tokio::time::timeout(SIGN_OF_LIFE, tx.query_one("select 1", &[])).await;
            if !matches!(sign, Ok(Ok(_))) {
                return;
            }
        }
    };
    tokio::select! {
        done = work => done?,
        () = holds_on => anyhow::bail!("the database did not answer while the broker was set up"),
    }
    Ok(tx.rollback().await?)
}

/// The lanes that are empty. A missing one is an error: the session is rebuilt, which declares it.
pub(crate) async fn empty_lanes(
    connection: &Connection,
    timeout: Duration,
) -> anyhow::Result<Vec<(Kind, Lane)>> {
    let mut empty = Vec::new();
    for (kind, lane) in lanes() {
        let queue = lane_queue(kind, lane);
        match look(connection, &queue, timeout).await? {
            Found::Messages(0) => empty.push((kind, lane)),
            Found::Messages(_) => {}
            Found::Missing => anyhow::bail!("the queue {queue} was deleted"),
        }
    }
    Ok(empty)
}

/// Sees that requests and dead letters find their queues, whatever somebody has deleted. A missing queue is an error, as above.
pub(crate) async fn keep_intake(connection: &Connection, timeout: Duration) -> anyhow::Result<()> {
    if matches!(look(connection, REQUESTS_QUEUE, timeout).await?, Found::Missing) {
        anyhow::bail!("the queue {REQUESTS_QUEUE} was deleted");
    }
    topology::bind_queues(connection, timeout).await
}

/// Whether there are outcomes that no collector has taken.
pub(crate) async fn are_outcomes_waiting(env: &Env, connection: &Connection) -> anyhow::Result<bool> {
    for queue in outcomes(env) {
        if !matches!(look(connection, &queue, env.config.broker.timeout()).await?, Found::Messages(0)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lanes() -> impl Iterator<Item = (Kind, Lane)> {
    Kind::ALL.into_iter().flat_map(|kind| Lane::ALL.map(|lane| (kind, lane)))
}

fn outcomes(env: &Env) -> Vec<String> {
    let partitions = env.config.collector.partitions;
    (0..partitions).map(|partition| outcomes_queue_name(partition, partitions)).collect()
}

fn all(env: &Env) -> Vec<String> {
    let lanes = lanes().map(|(kind, lane)| lane_queue(kind, lane));
    lanes.chain(outcomes(env)).chain([REQUESTS_QUEUE.to_owned(), DEAD_QUEUE.to_owned()]).collect()
}

async fn epoch(store: &Store) -> anyhow::Result<Uuid> {
    store
        .run(async |client| {
            let tx = client.transaction().await?;
            let epoch = fleet::epoch(&tx).await?;
            tx.commit().await?;
            Ok(epoch)
        })
        .await
}

async fn is_any_missing(env: &Env, connection: &Connection) -> anyhow::Result<bool> {
    let mut queues = all(env);
    queues.push(epoch_queue(epoch(&env.store).await?));
    let timeout = env.config.broker.timeout();
    let found = try_join_all(queues.iter().map(|queue| look(connection, queue, timeout))).await?;
    Ok(found.iter().any(|found| matches!(found, Found::Missing)))
}

/// Under the lock: nobody else declares what is missing, or deletes what is there.
async fn make_missing(env: &Env, connection: &Connection) -> anyhow::Result<()> {
    let timeout = env.config.broker.timeout();
    let missing = async |queue: String| {
        let found = look(connection, &queue, timeout).await?;
        anyhow::Ok(matches!(found, Found::Missing).then_some(queue))
    };
    let missing: Vec<String> =
        try_join_all(all(env).into_iter().map(missing)).await?.into_iter().flatten().collect();
    make(env, connection, &missing).await?;
    // Their making may have ended this connection.
    with_connection(env, async |connection| {
        topology::bind_queues(connection, timeout).await?;
        renew_epoch(env, connection).await
    })
    .await?;
    for (kind, lane) in lanes().filter(|(kind, lane)| missing.contains(&lane_queue(*kind, *lane))) {
        release_lane(&env.store, kind, lane).await?;
    }
    Ok(())
}

async fn renew_epoch(env: &Env, connection: &Connection) -> anyhow::Result<()> {
    let old = epoch(&env.store).await?;
    if matches!(look(connection, &epoch_queue(old), env.config.broker.timeout()).await?, Found::Missing) {
        begin_epoch(env, connection, old).await?;
    }
    Ok(())
}

/// Declares queues, and sees that they work.
async fn make(env: &Env, connection: &Connection, queues: &[String]) -> anyhow::Result<()> {
    let timeout = env.config.broker.timeout();
    let declare = async |queue: &String| declare(env, connection, queue).await;
    if try_join_all(queues.iter().map(declare)).await.is_ok()
        && leaderless::silent(connection, queues.to_vec(), timeout).await.is_empty()
    {
        return Ok(());
    }
    // One that cannot lead ends the connection, and what is asked on it beside: each has one of its own.
    try_join_all(queues.iter().map(|queue| make_alone(env, queue))).await.map(drop)
}

/// A queue that has never worked has never held anything: it is made another way.
async fn make_alone(env: &Env, queue: &str) -> anyhow::Result<()> {
    let declared = with_connection(env, async |connection| declare(env, connection, queue).await).await;
    if declared.as_ref().is_err_and(|error| !leaderless::is_internal(error)) {
        return declared;
    }
    if leaderless::works(env, queue).await? {
        // What could not be declared may be missing still; then this says why.
        return match declared {
            Ok(()) => Ok(()),
            Err(_) => with_connection(env, async |connection| declare(env, connection, queue).await).await,
        };
    }
    tracing::warn!(
        queue,
        "the broker keeps no leader for a new queue; it is declared such that it needs less of the broker"
    );
    env.keeps_no_leaders();
    with_connection(env, async |connection| {
        leaderless::remove(connection, queue).await?;
        declare(env, connection, queue).await
    })
    .await
}

async fn with_connection(
    env: &Env,
    work: impl AsyncFnOnce(&Connection) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let connection = amqp::connect(&env.config.broker, "collector setup").await?;
    let result = work(&connection).await;
    amqp::close(&connection, env.config.broker.timeout()).await;
    result
}

async fn declare(env: &Env, connection: &Connection, queue: &str) -> anyhow::Result<()> {
    let timeout = env.config.broker.timeout();
    if queue == DEAD_QUEUE {
        return topology::declare_dead_queue(connection, timeout).await;
    }
    let single_active = env.config.collector.single_active && outcomes(env).iter().any(|name| name == queue);
    declare_queue(connection, queue, single_active, env.dead_letters(), timeout).await
}

/// The new marker is declared first and the epoch exchanged after: whoever dies in between leaves only a queue behind.
async fn begin_epoch(env: &Env, connection: &Connection, old: Uuid) -> anyhow::Result<()> {
    let new = Uuid::new_v4();
    let timeout = env.config.broker.timeout();
    // Nobody ever uses it, so it needs nothing that could fail.
    declare_queue(connection, &epoch_queue(new), false, DeadLetters::AtMostOnce, timeout).await?;
    let released = env
        .store
        .run(async |client| {
            let tx = client.transaction().await?;
            let won = fleet::replace_epoch(&tx, old, new).await?;
            let released = if won { repair::of_other_epochs(&tx, new).await? } else { 0 };
            tx.commit().await?;
            Ok(released)
        })
        .await?;
    tracing::info!(epoch = %new, "the broker is new or was wiped: a new epoch begins");
    sweep::note("broker_wiped", released);
    Ok(())
}

async fn release_lane(store: &Store, kind: Kind, lane: Lane) -> anyhow::Result<()> {
    if crash::is_defective() {
        return Ok(());
    }
    let released = store
        .run(async |client| {
            let tx = client.transaction().await?;
            let released = repair::of_lane(&tx, kind, lane).await?;
            tx.commit().await?;
            Ok(released)
        })
        .await?;
    sweep::note("lane_deleted", released);
    Ok(())
}

/// Looks on a channel of its own, because a missing queue closes it. Only 404 counts as missing.
async fn look(connection: &Connection, queue: &str, timeout: Duration) -> anyhow::Result<Found> {
    let channel = amqp::channel(connection, timeout).await?;
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared =
        tokio::time::timeout(timeout, channel.queue_declare(queue.into(), options, FieldTable::default()))
            .await
            .with_context(|| format!("the broker did not say in time whether {queue} exists"))?;
    match declared {
        Ok(found) => {
            let messages = found.message_count();
            channel.close(200, "looked".into()).await.ok();
            Ok(Found::Messages(messages))
        }
        Err(error) if amqp::reply_code(&error) == Some(NOT_FOUND) => Ok(Found::Missing),
        Err(error) => Err(error).with_context(|| format!("looking for the queue {queue}")),
    }
}
