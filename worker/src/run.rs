//! One ticket: from its input to the outcomes that are published for it.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use common::class::Class;
use common::wire::{ErrorReport, Outcome, Ticket, TicketStub, VERSION};
use common::work::{Kind, Price};
use futures_util::FutureExt;
use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::Env;
use crate::engine::Bill;
use crate::failure::Failure;
use crate::outbox::Emitter;
use crate::task::parts::PartSink;
use crate::task::{self, Done};

/// No task of any kind takes longer; the broker's own limit for an unacked delivery is half an hour.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// What is kept of a message or a cause.
const LONGEST_MESSAGE: usize = 500;

/// Does the task and emits its outcomes, the final one last. Never panics and never fails: whatever happens
/// becomes an outcome.
pub(crate) async fn ticket(env: &Env, ticket: &Ticket, emitter: &Emitter) {
    let started_at = Timestamp::now();
    let started = Instant::now();
    let bill = Bill::default();
    let parts = Parts { env, ticket, emitter, started_at, next: AtomicI32::new(ticket.committed_parts) };
    env.engines.heard(ticket);
    let result = env.cache.within_budget(attempt(env, ticket, &bill, &parts)).await;
    let class = match &result {
        Ok(_) => Class::Success,
        Err(failure) => failure.class,
    };
    metrics::counter!("podfleet_tasks_total", "kind" => ticket.kind.as_str(), "class" => class.as_str())
        .increment(1);
    metrics::histogram!("podfleet_task_duration_seconds", "kind" => ticket.kind.as_str())
        .record(started.elapsed().as_secs_f64());
    let (units, cost_micros) = bill.sum();
    match result {
        Ok(done) => {
            count_saved(ticket.kind, done.saved);
            let count = done.parts.len();
            for (index, part) in done.parts.into_iter().enumerate() {
                let mut outcome = parts.outcome(part);
                outcome.last = index + 1 == count;
                if outcome.last {
                    outcome.units = i64::try_from(done.units.saturating_add(units)).unwrap_or(i64::MAX);
                    outcome.cost_micros = cost_micros;
                    outcome.cached = done.cached;
                    outcome.saved = done.saved;
                    outcome.measure = done.measure.clone();
                }
                emitter.outcome(outcome).await;
            }
        }
        Err(failure) => {
            // Nothing has gone wrong: the engine is left alone, or somebody else does the same work.
            if matches!(failure.class, Class::Parked | Class::Returned) {
                tracing::debug!(task.id = %ticket.task, class = %failure.class, error = failure.message, "a task waits");
            } else {
                tracing::warn!(
                    podcast.id = %ticket.podcast, task.id = %ticket.task, task.kind = %ticket.kind, attempt = ticket.attempt,
                    class = %failure.class, error = failure.message, "a task failed"
                );
            }
            let mut outcome = failed(env, ticket, started_at, &failure);
            outcome.part = parts.next.load(Ordering::Relaxed);
            if let Some(error) = &mut outcome.error {
                error.advanced = outcome.part > ticket.committed_parts;
            }
            // What was paid was paid, whatever came of it.
            outcome.units = i64::try_from(units).unwrap_or(i64::MAX);
            outcome.cost_micros = cost_micros;
            emitter.outcome(outcome).await;
        }
    }
}

fn count_saved(kind: Kind, saved: Price) {
    let counted = |name: &'static str, amount: i64| {
        metrics::counter!(name, "kind" => kind.as_str()).increment(u64::try_from(amount).unwrap_or(0));
    };
    counted("podfleet_saved_calls_total", saved.calls);
    counted("podfleet_saved_micros_total", saved.micros);
}

/// Parts of this attempt, numbered from the first that is not accepted yet.
struct Parts<'a> {
    env: &'a Env,
    ticket: &'a Ticket,
    emitter: &'a Emitter,
    started_at: Timestamp,
    next: AtomicI32,
}

impl Parts<'_> {
    /// The next part, as one that more parts follow.
    fn outcome(&self, part: Box<RawValue>) -> Outcome {
        let mut outcome = blank(self.env, self.ticket, Class::Success, self.started_at);
        outcome.part = self.next.fetch_add(1, Ordering::Relaxed);
        outcome.last = false;
        outcome.result = Some(part);
        outcome
    }
}

