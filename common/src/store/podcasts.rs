//! Podcasts: acceptance, and the row that is locked for every step forward.

use std::collections::BTreeMap;

use anyhow::Context;
use deadpool_postgres::Transaction;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::pauses::HELD_FROM;
use crate::crash;
use crate::request::{ChosenEngines, PodcastRequest};
use crate::topology::Lane;
use crate::wire::ErrorReport;
use crate::work::{Brief, Episode, Price};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    Completed,
    Failed,
    Cancelled,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Completed => "completed",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
        }
    }

    pub fn parse(name: &str) -> Option<State> {
        [State::Running, State::Completed, State::Failed, State::Cancelled]
            .into_iter()
            .find(|state| state.as_str() == name)
    }
}

/// A podcast at the moment of its acceptance.
#[derive(Clone, Debug)]
pub struct NewPodcast {
    pub id: Uuid,
    pub tenant: String,
    pub principal: String,
    pub idempotency_key: Option<String>,
    pub request_hash: String,
    /// Without the source's text, which travels as the first task's input.
    pub request: PodcastRequest,
    pub lane: Lane,
    pub rank: i64,
    pub engines: ChosenEngines,
    pub brief: Brief,
    pub traceparent: Option<String>,
    pub deadline: Timestamp,
    /// Where its end is told.
    pub callback_url: Option<String>,
}

/// A podcast under its lock. What a transaction changes is changed here and written by [`save`].
#[derive(Clone, Debug)]
pub struct Podcast {
    pub id: Uuid,
    pub tenant: String,
    pub principal: String,
    pub state: State,
    pub generation: i32,
    pub lane: Lane,
    pub rank: i64,
    pub engines: ChosenEngines,
    pub brief: Brief,
    pub title: Option<String>,
    pub traceparent: Option<String>,
    pub deadline: Timestamp,
    pub event_seq: i64,
    pub chapters_total: i32,
    pub chapters_written: i32,
    pub chapters_mixed: i32,
    pub segments_total: i32,
    pub segments_done: i32,
    /// What equal work that was done before has saved.
    pub saved: Price,
    pub created_at: Timestamp,
    /// When its first segment could be heard.
    pub first_audio_at: Option<Timestamp>,
    pub episode: Option<Episode>,
    pub failure: Option<Failure>,
    pub callback_url: Option<String>,
}

impl Podcast {
    /// From its acceptance until its first segment could be heard.
    pub fn first_audio_ms(&self) -> Option<i64> {
        Some(self.first_audio_at?.duration_since(self.created_at).as_millis().try_into().unwrap_or(i64::MAX))
    }
}

/// Why a podcast failed, as its user reads it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PodcastFailure")]
pub struct Failure {
    pub class: crate::class::Class,
    pub stage: String,
    #[serde(flatten)]
    pub error: ErrorReport,
}

/// Inserts those whose (tenant, idempotency key) is free; returns the ids of these.
pub async fn insert(tx: &Transaction<'_>, new: &[NewPodcast]) -> anyhow::Result<Vec<Uuid>> {
    let insert = tx
        .prepare_cached(
            "insert into podcasts (id, tenant, principal, idempotency_key, request_hash, request, lane, rank, engines, brief,
                                   title, traceparent, deadline, callback_url, event_seq)
             select *, 1 from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::text[],
                                     $8::bigint[], $9::jsonb[], $10::jsonb[], $11::text[], $12::text[], $13::timestamptz[],
                                     $14::text[])
             on conflict do nothing returning id",
        )
        .await?;
    let rows = tx
        .query(
            &insert,
            &[
                &new.iter().map(|p| p.id).collect::<Vec<_>>(),
                &new.iter().map(|p| &p.tenant).collect::<Vec<_>>(),
                &new.iter().map(|p| &p.principal).collect::<Vec<_>>(),
                &new.iter().map(|p| &p.idempotency_key).collect::<Vec<_>>(),
                &new.iter().map(|p| &p.request_hash).collect::<Vec<_>>(),
                &new.iter().map(|p| Json(&p.request)).collect::<Vec<_>>(),
                &new.iter().map(|p| p.lane.as_str()).collect::<Vec<_>>(),
                &new.iter().map(|p| p.rank).collect::<Vec<_>>(),
                &new.iter().map(|p| Json(&p.engines)).collect::<Vec<_>>(),
                &new.iter().map(|p| Json(&p.brief)).collect::<Vec<_>>(),
                &new.iter().map(|p| &p.brief.title).collect::<Vec<_>>(),
                &new.iter().map(|p| &p.traceparent).collect::<Vec<_>>(),
                &new.iter().map(|p| p.deadline).collect::<Vec<_>>(),
                &new.iter().map(|p| &p.callback_url).collect::<Vec<_>>(),
            ],
        )
        .await?;
    Ok(rows.into_iter().map(|row| row.get(0)).collect())
}

