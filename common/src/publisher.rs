//! Publishing tickets, and knowing how far the broker has confirmed them.
//!
//! A task is committed as `dispatched` with its publisher and a sequence number *before* its ticket is published. How far the
//! confirms have come ([`Checkpoint`]) rides in the publisher's next transaction. When a publisher dies, its lease ends,
//! and what lies beyond its last checkpoint becomes `ready` again: nothing is lost, at worst a ticket is sent twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use lapin::{Channel, PublisherConfirm};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::amqp::{self, PublishError};
use crate::blobs::Blobs;
use crate::store::tasks::NewTask;
use crate::topology::{Lane, lane_queue};
use crate::wire::{self, INLINE_BYTES, Input, Ticket};
use crate::work::Kind;

/// Tickets of one lane share a message while their expected work stays under this.
const SHARED_MESSAGE_MS: u32 = 50;
/// And while the message stays under this many bytes.
const SHARED_MESSAGE_BYTES: usize = 256 * 1024;
/// Confirms that may be outstanding; a publish beyond waits for the oldest.
const MAX_UNCONFIRMED: usize = 4096;

/// A ticket with its sequence number, not yet sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub seq: i64,
    pub lane: Lane,
    /// What the task is expected to take.
    pub expected_ms: u32,
    pub ticket: Ticket,
}

impl Outgoing {
    /// The ticket of a task that is inserted as dispatched under this number.
    pub fn first_attempt(task: &NewTask, seq: i64, expected_ms: u32) -> Outgoing {
        let ticket = Ticket {
            v: wire::VERSION,
            podcast: task.podcast_id,
            task: task.id,
            tenant: task.tenant.clone(),
            kind: task.kind,
            chapter: task.chapter,
            segment: task.segment,
            attempt: 1,
            generation: task.generation,
            input_hash: task.input_hash.clone(),
            engine: task.engine.clone(),
            deadline: task.deadline,
            alone: false,
            committed_parts: 0,
            committed_turns: 0,
            written: Vec::new(),
            failures: 0,
            workers: 0,
            traceparent: task.traceparent.clone(),
            input: Input::Inline(task.input.clone()),
        };
        Outgoing { seq, lane: task.lane, expected_ms, ticket }
    }
}

/// What a transaction records of a publisher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Everything up to this number is confirmed (or known to be failed and listed below, now or before).
    pub confirmed: i64,
    /// Numbers whose tickets could not be published: their tasks go back to `ready`.
    pub failed: Vec<i64>,
}

/// The sequence numbers of one process, for its lifetime.
#[derive(Debug)]
pub struct Ledger {
    /// Identity of this process as a publisher.
    pub id: Uuid,
    numbers: Mutex<Numbers>,
}

#[derive(Debug, Default)]
struct Numbers {
    last: i64,
    pending: BTreeSet<i64>,
    failed: BTreeSet<i64>,
}

impl Ledger {
    pub fn new() -> Arc<Ledger> {
        Arc::new(Ledger { id: Uuid::now_v7(), numbers: Mutex::default() })
    }

    fn numbers(&self) -> std::sync::MutexGuard<'_, Numbers> {
        // Every change below is complete before the lock is let go, so a panic elsewhere leaves it whole.
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next `count` numbers; returns the first. Each must be settled later.
    pub fn reserve(&self, count: usize) -> i64 {
        let mut numbers = self.numbers();
        let first = numbers.last + 1;
        numbers.last += i64::try_from(count).unwrap_or(0);
        let taken = first..=numbers.last;
        numbers.pending.extend(taken);
        first
    }

    /// The broker has confirmed these, or no row was committed with them.
    pub fn settle(&self, seqs: &[i64]) {
        let mut numbers = self.numbers();
        for seq in seqs {
            numbers.pending.remove(seq);
        }
    }

    /// These could not be published, or nobody knows whether they were.
    pub fn fail(&self, seqs: &[i64]) {
        let mut numbers = self.numbers();
        for seq in seqs {
            if numbers.pending.remove(seq) {
                numbers.failed.insert(*seq);
            }
        }
    }

    pub fn checkpoint(&self) -> Checkpoint {
        let numbers = self.numbers();
        let first_open = numbers.pending.first().into_iter().chain(numbers.failed.first()).min();
        let confirmed = first_open.map_or(numbers.last, |first| first - 1);
        Checkpoint { confirmed, failed: numbers.failed.iter().copied().collect() }
    }

    /// The checkpoint's transaction is committed.
    pub fn recorded(&self, checkpoint: &Checkpoint) {
        let mut numbers = self.numbers();
        for seq in &checkpoint.failed {
            numbers.failed.remove(seq);
        }
    }

