//! One transaction: the requests that have arrived, each as a podcast, its first task and its first event.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::Context;
use common::blobs;
use common::config::Order;
use common::crash;
use common::publisher::{Checkpoint, Ledger, Outgoing};
use common::request::Accepted;
use common::store::events::{self, NewEvent, Snapshot};
use common::store::podcasts::{self, NewPodcast, State};
use common::store::reading::Progress;
use common::store::tasks::{self, NewTask, Start};
use common::store::{self, Transaction, fleet};
use common::wire::{Hint, INLINE_BYTES};
use common::work::{Kind, OutlineInput, TextRef};
use deadpool_postgres::Client;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::limits;
use super::rank::VirtualClock;
use super::{Answer, Receipt, Refusal, Submission};
use crate::{Caller, Env};

/// Source texts that are written to the object store at a time.
const BLOBS_AT_ONCE: usize = 16;

/// A request with everything decided that needs no lock.
pub(super) struct Prepared {
    pub(super) reply: oneshot::Sender<Answer>,
    pub(super) caller: Caller,
    id: Uuid,
    /// Its request bears no source text any more: that is in `input`.
    accepted: Accepted,
    idempotency_key: Option<String>,
    traceparent: Option<String>,
    input: Box<RawValue>,
    input_hash: String,
    expected_ms: u32,
}

impl Prepared {
    pub(super) fn key(&self) -> Option<&str> {
        self.idempotency_key.as_deref()
    }

    pub(super) fn characters(&self) -> u64 {
        self.accepted.characters
    }
}

/// What must be answered and told once the transaction is committed.
#[derive(Default)]
pub(super) struct Stored {
    /// In the order of the batch.
    pub(super) answers: Vec<Answer>,
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) hints: Vec<Hint>,
    pub(super) checkpoint: Checkpoint,
}

/// Puts long texts into the object store and builds the first task's input. What fails here is answered here.
pub(super) async fn prepare(env: &Env, waiting: Vec<(Submission, oneshot::Sender<Answer>)>) -> Vec<Prepared> {
    let prepared: Vec<Option<Prepared>> = stream::iter(waiting)
        .map(|(submission, reply)| async move {
            match prepare_one(env, submission).await {
                Ok(build) => Some(build(reply)),
                Err(error) => {
                    tracing::error!(error = format!("{error:#}"), "a request could not be prepared");
                    reply.send(Err(refusal(&error))).ok();
                    None
                }
            }
        })
        .buffered(BLOBS_AT_ONCE)
        .collect()
        .await;
    prepared.into_iter().flatten().collect()
}

async fn prepare_one(
    env: &Env,
    submission: Submission,
) -> anyhow::Result<impl FnOnce(oneshot::Sender<Answer>) -> Prepared> {
    let Submission { mut accepted, caller, idempotency_key, traceparent } = submission;
    accepted.expected_work = env.forecast.work(&accepted).unwrap_or(accepted.expected_work);
    let text = accepted.request.source.as_mut().and_then(|source| source.text.take());
    let url = accepted.request.source.as_ref().and_then(|source| source.url.clone());
    let source = match text {
        Some(text) if text.len() > INLINE_BYTES => {
            let key =
                blobs::key(&caller.tenant, "source", blake3::hash(text.as_bytes()).to_hex().as_str(), "txt");
            env.blobs.put_if_absent(&key, text.into_bytes().into()).await?;
            Some(TextRef::Blob(key))
        }
        text => text.map(TextRef::Inline).or(url.map(TextRef::Url)),
    };
    let input =
        OutlineInput { brief: accepted.brief.clone(), source, chapters: accepted.request.chapters.clone() };
    let input = serde_json::value::to_raw_value(&input).context("the input of an outline task")?;
    let name = accepted.engines.engine(Kind::Outline);
    let engine = env.config.engines.get(name);
    let identity = engine.map(|engine| engine.identity()).unwrap_or_default();
    let input_hash = tasks::input_hash(Kind::Outline, name, &identity, &input);
    let expected_ms = engine.map_or(1_000, |engine| engine.expected_ms);
    Ok(move |reply| Prepared {
        reply,
        caller,
        id: Uuid::now_v7(),
        accepted,
        idempotency_key,
        traceparent,
        input,
        input_hash,
        expected_ms,
    })
}

