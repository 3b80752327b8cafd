//! What the clock changes: retries whose time has come, work that waits for room, leases and deadlines that are over.

use std::time::{Duration, Instant};

use common::class::Class;
use common::crash;
use common::publisher::Outgoing;
use common::store::dead_letters::{self, NewDeadLetter, Source};
use common::store::minutes::{self, Counts};
use common::store::pauses::InForce;
use common::store::podcasts::{self, Failure, State as PodcastState};
use common::store::tasks::unfinished::{self, Unfinished};
use common::store::tasks::{self, Keys, State, dispatch, repair};
use common::store::{Transaction, events, fleet, pauses};
use common::topology::Lane;
use common::wire::{ErrorReport, Ticket};
use common::work::Kind;
use deadpool_postgres::Client;
use uuid::Uuid;

use crate::commit::{Committed, within};
use crate::window::Window;
use crate::{Env, plan};

/// Tasks taken from one lane in one transaction.
const MOST_AT_ONCE: u32 = 1_000;
/// Looks at the head of a lane in one transaction.
const MOST_LOOKS: u32 = 10;
/// Overdue podcasts failed in one transaction.
const MOST_OVERDUE: i64 = 100;
/// How often the rarer looks are taken.
const RARELY: Duration = Duration::from_secs(1);

/// When the rarer looks were last taken.
#[derive(Debug)]
pub(crate) struct Sweeper {
    rarely: Option<Instant>,
}

impl Sweeper {
    pub(crate) fn new() -> Sweeper {
        Sweeper { rarely: None }
    }

    /// One transaction. Returns what is to be published and told.
    pub(crate) async fn sweep(
        &mut self,
        env: &Env,
        client: &mut Client,
        window: &mut Window,
    ) -> anyhow::Result<Committed> {
        let rarely = self.rarely.is_none_or(|at| at.elapsed() >= RARELY);
        let mut reserved = Vec::new();
        let counted = if rarely { env.tally.take() } else { Vec::new() };
        let result = within(transaction(env, client, window, rarely, &counted, &mut reserved)).await;
        if result.is_err() {
            env.tally.put_back(counted);
        }
        match &result {
            Ok(committed) => {
                env.ledger.recorded(&committed.checkpoint);
                if rarely {
                    self.rarely = Some(Instant::now());
                }
            }
            Err(_) => env.ledger.fail(&reserved),
        }
        result
    }
}