    /// Whether anything waits to be recorded or confirmed.
    pub fn has_news_since(&self, recorded: i64) -> bool {
        let checkpoint = self.checkpoint();
        checkpoint.confirmed != recorded || !checkpoint.failed.is_empty()
    }
}

/// Publishes tickets on one channel, for one session with the broker.
#[derive(Debug)]
pub struct TicketPublisher {
    ledger: Arc<Ledger>,
    channel: Channel,
    blobs: Blobs,
    timeout: Duration,
    confirms: mpsc::Sender<(PublisherConfirm, Vec<i64>)>,
}

impl TicketPublisher {
    /// The second half must run for as long as the first publishes; it ends with the first error, and the session with it.
    pub fn new(
        ledger: Arc<Ledger>,
        channel: Channel,
        blobs: Blobs,
        timeout: Duration,
    ) -> (TicketPublisher, impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let (confirms, pending) = mpsc::channel(MAX_UNCONFIRMED);
        let (confirmed, open) = (ledger.clone(), channel.clone());
        let waiting = async move {
            let ended = await_confirms(confirmed, pending, timeout).await;
            // The last one who holds a channel closes it, and with it whatever is not confirmed yet.
            drop(open);
            ended
        };
        (TicketPublisher { ledger, channel, blobs, timeout, confirms }, waiting)
    }

    /// Sends the tickets, sharing messages where they are short. What cannot be sent is marked failed in the ledger; an
    /// error means that the session is over.
    pub async fn publish(&self, outgoing: Vec<Outgoing>) -> anyhow::Result<()> {
        let mut unsent: BTreeSet<i64> = outgoing.iter().map(|out| out.seq).collect();
        let result = self.publish_each(outgoing, &mut unsent).await;
        let unsent: Vec<i64> = unsent.into_iter().collect();
        self.ledger.fail(&unsent);
        result
    }

    async fn publish_each(&self, outgoing: Vec<Outgoing>, unsent: &mut BTreeSet<i64>) -> anyhow::Result<()> {
        let mut lanes: BTreeMap<(Kind, Lane), Vec<Outgoing>> = BTreeMap::new();
        for mut out in outgoing {
            match self.stow(&out.ticket).await {
                Ok(input) => {
                    out.ticket.input = input;
                    lanes.entry((out.ticket.kind, out.lane)).or_default().push(out);
                }
                // Its disk is no reason to hold up the others; it stays unsent, and is tried again.
                Err(error) => {
                    tracing::error!(task.id = %out.ticket.task, error = format!("{error:#}"), "a task waits, as its input cannot be stored");
                    metrics::counter!("podfleet_publish_total", "result" => "unstored").increment(1);
                }
            }
        }
        for ((kind, lane), waiting) in lanes {
            let queue = lane_queue(kind, lane);
            for message in share(waiting, lane) {
                let seqs: Vec<i64> = message.iter().map(|out| out.seq).collect();
                let tickets: Vec<&Ticket> = message.iter().map(|out| &out.ticket).collect();
                let body = wire::encode(&tickets)?;
                let confirm =
                    amqp::publish(&self.channel, "", &queue, &body, amqp::persistent_json(), self.timeout)
                        .await?;
                for seq in &seqs {
                    unsent.remove(seq);
                }
                if self.confirms.send((confirm, seqs.clone())).await.is_err() {
                    self.ledger.fail(&seqs);
                    anyhow::bail!("the session that waits for confirms is over");
                }
            }
        }
        Ok(())
    }

    /// Moves a large input to a blob named by its hash.
    async fn stow(&self, ticket: &Ticket) -> anyhow::Result<Input> {
        let Input::Inline(json) = &ticket.input else { return Ok(ticket.input.clone()) };
        if json.get().len() <= INLINE_BYTES {
            return Ok(ticket.input.clone());
        }
        let key = crate::blobs::key(&ticket.tenant, "input", &ticket.input_hash, "json");
        self.blobs
            .put_if_absent(&key, json.get().as_bytes().to_vec().into())
            .await
            .context("storing a task's input")?;
        Ok(Input::Blob(key))
    }
}

/// Reads an input back, wherever it lies.
pub async fn fetch_input(input: &Input, blobs: &Blobs) -> anyhow::Result<Box<RawValue>> {
    match input {
        Input::Inline(json) => Ok(json.clone()),
        Input::Blob(key) => {
            let bytes = blobs.get(key).await?;
            let text = String::from_utf8(bytes.to_vec()).context("a task's input is not UTF-8")?;
            RawValue::from_string(text).context("a task's input is not JSON")
        }
    }
}

