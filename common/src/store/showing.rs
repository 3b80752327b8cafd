//! What the dashboard's pages show of a podcast beyond what the API tells: always by tenant, and never more than a bounded number
//! of rows.

use deadpool_postgres::Client;
use jiff::Timestamp;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::request::ChosenEngines;
use crate::work::Brief;

/// What was asked for, and by whom.
#[derive(Clone, Debug)]
pub struct Asked {
    pub principal: String,
    pub brief: Brief,
    pub engines: ChosenEngines,
}

pub async fn asked(client: &Client, tenant: &str, podcast: Uuid) -> anyhow::Result<Option<Asked>> {
    let select = client
        .prepare_cached("select principal, brief, engines from podcasts where tenant = $1 and id = $2")
        .await?;
    let Some(row) = client.query_opt(&select, &[&tenant, &podcast]).await? else { return Ok(None) };
    Ok(Some(Asked {
        principal: row.try_get(0)?,
        brief: row.try_get::<_, Json<Brief>>(1)?.0,
        engines: row.try_get::<_, Json<ChosenEngines>>(2)?.0,
    }))
}

/// How far a chapter is.
#[derive(Clone, Debug)]
pub struct Chapter {
    pub chapter: i32,
    pub title: String,
    /// Its script is complete.
    pub written: bool,
    pub segments_total: i32,
    pub segments_done: i32,
    /// Once it is mixed.
    pub duration_ms: Option<i64>,
}

pub async fn chapters(
    client: &Client,
    tenant: &str,
    podcast: Uuid,
    generation: i32,
) -> anyhow::Result<Vec<Chapter>> {
    let select = client
        .prepare_cached(
            "select chapter, title, written, segments_total, segments_done, (mix ->> 'duration_ms')::bigint from chapters
             where podcast_id = $2 and tenant = $1 and generation = $3 order by chapter",
        )
        .await?;
    let rows = client.query(&select, &[&tenant, &podcast, &generation]).await?;
    rows.iter()
        .map(|row| {
            Ok(Chapter {
                chapter: row.try_get(0)?,
                title: row.try_get(1)?,
                written: row.try_get(2)?,
                segments_total: row.try_get(3)?,
                segments_done: row.try_get(4)?,
                duration_ms: row.try_get(5)?,
            })
        })
        .collect()
}

/// One answer to one dispatch.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub kind: String,
    pub chapter: i32,
    pub segment: i32,
    pub generation: i32,
    pub attempt: i32,
    pub part: i32,
    pub engine: String,
    pub class: String,
    pub worker: String,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub units: i64,
    pub cost_micros: i64,
    pub cached: bool,
    pub message: Option<String>,
}

/// The newest attempts of a podcast, oldest of these first.
pub async fn attempts(
    client: &Client,
    tenant: &str,
    podcast: Uuid,
    limit: i64,
) -> anyhow::Result<Vec<Attempt>> {
    let select = client
        .prepare_cached(
            "select * from (
                 select a.kind, coalesce(t.chapter, 0) as chapter, coalesce(t.segment, 0) as segment,
                        coalesce(t.generation, 1) as generation, a.attempt, a.part, a.engine, a.class, a.worker, a.started_at,
                        a.finished_at, a.units, a.cost_micros, a.cached, a.message
                 from attempts a left join tasks t on t.podcast_id = $2 and t.id = a.task_id
                 where a.podcast_id = $2 and a.tenant = $1 order by a.started_at desc limit $3) newest
             order by started_at",
        )
        .await?;
    let rows = client.query(&select, &[&tenant, &podcast, &limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(Attempt {
                kind: row.try_get("kind")?,
                chapter: row.try_get("chapter")?,
                segment: row.try_get("segment")?,
                generation: row.try_get("generation")?,
                attempt: row.try_get("attempt")?,
                part: row.try_get("part")?,
                engine: row.try_get("engine")?,
                class: row.try_get("class")?,
                worker: row.try_get("worker")?,
                started_at: row.try_get("started_at")?,
                finished_at: row.try_get("finished_at")?,
                units: row.try_get("units")?,
                cost_micros: row.try_get("cost_micros")?,
                cached: row.try_get("cached")?,
                message: row.try_get("message")?,
            })
        })
        .collect()
}

/// What a kind of work has come to in a podcast.
#[derive(Clone, Debug)]
pub struct Toll {
    pub kind: String,
    pub attempts: i64,
    pub cached: i64,
    /// Attempts that were started and did not succeed.
    pub failed: i64,
    pub units: i64,
    pub cost_micros: i64,
    /// The time of all attempts together.
    pub busy_ms: i64,
}

pub async fn tolls(client: &Client, tenant: &str, podcast: Uuid) -> anyhow::Result<Vec<Toll>> {
    let select = client
        .prepare_cached(
            "select kind, count(*), count(*) filter (where cached),
                    count(*) filter (where class not in ('success', 'returned', 'parked', 'unsupported')),
                    coalesce(sum(units) filter (where not cached), 0)::bigint,
                    coalesce(sum(cost_micros) filter (where not cached), 0)::bigint,
                    coalesce(sum(extract(epoch from finished_at - started_at) * 1000), 0)::bigint
             from attempts where podcast_id = $2 and tenant = $1 group by kind",
        )
        .await?;
    let rows = client.query(&select, &[&tenant, &podcast]).await?;
    rows.iter()
        .map(|row| {
            Ok(Toll {
                kind: row.try_get(0)?,
                attempts: row.try_get(1)?,
                cached: row.try_get(2)?,
                failed: row.try_get(3)?,
                units: row.try_get(4)?,
                cost_micros: row.try_get(5)?,
                busy_ms: row.try_get(6)?,
            })
        })
        .collect()
}

/// How long a tenant's last finished podcasts took, in milliseconds a minute of sound. `None`: there is none to go by.
pub async fn pace(client: &Client, tenant: &str) -> anyhow::Result<Option<f64>> {
    let select = client
        .prepare_cached(
            "select sum(extract(epoch from finished_at - created_at) * 1000)::float8
                    / nullif(sum((episode ->> 'duration_ms')::float8) / 60000, 0)
             from (select finished_at, created_at, episode, state, generation from podcasts
                   where tenant = $1 order by id desc limit 50) newest
             where state = 'completed' and generation = 1",
        )
        .await?;
    Ok(client.query_one(&select, &[&tenant]).await?.try_get(0)?)
}
