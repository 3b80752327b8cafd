//! Tasks under the locks of a commit: insertion, settlement, retries. Dispatch is in [`dispatch`], repair in [`repair`].

pub mod dispatch;
pub mod repair;
pub mod unfinished;

use std::collections::BTreeMap;

use anyhow::Context;
use deadpool_postgres::Transaction;
use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::class::Class;
use crate::policy::Budgets;
use crate::topology::Lane;
use crate::work::Kind;

/// Where a new task starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Its ticket is published after the commit under this number.
    Dispatched { seq: i64 },
    /// The dispatcher takes it when its lane has room.
    Ready,
    /// Its podcast has failed; a replay releases it.
    Held,
}

#[derive(Clone, Debug)]
pub struct NewTask {
    pub id: Uuid,
    pub podcast_id: Uuid,
    pub tenant: String,
    pub principal: String,
    pub generation: i32,
    pub kind: Kind,
    pub chapter: i32,
    pub segment: i32,
    pub lane: Lane,
    pub rank: i64,
    pub engine: String,
    pub input: Box<RawValue>,
    pub input_hash: String,
    pub deadline: Timestamp,
    pub traceparent: Option<String>,
    pub start: Start,
}

/// The hash of everything that a task's result depends on: an outcome counts only while the task still has it.
/// `engine` is the engine's name, `identity` what [`crate::config::Engine::identity`] says of it.
pub fn input_hash(kind: Kind, engine: &str, identity: &str, input: &RawValue) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [kind.as_str(), engine, identity, input.get()] {
        hasher.update(part.as_bytes()).update(b"\0");
    }
    hasher.finalize().to_hex().to_string()
}

/// Tasks by both halves of their key, in the order in which every transaction locks them. Each costs one look, in the one partition that
/// may have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    podcasts: Vec<Uuid>,
    ids: Vec<Uuid>,
}

impl Keys {
    /// Of podcasts and their tasks.
    pub fn of(tasks: impl Iterator<Item = (Uuid, Uuid)>) -> Keys {
        let ascending: BTreeMap<Uuid, Uuid> = tasks.map(|(podcast, id)| (id, podcast)).collect();
        let (ids, podcasts) = ascending.into_iter().unzip();
        Keys { podcasts, ids }
    }

    /// How many come before it.
    pub fn place(&self, id: Uuid) -> usize {
        self.ids.partition_point(|other| *other < id)
    }
}

/// A task under its lock, without its input.
#[derive(Clone, Debug)]
pub struct Task {
    pub podcast_id: Uuid,
    pub id: Uuid,
    pub tenant: String,
    pub principal: String,
    pub generation: i32,
    pub kind: Kind,
    pub chapter: i32,
    pub segment: i32,
    pub state: State,
    pub lane: Lane,
    pub rank: i64,
    pub engine: String,
    pub input_hash: String,
    pub attempt: i32,
    pub budgets: Budgets,
    pub parts: i32,
    pub turns: i32,
    pub deadline: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Ready,
    Scheduled,
    Dispatched,
    Done,
    Dead,
    Held,
    Cancelled,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ready => "ready",
            State::Scheduled => "scheduled",
            State::Dispatched => "dispatched",
            State::Done => "done",
            State::Dead => "dead",
            State::Held => "held",
            State::Cancelled => "cancelled",
        }
    }

    pub fn parse(name: &str) -> anyhow::Result<State> {
        Ok(match name {
            "ready" => State::Ready,
            "scheduled" => State::Scheduled,
            "dispatched" => State::Dispatched,
            "done" => State::Done,
            "dead" => State::Dead,
            "held" => State::Held,
            "cancelled" => State::Cancelled,
            other => anyhow::bail!("unknown task state {other}"),
        })
    }
}