/// Cuts a lane's tickets into messages. On the alone lane each has its own.
fn share(waiting: Vec<Outgoing>, lane: Lane) -> Vec<Vec<Outgoing>> {
    let mut messages: Vec<Vec<Outgoing>> = Vec::new();
    let (mut work, mut bytes) = (u32::MAX, usize::MAX);
    for out in waiting {
        let size = match &out.ticket.input {
            Input::Inline(json) => json.get().len(),
            Input::Blob(key) => key.len(),
        };
        let fits = work.saturating_add(out.expected_ms) < SHARED_MESSAGE_MS
            && bytes.saturating_add(size) < SHARED_MESSAGE_BYTES
            && lane != Lane::Alone;
        match messages.last_mut() {
            Some(message) if fits => {
                work += out.expected_ms;
                bytes += size;
                message.push(out);
            }
            _ => {
                (work, bytes) = (out.expected_ms, size);
                messages.push(vec![out]);
            }
        }
    }
    messages
}

async fn await_confirms(
    ledger: Arc<Ledger>,
    mut pending: mpsc::Receiver<(PublisherConfirm, Vec<i64>)>,
    timeout: Duration,
) -> anyhow::Result<()> {
    let mut broken: Option<anyhow::Error> = None;
    while let Some((confirm, seqs)) = pending.recv().await {
        if broken.is_some() {
            // The session is over; whether these arrived is not known, and sending them again is harmless.
            ledger.fail(&seqs);
            continue;
        }
        match amqp::confirmed(confirm, timeout).await {
            Ok(()) => {
                metrics::counter!("podfleet_publish_total", "result" => "confirmed").increment(1);
                ledger.settle(&seqs);
            }
            Err(error @ (PublishError::Returned | PublishError::Refused)) => {
                metrics::counter!("podfleet_publish_total", "result" => "returned").increment(1);
                ledger.fail(&seqs);
                // A lane that is gone has to be declared again: a new session does that.
                broken = Some(error.into());
                pending.close();
            }
            Err(error) => {
                metrics::counter!("podfleet_publish_total", "result" => "unknown").increment(1);
                ledger.fail(&seqs);
                broken = Some(error.into());
                pending.close();
            }
        }
    }
    broken.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_stops_at_the_first_open_number() {
        let ledger = Ledger::new();
        assert_eq!(ledger.reserve(5), 1);
        ledger.settle(&[1, 2, 4]);
        assert_eq!(ledger.checkpoint(), Checkpoint { confirmed: 2, failed: vec![] });
        ledger.fail(&[3]);
        let checkpoint = ledger.checkpoint();
        assert_eq!(checkpoint, Checkpoint { confirmed: 2, failed: vec![3] });
        ledger.recorded(&checkpoint);
        assert_eq!(ledger.checkpoint(), Checkpoint { confirmed: 4, failed: vec![] });
        ledger.settle(&[5]);
        assert_eq!(ledger.checkpoint().confirmed, 5);
    }

    #[test]
    fn a_settled_number_cannot_fail_later() {
        let ledger = Ledger::new();
        ledger.reserve(1);
        ledger.settle(&[1]);
        ledger.fail(&[1]);
        assert_eq!(ledger.checkpoint(), Checkpoint { confirmed: 1, failed: vec![] });
    }

    fn outgoing(seq: i64, expected_ms: u32) -> Outgoing {
        let ticket = Ticket {
            v: wire::VERSION,
            podcast: Uuid::nil(),
            task: Uuid::nil(),
            tenant: "t".into(),
            kind: Kind::Tts,
            chapter: 0,
            segment: 0,
            attempt: 1,
            generation: 1,
            input_hash: String::new(),
            engine: "noop".into(),
            deadline: jiff::Timestamp::MAX,
            alone: false,
            committed_parts: 0,
            committed_turns: 0,
            written: Vec::new(),
            failures: 0,
            workers: 0,
            traceparent: None,
            input: Input::Blob("k".into()),
        };
        Outgoing { seq, lane: Lane::Normal, expected_ms, ticket }
    }

    #[test]
    fn short_tickets_share_a_message_and_long_ones_do_not() {
        let sizes = |expected: &[u32], lane| -> Vec<usize> {
            let waiting = expected.iter().enumerate().map(|(i, ms)| outgoing(i as i64, *ms)).collect();
            share(waiting, lane).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(&[10; 10], Lane::Normal), [4, 4, 2]);
        assert_eq!(sizes(&[1000, 1000], Lane::Normal), [1, 1]);
        assert_eq!(sizes(&[1, 1], Lane::Alone), [1, 1]);
    }
}
