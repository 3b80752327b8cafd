//! What the API shows: always by tenant.

use std::time::Duration;

use deadpool_postgres::Client;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::pauses::{HELD_FROM, Pause};
use super::podcasts::Failure;
use crate::request::ChosenEngines;
use crate::topology::Lane;
use crate::work::{Episode, Kind, Price, Speaker};

/// A podcast as its owner sees it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "PodcastSummary")]
pub struct Summary {
    pub id: Uuid,
    pub state: String,
    pub stage: &'static str,
    pub title: Option<String>,
    pub language: String,
    pub priority: String,
    pub generation: i32,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub deadline: Timestamp,
    pub seq: i64,
    pub progress: Progress,
    /// From its acceptance until its first segment could be heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_audio_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// What equal work that was done before has saved.
    pub saved: Price,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Seconds until it is likely to be finished: from what the fleet has learnt, else from its own pace so far; absent while there is
    /// nothing to go by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate_seconds: Option<f64>,
    /// When that will be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_at: Option<Timestamp>,
    /// What holds it back until somebody resumes it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paused_by: Vec<Uuid>,
    #[serde(skip)]
    pub speakers: Vec<Speaker>,
    #[serde(skip)]
    pub episode: Option<Episode>,
    #[serde(skip)]
    pub engines: ChosenEngines,
}

impl Summary {
    /// Names the pauses that hold it back.
    pub fn note_pauses(&mut self, tenant: &str, pauses: &[Pause]) {
        let lane = Lane::parse(&self.priority).unwrap_or_default();
        if self.state == "running" {
            let meets = pauses.iter().filter(|pause| pause.scope.meets(tenant, lane, &self.engines));
            self.paused_by = meets.map(|pause| pause.id).collect();
        }
    }
}

impl Summary {
    /// It will be finished in so many seconds.
    pub fn expect(&mut self, seconds: f64, now: Timestamp) {
        self.estimate_seconds = Some(seconds);
        let left = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        self.expected_at = now.saturating_add(left).ok();
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "PodcastProgress")]
pub struct Progress {
    pub chapters_total: i32,
    pub chapters_written: i32,
    pub chapters_mixed: i32,
    pub segments_total: i32,
    pub segments_done: i32,
}

impl Progress {
    /// Where a running podcast is.
    pub fn stage(self) -> &'static str {
        if self.chapters_total == 0 {
            "outline"
        } else if self.chapters_written < self.chapters_total && self.segments_total == self.segments_done {
            "script"
        } else if self.segments_done < self.segments_total || self.chapters_written < self.chapters_total {
            "tts"
        } else if self.chapters_mixed < self.chapters_total {
            "mix"
        } else {
            "join"
        }
    }
}

const COLUMNS: &str = "id, state, engines, title, brief ->> 'language' as language, lane, generation, created_at, finished_at, deadline, event_seq,
     brief -> 'speakers' as speakers,
     chapters_total, chapters_written, chapters_mixed, segments_total, segments_done, episode, failure,
     saved_calls, saved_micros, (extract(epoch from first_audio_at - created_at) * 1000)::bigint as first_audio_ms,
     extract(epoch from now() - created_at)::float8 as age";

pub async fn podcast(client: &Client, tenant: &str, id: Uuid) -> anyhow::Result<Option<Summary>> {
    let select = client
        .prepare_cached(&format!("select {COLUMNS} from podcasts where tenant = $1 and id = $2"))
        .await?;
    client.query_opt(&select, &[&tenant, &id]).await?.as_ref().map(read).transpose()
}

/// Which podcasts to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub state: Option<String>,
    pub priority: Option<String>,
    pub language: Option<String>,
    /// Only podcasts from this one on.
    pub from: Option<Uuid>,
    /// Only podcasts older than this one.
    pub before: Option<Uuid>,
    pub limit: i64,
}

pub async fn podcasts(client: &Client, tenant: &str, filter: &Filter) -> anyhow::Result<Vec<Summary>> {
    let select = client
        .prepare_cached(&format!(
            "select {COLUMNS} from podcasts
             where tenant = $1 and ($2::text is null or state = $2) and ($3::uuid is null or id < $3)
               and ($4::uuid is null or id >= $4) and ($5::text is null or lane = $5)
               and ($6::text is null or brief ->> 'language' = $6)
             order by id desc limit $7"
        ))
        .await?;
    let parameters: [&(dyn ToSql + Sync); 7] = [
        &tenant,
        &filter.state,
        &filter.before,
        &filter.from,
        &filter.priority,
        &filter.language,
        &filter.limit,
    ];
    client.query(&select, &parameters).await?.iter().map(read).collect()
}

