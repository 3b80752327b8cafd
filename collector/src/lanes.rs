//! The broker's memory: the lanes, and the marker that tells whether the broker still is the one that tickets were given to.

use anyhow::Context;
use common::amqp;
use common::crash;
use common::store::{Store, fleet, tasks::repair};
use common::topology::{self, Lane, epoch_queue, lane_queue};
use common::work::Kind;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ErrorKind};
use std::time::Duration;
use uuid::Uuid;

use crate::sweep;

/// What a passive declaration says of a queue.
enum Found {
    /// It exists and holds this many messages that nobody has taken.
    Messages(u32),
    Missing,
}

/// Makes sure that every lane exists, and that the epoch is the broker's. What was dispatched into a broker or a lane that
/// has forgotten it becomes ready again.
pub(crate) async fn prepare(connection: &Connection, store: &Store, timeout: Duration) -> anyhow::Result<()> {
    let epoch = store
        .run(async |client| {
            let tx = client.transaction().await?;
            let epoch = fleet::epoch(&tx).await?;
            tx.commit().await?;
            Ok(epoch)
        })
        .await?;
    if matches!(look(connection, &epoch_queue(epoch), timeout).await?, Found::Missing) {
        begin_epoch(connection, store, epoch, timeout).await?;
    }
    for kind in Kind::ALL {
        for lane in Lane::ALL {
            if matches!(look(connection, &lane_queue(kind, lane), timeout).await?, Found::Missing) {
                declare(connection, &lane_queue(kind, lane), timeout).await?;
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
async fn begin_epoch(
    connection: &Connection,
    store: &Store,
    old: Uuid,
    timeout: Duration,
) -> anyhow::Result<()> {
    let new = Uuid::new_v4();
    declare(connection, &epoch_queue(new), timeout).await?;
    let released = store
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

async fn declare(connection: &Connection, queue: &str, timeout: Duration) -> anyhow::Result<()> {
    let channel = amqp::channel(connection, timeout).await?;
    tokio::time::timeout(timeout, topology::declare_queue(&channel, queue, false))
        .await
        .with_context(|| format!("the broker did not declare {queue} in time"))??;
    channel.close(200, "declared".into()).await.ok();
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
        Err(error) if is_not_found(&error) => Ok(Found::Missing),
        Err(error) => Err(error).with_context(|| format!("looking for the queue {queue}")),
    }
}

fn is_not_found(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_id() == 404,
        _ => false,
    }
}
