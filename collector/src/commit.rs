//! One transaction: the outcomes that have arrived, and everything that follows from them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use common::class::Class;
use common::crash;
use common::durations::Doer;
use common::publisher::{Checkpoint, Outgoing};
use common::store::attempts::{self, NewAttempt};
use common::store::dead_letters::{self, NewDeadLetter, Source};
use common::store::events::{self, hint, next};
use common::store::podcasts::{self, Podcast, State as PodcastState};
use common::store::tasks::{self, Keys, NewTask, Start, State};
use common::store::{Transaction, chapters, fleet};
use common::wire::{Hint, Outcome};
use common::work::Kind;
use deadpool_postgres::Client;
use futures_util::future::try_join_all;
use uuid::Uuid;

use crate::advance::{self, Changes, Next, Rows};
use crate::window::Window;
use crate::{Env, plan, sweep};

/// What must be told once the transaction is committed.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    pub(crate) outgoing: Vec<Outgoing>,
    pub(crate) hints: Vec<Hint>,
    pub(crate) checkpoint: Checkpoint,
}

/// Commits a batch. After an error nothing of it is known to be committed, and nothing may be acked: the broker delivers the
/// batch again, and applying it twice changes nothing.
pub(crate) async fn outcomes(
    env: &Env,
    client: &mut Client,
    window: &mut Window,
    batch: &[Outcome],
) -> anyhow::Result<Committed> {
    let started = std::time::Instant::now();
    let mut reserved = Vec::new();
    let result = within(transaction(env, client, window, batch, &mut reserved)).await;
    match &result {
        Ok(committed) => env.ledger.recorded(&committed.checkpoint),
        // The rows may be committed all the same: the numbers count as failed, and the next checkpoint releases the rows.
        Err(_) => env.ledger.fail(&reserved),
    }
    metrics::histogram!("podfleet_commit_duration_seconds").record(started.elapsed().as_secs_f64());
    metrics::counter!("podfleet_outcomes_total").increment(batch.len() as u64);
    result
}

async fn transaction(
    env: &Env,
    client: &mut Client,
    window: &mut Window,
    batch: &[Outcome],
    reserved: &mut Vec<i64>,
) -> anyhow::Result<Committed> {
    let tx = client.transaction().await?;
    // By the database's clock, as leases and deadlines are: this machine's may be minutes off.
    let (mut rows, now) = tokio::try_join!(lock(&tx, batch), fleet::now(&tx))?;
    let new = not_recorded(&tx, &rows, batch).await?;
    let batch = new.as_ref();
    let policy_of = |engine: &str| env.config.policy_of(engine);
    let changes = advance::apply(&mut rows, batch, &policy_of, now, fastrand::f64);
    for ((kind, lane), count) in &changes.settled {
        window.settled(*kind, *lane, *count);
    }
    metrics::counter!("podfleet_stale_outcomes_total").increment(changes.stale);
    write_tasks(&tx, &rows, batch, &changes).await?;
    let mut new = following_tasks(env, &tx, &rows, &changes).await?;
    let unlocked = place(env, window, &mut new, reserved);
    write_ends(&tx, &rows, &changes).await?;
    let checkpoint = env.ledger.checkpoint();
    // Polled together, statements travel together and are done in this order: a commit costs few round trips.
    let (inserted, hints, _, ()) = tokio::try_join!(
        biased;
        tasks::insert(&tx, &new, env.ledger.id),
        write_podcasts(&tx, &mut rows, &changes),
        tasks::repair::unpublished(&tx, env.ledger.id, &checkpoint.failed),
        fleet::checkpoint(&tx, env.ledger.id, "collector", &checkpoint),
    )?;
    let inserted: BTreeSet<Uuid> = inserted.into_iter().collect();
    let mut outgoing: Vec<Outgoing> = Vec::with_capacity(unlocked.len());
    for out in unlocked {
        if inserted.contains(&out.ticket.task) {
            outgoing.push(out);
        } else {
            env.ledger.settle(&[out.seq]);
        }
    }
    send_for_waiting(&tx, window, batch).await?;
    outgoing.extend(sweep::dispatch_waiting(env, &tx, window, reserved).await?);
    crash::point("collector.before_commit");
    tx.commit().await?;
    env.tally.note(changes.attempts.iter().filter_map(|index| batch.get(*index)));
    for dead in &changes.dead {
        dead_letters::count(Source::Task, dead.class, 1);
    }
    for ms in changes.audible.iter().filter_map(|id| rows.podcasts.get(id)?.first_audio_ms()) {
        metrics::histogram!("podfleet_first_audio_seconds").record(ms as f64 / 1_000.0);
    }
    learn(window, &rows, batch);
    crash::point("collector.after_commit_before_publish");
    Ok(Committed { outgoing, hints, checkpoint })
}

