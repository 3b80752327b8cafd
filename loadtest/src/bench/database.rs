//! PostgreSQL alone, and the statements of a commit on the fleet's own tables: one connection, batches of 400 tasks inserted and
//! 400 finished in a transaction.

use std::time::Instant;

use anyhow::Context;
use common::class::Class;
use common::config;
use common::publisher::Checkpoint;
use common::store::attempts::{self, NewAttempt};
use common::store::events;
use common::store::podcasts::{self, Podcast};
use common::store::tasks::{self, Finished, Keys, NewTask, Start};
use common::store::{Store, Transaction, fleet};
use common::topology::Lane;
use common::wire::{Outcome, VERSION};
use common::work::{Kind, Price};
use jiff::{SignedDuration, Timestamp};
use serde_json::value::RawValue;
use uuid::Uuid;

/// Tasks inserted, and tasks finished, in one transaction.
const BATCH: usize = 400;
/// Of one podcast in a batch.
const SEGMENTS: usize = 25;

/// A database of its own with the fleet's tables, and one connection.
#[derive(Debug)]
pub struct Bench {
    store: Store,
    publisher: Uuid,
}

/// Tasks that are on their way, as a commit finds them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(super) tasks: Vec<NewTask>,
}

impl Bench {
    /// `url` names an empty database, with durable commits.
    pub async fn prepare(url: &str) -> anyhow::Result<Bench> {
        let settings = config::Database { url: url.to_owned(), ..config::Database::default() };
        common::store::migrate(&settings).await?;
        let bench = Bench { store: Store::new(&settings, "bench", 1)?, publisher: Uuid::new_v4() };
        let client = bench.store.client().await?;
        client
            .batch_execute("create table floor (id uuid primary key, podcast_id uuid not null, state text not null, input jsonb not null)")
            .await?;
        Ok(bench)
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Tasks a second on a table with one index: the least that a durable task can cost.
    pub async fn floor(&self, transactions: usize) -> anyhow::Result<f64> {
        let mut before = Vec::new();
        let started = Instant::now();
        for _ in 0..transactions {
            let ids: Vec<Uuid> = (0..BATCH).map(|_| Uuid::now_v7()).collect();
            self.store
                .run(async |client| {
                    let tx = client.transaction().await?;
                    insert_floor(&tx, &ids).await?;
                    finish_floor(&tx, &before).await?;
                    Ok(tx.commit().await?)
                })
                .await?;
            before = ids;
        }
        Ok((transactions * BATCH) as f64 / started.elapsed().as_secs_f64())
    }

    /// Rows a second, with a transaction for each.
    pub async fn row_by_row(&self, rows: usize) -> anyhow::Result<f64> {
        let started = Instant::now();
        for _ in 0..rows {
            self.store
                .run(async |client| {
                    let tx = client.transaction().await?;
                    insert_floor(&tx, &[Uuid::now_v7()]).await?;
                    Ok(tx.commit().await?)
                })
                .await?;
        }
        Ok(rows as f64 / started.elapsed().as_secs_f64())
    }

    /// Tasks a second through the statements of the collector's commit: podcasts and tasks are locked, attempts and events written, 400
    /// tasks finished, 400 inserted as dispatched, podcasts and the checkpoint saved.
    pub async fn commit_path(&self, transactions: usize) -> anyhow::Result<f64> {
        let podcasts = self.podcasts(BATCH / SEGMENTS).await?;
        let mut before = Batch::default();
        let started = Instant::now();
        for number in 0..transactions {
            before = self.commit(&podcasts, &before, number).await?;
        }
        Ok((transactions * BATCH) as f64 / started.elapsed().as_secs_f64())
    }

    async fn commit(&self, podcasts: &[Podcast], before: &Batch, number: usize) -> anyhow::Result<Batch> {
        let after = Batch::new(podcasts, number)?;
        let outcomes: Vec<Outcome> = before.tasks.iter().map(outcome).collect::<anyhow::Result<_>>()?;
        self.store
            .run(async |client| {
                let tx = client.transaction().await?;
                let ids: Vec<Uuid> = podcasts.iter().map(|podcast| podcast.id).collect();
                let done = Keys::of(before.tasks.iter().map(|task| (task.podcast_id, task.id)));
                let (mut locked, _) = tokio::try_join!(
                    biased;
                    podcasts::lock(&tx, &ids),
                    tasks::lock(&tx, &done),
                )?;
                let made: Vec<NewAttempt<'_>> = outcomes
                    .iter()
                    .map(|outcome| NewAttempt { outcome, principal: "bench", engine: "noop" })
                    .collect();
                let finished: Vec<Finished> = outcomes.iter().filter_map(finished).collect();
                tokio::try_join!(biased; attempts::insert(&tx, &made), tasks::finish(&tx, &finished))?;
                let told: Vec<_> =
                    locked.iter_mut().map(|podcast| events::next(podcast, "progress")).collect();
                let touched: Vec<&Podcast> = locked.iter().collect();
                let checkpoint = Checkpoint::default();
                tokio::try_join!(
                    biased;
                    tasks::insert(&tx, &after.tasks, self.publisher),
                    podcasts::save(&tx, &touched),
                    events::insert(&tx, &told),
                    fleet::checkpoint(&tx, self.publisher, "bench", &checkpoint),
                )?;
                Ok(tx.commit().await?)
            })
            .await?;
        Ok(after)
    }

    /// Podcasts that are under way.
    pub(super) async fn podcasts(&self, count: usize) -> anyhow::Result<Vec<Podcast>> {
        let ids: Vec<Uuid> = (0..count).map(|_| Uuid::now_v7()).collect();
        self.store
            .run(async |client| {
                let tx = client.transaction().await?;
                insert_podcasts(&tx, &ids).await?;
                let podcasts = podcasts::lock(&tx, &ids).await?;
                tx.commit().await?;
                Ok(podcasts)
            })
            .await
    }
}

impl Batch {
    /// New tasks of the podcasts, 25 each.
    pub(super) fn new(podcasts: &[Podcast], number: usize) -> anyhow::Result<Batch> {
        let input = RawValue::from_string(
            r#"{"text":"Segment 1.","voice":"default","language":"en","take":0}"#.to_owned(),
        )?;
        let hash = tasks::input_hash(Kind::Tts, "noop", "noop", &input);
        let deadline = Timestamp::now() + SignedDuration::from_hours(24);
        let tasks = podcasts
            .iter()
            .flat_map(|podcast| (0..SEGMENTS).map(move |segment| (podcast, segment)))
            .map(|(podcast, segment)| {
                Ok(NewTask {
                    id: Uuid::now_v7(),
                    podcast_id: podcast.id,
                    tenant: podcast.tenant.clone(),
                    principal: podcast.principal.clone(),
                    generation: 1,
                    kind: Kind::Tts,
                    chapter: i32::try_from(number)?,
                    segment: i32::try_from(segment)?,
                    lane: Lane::Normal,
                    rank: podcast.rank,
                    engine: "noop".to_owned(),
                    input: input.clone(),
                    input_hash: hash.clone(),
                    deadline,
                    traceparent: None,
                    start: Start::Dispatched { seq: i64::try_from(number * BATCH + segment)? },
                })
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Batch { tasks })
    }
}

fn outcome(task: &NewTask) -> anyhow::Result<Outcome> {
    let now = Timestamp::now();
    let result = RawValue::from_string(r#"{"audio":"","samples":1,"true_peak_dbtp":-1.0}"#.to_owned())?;
    Ok(Outcome {
        v: VERSION,
        podcast: task.podcast_id,
        task: task.id,
        tenant: task.tenant.clone(),
        kind: task.kind,
        attempt: 1,
        generation: 1,
        input_hash: task.input_hash.clone(),
        class: Class::Success,
        part: 0,
        last: true,
        worker: "bench".to_owned(),
        started_at: now,
        finished_at: now,
        units: 0,
        cost_micros: 0,
        cached: false,
        saved: Price::default(),
        measure: None,
        result: Some(result),
        error: None,
    })
}

fn finished(outcome: &Outcome) -> Option<Finished> {
    Some(Finished { podcast_id: outcome.podcast, id: outcome.task, result: Some(outcome.result.clone()?) })
}

async fn insert_floor(tx: &Transaction<'_>, ids: &[Uuid]) -> anyhow::Result<()> {
    let insert = tx
        .prepare_cached("insert into floor select id, id, 'ready', '{\"text\":\"Segment 1.\"}' from unnest($1::uuid[]) id")
        .await?;
    tx.execute(&insert, &[&ids]).await.context("inserting")?;
    Ok(())
}

async fn finish_floor(tx: &Transaction<'_>, ids: &[Uuid]) -> anyhow::Result<()> {
    let update = tx.prepare_cached("update floor set state = 'done' where id = any($1)").await?;
    tx.execute(&update, &[&ids]).await.context("finishing")?;
    Ok(())
}

async fn insert_podcasts(tx: &Transaction<'_>, ids: &[Uuid]) -> anyhow::Result<()> {
    let engines = r#"{"outline":"noop","script":"noop","tts":"noop","mix":"none"}"#;
    let brief = r#"{"language":"en","format":"dialogue","speakers":[]}"#;
    let insert = tx
        .prepare_cached(
            "insert into podcasts (id, tenant, principal, request_hash, request, lane, rank, engines, brief, deadline)
             select id, 'default', 'bench', '', '{}', 'normal', 0, $2::text::jsonb, $3::text::jsonb, now() + interval '1 day'
             from unnest($1::uuid[]) id",
        )
        .await?;
    tx.execute(&insert, &[&ids, &engines, &brief]).await?;
    Ok(())
}
