//! Events: what a podcast's watchers are told, numbered per podcast without gaps.

use deadpool_postgres::Transaction;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::podcasts::{Failure, Podcast, State};
use super::reading::Progress;
use super::webhooks;
use crate::crash;
use crate::wire::{Hint, VERSION};

#[derive(Clone, Debug)]
pub struct NewEvent {
    pub podcast_id: Uuid,
    pub seq: i64,
    pub tenant: String,
    pub principal: String,
    pub event: &'static str,
    pub data: serde_json::Value,
    /// Where it is told as a webhook, too.
    pub callback_url: Option<String>,
}

/// Everything that an event may be called.
pub const NAMES: [&str; 8] =
    ["accepted", "progress", "first_audio", "replayed", "revised", "completed", "failed", "cancelled"];

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    pub podcast: Uuid,
    pub seq: i64,
    pub at: Timestamp,
    pub event: String,
    #[schemars(with = "Told<'static>")]
    pub data: serde_json::Value,
}

/// Numbers a locked podcast's next event.
pub fn next(podcast: &mut Podcast, event: &'static str) -> NewEvent {
    debug_assert!(NAMES.contains(&event), "add {event} to NAMES");
    podcast.event_seq += 1;
    let progress = Progress {
        chapters_total: podcast.chapters_total,
        chapters_written: podcast.chapters_written,
        chapters_mixed: podcast.chapters_mixed,
        segments_total: podcast.segments_total,
        segments_done: podcast.segments_done,
    };
    let duration_ms = podcast.episode.as_ref().map(|episode| episode.duration_ms);
    let title = podcast.title.as_deref();
    NewEvent {
        podcast_id: podcast.id,
        seq: podcast.event_seq,
        tenant: podcast.tenant.clone(),
        principal: podcast.principal.clone(),
        event,
        data: snapshot(&Snapshot {
            state: podcast.state,
            title,
            progress,
            first_audio_ms: podcast.first_audio_ms(),
            duration_ms,
            failure: podcast.failure.as_ref(),
        }),
        callback_url: podcast.callback_url.clone().filter(|_| matches!(event, "completed" | "failed")),
    }
}

/// What watchers are shown with every event: where the podcast is now.
#[derive(Debug)]
pub struct Snapshot<'a> {
    pub state: State,
    pub title: Option<&'a str>,
    pub progress: Progress,
    pub first_audio_ms: Option<i64>,
    pub duration_ms: Option<u64>,
    pub failure: Option<&'a Failure>,
}

pub fn snapshot(now: &Snapshot<'_>) -> serde_json::Value {
    let told = Told {
        v: VERSION,
        state: now.state.as_str(),
        stage: if now.state == State::Running { now.progress.stage() } else { "end" },
        title: now.title,
        progress: now.progress,
        first_audio_ms: now.first_audio_ms,
        duration_ms: now.duration_ms,
        failure: now.failure,
    };
    // Strings and numbers under names: there is nothing that could fail.
    serde_json::to_value(told).unwrap_or_default()
}

/// A [`Snapshot`] as it is written.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EventData")]
pub struct Told<'a> {
    /// Of these fields: they only grow within a version.
    v: u16,
    state: &'static str,
    stage: &'static str,
    title: Option<&'a str>,
    progress: Progress,
    first_audio_ms: Option<i64>,
    duration_ms: Option<u64>,
    failure: Option<&'a Failure>,
}

/// The event as it is told on the events exchange.
pub fn hint(event: NewEvent) -> Hint {
    Hint {
        podcast: event.podcast_id,
        tenant: event.tenant,
        seq: event.seq,
        event: event.event.to_owned(),
        data: event.data,
    }
}

pub async fn insert(tx: &Transaction<'_>, new: &[NewEvent]) -> anyhow::Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    const INSERT: &str = "insert into events (podcast_id, seq, tenant, principal, event, data)
         select * from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::jsonb[])";
    // Two that counted at the same time would meet here, and one of them would count again.
    let blind = crash::has_defect(crash::NAIVE_FAN_IN);
    let insert = if blind { format!("{INSERT} on conflict do nothing") } else { INSERT.to_owned() };
    let insert = tx.prepare_cached(&insert).await?;
    tx.execute(
        &insert,
        &[
            &new.iter().map(|e| e.podcast_id).collect::<Vec<_>>(),
            &new.iter().map(|e| e.seq).collect::<Vec<_>>(),
            &new.iter().map(|e| &e.tenant).collect::<Vec<_>>(),
            &new.iter().map(|e| &e.principal).collect::<Vec<_>>(),
            &new.iter().map(|e| e.event).collect::<Vec<_>>(),
            &new.iter().map(|e| Json(&e.data)).collect::<Vec<_>>(),
        ],
    )
    .await?;
    let owed: Vec<&NewEvent> = new.iter().filter(|event| event.callback_url.is_some()).collect();
    if owed.is_empty() { Ok(()) } else { webhooks::owe(tx, &owed).await }
}

/// New events of many podcasts at once: for each podcast those after its own `seq`, at most `limit` in all.
pub async fn after(
    client: &deadpool_postgres::Client,
    podcasts: &[Uuid],
    seqs: &[i64],
    limit: i64,
) -> anyhow::Result<Vec<Event>> {
    let select = client
        .prepare_cached(
            "select e.podcast_id, e.seq, e.at, e.event, e.data
             from unnest($1::uuid[], $2::bigint[]) k (podcast_id, seq)
                  join events e on e.podcast_id = k.podcast_id and e.seq > k.seq
             order by e.podcast_id, e.seq limit $3",
        )
        .await?;
    let rows = client.query(&select, &[&podcasts, &seqs, &limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(Event {
                podcast: row.try_get(0)?,
                seq: row.try_get(1)?,
                at: row.try_get(2)?,
                event: row.try_get(3)?,
                data: row.try_get(4)?,
            })
        })
        .collect()
}