/// Bounds a transaction as seen from here; the server's own limit for a statement is shorter.
pub(crate) async fn within<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(Duration::from_secs(15), work)
        .await
        .context("PostgreSQL did not finish a transaction in 15 s")?
}

/// Without those that were committed before and came again, which would count as attempts and cost a second time. Whatever the task
/// is waiting for is new.
async fn not_recorded<'a>(
    tx: &Transaction<'_>,
    rows: &Rows,
    batch: &'a [Outcome],
) -> anyhow::Result<Cow<'a, [Outcome]>> {
    let is_awaited = |outcome: &Outcome| {
        rows.tasks.get(&outcome.task).is_some_and(|task| {
            task.state == State::Dispatched && task.attempt == outcome.attempt && task.parts <= outcome.part
        })
    };
    let mut first = BTreeSet::new();
    let mut repeated = Vec::with_capacity(batch.len());
    for outcome in batch {
        let whose = (outcome.class.as_str(), outcome.worker.as_str(), outcome.started_at);
        repeated.push(!first.insert((outcome.task, outcome.attempt, outcome.part, whose)));
    }
    let (places, suspects): (Vec<usize>, Vec<&Outcome>) =
        batch.iter().enumerate().filter(|(_, outcome)| !is_awaited(outcome)).unzip();
    for (place, recorded) in places.into_iter().zip(attempts::are_recorded(tx, &suspects).await?) {
        repeated[place] |= recorded;
    }
    if !repeated.contains(&true) {
        return Ok(Cow::Borrowed(batch));
    }
    let new = batch.iter().zip(&repeated).filter(|(_, repeated)| !**repeated);
    Ok(Cow::Owned(new.map(|(outcome, _)| outcome.clone()).collect()))
}

/// How long work took that was really done: what was found, or counted before, says nothing.
fn learn(window: &mut Window, rows: &Rows, batch: &[Outcome]) {
    let done =
        batch.iter().filter(|outcome| outcome.class == Class::Success && outcome.last && !outcome.cached);
    for outcome in done {
        let (Some(task), Some(measure)) = (rows.tasks.get(&outcome.task), &outcome.measure) else { continue };
        let took = outcome.finished_at.duration_since(outcome.started_at);
        let doer = Doer::new(outcome.kind, &task.engine, &measure.voice);
        window.learnt.observe(doer, measure.chars as f64, took.as_secs_f64() * 1_000.0);
    }
}

/// Work that others wait for has ended: they are sent for at once, to find its result, or to do it themselves.
async fn send_for_waiting(
    tx: &Transaction<'_>,
    window: &mut Window,
    batch: &[Outcome],
) -> anyhow::Result<()> {
    let ended = window.awaited.note(batch, std::time::Instant::now());
    if !ended.is_empty() {
        for (kind, lane) in tasks::dispatch::promote_awaiting(tx, &ended).await? {
            window.waits_anywhere(kind, lane);
        }
    }
    Ok(())
}

/// Tasks that have to be done again, because somebody could not read what they had made: speech by a mix, mixes by a join.
async fn lost_work(tx: &Transaction<'_>, batch: &[Outcome]) -> anyhow::Result<Vec<(Uuid, Uuid)>> {
    let mut lost = Vec::new();
    for outcome in batch {
        let Some(error) = &outcome.error else { continue };
        let (podcast, task) = (outcome.podcast, outcome.task);
        let tasks = match outcome.kind {
            Kind::Mix if !error.missing_segments.is_empty() => {
                tasks::speeches_of_chapter(tx, podcast, task, &error.missing_segments).await?
            }
            Kind::Join if !error.missing_chapters.is_empty() => {
                tasks::mixes_of_join(tx, podcast, task, &error.missing_chapters).await?
            }
            _ => continue,
        };
        lost.extend(tasks.into_iter().map(|id| (podcast, id)));
    }
    Ok(lost)
}