async fn transaction(
    env: &Env,
    client: &mut Client,
    window: &mut Window,
    rarely: bool,
    counted: &[(String, &'static str, Counts)],
    reserved: &mut Vec<i64>,
) -> anyhow::Result<Committed> {
    let tx = client.transaction().await?;
    minutes::add(&tx, env.ledger.id, counted).await?;
    let hints = if rarely { fail_overdue(&tx).await? } else { Vec::new() };
    let checkpoint = env.ledger.checkpoint();
    let unpublished = repair::unpublished(&tx, env.ledger.id, &checkpoint.failed).await?;
    fleet::checkpoint(&tx, env.ledger.id, "collector", &checkpoint).await?;
    note("unpublished", unpublished);
    let promoted = dispatch::promote_due(&tx).await?;
    window.pauses = pauses::in_force(&tx).await?;
    let promoted = promoted + pauses::release(&tx).await?;
    if rarely {
        note("publisher_gone", repair::of_dead_publishers(&tx).await?);
        fleet::forget_dead_publishers(&tx).await?;
        let epoch = fleet::epoch(&tx).await?;
        note("broker_wiped", repair::of_other_epochs(&tx, epoch).await?);
        window.forget_silent_workers(Instant::now());
        window.observe(Instant::now());
        window.awaited.forget_old(Instant::now());
    }
    window.resync(dispatch::in_flight(&tx).await?, &dispatch::waiting_lanes(&tx).await?, promoted > 0);
    for (kind, lane, _) in window.open_lanes() {
        put_aside(&tx, (kind, lane), &window.pauses_in(kind, lane)).await?;
    }
    let outgoing = dispatch_waiting(env, &tx, window, reserved).await?;
    tx.commit().await?;
    dead_letters::count(Source::Podcast, Class::Expired, hints.len());
    Ok(Committed { outgoing, hints, checkpoint })
}

/// Work that was lost on its way is released: for the log and the metrics.
pub(crate) fn note(reason: &'static str, released: u64) {
    if released > 0 {
        tracing::warn!(reason, tasks = released, "work was lost on its way and is dispatched again");
        metrics::counter!("podfleet_reconciler_repairs_total", "reason" => reason).increment(released);
    }
}

/// Looks at the head of a lane for what is paused, as long as there is nothing else, but not without end: the next look is soon.
async fn put_aside(
    tx: &Transaction<'_>,
    (kind, lane): (Kind, Lane),
    pauses: &[InForce],
) -> anyhow::Result<()> {
    for _ in 0..MOST_LOOKS {
        if pauses.is_empty() || !pauses::put_aside(tx, kind, lane, pauses).await? {
            break;
        }
    }
    Ok(())
}

/// Takes the lowest ranks of every lane that has room, inside the caller's transaction.
pub(crate) async fn dispatch_waiting(
    env: &Env,
    tx: &Transaction<'_>,
    window: &mut Window,
    reserved: &mut Vec<i64>,
) -> anyhow::Result<Vec<Outgoing>> {
    let mut outgoing = Vec::new();
    for (kind, lane, room) in window.open_lanes() {
        let limit = room.min(MOST_AT_ONCE);
        let pauses = window.pauses_in(kind, lane);
        let mut taken = dispatch::take_ready(tx, kind, lane, i64::MIN, i64::from(limit)).await?;
        let (found, last) = (taken.len(), taken.last().map(|ready| ready.rank));
        taken.retain(|ready| !is_held(&pauses, kind, lane, &ready.ticket));
        let count = u32::try_from(taken.len()).unwrap_or(u32::MAX);
        // What is left ranks no lower than the last one found.
        window.left_waiting(kind, lane, last.filter(|_| found == limit as usize));
        window.dispatched(kind, lane, count);
        if taken.is_empty() {
            continue;
        }
        for ready in &mut taken {
            ready.ticket.workers = window.workers_with(&ready.ticket.engine);
        }
        let first = env.ledger.reserve(taken.len());
        reserved.extend(first..first + i64::from(count));
        let keys = Keys::of(taken.iter().map(|ready| (ready.ticket.podcast, ready.ticket.task)));
        dispatch::mark_dispatched(tx, &keys, env.ledger.id, first).await?;
        outgoing.extend(taken.into_iter().map(|ready| Outgoing {
            seq: first + i64::try_from(keys.place(ready.ticket.task)).unwrap_or(0),
            lane,
            expected_ms: plan::expected_ms(&env.config, &window.learnt, kind, &ready.ticket.engine),
            ticket: ready.ticket,
        }));
    }
    Ok(outgoing)
}

/// Something that became ready since its lane was looked through.
fn is_held(pauses: &[InForce], kind: Kind, lane: Lane, ticket: &Ticket) -> bool {
    pauses.iter().any(|pause| pause.scope.covers(&ticket.tenant, kind, lane, &ticket.engine))
}

/// Fails podcasts whose deadline is over; what is still in flight is recorded when it comes.
async fn fail_overdue(tx: &Transaction<'_>) -> anyhow::Result<Vec<common::wire::Hint>> {
    let overdue = podcasts::overdue(tx, MOST_OVERDUE).await?;
    if overdue.is_empty() {
        return Ok(Vec::new());
    }
    let mut locked = podcasts::lock(tx, &overdue).await?;
    locked.retain(|podcast| podcast.state == PodcastState::Running);
    let ids: Vec<Uuid> = locked.iter().map(|podcast| podcast.id).collect();
    let left = unfinished::of_podcasts(tx, &ids).await?;
    let (mut letters, mut new_events) = (Vec::new(), Vec::new());
    for podcast in &mut locked {
        let chain: Vec<String> = left.get(&podcast.id).into_iter().flatten().map(what_was_missing).collect();
        let message = format!("the deadline {} passed before the podcast was finished", podcast.deadline);
        podcast.state = PodcastState::Failed;
        podcast.failure = Some(Failure {
            class: Class::Expired,
            stage: "deadline".into(),
            error: ErrorReport { message: message.clone(), chain: chain.clone(), ..ErrorReport::default() },
        });
        letters.push(NewDeadLetter {
            tenant: podcast.tenant.clone(),
            principal: podcast.principal.clone(),
            podcast_id: Some(podcast.id),
            task_id: None,
            kind: None,
            engine: None,
            class: Class::Expired,
            message,
            chain,
            payload: None,
            unread: None,
        });
        new_events.push(events::next(podcast, "failed"));
    }
    tasks::put_away(tx, &ids, State::Held).await?;
    dead_letters::insert(tx, &letters).await?;
    podcasts::save(tx, &locked.iter().collect::<Vec<_>>()).await?;
    events::insert(tx, &new_events).await?;
    Ok(new_events.into_iter().map(events::hint).collect())
}

fn what_was_missing(Unfinished { kind, tasks, last_error }: &Unfinished) -> String {
    let were = if *tasks == 1 { "task was" } else { "tasks were" };
    let failed = last_error.as_ref().map_or(String::new(), |error| format!("; the last failure: {error}"));
    format!("{tasks} {kind} {were} not done{failed}")
}

/// Releases what was dispatched long ago and nobody holds: from lanes that are empty now, and from those in which later work has passed it.
pub(crate) async fn release_lost(
    client: &mut Client,
    suspects: &[(Kind, Lane)],
    empty: &[(Kind, Lane)],
    window: &Window,
    lost_after_seconds: u32,
) -> anyhow::Result<()> {
    if crash::is_defective() {
        return Ok(());
    }
    let held = window.held();
    let tx = client.transaction().await?;
    for (kind, lane) in suspects {
        let released = if empty.contains(&(*kind, *lane)) {
            repair::lost_from_empty_lane(&tx, *kind, *lane, &held, lost_after_seconds).await?
        } else {
            repair::lost_from_busy_lane(&tx, *kind, *lane, &held, lost_after_seconds).await?
        };
        note("ticket_lost", released);
    }
    tx.commit().await?;
    Ok(())
}