/// A task that has not succeeded yet and whose last attempt failed: what `show` tells of retries.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Trouble {
    pub task: Uuid,
    pub kind: String,
    pub chapter: i32,
    pub segment: i32,
    pub state: String,
    pub attempt: i32,
    pub class: Option<String>,
    pub message: Option<String>,
    pub next_attempt_at: Option<Timestamp>,
}

pub async fn troubles(client: &Client, tenant: &str, id: Uuid) -> anyhow::Result<Vec<Trouble>> {
    let select = client
        .prepare_cached(
            &format!("select id, kind, chapter, segment, case when held then 'paused' else state end, attempt, last_class, last_error,
                    case when held then null else run_at end
             from (select *, coalesce(run_at >= {HELD_FROM}, false) as held from tasks) as tasks
             where podcast_id = $2 and tenant = $1 and state not in ('done', 'cancelled') and last_class not in ('success', 'returned')
             order by state = 'dead' desc, run_at, id limit 20"),
        )
        .await?;
    let rows = client.query(&select, &[&tenant, &id]).await?;
    rows.iter()
        .map(|row| {
            Ok(Trouble {
                task: row.try_get(0)?,
                kind: row.try_get(1)?,
                chapter: row.try_get(2)?,
                segment: row.try_get(3)?,
                state: row.try_get(4)?,
                attempt: row.try_get(5)?,
                class: row.try_get(6)?,
                message: row.try_get(7)?,
                next_attempt_at: row.try_get(8)?,
            })
        })
        .collect()
}

/// What a podcast says, as far as it is written.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Script {
    pub id: Uuid,
    pub generation: i32,
    pub chapters: Vec<ScriptChapter>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ScriptChapter {
    /// From 0.
    pub chapter: i32,
    pub title: String,
    pub segments: Vec<ScriptSegment>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ScriptSegment {
    /// From 0, in its chapter.
    pub segment: i32,
    pub speaker: String,
    pub text: String,
    /// `body`, `opening`, `transition`, `closing`; `gap`: it could not be spoken and is left out.
    pub place: String,
    pub spoken: bool,
}

pub async fn script(client: &Client, tenant: &str, id: Uuid) -> anyhow::Result<Option<Script>> {
    let select =
        client.prepare_cached("select generation from podcasts where tenant = $1 and id = $2").await?;
    let Some(row) = client.query_opt(&select, &[&tenant, &id]).await? else { return Ok(None) };
    let generation: i32 = row.try_get(0)?;
    let select = client
        .prepare_cached(
            "select c.chapter, c.title, s.segment, s.speaker, s.text, s.place,
                    exists (select from tasks t where t.podcast_id = $1 and t.generation = $2 and t.kind = 'tts'
                                   and t.chapter = s.chapter and t.segment = s.segment and t.state = 'done')
             from chapters c left join segments s on s.podcast_id = $1 and s.generation = $2 and s.chapter = c.chapter
             where c.podcast_id = $1 and c.generation = $2 order by c.chapter, s.segment",
        )
        .await?;
    let mut chapters: Vec<ScriptChapter> = Vec::new();
    for row in client.query(&select, &[&id, &generation]).await? {
        let chapter: i32 = row.try_get(0)?;
        if chapters.last().is_none_or(|last| last.chapter != chapter) {
            chapters.push(ScriptChapter { chapter, title: row.try_get(1)?, segments: Vec::new() });
        }
        if let (Some(last), Some(segment)) = (chapters.last_mut(), row.try_get::<_, Option<i32>>(2)?) {
            last.segments.push(ScriptSegment {
                segment,
                speaker: row.try_get(3)?,
                text: row.try_get(4)?,
                place: row.try_get(5)?,
                spoken: row.try_get(6)?,
            });
        }
    }
    Ok(Some(Script { id, generation, chapters }))
}

/// Where a podcast of which nothing is under way stands in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "PlaceInQueue")]
pub struct Queued {
    pub kind: &'static str,
    pub lane: &'static str,
    /// 1 is next. Beyond [`MOST_COUNTED`] tasks nobody counts: then it stands at this place or behind it.
    pub place: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub or_behind: bool,
}

/// Tasks before a podcast's own that are counted.
pub const MOST_COUNTED: i64 = 10_000;

/// `None`: something of it is under way, or nothing of it waits for its turn.
pub async fn queued(client: &Client, tenant: &str, id: Uuid) -> anyhow::Result<Option<Queued>> {
    let select = client
        .prepare_cached(
            "select kind, lane, rank from tasks where podcast_id = $2 and tenant = $1 and state = 'ready'
                    and not exists (select from tasks d where d.podcast_id = $2 and d.state = 'dispatched')
             order by rank limit 1",
        )
        .await?;
    let Some(row) = client.query_opt(&select, &[&tenant, &id]).await? else { return Ok(None) };
    let (kind, lane): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
    let (Some(kind), Some(lane)) = (Kind::parse(kind), Lane::parse(lane)) else { return Ok(None) };
    place(client, kind, lane, row.try_get(2)?).await.map(Some)
}

/// The ranks of podcasts that wait for their first turn in a lane, ascending, as far as they are counted.
pub async fn line(client: &Client, lane: Lane) -> anyhow::Result<Vec<i64>> {
    let select = client
        .prepare_cached(
            "select rank from tasks where state = 'ready' and kind = 'outline' and lane = $1 order by rank limit $2",
        )
        .await?;
    let rows = client.query(&select, &[&lane.as_str(), &MOST_COUNTED]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The place of a rank in a lane.
pub async fn place(client: &Client, kind: Kind, lane: Lane, rank: i64) -> anyhow::Result<Queued> {
    let select = client
        .prepare_cached(
            "select count(distinct podcast_id), count(*) from (
                 select podcast_id from tasks where state = 'ready' and kind = $1 and lane = $2 and rank < $3
                 order by rank limit $4) before",
        )
        .await?;
    let row = client.query_one(&select, &[&kind.as_str(), &lane.as_str(), &rank, &MOST_COUNTED]).await?;
    let (podcasts, tasks): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let or_behind = tasks >= MOST_COUNTED;
    Ok(Queued { kind: kind.as_str(), lane: lane.as_str(), place: podcasts + 1, or_behind })
}

fn read(row: &Row) -> anyhow::Result<Summary> {
    let state: String = row.try_get("state")?;
    let progress = Progress {
        chapters_total: row.try_get("chapters_total")?,
        chapters_written: row.try_get("chapters_written")?,
        chapters_mixed: row.try_get("chapters_mixed")?,
        segments_total: row.try_get("segments_total")?,
        segments_done: row.try_get("segments_done")?,
    };
    let episode = row.try_get::<_, Option<Json<Episode>>>("episode")?.map(|json| json.0);
    let running = state == "running";
    let mut summary = Summary {
        id: row.try_get("id")?,
        stage: if running { progress.stage() } else { "end" },
        title: row.try_get("title")?,
        language: row.try_get("language")?,
        priority: row.try_get("lane")?,
        generation: row.try_get("generation")?,
        created_at: row.try_get("created_at")?,
        finished_at: row.try_get("finished_at")?,
        deadline: row.try_get("deadline")?,
        seq: row.try_get("event_seq")?,
        progress,
        first_audio_ms: row.try_get("first_audio_ms")?,
        duration_ms: episode.as_ref().map(|episode| episode.duration_ms),
        saved: Price { calls: row.try_get("saved_calls")?, micros: row.try_get("saved_micros")? },
        failure: row.try_get::<_, Option<Json<Failure>>>("failure")?.map(|json| json.0),
        estimate_seconds: None,
        expected_at: None,
        paused_by: Vec::new(),
        engines: row.try_get::<_, Json<ChosenEngines>>("engines")?.0,
        speakers: row.try_get::<_, Json<Vec<Speaker>>>("speakers")?.0,
        episode,
        state,
    };
    if let Some(seconds) = estimate_seconds(progress, row.get("age")).filter(|_| running) {
        summary.expect(seconds, Timestamp::now());
    }
    Ok(summary)
}

/// Speech is most of the work: what is left of it at the pace so far.
fn estimate_seconds(progress: Progress, age: f64) -> Option<f64> {
    if progress.segments_done == 0 || progress.segments_total == 0 {
        return None;
    }
    let left = f64::from(progress.segments_total - progress.segments_done);
    Some(age / f64::from(progress.segments_done) * left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stage_follows_from_the_counters() {
        let stage = |t, w, m, s, d| {
            Progress {
                chapters_total: t,
                chapters_written: w,
                chapters_mixed: m,
                segments_total: s,
                segments_done: d,
            }
            .stage()
        };
        assert_eq!(stage(0, 0, 0, 0, 0), "outline");
        assert_eq!(stage(3, 0, 0, 0, 0), "script");
        assert_eq!(stage(3, 1, 0, 5, 2), "tts");
        assert_eq!(stage(3, 3, 1, 15, 15), "mix");
        assert_eq!(stage(3, 3, 3, 15, 15), "join");
    }
}