/// The podcast that an idempotency key already stands for: its id and the hash of its request.
pub async fn by_idempotency_key(
    tx: &Transaction<'_>,
    tenant: &str,
    key: &str,
) -> anyhow::Result<Option<(Uuid, String)>> {
    let select = tx
        .prepare_cached("select id, request_hash from podcasts where tenant = $1 and idempotency_key = $2")
        .await?;
    Ok(tx.query_opt(&select, &[&tenant, &key]).await?.map(|row| (row.get(0), row.get(1))))
}

/// The rank of a tenant's last podcast, to go on from.
pub async fn last_rank(tx: &Transaction<'_>, tenant: &str) -> anyhow::Result<Option<i64>> {
    let select =
        tx.prepare_cached("select rank from podcasts where tenant = $1 order by id desc limit 1").await?;
    Ok(tx.query_opt(&select, &[&tenant]).await?.map(|row| row.get(0)))
}

const COLUMNS: &str = "id, tenant, principal, state, generation, lane, rank, engines, brief, title, traceparent, deadline,
     event_seq, chapters_total, chapters_written, chapters_mixed, segments_total, segments_done, saved_calls, saved_micros, created_at, first_audio_at,
     episode, failure, callback_url";

/// Locks podcasts in the order of their ids.
pub async fn lock(tx: &Transaction<'_>, ids: &[Uuid]) -> anyhow::Result<Vec<Podcast>> {
    let unlocked = crash::has_defect(crash::NAIVE_FAN_IN);
    let lock = if unlocked { "" } else { "for update" };
    let select = tx
        .prepare_cached(&format!("select {COLUMNS} from podcasts where id = any($1) order by id {lock}"))
        .await?;
    tx.query(&select, &[&ids]).await?.iter().map(read).collect()
}

/// Locks a tenant's podcast; nobody can lock another's.
pub async fn lock_of(tx: &Transaction<'_>, tenant: &str, id: Uuid) -> anyhow::Result<Option<Podcast>> {
    let select = tx
        .prepare_cached(&format!("select {COLUMNS} from podcasts where tenant = $1 and id = $2 for update"))
        .await?;
    tx.query_opt(&select, &[&tenant, &id]).await?.as_ref().map(read).transpose()
}

fn read(row: &Row) -> anyhow::Result<Podcast> {
    let state: &str = row.try_get("state")?;
    let lane: &str = row.try_get("lane")?;
    Ok(Podcast {
        id: row.try_get("id")?,
        tenant: row.try_get("tenant")?,
        principal: row.try_get("principal")?,
        state: State::parse(state).with_context(|| format!("unknown state {state}"))?,
        generation: row.try_get("generation")?,
        lane: Lane::parse(lane).with_context(|| format!("unknown lane {lane}"))?,
        rank: row.try_get("rank")?,
        engines: row.try_get::<_, Json<ChosenEngines>>("engines")?.0,
        brief: row.try_get::<_, Json<Brief>>("brief")?.0,
        title: row.try_get("title")?,
        traceparent: row.try_get("traceparent")?,
        deadline: row.try_get("deadline")?,
        event_seq: row.try_get("event_seq")?,
        chapters_total: row.try_get("chapters_total")?,
        chapters_written: row.try_get("chapters_written")?,
        chapters_mixed: row.try_get("chapters_mixed")?,
        segments_total: row.try_get("segments_total")?,
        segments_done: row.try_get("segments_done")?,
        saved: Price { calls: row.try_get("saved_calls")?, micros: row.try_get("saved_micros")? },
        created_at: row.try_get("created_at")?,
        first_audio_at: row.try_get("first_audio_at")?,
        episode: row.try_get::<_, Option<Json<Episode>>>("episode")?.map(|json| json.0),
        failure: row.try_get::<_, Option<Json<Failure>>>("failure")?.map(|json| json.0),
        callback_url: row.try_get("callback_url")?,
    })
}

