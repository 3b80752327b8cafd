//! Outcomes on their way to the collector. An outcome is confirmed before its ticket is acked; what is not confirmed when a
//! session breaks is published again by the next one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::amqp::{self, PublishError};
use common::crash;
use common::topology::outcomes_queue;
use common::wire::{self, Outcome};
use common::work::Kind;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use lapin::Channel;
use lapin::message::Delivery;
use tokio::sync::mpsc;

/// Outcomes in one message, at most.
const MOST_IN_A_MESSAGE: usize = 100;
/// And bytes of their results; a single larger one travels alone.
const MOST_BYTES: usize = 256 * 1024;
/// Messages that wait for their confirm; beyond these, outcomes wait here.
const MOST_UNCONFIRMED: usize = 256;

/// A delivery whose tickets are being settled: acked when the last of them is.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) delivery: Delivery,
    /// The session that took it; a later session cannot ack it.
    pub(crate) session: u64,
    open: AtomicUsize,
}

impl Held {
    pub(crate) fn new(delivery: Delivery, session: u64, tickets: usize) -> Arc<Held> {
        Arc::new(Held { delivery, session, open: AtomicUsize::new(tickets) })
    }

    /// One more ticket of this delivery is settled; `true` for the last.
    fn settle_one(&self) -> bool {
        self.open.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// An outcome, and the delivery that it settles, if it is its ticket's last.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(crate) outcome: Outcome,
    pub(crate) settles: Option<Arc<Held>>,
}

/// What a running task tells the loop.
#[derive(Debug)]
pub(crate) enum Report {
    Outcome(Box<Settlement>),
    /// The permit is free again.
    Free {
        kind: Kind,
        alone: bool,
        start: u64,
    },
}

/// Where a running task puts its outcomes.
#[derive(Debug)]
pub(crate) struct Emitter {
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) held: Arc<Held>,
}

impl Emitter {
    /// The loop lives longer than its tasks, except when the process ends: then nobody is there to tell.
    pub(crate) async fn outcome(&self, outcome: Outcome) {
        let settles = outcome.last.then(|| self.held.clone());
        let _ = self.reports.send(Report::Outcome(Box::new(Settlement { outcome, settles }))).await;
    }

    pub(crate) async fn free(self, kind: Kind, alone: bool, start: u64) {
        let _ = self.reports.send(Report::Free { kind, alone, start }).await;
    }
}

/// Lives as long as the process, across sessions.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Vec<Settlement>,
    unconfirmed: BTreeMap<u64, Vec<Settlement>>,
    last: u64,
}

/// Confirms of one session.
pub(crate) type Confirms = FuturesUnordered<BoxFuture<'static, (u64, Result<(), PublishError>)>>;

impl Outbox {
    pub(crate) fn push(&mut self, settlement: Settlement) {
        self.waiting.push(settlement);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.unconfirmed.is_empty()
    }

    /// After a session broke: whether its messages arrived is not known, so they are sent again. Applying an outcome twice
    /// changes nothing.
    pub(crate) fn take_back_unconfirmed(&mut self) {
        let unconfirmed = std::mem::take(&mut self.unconfirmed);
        let mut waiting: Vec<Settlement> = unconfirmed.into_values().flatten().collect();
        waiting.append(&mut self.waiting);
        self.waiting = waiting;
    }

    /// Publishes everything that waits, as few messages as its size and the partitions allow.
    pub(crate) async fn publish(
        &mut self,
        channel: &Channel,
        partitions: u16,
        timeout: Duration,
        confirms: &Confirms,
    ) -> anyhow::Result<()> {
        if self.waiting.is_empty() || self.unconfirmed.len() >= MOST_UNCONFIRMED {
            return Ok(());
        }
        let mut queues: BTreeMap<String, Vec<Settlement>> = BTreeMap::new();
        for settlement in self.waiting.drain(..) {
            queues
                .entry(outcomes_queue(settlement.outcome.podcast, partitions))
                .or_default()
                .push(settlement);
        }
        let messages: Vec<(String, Vec<Settlement>)> = queues
            .into_iter()
            .flat_map(|(queue, settlements)| {
                cut(settlements).into_iter().map(move |part| (queue.clone(), part))
            })
            .collect();
        // First into `unconfirmed`, all of them: if this call fails halfway, nothing is forgotten.
        let numbered: Vec<(u64, String)> = messages
            .into_iter()
            .map(|(queue, part)| {
                self.last += 1;
                self.unconfirmed.insert(self.last, part);
                (self.last, queue)
            })
            .collect();
        for (number, queue) in numbered {
            let Some(settlements) = self.unconfirmed.get(&number) else { continue };
            let outcomes: Vec<&Outcome> = settlements.iter().map(|settlement| &settlement.outcome).collect();
            let body = wire::encode(&outcomes)?;
            let confirm = amqp::publish(channel, "", &queue, &body, amqp::persistent_json(), timeout).await?;
            confirms.push(Box::pin(async move { (number, amqp::confirmed(confirm, timeout).await) }));
        }
        Ok(())
    }

    /// A message is confirmed: acks the deliveries that it settles.
    pub(crate) async fn confirmed(
        &mut self,
        number: u64,
        session: u64,
        timeout: Duration,
    ) -> anyhow::Result<usize> {
        let settlements = self.unconfirmed.remove(&number).unwrap_or_default();
        crash::point("worker.after_confirm_before_ack");
        let mut acked = 0;
        for held in settlements.into_iter().filter_map(|settlement| settlement.settles) {
            // The ticket of an earlier session is delivered again to somebody, who hands it back.
            if held.settle_one() && held.session == session {
                amqp::ack(&held.delivery.acker, false, timeout).await?;
                acked += 1;
            }
        }
        Ok(acked)
    }
}

/// The next confirm, or never while none is awaited.
pub(crate) async fn next_confirm(confirms: &mut Confirms) -> (u64, Result<(), PublishError>) {
    match confirms.next().await {
        Some(confirmed) => confirmed,
        None => std::future::pending().await,
    }
}

fn cut(settlements: Vec<Settlement>) -> Vec<Vec<Settlement>> {
    let mut messages: Vec<Vec<Settlement>> = Vec::new();
    let mut bytes = 0;
    for settlement in settlements {
        let size = settlement.outcome.result.as_ref().map_or(0, |result| result.get().len());
        match messages.last_mut() {
            Some(message) if message.len() < MOST_IN_A_MESSAGE && bytes + size < MOST_BYTES => {
                bytes += size;
                message.push(settlement);
            }
            _ => {
                bytes = size;
                messages.push(vec![settlement]);
            }
        }
    }
    messages
}
