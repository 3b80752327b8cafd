//! What a task costs the database while many others wait in its lane: 400 are inserted, the 400 of the lowest rank taken and marked as
//! on their way, and 400 finished, in a transaction each.

use std::time::Instant;

use anyhow::ensure;
use common::store::tasks::{self, Finished, Keys, Start, dispatch};
use common::topology::Lane;
use common::work::Kind;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::database::{Batch, Bench};

/// Podcasts of a batch.
const PODCASTS: usize = 16;
const TAKEN: i64 = 400;
/// Rows that are put in by one statement: it must not take longer than the fleet's statements may.
const FILLED_AT_ONCE: i64 = 50_000;

/// Microseconds of each transaction, for one task.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    pub each_us: Vec<f64>,
}

/// Fills the lane up to `waiting` tasks and measures so many transactions. The number that waits stays the same.
pub async fn cost_with(bench: &Bench, waiting: i64, transactions: usize) -> anyhow::Result<Waiting> {
    fill(bench, waiting).await?;
    let podcasts = bench.podcasts(PODCASTS).await?;
    let publisher = Uuid::new_v4();
    // Podcasts and their tasks.
    let mut taken: Vec<(Uuid, Uuid)> = Vec::new();
    let mut measured = Waiting::default();
    for number in 0..transactions {
        let mut batch = Batch::new(&podcasts, number)?;
        for task in &mut batch.tasks {
            task.start = Start::Ready;
        }
        let result = RawValue::from_string("{}".to_owned())?;
        let finished = |(podcast_id, id): &(Uuid, Uuid)| Finished {
            podcast_id: *podcast_id,
            id: *id,
            result: Some(result.clone()),
        };
        let finished: Vec<Finished> = taken.iter().map(finished).collect();
        let keys = Keys::of(taken.iter().copied());
        let started = Instant::now();
        taken = bench
            .store()
            .run(async |client| {
                let tx = client.transaction().await?;
                tasks::lock(&tx, &keys).await?;
                tasks::finish(&tx, &finished).await?;
                tasks::insert(&tx, &batch.tasks, publisher).await?;
                let ready = dispatch::take_ready(&tx, Kind::Tts, Lane::Normal, i64::MIN, TAKEN).await?;
                let taken: Vec<(Uuid, Uuid)> =
                    ready.iter().map(|ready| (ready.ticket.podcast, ready.ticket.task)).collect();
                let first = i64::try_from(number)? * TAKEN;
                dispatch::mark_dispatched(&tx, &Keys::of(taken.iter().copied()), publisher, first).await?;
                tx.commit().await?;
                Ok(taken)
            })
            .await?;
        ensure!(taken.len() as i64 == TAKEN, "only {} tasks were waiting", taken.len());
        measured.each_us.push(started.elapsed().as_secs_f64() * 1e6 / TAKEN as f64);
    }
    Ok(measured)
}

/// Tasks behind all others, of podcasts of this month that nobody asks about.
async fn fill(bench: &Bench, waiting: i64) -> anyhow::Result<()> {
    let client = bench.store().client().await?;
    let count = "select count(*) from tasks where state = 'ready' and kind = 'tts' and lane = 'normal'";
    let mut there: i64 = client.query_one(count, &[]).await?.try_get(0)?;
    while there < waiting {
        let more = FILLED_AT_ONCE.min(waiting - there);
        client
            .execute(
                "insert into tasks (podcast_id, id, tenant, principal, generation, kind, state, lane, rank, engine, input, input_hash,
                                    deadline)
                 select (left(uuid_floor(now())::text, 14) || right(gen_random_uuid()::text, 22))::uuid, gen_random_uuid(), 'default', 'bench', 1, 'tts', 'ready', 'normal', $1::bigint + n, 'noop',
                        '{\"text\":\"Segment 1.\"}', '', now() + interval '1 day'
                 from generate_series(1, $2::bigint) n",
                &[&(there + 1), &more],
            )
            .await?;
        there += more;
    }
    // What a server that has been up for a while has done: it knows its tables, and nothing of the filling is still to be written.
    client
        .batch_execute("set statement_timeout = 0; analyze tasks; checkpoint; set statement_timeout = '10s'")
        .await?;
    Ok(())
}
