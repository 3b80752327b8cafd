//! The statements of a replay.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use deadpool_postgres::Transaction;
use serde_json::value::RawValue;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::revive::{ChapterRow, Revived, TaskRow};
use crate::request::DEFAULT_DEADLINE;
use crate::store::podcasts::{self, Podcast, State as PodcastState};
use crate::store::tasks::State;
use crate::topology::Lane;
use crate::work::{Brief, Kind};

/// What a replay must know of a letter before it locks anything.
#[derive(Debug)]
pub(super) struct Stub {
    pub(super) podcast: Option<Uuid>,
    pub(super) task: Option<Uuid>,
    pub(super) class: String,
}

pub(super) async fn stub(tx: &Transaction<'_>, tenant: &str, letter: Uuid) -> anyhow::Result<Option<Stub>> {
    let select = tx
        .prepare_cached("select podcast_id, task_id, class from dead_letters where tenant = $1 and id = $2")
        .await?;
    let row = tx.query_opt(&select, &[&tenant, &letter]).await?;
    Ok(row.map(|row| Stub { podcast: row.get(0), task: row.get(1), class: row.get(2) }))
}

/// A task, with what an edit needs of it.
#[derive(Clone, Debug)]
pub(super) struct TaskOfPodcast {
    pub(super) row: TaskRow,
    pub(super) engine: String,
    pub(super) segment: i32,
    pub(super) parts: i32,
}

/// Locks every task of a locked podcast's generation. Also those on their way: a repair that would put one of them aside,
/// because it has seen its podcast as failed, passes over what is locked.
pub(super) async fn tasks(tx: &Transaction<'_>, podcast: &Podcast) -> anyhow::Result<Vec<TaskOfPodcast>> {
    let select = tx
        .prepare_cached(
            "select id, kind, chapter, segment, state, lane, interruptions, last_class, engine, parts from tasks
             where podcast_id = $1 and generation = $2 order by id for update",
        )
        .await?;
    let rows = tx.query(&select, &[&podcast.id, &podcast.generation]).await?;
    rows.iter()
        .map(|row| {
            let (kind, lane): (&str, &str) = (row.try_get("kind")?, row.try_get("lane")?);
            Ok(TaskOfPodcast {
                row: TaskRow {
                    id: row.try_get("id")?,
                    kind: Kind::parse(kind).with_context(|| format!("unknown kind {kind}"))?,
                    chapter: row.try_get("chapter")?,
                    state: State::parse(row.try_get("state")?)?,
                    lane: Lane::parse(lane).with_context(|| format!("unknown lane {lane}"))?,
                    interruptions: row.try_get("interruptions")?,
                    last_class: row.try_get("last_class")?,
                },
                engine: row.try_get("engine")?,
                segment: row.try_get("segment")?,
                parts: row.try_get("parts")?,
            })
        })
        .collect()
}

pub(super) async fn chapters(tx: &Transaction<'_>, podcast: &Podcast) -> anyhow::Result<Vec<ChapterRow>> {
    let select = tx
        .prepare_cached(
            "select chapter, written, segments_total, segments_done, mix is not null from chapters
             where podcast_id = $1 and generation = $2 order by chapter",
        )
        .await?;
    let rows = tx.query(&select, &[&podcast.id, &podcast.generation]).await?;
    Ok(rows
        .iter()
        .map(|row| ChapterRow {
            chapter: row.get(0),
            written: row.get(1),
            segments_total: row.get(2),
            segments_done: row.get(3),
            mixed: row.get(4),
        })
        .collect())
}

/// Locked tasks become `ready`, with fresh budgets. Attempts count on: an answer to an earlier one stays recognisable. Tasks of
/// the same lane and interruptions, nearly always all of them, share a statement: its cost grows with their number, and not
/// with its square.
pub(super) async fn revive_tasks(
    tx: &Transaction<'_>,
    podcast: Uuid,
    tasks: &[Revived],
) -> anyhow::Result<()> {
    let update = tx
        .prepare_cached(
            "update tasks set state = 'ready', run_at = null, failures = 0, throttles = 0, lane = $3, interruptions = $4
             where podcast_id = $1 and id = any($2)",
        )
        .await?;
    let mut alike: BTreeMap<(Lane, i16), Vec<Uuid>> = BTreeMap::new();
    for task in tasks {
        alike.entry((task.lane, task.interruptions)).or_default().push(task.id);
    }
    for ((lane, interruptions), ids) in alike {
        tx.execute(&update, &[&podcast, &ids, &lane.as_str(), &interruptions]).await?;
    }
    Ok(())
}

pub(super) async fn save_counters(
    tx: &Transaction<'_>,
    podcast: &Podcast,
    chapters: &[ChapterRow],
) -> anyhow::Result<()> {
    let update = tx
        .prepare_cached(
            "update chapters set written = $4, segments_total = $5, segments_done = $6
             where podcast_id = $1 and generation = $2 and chapter = $3
                   and (written, segments_total, segments_done) is distinct from ($4, $5, $6)",
        )
        .await?;
    for row in chapters {
        tx.execute(
            &update,
            &[
                &podcast.id,
                &podcast.generation,
                &row.chapter,
                &row.written,
                &row.segments_total,
                &row.segments_done,
            ],
        )
        .await?;
    }
    Ok(())
}

