//! What the dispatcher reads and writes: lanes with waiting work, the lowest ranks of a lane, tasks on their way.

use anyhow::Context;
use deadpool_postgres::Transaction;
use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::topology::Lane;
use crate::wire::{Input, Ticket, VERSION};
use crate::work::Kind;

/// The lowest ranks of a lane, above a cursor: reads as many rows as it returns, whatever waits behind them.
/// Parameters: kind, lane, cursor, limit.
pub const TAKE_READY: &str = "select t.podcast_id, t.id, t.rank, t.tenant, t.generation, t.chapter, t.segment, t.engine, t.input, t.input_hash,
            t.attempt, t.parts, t.turns, t.deadline, t.traceparent
     from tasks t where t.state = 'ready' and t.kind = $1 and t.lane = $2 and t.rank >= $3
     order by t.rank limit $4 for update skip locked";

/// A ready task under its lock, as the ticket it becomes.
#[derive(Clone, Debug)]
pub struct Ready {
    pub rank: i64,
    pub ticket: Ticket,
}

pub async fn take_ready(
    tx: &Transaction<'_>,
    kind: Kind,
    lane: Lane,
    from_rank: i64,
    limit: i64,
) -> anyhow::Result<Vec<Ready>> {
    let select = tx.prepare_cached(TAKE_READY).await?;
    let rows = tx.query(&select, &[&kind.as_str(), &lane.as_str(), &from_rank, &limit]).await?;
    rows.iter()
        .map(|row| {
            let attempt: i32 = row.try_get("attempt")?;
            let deadline: Timestamp = row.try_get("deadline")?;
            Ok(Ready {
                rank: row.try_get("rank")?,
                ticket: Ticket {
                    v: VERSION,
                    podcast: row.try_get("podcast_id")?,
                    task: row.try_get("id")?,
                    tenant: row.try_get("tenant")?,
                    kind,
                    chapter: row.try_get("chapter")?,
                    segment: row.try_get("segment")?,
                    attempt: attempt + 1,
                    generation: row.try_get("generation")?,
                    input_hash: row.try_get("input_hash")?,
                    engine: row.try_get("engine")?,
                    deadline,
                    alone: lane == Lane::Alone,
                    committed_parts: row.try_get("parts")?,
                    committed_turns: row.try_get("turns")?,
                    traceparent: row.try_get("traceparent")?,
                    input: Input::Inline(row.try_get::<_, Json<Box<RawValue>>>("input")?.0),
                },
            })
        })
        .collect()
}

/// Marks locked tasks as on their way, with consecutive publish numbers from `first_seq` in the order given, which must be
/// ascending.
pub async fn mark_dispatched(
    tx: &Transaction<'_>,
    ascending_ids: &[Uuid],
    publisher: Uuid,
    first_seq: i64,
) -> anyhow::Result<()> {
    let update = tx
        .prepare_cached(
            "update tasks set state = 'dispatched', attempt = attempt + 1, publisher = $2,
                    publish_seq = $3::bigint + width_bucket(id, $1) - 1, epoch = (select epoch from fleet),
                    dispatched_at = now(), run_at = null
             where id = any($1)",
        )
        .await?;
    tx.execute(&update, &[&ascending_ids, &publisher, &first_seq]).await?;
    Ok(())
}

/// Makes scheduled tasks ready whose time has come. Those that a commit holds come with the next look: this waits for no lock.
pub async fn promote_due(tx: &Transaction<'_>) -> anyhow::Result<u64> {
    let update = tx.prepare_cached(PROMOTE_DUE).await?;
    Ok(tx.execute(&update, &[]).await?)
}

/// What [`promote_due`] runs.
pub const PROMOTE_DUE: &str =
    "with due as (select id from tasks where state = 'scheduled' and run_at <= now() limit 1000 for update skip locked)
     update tasks set state = 'ready', run_at = null
     where id = any(array(select id from due)) and state = 'scheduled'";

/// Of each lane, how many tasks are on their way. Lanes are shallow, so this counts few rows.
pub async fn in_flight(tx: &Transaction<'_>) -> anyhow::Result<Vec<(Kind, Lane, u32)>> {
    let select = tx
        .prepare_cached(
            "select kind, lane, count(*) from tasks where state = 'dispatched' group by kind, lane",
        )
        .await?;
    let rows = tx.query(&select, &[]).await?;
    rows.iter()
        .map(|row| {
            let (kind, lane): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
            let count: i64 = row.try_get(2)?;
            Ok((
                Kind::parse(kind).with_context(|| format!("unknown kind {kind}"))?,
                Lane::parse(lane).with_context(|| format!("unknown lane {lane}"))?,
                u32::try_from(count).unwrap_or(u32::MAX),
            ))
        })
        .collect()
}

/// Lanes in which anything waits: one look at the head of each lane's index.
pub async fn waiting_lanes(tx: &Transaction<'_>) -> anyhow::Result<Vec<(Kind, Lane)>> {
    let select = tx
        .prepare_cached(
            "select k, l from unnest($1::text[]) k cross join unnest($2::text[]) l
             where exists (select from tasks t where t.state = 'ready' and t.kind = k and t.lane = l)",
        )
        .await?;
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    let lanes: Vec<&str> = Lane::ALL.iter().map(|lane| lane.as_str()).collect();
    let rows = tx.query(&select, &[&kinds, &lanes]).await?;
    Ok(rows.iter().filter_map(|row| Some((Kind::parse(row.get(0))?, Lane::parse(row.get(1))?))).collect())
}