/// Inserts tasks; those that exist already (the same podcast, generation, kind, chapter and segment) stay as they are.
/// Returns the ids that were inserted.
pub async fn insert(tx: &Transaction<'_>, new: &[NewTask], publisher: Uuid) -> anyhow::Result<Vec<Uuid>> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let insert = tx
        .prepare_cached(
            "insert into tasks (podcast_id, id, tenant, principal, generation, kind, chapter, segment, lane, rank, engine, input,
                                input_hash, deadline, traceparent, state, publish_seq, attempt, publisher, epoch, dispatched_at)
             select n.*,
                    case when state = 'dispatched' then 1 else 0 end,
                    case when state = 'dispatched' then $18::uuid end,
                    case when state = 'dispatched' then (select epoch from fleet) end,
                    case when state = 'dispatched' then now() end
             from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::int[], $6::text[], $7::int[], $8::int[], $9::text[],
                         $10::bigint[], $11::text[], $12::jsonb[], $13::text[], $14::timestamptz[], $15::text[], $16::text[],
                         $17::bigint[])
                  as n (podcast_id, id, tenant, principal, generation, kind, chapter, segment, lane, rank, engine, input,
                        input_hash, deadline, traceparent, state, publish_seq)
             on conflict do nothing returning id",
        )
        .await?;
    let state = |task: &NewTask| match task.start {
        Start::Dispatched { .. } => "dispatched",
        Start::Ready => "ready",
        Start::Held => "held",
    };
    let seq = |task: &NewTask| match task.start {
        Start::Dispatched { seq } => Some(seq),
        Start::Ready | Start::Held => None,
    };
    let rows = tx
        .query(
            &insert,
            &[
                &new.iter().map(|t| t.podcast_id).collect::<Vec<_>>(),
                &new.iter().map(|t| t.id).collect::<Vec<_>>(),
                &new.iter().map(|t| &t.tenant).collect::<Vec<_>>(),
                &new.iter().map(|t| &t.principal).collect::<Vec<_>>(),
                &new.iter().map(|t| t.generation).collect::<Vec<_>>(),
                &new.iter().map(|t| t.kind.as_str()).collect::<Vec<_>>(),
                &new.iter().map(|t| t.chapter).collect::<Vec<_>>(),
                &new.iter().map(|t| t.segment).collect::<Vec<_>>(),
                &new.iter().map(|t| t.lane.as_str()).collect::<Vec<_>>(),
                &new.iter().map(|t| t.rank).collect::<Vec<_>>(),
                &new.iter().map(|t| &t.engine).collect::<Vec<_>>(),
                &new.iter().map(|t| Json(&t.input)).collect::<Vec<_>>(),
                &new.iter().map(|t| &t.input_hash).collect::<Vec<_>>(),
                &new.iter().map(|t| t.deadline).collect::<Vec<_>>(),
                &new.iter().map(|t| &t.traceparent).collect::<Vec<_>>(),
                &new.iter().map(state).collect::<Vec<_>>(),
                &new.iter().map(seq).collect::<Vec<_>>(),
                &publisher,
            ],
        )
        .await?;
    Ok(rows.into_iter().map(|row| row.get(0)).collect())
}

/// Locks tasks of locked podcasts, in the order of their ids.
pub async fn lock(tx: &Transaction<'_>, keys: &Keys) -> anyhow::Result<Vec<Task>> {
    let select = tx
        .prepare_cached(
            "select t.podcast_id, t.id, t.tenant, t.principal, t.generation, t.kind, t.chapter, t.segment, t.state, t.lane, t.rank,
                    t.engine, t.input_hash, t.attempt, t.failures, t.throttles, t.interruptions, t.parts, t.turns, t.deadline
             from unnest($1::uuid[], $2::uuid[]) k (podcast_id, id)
                  join tasks t on t.podcast_id = k.podcast_id and t.id = k.id
             order by t.id for update of t",
        )
        .await?;
    let rows = tx.query(&select, &[&keys.podcasts, &keys.ids]).await?;
    rows.iter()
        .map(|row| {
            let (kind, lane): (&str, &str) = (row.try_get("kind")?, row.try_get("lane")?);
            let budget =
                |name| row.try_get::<_, i16>(name).map(|used| u16::try_from(used).unwrap_or(u16::MAX));
            Ok(Task {
                podcast_id: row.try_get("podcast_id")?,
                id: row.try_get("id")?,
                tenant: row.try_get("tenant")?,
                principal: row.try_get("principal")?,
                generation: row.try_get("generation")?,
                kind: Kind::parse(kind).with_context(|| format!("unknown kind {kind}"))?,
                chapter: row.try_get("chapter")?,
                segment: row.try_get("segment")?,
                state: State::parse(row.try_get("state")?)?,
                lane: Lane::parse(lane).with_context(|| format!("unknown lane {lane}"))?,
                rank: row.try_get("rank")?,
                engine: row.try_get("engine")?,
                input_hash: row.try_get("input_hash")?,
                attempt: row.try_get("attempt")?,
                budgets: Budgets {
                    failures: budget("failures")?,
                    throttles: budget("throttles")?,
                    interruptions: budget("interruptions")?,
                },
                parts: row.try_get("parts")?,
                turns: row.try_get("turns")?,
                deadline: row.try_get("deadline")?,
            })
        })
        .collect()
}

/// A locked task whose first success has come.
#[derive(Clone, Debug)]
pub struct Finished {
    pub podcast_id: Uuid,
    pub id: Uuid,
    /// Kept only where a later task is built from it.
    pub result: Option<Box<RawValue>>,
}

pub async fn finish(tx: &Transaction<'_>, finished: &[Finished]) -> anyhow::Result<()> {
    if finished.is_empty() {
        return Ok(());
    }
    let update = tx
        .prepare_cached(
            "update tasks t set state = 'done', result = k.result, run_at = null, last_class = 'success', last_error = null
             from unnest($1::uuid[], $2::uuid[], $3::jsonb[]) k (podcast_id, id, result)
             where t.podcast_id = k.podcast_id and t.id = k.id",
        )
        .await?;
    let podcasts: Vec<Uuid> = finished.iter().map(|task| task.podcast_id).collect();
    let ids: Vec<Uuid> = finished.iter().map(|task| task.id).collect();
    let results: Vec<Option<Json<&RawValue>>> =
        finished.iter().map(|task| task.result.as_deref().map(Json)).collect();
    tx.execute(&update, &[&podcasts, &ids, &results]).await?;
    Ok(())
}