/// Locks podcasts by id, then tasks by id, as every transaction does.
async fn lock(tx: &Transaction<'_>, batch: &[Outcome]) -> anyhow::Result<Rows> {
    let podcast_ids: Vec<Uuid> =
        batch.iter().map(|o| o.podcast).collect::<BTreeSet<_>>().into_iter().collect();
    let mut task_ids: Vec<(Uuid, Uuid)> = batch.iter().map(|o| (o.podcast, o.task)).collect();
    task_ids.extend(lost_work(tx, batch).await?);
    let keys = Keys::of(task_ids.into_iter());
    let of_chapters = |o: &Outcome| match o.kind {
        Kind::Script | Kind::Tts | Kind::Mix => true,
        Kind::Join => o.error.as_ref().is_some_and(|error| !error.missing_chapters.is_empty()),
        Kind::Outline => false,
    };
    let with_chapters = if batch.iter().any(of_chapters) { podcast_ids.as_slice() } else { &[] };
    // Sent at once, done in this order: the chapters are read when their podcasts are locked.
    let (podcasts, tasks, chapters) = tokio::try_join!(
        biased;
        podcasts::lock(tx, &podcast_ids),
        tasks::lock(tx, &keys),
        chapters::of_podcasts(tx, with_chapters),
    )?;
    Ok(Rows {
        podcasts: podcasts.into_iter().map(|podcast| (podcast.id, podcast)).collect(),
        tasks: tasks.into_iter().map(|task| (task.id, task)).collect(),
        chapters: chapters.into_iter().map(|c| ((c.podcast_id, c.generation, c.chapter), c)).collect(),
    })
}

async fn write_tasks(
    tx: &Transaction<'_>,
    rows: &Rows,
    batch: &[Outcome],
    changes: &Changes,
) -> anyhow::Result<()> {
    let attempts: Vec<NewAttempt<'_>> = changes
        .attempts
        .iter()
        .filter_map(|index| batch.get(*index))
        .filter_map(|outcome| {
            let task = rows.tasks.get(&outcome.task)?;
            Some(NewAttempt { outcome, principal: &task.principal, engine: &task.engine })
        })
        .collect();
    for (podcast, task) in &changes.withdrawn {
        tasks::withdraw(tx, *podcast, *task).await?;
    }
    let touched: Vec<_> = changes.touched_chapters.iter().filter_map(|key| rows.chapters.get(key)).collect();
    // How far a script that is finished had come is of no use any more.
    let finished: BTreeSet<Uuid> = changes.finished.iter().map(|task| task.id).collect();
    let parts = changes
        .parts
        .iter()
        .filter(|(task, ..)| !finished.contains(task))
        .filter_map(|(task, parts, turns)| Some((rows.tasks.get(task)?.podcast_id, *task, *parts, *turns)))
        .map(|(podcast, task, parts, turns)| tasks::accept_parts(tx, podcast, task, parts, turns));
    tokio::try_join!(
        biased;
        attempts::insert(tx, &attempts),
        tasks::finish(tx, &changes.finished),
        tasks::change(tx, &changes.moved),
        try_join_all(parts),
        chapters::insert(tx, &changes.chapters),
        chapters::insert_segments(tx, &changes.segments),
        chapters::save(tx, &touched),
    )?;
    Ok(())
}

/// Builds the tasks that have become possible. The inputs of mixes and joins are read back from the rows just written.
async fn following_tasks(
    env: &Env,
    tx: &Transaction<'_>,
    rows: &Rows,
    changes: &Changes,
) -> anyhow::Result<Vec<NewTask>> {
    let new = changes.next.iter().map(|next| following_task(env, tx, rows, next));
    Ok(try_join_all(new).await?.into_iter().flatten().collect())
}