/// `reserved` receives every number that was taken, also when an error follows.
pub(super) async fn transaction(
    env: &Env,
    ledger: &Ledger,
    client: &mut Client,
    clock: &mut VirtualClock,
    prepared: &[Prepared],
    reserved: &mut Vec<i64>,
) -> anyhow::Result<Stored> {
    let tx = client.transaction().await?;
    // Before anything is inserted: whoever is limited waits here for others who accept for the same tenant.
    let verdicts = limits::judge(&tx, env, prepared).await?;
    let admitted =
        || prepared.iter().zip(&verdicts).filter(|(_, limited)| limited.is_none()).map(|(one, _)| one);
    let rows = rank(&tx, clock, env.config.producer.order, admitted()).await?;
    let inserted: BTreeSet<Uuid> = podcasts::insert(&tx, &rows).await?.into_iter().collect();
    let ranks: BTreeMap<Uuid, i64> = rows.iter().map(|row| (row.id, row.rank)).collect();
    let mut stored = Stored::default();
    let (mut new_tasks, mut new_events) = (Vec::new(), Vec::new());
    for (one, limited) in prepared.iter().zip(&verdicts) {
        if let Some(limited) = limited {
            stored.answers.push(Err(Refusal::Limited(Box::new(limited.clone()))));
            continue;
        }
        if !inserted.contains(&one.id) {
            clock.withdraw(&one.caller.tenant, one.accepted.expected_work);
            stored.answers.push(existing(&tx, one).await?);
            continue;
        }
        let mut task = first_task(one, ranks.get(&one.id).copied().unwrap_or_default());
        if !env.link.holds(&task) && env.link.take(task.lane, Instant::now()) {
            let seq = ledger.reserve(1);
            reserved.push(seq);
            task.start = Start::Dispatched { seq };
            stored.outgoing.push(Outgoing::first_attempt(&task, seq, one.expected_ms));
        }
        let waits = (task.start == Start::Ready).then_some((task.lane, task.rank));
        stored.answers.push(Ok(Receipt { podcast: one.id, replayed: false, waits }));
        new_tasks.push(task);
        new_events.push(first_event(one));
    }
    tasks::insert(&tx, &new_tasks, ledger.id).await?;
    events::insert(&tx, &new_events).await?;
    stored.checkpoint = ledger.checkpoint();
    if !stored.checkpoint.failed.is_empty() {
        tasks::repair::unpublished(&tx, ledger.id, &stored.checkpoint.failed).await?;
    }
    fleet::checkpoint(&tx, ledger.id, "producer", &stored.checkpoint).await?;
    crash::point("producer.before_commit");
    tx.commit().await?;
    stored.hints = new_events.into_iter().map(events::hint).collect();
    Ok(stored)
}

/// The rows, ordered by key: two producers that are sent the same keys then wait for each other instead of deadlocking. Of
/// equal keys the first to arrive stays first.
async fn rank(
    tx: &Transaction<'_>,
    clock: &mut VirtualClock,
    order: Order,
    admitted: impl Iterator<Item = &Prepared>,
) -> anyhow::Result<Vec<NewPodcast>> {
    let now_us = Timestamp::now().as_microsecond();
    let mut rows = Vec::new();
    for one in admitted {
        let tenant = &one.caller.tenant;
        if !clock.knows(tenant) {
            clock.seed(tenant, podcasts::last_rank(tx, tenant).await?);
        }
        let by_work = clock.next(tenant, now_us, one.accepted.expected_work);
        rows.push(NewPodcast {
            id: one.id,
            tenant: tenant.clone(),
            principal: one.caller.principal.clone(),
            idempotency_key: one.idempotency_key.clone(),
            request_hash: one.accepted.hash.clone(),
            request: one.accepted.request.clone(),
            lane: one.accepted.lane,
            rank: if order == Order::Work { by_work } else { now_us },
            engines: one.accepted.engines.clone(),
            brief: one.accepted.brief.clone(),
            traceparent: one.traceparent.clone(),
            deadline: one.accepted.deadline,
            callback_url: one.accepted.request.callback_url.clone(),
        });
    }
    rows.sort_by(|a, b| (&a.tenant, &a.idempotency_key).cmp(&(&b.tenant, &b.idempotency_key)));
    Ok(rows)
}

/// Somebody was first with this key: perhaps long ago, perhaps in this very batch.
async fn existing(tx: &Transaction<'_>, one: &Prepared) -> anyhow::Result<Answer> {
    let key =
        one.idempotency_key.as_deref().context("a podcast without an idempotency key met a conflict")?;
    let (podcast, hash) = podcasts::by_idempotency_key(tx, &one.caller.tenant, key)
        .await?
        .context("the podcast of an idempotency key vanished")?;
    Ok(if hash == one.accepted.hash {
        Ok(Receipt { podcast, replayed: true, waits: None })
    } else {
        Err(Refusal::Conflict { podcast })
    })
}

fn first_task(one: &Prepared, rank: i64) -> NewTask {
    NewTask {
        id: Uuid::now_v7(),
        podcast_id: one.id,
        tenant: one.caller.tenant.clone(),
        principal: one.caller.principal.clone(),
        generation: 1,
        kind: Kind::Outline,
        chapter: 0,
        segment: 0,
        lane: one.accepted.lane,
        rank,
        engine: one.accepted.engines.engine(Kind::Outline).to_owned(),
        input: one.input.clone(),
        input_hash: one.input_hash.clone(),
        deadline: one.accepted.deadline,
        traceparent: one.traceparent.clone(),
        start: Start::Ready,
    }
}

fn first_event(one: &Prepared) -> NewEvent {
    let title = one.accepted.brief.title.as_deref();
    NewEvent {
        podcast_id: one.id,
        seq: 1,
        tenant: one.caller.tenant.clone(),
        principal: one.caller.principal.clone(),
        event: "accepted",
        data: events::snapshot(&Snapshot {
            state: State::Running,
            title,
            progress: Progress::default(),
            first_audio_ms: None,
            duration_ms: None,
            failure: None,
        }),
        callback_url: None,
    }
}

/// What the caller is told of an error.
pub(super) fn refusal(error: &anyhow::Error) -> Refusal {
    if blobs::is_disk_full(error.as_ref()) {
        Refusal::DiskFull("blobs")
    } else if store::is_disk_full(error) {
        Refusal::DiskFull("database")
    } else if store::is_refused(error) {
        Refusal::Unstorable
    } else {
        Refusal::Unavailable
    }
}
