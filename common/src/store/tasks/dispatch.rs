//! What the dispatcher reads and writes: lanes with waiting work, the lowest ranks of a lane, tasks on their way.

use std::collections::HashMap;

use anyhow::Context;
use deadpool_postgres::Transaction;
use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::Keys;
use crate::topology::Lane;
use crate::wire::{Input, Said, Ticket, VERSION};
use crate::work::Kind;

/// The lowest ranks of a lane, above a cursor: reads as many rows as it returns, whatever waits behind them.
/// Parameters: kind, lane, cursor, limit.
pub const TAKE_READY: &str = "select t.podcast_id, t.id, t.rank, t.tenant, t.generation, t.chapter, t.segment, t.engine, t.input, t.input_hash,
            t.attempt, t.failures, t.parts, t.turns, t.deadline, t.traceparent
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
    let mut ready = rows.iter().map(|row| read(row, kind, lane)).collect::<anyhow::Result<Vec<Ready>>>()?;
    // By attempts: a replay begins a new budget of failures, but what was asked before is known to the provider.
    let tried: Vec<&mut Ticket> =
        ready.iter_mut().map(|ready| &mut ready.ticket).filter(|ticket| ticket.attempt > 1).collect();
    count_definite_failures(tx, tried).await?;
    for ready in ready.iter_mut().filter(|ready| ready.ticket.committed_turns > 0) {
        ready.ticket.written = written(tx, &ready.ticket).await?;
    }
    Ok(ready)
}

fn read(row: &Row, kind: Kind, lane: Lane) -> anyhow::Result<Ready> {
    let attempt: i32 = row.try_get("attempt")?;
    let deadline: Timestamp = row.try_get("deadline")?;
    let failures: i16 = row.try_get("failures")?;
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
            written: Vec::new(),
            failures: i32::from(failures),
            workers: 0,
            traceparent: row.try_get("traceparent")?,
            input: Input::Inline(row.try_get::<_, Json<Box<RawValue>>>("input")?.0),
        },
    })
}

/// Of tasks that were tried before, how often they did for certain. After a timeout the provider may still be at it, or done: asked
/// again with the same idempotency key, it can answer what was paid for already.
async fn count_definite_failures(tx: &Transaction<'_>, tickets: Vec<&mut Ticket>) -> anyhow::Result<()> {
    if tickets.is_empty() {
        return Ok(());
    }
    let select = tx
        .prepare_cached(
            // One look a task: by both lists at once, a batch would cost their product.
            "select t.id, (select count(distinct a.attempt) from attempts a
                           where a.podcast_id = t.podcast_id and a.task_id = t.id and a.class = 'transient')
             from unnest($1::uuid[], $2::uuid[]) t (podcast_id, id)",
        )
        .await?;
    let podcasts: Vec<Uuid> = tickets.iter().map(|ticket| ticket.podcast).collect();
    let tasks: Vec<Uuid> = tickets.iter().map(|ticket| ticket.task).collect();
    let rows = tx.query(&select, &[&podcasts, &tasks]).await?;
    let counted: HashMap<Uuid, i64> =
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<anyhow::Result<_>>()?;
    for ticket in tickets {
        ticket.failures =
            counted.get(&ticket.task).map_or(0, |count| i32::try_from(*count).unwrap_or(i32::MAX));
    }
    Ok(())
}

/// The accepted turns of a script that is not finished. It is being written, so none are added meanwhile.
async fn written(tx: &Transaction<'_>, ticket: &Ticket) -> anyhow::Result<Vec<Said>> {
    let select = tx
        .prepare_cached(
            "select s.speaker, s.text from segments s
             where s.podcast_id = $1 and s.generation = $2 and s.chapter = $3 order by s.segment",
        )
        .await?;
    let rows = tx.query(&select, &[&ticket.podcast, &ticket.generation, &ticket.chapter]).await?;
    rows.iter().map(|row| Ok(Said { speaker: row.try_get(0)?, text: row.try_get(1)? })).collect()
}

/// Marks locked tasks as on their way, with consecutive publish numbers from `first_seq`.
pub async fn mark_dispatched(
    tx: &Transaction<'_>,
    keys: &Keys,
    publisher: Uuid,
    first_seq: i64,
) -> anyhow::Result<()> {
    let update = tx
        .prepare_cached(
            "update tasks t set state = 'dispatched', attempt = t.attempt + 1, publisher = $3,
                    publish_seq = $4::bigint + k.place - 1, epoch = (select epoch from fleet), dispatched_at = now(), run_at = null
             from unnest($1::uuid[], $2::uuid[]) with ordinality k (podcast_id, id, place)
             where t.podcast_id = k.podcast_id and t.id = k.id",
        )
        .await?;
    tx.execute(&update, &[&keys.podcasts, &keys.ids, &publisher, &first_seq]).await?;
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

/// Makes those ready that wait for equal work, which has ended; returns the lanes they wait in. Those that somebody holds come
/// by themselves: this waits for no lock.
pub async fn promote_awaiting(
    tx: &Transaction<'_>,
    input_hashes: &[String],
) -> anyhow::Result<Vec<(Kind, Lane)>> {
    let update = tx
        .prepare_cached(
            "with due as (select id from tasks where state = 'scheduled' and last_class = 'returned' and input_hash = any($1)
                          limit 1000 for update skip locked)
             update tasks set state = 'ready', run_at = null
             where id = any(array(select id from due)) and state = 'scheduled' returning kind, lane",
        )
        .await?;
    let rows = tx.query(&update, &[&input_hashes]).await?;
    Ok(rows.iter().filter_map(|row| Some((Kind::parse(row.get(0))?, Lane::parse(row.get(1))?))).collect())
}

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

/// How many podcasts wait for their very first dispatch; counts no further than `most`.
pub async fn podcasts_waiting(tx: &Transaction<'_>, most: i64) -> anyhow::Result<i64> {
    let select = tx
        .prepare_cached(
            "select count(*) from (select from tasks where state = 'ready' and kind = 'outline' limit $1) waiting",
        )
        .await?;
    Ok(tx.query_one(&select, &[&most]).await?.get(0))
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