impl PartSink for Parts<'_> {
    async fn part(&self, part: Box<RawValue>) {
        self.emitter.outcome(self.outcome(part)).await;
    }
}

async fn attempt(env: &Env, ticket: &Ticket, bill: &Bill, parts: &Parts<'_>) -> Result<Done, Failure> {
    if ticket.v > VERSION {
        return Err(Failure::new(
            Class::Unsupported,
            format!("this worker does not know tickets of version {}", ticket.v),
        ));
    }
    let left = ticket.deadline.duration_since(Timestamp::now());
    if left.is_negative() {
        return Err(Failure::new(
            Class::Expired,
            "the podcast's deadline passed before the task was started",
        ));
    }
    let limit = left.unsigned_abs().min(LONGEST);
    let task = AssertUnwindSafe(task::run(env, ticket, limit, bill, parts)).catch_unwind();
    match tokio::time::timeout(limit, task).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(Failure::transient(format!("the task panicked: {}", panic_message(&*panic)))),
        Err(_) => Err(Failure::timeout(format!("the task was not done within {} s", limit.as_secs()))),
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// An outcome for a ticket that is not run at all.
pub(crate) fn unrun(env: &Env, ticket: &Ticket, class: Class, message: &str) -> Outcome {
    failed(env, ticket, Timestamp::now(), &Failure::new(class, message))
}

/// An outcome for a ticket of which only the ids can be read.
pub(crate) fn unsupported(env: &Env, element: &RawValue, reason: &str) -> Option<Outcome> {
    let stub: TicketStub = serde_json::from_str(element.get()).ok()?;
    let now = Timestamp::now();
    let message = format!("this worker cannot read the ticket (version {}): {reason}", stub.v);
    Some(Outcome {
        v: VERSION,
        podcast: stub.podcast,
        task: stub.task,
        tenant: stub.tenant,
        kind: stub.kind,
        attempt: stub.attempt,
        generation: stub.generation,
        input_hash: stub.input_hash,
        class: Class::Unsupported,
        part: 0,
        last: true,
        worker: env.id.clone(),
        started_at: now,
        finished_at: now,
        units: 0,
        cost_micros: 0,
        cached: false,
        saved: Price::default(),
        measure: None,
        result: None,
        error: Some(ErrorReport { message, ..ErrorReport::default() }),
    })
}

fn blank(env: &Env, ticket: &Ticket, class: Class, started_at: Timestamp) -> Outcome {
    Outcome {
        v: VERSION,
        podcast: ticket.podcast,
        task: ticket.task,
        tenant: ticket.tenant.clone(),
        kind: ticket.kind,
        attempt: ticket.attempt,
        generation: ticket.generation,
        input_hash: ticket.input_hash.clone(),
        class,
        part: ticket.committed_parts,
        last: true,
        worker: env.id.clone(),
        started_at,
        finished_at: Timestamp::now(),
        units: 0,
        cost_micros: 0,
        cached: false,
        saved: Price::default(),
        measure: None,
        result: None,
        error: None,
    }
}

fn failed(env: &Env, ticket: &Ticket, started_at: Timestamp, failure: &Failure) -> Outcome {
    let parked = failure.class == Class::Parked;
    let class = if parked { Class::PermanentConfig } else { failure.class };
    let mut outcome = blank(env, ticket, class, started_at);
    outcome.error = Some(ErrorReport {
        message: shorten(&failure.message),
        chain: chain(failure),
        retry_after_ms: failure.retry_after.and_then(|wait| u64::try_from(wait.as_millis()).ok()),
        missing_segments: failure.missing_segments.clone(),
        missing_chapters: failure.missing_chapters.clone(),
        wrong_answer: failure.wrong_answer,
        advanced: false,
        parked,
    });
    outcome
}

fn chain(failure: &Failure) -> Vec<String> {
    let mut chain = Vec::new();
    let mut cause = std::error::Error::source(failure);
    while let Some(error) = cause {
        chain.push(shorten(&error.to_string()));
        cause = error.source();
        if chain.len() == 10 {
            break;
        }
    }
    chain
}

/// Messages come from outside, too: bounded, and without control characters.
fn shorten(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_MESSAGE).collect()
}
