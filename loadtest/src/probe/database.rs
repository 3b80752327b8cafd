//! What PostgreSQL did and what the fleet's tables say in the end. One function a statement.

use common::config;
use common::store::Store;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

/// Looks into the fleet's database.
#[derive(Clone, Debug)]
pub struct Database {
    store: Store,
}

/// Of `pg_stat_database`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub transactions: i64,
    pub rolled_back: i64,
    pub rows_read: i64,
    pub rows_inserted: i64,
    pub rows_updated: i64,
    pub rows_deleted: i64,
    pub blocks_read: i64,
    pub blocks_hit: i64,
    pub deadlocks: i64,
}

/// Of `pg_stat_statements`, where it is loaded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statement {
    pub query: String,
    pub calls: i64,
    pub total_ms: f64,
    pub rows: i64,
}

/// One podcast as the tables tell it.
#[derive(Clone, Debug, PartialEq)]
pub struct CourseRow {
    pub id: Uuid,
    pub state: String,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub segments: i32,
    /// The commit of the first segment of the first chapter.
    pub first_audio_at: Option<Timestamp>,
    /// The commit of the segment that came last.
    pub last_audio_at: Option<Timestamp>,
    /// From the first call for a script to the end of the last one.
    pub scripts_ms: Option<f64>,
    pub speech_ms: Option<f64>,
    /// The mix that ended last.
    pub last_mix_ms: Option<f64>,
}

impl Database {
    pub fn new(url: &str) -> anyhow::Result<Database> {
        let settings = config::Database { url: url.to_owned(), ..config::Database::default() };
        Ok(Database { store: Store::new(&settings, "loadtest", 2)? })
    }

    pub async fn totals(&self) -> anyhow::Result<Totals> {
        let row = self
            .store
            .client()
            .await?
            .query_one(
                "select xact_commit, xact_rollback, tup_fetched, tup_inserted, tup_updated, tup_deleted, blks_read, blks_hit, deadlocks
                 from pg_stat_database where datname = current_database()",
                &[],
            )
            .await?;
        Ok(Totals {
            transactions: row.try_get(0)?,
            rolled_back: row.try_get(1)?,
            rows_read: row.try_get(2)?,
            rows_inserted: row.try_get(3)?,
            rows_updated: row.try_get(4)?,
            rows_deleted: row.try_get(5)?,
            blocks_read: row.try_get(6)?,
            blocks_hit: row.try_get(7)?,
            deadlocks: row.try_get(8)?,
        })
    }