/// How long the podcast was given when it was asked for.
pub(in crate::store) async fn time_allowed(tx: &Transaction<'_>, podcast: Uuid) -> anyhow::Result<Duration> {
    let select = tx
        .prepare_cached("select (request ->> 'deadline_seconds')::bigint from podcasts where id = $1")
        .await?;
    let seconds: Option<i64> = tx.query_one(&select, &[&podcast]).await?.get(0);
    Ok(seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(DEFAULT_DEADLINE, Duration::from_secs))
}

/// The deadline of the podcast and of everything that is not done yet.
pub(super) async fn set_deadline(tx: &Transaction<'_>, podcast: &Podcast) -> anyhow::Result<()> {
    let update = tx.prepare_cached("update podcasts set deadline = $2 where id = $1").await?;
    tx.execute(&update, &[&podcast.id, &podcast.deadline]).await?;
    let update = tx
        .prepare_cached(
            "update tasks set deadline = $3 where podcast_id = $1 and generation = $2 and state <> 'done'",
        )
        .await?;
    tx.execute(&update, &[&podcast.id, &podcast.generation, &podcast.deadline]).await?;
    Ok(())
}

pub(super) async fn set_input(
    tx: &Transaction<'_>,
    podcast: Uuid,
    task: Uuid,
    input: &RawValue,
    hash: &str,
) -> anyhow::Result<()> {
    let update = tx
        .prepare_cached("update tasks set input = $3, input_hash = $4 where podcast_id = $1 and id = $2")
        .await?;
    tx.execute(&update, &[&podcast, &task, &Json(input), &hash]).await?;
    Ok(())
}

pub(super) async fn set_brief(tx: &Transaction<'_>, podcast: Uuid, brief: &Brief) -> anyhow::Result<()> {
    let update = tx.prepare_cached("update podcasts set brief = $2 where id = $1").await?;
    tx.execute(&update, &[&podcast, &Json(brief)]).await?;
    Ok(())
}

/// What a segment says, for the transcript.
pub(in crate::store) async fn set_text(
    tx: &Transaction<'_>,
    podcast: &Podcast,
    chapter: i32,
    segment: i32,
    text: &str,
) -> anyhow::Result<()> {
    let update = tx
        .prepare_cached(
            "update segments set text = $5 where podcast_id = $1 and generation = $2 and chapter = $3 and segment = $4",
        )
        .await?;
    tx.execute(&update, &[&podcast.id, &podcast.generation, &chapter, &segment, &text]).await?;
    Ok(())
}

/// Locked tasks are done, though nothing came of them.
pub(super) async fn finish_without_result(
    tx: &Transaction<'_>,
    podcast: Uuid,
    ids: &[Uuid],
) -> anyhow::Result<()> {
    let update = tx
        .prepare_cached(
            "update tasks set state = 'done', result = null, run_at = null where podcast_id = $1 and id = any($2)",
        )
        .await?;
    tx.execute(&update, &[&podcast, &ids]).await?;
    Ok(())
}

/// Segments that are left out.
pub(super) async fn mark_gaps(
    tx: &Transaction<'_>,
    podcast: &Podcast,
    gaps: &[(i32, i32)],
) -> anyhow::Result<()> {
    let update = tx
        .prepare_cached(
            "update segments set place = 'gap' where podcast_id = $1 and generation = $2 and chapter = $3 and segment = $4",
        )
        .await?;
    for (chapter, segment) in gaps {
        tx.execute(&update, &[&podcast.id, &podcast.generation, chapter, segment]).await?;
    }
    Ok(())
}

/// A chapter, completely written, of which every segment is left out.
pub(super) async fn silent_chapter(tx: &Transaction<'_>, podcast: &Podcast) -> anyhow::Result<Option<i32>> {
    let select = tx
        .prepare_cached(
            "select c.chapter from chapters c
             where c.podcast_id = $1 and c.generation = $2 and c.written
                   and not exists (select from segments s where s.podcast_id = $1 and s.generation = $2
                                          and s.chapter = c.chapter and s.place <> 'gap')
             order by c.chapter limit 1",
        )
        .await?;
    Ok(tx.query_opt(&select, &[&podcast.id, &podcast.generation]).await?.map(|row| row.get(0)))
}

/// Tasks that were put aside although their podcast runs again: a repair that had read it as failed may finish after the
/// replay. Looks at podcasts that were replayed within the last minute. Returns how many tasks became `ready`.
pub async fn release_stranded(tx: &Transaction<'_>) -> anyhow::Result<u64> {
    let replayed = tx
        .prepare_cached(
            "select distinct d.podcast_id from dead_letters d join podcasts p on p.id = d.podcast_id and p.state = 'running'
             where d.state = 'replayed' and d.settled_at > now() - interval '1 minute'",
        )
        .await?;
    let replayed: Vec<Uuid> = tx.query(&replayed, &[]).await?.iter().map(|row| row.get(0)).collect();
    if replayed.is_empty() {
        return Ok(0);
    }
    let stranded = tx
        .prepare_cached("select distinct podcast_id from tasks where podcast_id = any($1) and state = 'held'")
        .await?;
    let ids: Vec<Uuid> = tx.query(&stranded, &[&replayed]).await?.iter().map(|row| row.get(0)).collect();
    if ids.is_empty() {
        return Ok(0);
    }
    let locked = podcasts::lock(tx, &ids).await?;
    let running: Vec<Uuid> = locked
        .iter()
        .filter(|podcast| podcast.state == PodcastState::Running)
        .map(|podcast| podcast.id)
        .collect();
    let update = tx
        .prepare_cached("update tasks set state = 'ready' where podcast_id = any($1) and state = 'held'")
        .await?;
    Ok(tx.execute(&update, &[&running]).await?)
}
