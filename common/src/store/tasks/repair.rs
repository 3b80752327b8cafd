//! Conditional updates that put lost work back to `ready`, with a row in `attempts` for each dispatch that was lost. Each may run
//! any number of times, from several processes at once. None of them waits for a lock of a task, so none can deadlock with a
//! commit. Work of a podcast that has ended is put out of the way instead.

use deadpool_postgres::Transaction;
use uuid::Uuid;

use crate::topology::Lane;
use crate::work::Kind;

/// What a released task becomes: `ready` while its podcast runs, else out of the way.
macro_rules! release {
    ($condition:literal) => {
        concat!(
            "with lost as (
                 select podcast_id, id, attempt, parts, tenant, principal, kind, engine, dispatched_at
                 from tasks t where t.state = 'dispatched' and ",
            $condition,
            " for update skip locked),
             noted as (
                 insert into attempts (podcast_id, task_id, attempt, part, tenant, principal, kind, engine, class, worker, started_at,
                                       finished_at, units, cost_micros, cached, message)
                 select podcast_id, id, attempt, parts, tenant, principal, kind, engine, 'interrupted', '', dispatched_at, now(), 0,
                        0, false, 'its ticket, or the answer, was lost on the way'
                 from lost)
             update tasks set run_at = null, state = case (select state from podcasts p where p.id = tasks.podcast_id)
                    when 'running' then 'ready' when 'failed' then 'held' else 'cancelled' end
             where id = any(array(select id from lost)) and state = 'dispatched'"
        )
    };
}

/// Tasks whose tickets this publisher could not publish.
pub async fn unpublished(tx: &Transaction<'_>, publisher: Uuid, seqs: &[i64]) -> anyhow::Result<u64> {
    if seqs.is_empty() {
        return Ok(0);
    }
    let update = tx.prepare_cached(release!("t.publisher = $1 and t.publish_seq = any($2)")).await?;
    Ok(tx.execute(&update, &[&publisher, &seqs]).await?)
}

/// Tasks beyond the last checkpoint of publishers whose leases are over.
pub async fn of_dead_publishers(tx: &Transaction<'_>) -> anyhow::Result<u64> {
    let any_dead =
        tx.prepare_cached("select exists (select from publishers where lease_until < now())").await?;
    if !tx.query_one(&any_dead, &[]).await?.get::<_, bool>(0) {
        return Ok(0);
    }
    let update = tx
        .prepare_cached(release!(
            "exists (select from publishers p where p.id = t.publisher and p.lease_until < now() and t.publish_seq > p.confirmed)"
        ))
        .await?;
    Ok(tx.execute(&update, &[]).await?)
}

/// Tasks dispatched into a broker that has forgotten them.
pub async fn of_other_epochs(tx: &Transaction<'_>, epoch: Uuid) -> anyhow::Result<u64> {
    let update = tx.prepare_cached(release!("t.epoch is distinct from $1")).await?;
    Ok(tx.execute(&update, &[&epoch]).await?)
}

/// Tasks of a lane that had to be declared anew.
pub async fn of_lane(tx: &Transaction<'_>, kind: Kind, lane: Lane) -> anyhow::Result<u64> {
    let update = tx.prepare_cached(release!("t.kind = $1 and t.lane = $2")).await?;
    Ok(tx.execute(&update, &[&kind.as_str(), &lane.as_str()]).await?)
}

/// Tasks dispatched so many seconds ago whose lane is empty and which no live process holds.
pub async fn lost_from_empty_lane(
    tx: &Transaction<'_>,
    kind: Kind,
    lane: Lane,
    held_by_workers: &[Uuid],
    seconds: u32,
) -> anyhow::Result<u64> {
    let update = tx
        .prepare_cached(release!(
            "t.kind = $1 and t.lane = $2 and t.dispatched_at < now() - make_interval(secs => $4) and t.id <> all($3)"
        ))
        .await?;
    let seconds = f64::from(seconds);
    Ok(tx.execute(&update, &[&kind.as_str(), &lane.as_str(), &held_by_workers, &seconds]).await?)
}

/// Tasks that were passed over: nobody live holds them, though somebody holds a task of the same lane that was dispatched so many
/// seconds later. Lanes are first in, first out, and a ticket that is delivered again is not run, so a mistake costs a message.
pub async fn lost_from_busy_lane(
    tx: &Transaction<'_>,
    kind: Kind,
    lane: Lane,
    held_by_workers: &[Uuid],
    seconds: u32,
) -> anyhow::Result<u64> {
    let update = tx
        .prepare_cached(release!(
            "t.kind = $1 and t.lane = $2 and t.id <> all($3) and t.dispatched_at < (
                 select max(h.dispatched_at) from tasks h
                 where h.state = 'dispatched' and h.kind = $1 and h.lane = $2 and h.id = any($3)
             ) - make_interval(secs => $4)"
        ))
        .await?;
    let seconds = f64::from(seconds);
    Ok(tx.execute(&update, &[&kind.as_str(), &lane.as_str(), &held_by_workers, &seconds]).await?)
}

/// Lanes that have tasks dispatched so many seconds ago or earlier: something may be lost there.
pub async fn lanes_with_old_tickets(tx: &Transaction<'_>, seconds: u32) -> anyhow::Result<Vec<(Kind, Lane)>> {
    let select = tx
        .prepare_cached(
            "select distinct kind, lane from tasks
             where state = 'dispatched' and dispatched_at < now() - make_interval(secs => $1)",
        )
        .await?;
    let rows = tx.query(&select, &[&f64::from(seconds)]).await?;
    Ok(rows.iter().filter_map(|row| Some((Kind::parse(row.get(0))?, Lane::parse(row.get(1))?))).collect())
}