/// What [`save`] writes of a podcast: the columns by their names.
#[derive(Debug, Serialize)]
struct Saved<'a> {
    state: &'static str,
    title: &'a Option<String>,
    event_seq: i64,
    chapters_total: i32,
    chapters_written: i32,
    chapters_mixed: i32,
    segments_total: i32,
    segments_done: i32,
    episode: &'a Option<Episode>,
    failure: &'a Option<Failure>,
    saved_calls: i64,
    saved_micros: i64,
    first_audio_at: Option<Timestamp>,
}

impl<'a> Saved<'a> {
    fn of(podcast: &'a Podcast) -> Saved<'a> {
        Saved {
            state: podcast.state.as_str(),
            title: &podcast.title,
            event_seq: podcast.event_seq,
            chapters_total: podcast.chapters_total,
            chapters_written: podcast.chapters_written,
            chapters_mixed: podcast.chapters_mixed,
            segments_total: podcast.segments_total,
            segments_done: podcast.segments_done,
            episode: &podcast.episode,
            failure: &podcast.failure,
            saved_calls: podcast.saved.calls,
            saved_micros: podcast.saved.micros,
            first_audio_at: podcast.first_audio_at,
        }
    }
}

/// Writes what has changed of locked podcasts.
pub async fn save(tx: &Transaction<'_>, podcasts: &[&Podcast]) -> anyhow::Result<()> {
    if podcasts.is_empty() {
        return Ok(());
    }
    // One object instead of a statement a podcast: the database finds a key in it without walking through all of them.
    let update = tx
        .prepare_cached(
            "update podcasts set (state, title, event_seq, chapters_total, chapters_written, chapters_mixed, segments_total,
                                  segments_done, episode, failure, saved_calls, saved_micros, first_audio_at, finished_at) =
                 (select s.*, case when s.state = 'running' then null else coalesce(podcasts.finished_at, now()) end
                  from jsonb_to_record($2::jsonb -> podcasts.id::text)
                       as s (state text, title text, event_seq bigint, chapters_total integer, chapters_written integer,
                             chapters_mixed integer, segments_total integer, segments_done integer, episode jsonb,
                             failure jsonb, saved_calls bigint, saved_micros bigint, first_audio_at timestamptz))
             where id = any($1)",
        )
        .await?;
    let ids: Vec<Uuid> = podcasts.iter().map(|podcast| podcast.id).collect();
    let saved: BTreeMap<Uuid, Saved<'_>> =
        podcasts.iter().map(|podcast| (podcast.id, Saved::of(podcast))).collect();
    tx.execute(&update, &[&ids, &Json(saved)]).await?;
    Ok(())
}

/// What the audit trail calls a podcast.
pub fn subject(id: Uuid) -> String {
    format!("podcast/{id}")
}

/// A locked podcast goes on in another lane, and with it what waits. What is on its way stays where it is; what runs alone runs alone.
/// What a pause had put aside is looked at anew: it may have been one of the other lane.
pub async fn set_lane(tx: &Transaction<'_>, id: Uuid, lane: Lane) -> anyhow::Result<u64> {
    let update = tx.prepare_cached("update podcasts set lane = $2 where id = $1").await?;
    tx.execute(&update, &[&id, &lane.as_str()]).await?;
    let update = tx
        .prepare_cached(&format!(
            "update tasks set lane = $2,
                    state = case when run_at >= {HELD_FROM} then 'ready' else state end,
                    run_at = case when run_at >= {HELD_FROM} then null else run_at end
             where podcast_id = $1 and state in ('ready', 'scheduled', 'held', 'dead') and lane not in ('alone', $2)"
        ))
        .await?;
    Ok(tx.execute(&update, &[&id, &lane.as_str()]).await?)
}

/// Podcasts whose deadline has passed while they were running.
pub async fn overdue(tx: &Transaction<'_>, limit: i64) -> anyhow::Result<Vec<Uuid>> {
    let select = tx
        .prepare_cached(
            "select id from podcasts where state = 'running' and deadline < now() order by deadline limit $1",
        )
        .await?;
    Ok(tx.query(&select, &[&limit]).await?.into_iter().map(|row| row.get(0)).collect())
}