    /// The statements that took longest in all; none where they are not counted.
    pub async fn statements(&self) -> anyhow::Result<Vec<Statement>> {
        let client = self.store.client().await?;
        let loaded = client.query_one("select to_regclass('pg_stat_statements') is not null", &[]).await?;
        if !loaded.try_get::<_, bool>(0)? {
            return Ok(Vec::new());
        }
        let rows = client
            .query(
                "select left(regexp_replace(query, '\\s+', ' ', 'g'), 160), calls, total_exec_time, rows from pg_stat_statements
                 order by total_exec_time desc limit 15",
                &[],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Statement {
                    query: row.try_get(0)?,
                    calls: row.try_get(1)?,
                    total_ms: row.try_get(2)?,
                    rows: row.try_get(3)?,
                })
            })
            .collect()
    }

    /// Every podcast there is.
    pub async fn courses(&self) -> anyhow::Result<Vec<CourseRow>> {
        let rows = self
            .store
            .client()
            .await?
            .query(
                "select p.id, p.state, p.created_at, p.finished_at, p.segments_done, a.first_audio, a.last_audio, a.scripts, a.speech,
                        a.last_mix
                 from podcasts p left join lateral (
                    select min(a.recorded_at) filter (where t.kind = 'tts' and t.chapter = 0 and t.segment = 0) as first_audio,
                           max(a.recorded_at) filter (where t.kind = 'tts') as last_audio,
                           extract(epoch from max(a.finished_at) filter (where t.kind = 'script')
                                            - min(a.started_at) filter (where t.kind = 'script'))::float8 * 1000 as scripts,
                           extract(epoch from max(a.finished_at) filter (where t.kind = 'tts')
                                            - min(a.started_at) filter (where t.kind = 'tts'))::float8 * 1000 as speech,
                           (array_agg(extract(epoch from a.finished_at - a.started_at)::float8 * 1000 order by a.finished_at desc)
                                filter (where t.kind = 'mix'))[1] as last_mix
                    from attempts a join tasks t on t.podcast_id = a.podcast_id and t.id = a.task_id
                    where a.podcast_id = p.id and a.class = 'success') a on true
                 order by p.id",
                &[],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(CourseRow {
                    id: row.try_get(0)?,
                    state: row.try_get(1)?,
                    created_at: row.try_get(2)?,
                    finished_at: row.try_get(3)?,
                    segments: row.try_get(4)?,
                    first_audio_at: row.try_get(5)?,
                    last_audio_at: row.try_get(6)?,
                    scripts_ms: row.try_get(7)?,
                    speech_ms: row.try_get(8)?,
                    last_mix_ms: row.try_get(9)?,
                })
            })
            .collect()
    }

    /// Outlines, scripts and segments that an engine could be asked for, and those of them that were in a cache.
    pub async fn cache_hits(&self) -> anyhow::Result<(i64, i64)> {
        let row = self
            .store
            .client()
            .await?
            .query_one(
                "select count(distinct task_id), count(distinct task_id) filter (where cached) from attempts
                 where class = 'success' and kind in ('outline', 'script', 'tts') and engine <> 'noop'",
                &[],
            )
            .await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    /// Segments that were committed between two moments.
    pub async fn segments_between(&self, from: Timestamp, to: Timestamp) -> anyhow::Result<i64> {
        let row = self
            .store
            .client()
            .await?
            .query_one(
                "select count(*) from attempts where kind = 'tts' and class = 'success' and recorded_at >= $1 and recorded_at < $2",
                &[&from, &to],
            )
            .await?;
        Ok(row.try_get(0)?)
    }

    /// When the tasks of a podcast were attempted: kind, chapter, segment, start and end in seconds since 1970.
    pub async fn attempts_of(&self, podcast: Uuid) -> anyhow::Result<Vec<Attempted>> {
        let rows = self
            .store
            .client()
            .await?
            .query(
                "select a.task_id, t.kind, t.chapter, t.segment, extract(epoch from a.started_at)::float8,
                        extract(epoch from a.finished_at)::float8, extract(epoch from a.recorded_at)::float8
                 from attempts a join tasks t on t.podcast_id = a.podcast_id and t.id = a.task_id
                 where a.podcast_id = $1 and a.class = 'success' order by a.recorded_at",
                &[&podcast],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Attempted {
                    task: row.try_get(0)?,
                    kind: row.try_get(1)?,
                    chapter: row.try_get(2)?,
                    segment: row.try_get(3)?,
                    started: row.try_get(4)?,
                    finished: row.try_get(5)?,
                    recorded: row.try_get(6)?,
                })
            })
            .collect()
    }

    /// The texts of a chapter's segments, in order.
    pub async fn texts_of(&self, podcast: Uuid, chapter: i32) -> anyhow::Result<Vec<String>> {
        let rows = self
            .store
            .client()
            .await?
            .query(
                "select text from segments where podcast_id = $1 and chapter = $2 order by segment",
                &[&podcast, &chapter],
            )
            .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }
}

/// A successful attempt; times in seconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempted {
    pub task: Uuid,
    pub kind: String,
    pub chapter: i32,
    pub segment: i32,
    pub started: f64,
    pub finished: f64,
    pub recorded: f64,
}

impl Totals {
    /// What came since `before`.
    #[must_use]
    pub fn since(self, before: Totals) -> Totals {
        Totals {
            transactions: self.transactions - before.transactions,
            rolled_back: self.rolled_back - before.rolled_back,
            rows_read: self.rows_read - before.rows_read,
            rows_inserted: self.rows_inserted - before.rows_inserted,
            rows_updated: self.rows_updated - before.rows_updated,
            rows_deleted: self.rows_deleted - before.rows_deleted,
            blocks_read: self.blocks_read - before.blocks_read,
            blocks_hit: self.blocks_hit - before.blocks_hit,
            deadlocks: self.deadlocks - before.deadlocks,
        }
    }
}