/// A locked task whose attempt failed, or whose state changes for another reason.
#[derive(Clone, Debug)]
pub struct Moved {
    pub podcast_id: Uuid,
    pub id: Uuid,
    pub state: State,
    pub lane: Lane,
    pub budgets: Budgets,
    pub run_at: Option<Timestamp>,
    pub class: Option<Class>,
    pub error: Option<String>,
}

/// Failures are few: one statement a task.
pub async fn change(tx: &Transaction<'_>, moved: &[Moved]) -> anyhow::Result<()> {
    let update = tx
        .prepare_cached(
            "update tasks set state = $3, lane = $4, failures = $5, throttles = $6, interruptions = $7, run_at = $8,
                    last_class = coalesce($9, last_class), last_error = coalesce($10, last_error)
             where podcast_id = $1 and id = $2",
        )
        .await?;
    let small = |used: u16| i16::try_from(used).unwrap_or(i16::MAX);
    for task in moved {
        tx.execute(
            &update,
            &[
                &task.podcast_id,
                &task.id,
                &task.state.as_str(),
                &task.lane.as_str(),
                &small(task.budgets.failures),
                &small(task.budgets.throttles),
                &small(task.budgets.interruptions),
                &task.run_at,
                &task.class.map(Class::as_str),
                &task.error,
            ],
        )
        .await?;
    }
    Ok(())
}

/// Records how many parts of a locked script task are accepted, and the turns in them.
pub async fn accept_parts(
    tx: &Transaction<'_>,
    podcast_id: Uuid,
    id: Uuid,
    parts: i32,
    turns: i32,
) -> anyhow::Result<()> {
    let update = tx
        .prepare_cached("update tasks set parts = $3, turns = $4 where podcast_id = $1 and id = $2")
        .await?;
    tx.execute(&update, &[&podcast_id, &id, &parts, &turns]).await?;
    Ok(())
}

/// The `tts` tasks of some segments of a mix's chapter, not locked yet: their audio could not be read.
pub async fn speeches_of_chapter(
    tx: &Transaction<'_>,
    podcast_id: Uuid,
    mix: Uuid,
    segments: &[i32],
) -> anyhow::Result<Vec<Uuid>> {
    let select = tx
        .prepare_cached(
            "select t.id from tasks t join tasks m on m.podcast_id = $1 and m.id = $2 and m.generation = t.generation
                                                  and m.chapter = t.chapter
             where t.podcast_id = $1 and t.kind = 'tts' and t.segment = any($3)",
        )
        .await?;
    let rows = tx.query(&select, &[&podcast_id, &mix, &segments]).await?;
    Ok(rows.into_iter().map(|row| row.get(0)).collect())
}

/// The mixes of some chapters of the podcast and generation that a join is of.
pub async fn mixes_of_join(
    tx: &Transaction<'_>,
    podcast_id: Uuid,
    join: Uuid,
    chapters: &[i32],
) -> anyhow::Result<Vec<Uuid>> {
    let select = tx
        .prepare_cached(
            "select t.id from tasks t join tasks j on j.podcast_id = $1 and j.id = $2 and j.generation = t.generation
             where t.podcast_id = $1 and t.kind = 'mix' and t.chapter = any($3)",
        )
        .await?;
    let rows = tx.query(&select, &[&podcast_id, &join, &chapters]).await?;
    Ok(rows.into_iter().map(|row| row.get(0)).collect())
}

/// Deletes a task whose input is not whole any more; it is inserted anew when it is.
pub async fn withdraw(tx: &Transaction<'_>, podcast_id: Uuid, id: Uuid) -> anyhow::Result<()> {
    let delete = tx.prepare_cached("delete from tasks where podcast_id = $1 and id = $2").await?;
    tx.execute(&delete, &[&podcast_id, &id]).await?;
    Ok(())
}

/// Takes the waiting tasks of locked podcasts out of the way: `held` after a failure, `cancelled` after a cancel.
pub async fn put_away(tx: &Transaction<'_>, podcast_ids: &[Uuid], into: State) -> anyhow::Result<()> {
    let update = tx
        .prepare_cached(
            "update tasks set state = $2, run_at = null where podcast_id = any($1) and state in ('ready', 'scheduled')",
        )
        .await?;
    tx.execute(&update, &[&podcast_ids, &into.as_str()]).await?;
    Ok(())
}

/// A task's input, for its dead letter.
pub async fn input(
    tx: &Transaction<'_>,
    podcast_id: Uuid,
    id: Uuid,
) -> anyhow::Result<Option<Box<RawValue>>> {
    let select = tx.prepare_cached("select input from tasks where podcast_id = $1 and id = $2").await?;
    Ok(tx.query_opt(&select, &[&podcast_id, &id]).await?.map(|row| row.get::<_, Json<Box<RawValue>>>(0).0))
}
