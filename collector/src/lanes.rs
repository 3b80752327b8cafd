//! The broker's memory: the lanes, and the marker that tells whether the broker still is the one that tickets were given to.

use anyhow::Context;
use common::amqp;
use common::crash;
use common::store::{Store, fleet, tasks::repair};
use common::topology::{Lane, declare_queue, epoch_queue, lane_queue};
use common::work::Kind;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::Connection;
use std::time::Duration;
use uuid::Uuid;

use crate::{Env, sweep};

/// The reply code of AMQP 0-9-1 for a queue that does not exist.
const NOT_FOUND: u16 = 404;

/// What a passive declaration says of a queue.
enum Found {
    /// It exists and holds this many messages that nobody has taken.
    Messages(u32),
    Missing,
}

/// Makes sure that every lane exists, and that the epoch is the broker's. What was dispatched into a broker or a lane that
/// has forgotten it becomes ready again.
pub(crate) async fn prepare(env: &Env, connection: &Connection) -> anyhow::Result<()> {
    let (store, timeout) = (&env.store, env.config.broker.timeout());
    let epoch = store
        .run(async |client| {
            let tx = client.transaction().await?;
            let epoch = fleet::epoch(&tx).await?;
            tx.commit().await?;
            Ok(epoch)
        })
        .await?;
    if matches!(look(connection, &epoch_queue(epoch), timeout).await?, Found::Missing) {
        begin_epoch(env, connection, epoch).await?;
    }
    for kind in Kind::ALL {
        for lane in Lane::ALL {
            let queue = lane_queue(kind, lane);
            if matches!(look(connection, &queue, timeout).await?, Found::Missing) {
                declare_queue(connection, &queue, false, env.dead_letters(), timeout).await?;
                release_lane(store, kind, lane).await?;
            }
        }
    }
    Ok(())
}

/// The lanes that are empty. A missing one is an error: the session is rebuilt, which declares it.
pub(crate) async fn empty_ones(
    connection: &Connection,
    timeout: Duration,
) -> anyhow::Result<Vec<(Kind, Lane)>> {
    let mut empty = Vec::new();
    for (kind, lane) in Kind::ALL.into_iter().flat_map(|kind| Lane::ALL.map(|lane| (kind, lane))) {
        let queue = lane_queue(kind, lane);
        match look(connection, &queue, timeout).await? {
            Found::Messages(0) => empty.push((kind, lane)),
            Found::Messages(_) => {}
            Found::Missing => anyhow::bail!("the queue {queue} was deleted"),
        }
    }
    Ok(empty)
}

/// The new marker is declared first and the epoch exchanged after: whoever dies in between leaves only a queue behind.
async fn begin_epoch(env: &Env, connection: &Connection, old: Uuid) -> anyhow::Result<()> {
    let new = Uuid::new_v4();
    let (queue, timeout) = (epoch_queue(new), env.config.broker.timeout());
    declare_queue(connection, &queue, false, env.dead_letters(), timeout).await?;
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