async fn following_task(
    env: &Env,
    tx: &Transaction<'_>,
    rows: &Rows,
    next: &Next,
) -> anyhow::Result<Option<NewTask>> {
    let (Next::Script { podcast, .. }
    | Next::Speech { podcast, .. }
    | Next::Mix { podcast, .. }
    | Next::Join { podcast }) = next;
    let Some(podcast) = rows.podcasts.get(podcast) else { return Ok(None) };
    let task = match next {
        Next::Script { chapter, input, .. } => {
            plan::task(podcast, &env.config, Kind::Script, (*chapter, 0), input)
        }
        Next::Speech { chapter, segment, input, .. } => {
            plan::task(podcast, &env.config, Kind::Tts, (*chapter, *segment), input)
        }
        Next::Mix { chapter, .. } => plan::mix(tx, podcast, &env.config, *chapter).await,
        Next::Join { .. } => plan::join(tx, podcast, &env.config).await,
    };
    task.map(Some)
}

/// Decides which of the new tasks go out with this commit, and gives these their numbers.
fn place(env: &Env, window: &mut Window, new: &mut [NewTask], reserved: &mut Vec<i64>) -> Vec<Outgoing> {
    let mut outgoing = Vec::new();
    // Where there is not room for all.
    new.sort_by_key(|task| task.rank);
    for task in new {
        if task.start == Start::Ready && !window.holds(task) && window.take(task.kind, task.lane, task.rank) {
            let expected_ms = plan::expected_ms(&env.config, &window.learnt, task.kind, &task.engine);
            let seq = env.ledger.reserve(1);
            reserved.push(seq);
            task.start = Start::Dispatched { seq };
            let mut out = Outgoing::first_attempt(task, seq, expected_ms);
            out.ticket.workers = window.workers_with(&task.engine);
            outgoing.push(out);
        }
    }
    outgoing
}

/// Dead letters, and the waiting tasks of podcasts that failed.
async fn write_ends(tx: &Transaction<'_>, rows: &Rows, changes: &Changes) -> anyhow::Result<()> {
    let mut letters = Vec::with_capacity(changes.dead.len());
    for dead in &changes.dead {
        let Some(task) = rows.tasks.get(&dead.task) else { continue };
        let payload = tasks::input(tx, task.podcast_id, task.id).await?;
        letters.push(NewDeadLetter {
            tenant: task.tenant.clone(),
            principal: task.principal.clone(),
            podcast_id: Some(task.podcast_id),
            task_id: Some(task.id),
            kind: Some(task.kind),
            engine: Some(task.engine.clone()),
            class: dead.class,
            message: dead.error.message.clone(),
            chain: dead.error.chain.clone(),
            payload: payload.map(|json| json.get().as_bytes().to_vec()),
            unread: None,
        });
    }
    dead_letters::insert(tx, &letters).await?;
    let failed: Vec<Uuid> = changes
        .ended
        .iter()
        .filter(|id| rows.podcasts.get(id).is_some_and(|podcast| podcast.state == PodcastState::Failed))
        .copied()
        .collect();
    if failed.is_empty() { Ok(()) } else { tasks::put_away(tx, &failed, State::Held).await }
}

/// Saves the podcasts that moved on, each with one event that tells where it is now.
async fn write_podcasts(
    tx: &Transaction<'_>,
    rows: &mut Rows,
    changes: &Changes,
) -> anyhow::Result<Vec<Hint>> {
    let mut new = Vec::new();
    for id in &changes.touched_podcasts {
        let Some(podcast) = rows.podcasts.get_mut(id) else { continue };
        let event = if changes.ended.contains(id) {
            podcast.state.as_str()
        } else if changes.audible.contains(id) {
            "first_audio"
        } else {
            "progress"
        };
        new.push(next(podcast, event));
    }
    let touched: Vec<&Podcast> =
        changes.touched_podcasts.iter().filter_map(|id| rows.podcasts.get(id)).collect();
    tokio::try_join!(podcasts::save(tx, &touched), events::insert(tx, &new))?;
    Ok(new.into_iter().map(hint).collect())
}
