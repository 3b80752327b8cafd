//! The epoch of the broker, the leases of publishers, the workers last seen.

use anyhow::Context;
use deadpool_postgres::Transaction;
use jiff::Timestamp;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::publisher::Checkpoint;
use crate::wire::WorkerPulse;

pub async fn epoch(tx: &Transaction<'_>) -> anyhow::Result<Uuid> {
    let select = tx.prepare_cached("select epoch from fleet").await?;
    Ok(tx.query_one(&select, &[]).await?.get(0))
}

/// Whether nobody else sets up the broker's queues, until the end of this transaction.
pub async fn lock_set_up(tx: &Transaction<'_>) -> anyhow::Result<bool> {
    Ok(tx.query_one("select pg_try_advisory_xact_lock(7047003)", &[]).await?.get(0))
}

/// The one clock that all processes share.
pub async fn now(tx: &Transaction<'_>) -> anyhow::Result<Timestamp> {
    let select = tx.prepare_cached("select now()").await?;
    Ok(tx.query_one(&select, &[]).await?.get(0))
}

/// Compare-and-set: `false` when another dispatcher was first.
pub async fn replace_epoch(tx: &Transaction<'_>, old: Uuid, new: Uuid) -> anyhow::Result<bool> {
    let update = tx.prepare_cached("update fleet set epoch = $2 where epoch = $1").await?;
    Ok(tx.execute(&update, &[&old, &new]).await? == 1)
}

/// Renews a publisher's lease for six seconds by the database's clock, and records how far its confirms have come.
pub async fn checkpoint(
    tx: &Transaction<'_>,
    publisher: Uuid,
    role: &str,
    checkpoint: &Checkpoint,
) -> anyhow::Result<()> {
    let upsert = tx
        .prepare_cached(
            "insert into publishers (id, role, confirmed, lease_until) values ($1, $2, $3, now() + interval '6 seconds')
             on conflict (id) do update set confirmed = excluded.confirmed, lease_until = excluded.lease_until",
        )
        .await?;
    tx.execute(&upsert, &[&publisher, &role, &checkpoint.confirmed]).await?;
    Ok(())
}

/// One whose row is locked is alive after all, and only late: two that are late must not wait for each other.
pub const FORGET_DEAD_PUBLISHERS: &str = "delete from publishers where id = any(array(
         select p.id from publishers p where p.lease_until < now() and not exists (
             select from tasks t where t.state = 'dispatched' and t.publisher = p.id and t.publish_seq > p.confirmed)
         for update skip locked))";

/// Forgets publishers whose leases are over and whose unconfirmed tasks are released. One that another collector is just releasing, and
/// may not come to commit, is still to be known.
pub async fn forget_dead_publishers(tx: &Transaction<'_>) -> anyhow::Result<u64> {
    let delete = tx.prepare_cached(FORGET_DEAD_PUBLISHERS).await?;
    Ok(tx.execute(&delete, &[]).await?)
}

/// Gives up a lease at once, when the process leaves in order and everything is confirmed or recorded.
pub async fn end_lease(tx: &Transaction<'_>, publisher: Uuid) -> anyhow::Result<()> {
    tx.execute(
        "update publishers set lease_until = now() - interval '1 second' where id = $1",
        &[&publisher],
    )
    .await?;
    Ok(())
}

/// Makes the partitions of this month and the next three, where they are missing.
pub async fn make_partitions(client: &tokio_postgres::Client) -> anyhow::Result<()> {
    client
        .batch_execute("select make_partitions(3)")
        .await
        .context("making the partitions of the months to come")
}

/// In the same order by everybody who saves them, so that two who do it at once do not wait for each other.
pub async fn save_workers(tx: &Transaction<'_>, pulses: &[WorkerPulse]) -> anyhow::Result<()> {
    let mut pulses: Vec<&WorkerPulse> = pulses.iter().collect();
    pulses.sort_by(|a, b| a.worker.cmp(&b.worker));
    let upsert = tx
        .prepare_cached(
            "insert into workers (id, version, host, pid, pulse) values ($1, $2, $3, $4, $5)
             on conflict (id) do update set pulse = excluded.pulse, seen_at = now()",
        )
        .await?;
    for pulse in pulses {
        let pid = i32::try_from(pulse.pid).unwrap_or_default();
        tx.execute(&upsert, &[&pulse.worker, &pulse.version, &pulse.host, &pid, &Json(pulse)]).await?;
    }
    tx.execute("delete from workers where seen_at < now() - interval '7 days'", &[]).await?;
    Ok(())
}
