//! What becomes of outcomes that were delivered: read, committed together, told, and acked, in this order; and how the one is found
//! that spoils its batch.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use anyhow::bail;
use common::wire::{self, Outcome, VERSION};
use common::{amqp, crash, store};
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::types::AMQPValue;

use super::Session;
use crate::commit::{self, Committed};

/// A batch is at most this many outcomes, or this many bytes.
const MAX_OUTCOMES: usize = 1_000;
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// After this many deliveries an outcome may be what ended those who had it in hand.
const MAX_DELIVERIES: i64 = 5;
/// So long outcomes wait for rows that somebody holds, before the session is built again.
const LOCKED: Duration = Duration::from_secs(600);

#[derive(Default)]
struct Batch {
    outcomes: Vec<Outcome>,
    bytes: usize,
    deliveries: Vec<Delivery>,
}

impl Session<'_> {
    /// Group commit: everything that has arrived while the last commit was in flight, in one transaction.
    pub(super) async fn on_outcomes(&mut self, first: Delivery) -> anyhow::Result<()> {
        let mut batch = Batch::default();
        let mut next = Some(first);
        while let Some(delivery) = next.take() {
            if delivery.redelivered {
                // Whatever broke the last time must not take its neighbours along.
                self.commit(std::mem::take(&mut batch)).await?;
                self.apply_alone(delivery).await?;
            } else {
                self.suspects_first = false;
                self.add(&mut batch, delivery).await?;
            }
            if batch.outcomes.len() >= MAX_OUTCOMES || batch.bytes >= MAX_BYTES {
                break;
            }
            next = match self.outcomes.next().now_or_never() {
                Some(delivery) => Some(amqp::taken(delivery, "outcomes")?),
                None => None,
            };
        }
        self.commit(batch).await
    }

    /// An unreadable message goes to the dead queue at once; elements that are unreadable or of a later version go with it, the others count.
    async fn add(&mut self, batch: &mut Batch, delivery: Delivery) -> anyhow::Result<()> {
        match wire::decode::<Outcome>(&delivery.data) {
            Ok(decoded) if decoded.unreadable.is_empty() && decoded.items.iter().all(is_known) => {
                batch.bytes += delivery.data.len();
                batch.outcomes.extend(decoded.items);
                batch.deliveries.push(delivery);
                Ok(())
            }
            Ok(decoded) => {
                // Newer workers than this collector: an upgrade of the collectors is due. Their readable outcomes count now;
                // the message waits as a dead letter, and the task is dispatched again when its ticket is missed.
                batch.outcomes.extend(decoded.items.into_iter().filter(is_known));
                self.commit(std::mem::take(batch)).await?;
                amqp::reject(&delivery.acker, self.timeout).await
            }
            Err(reason) => {
                tracing::warn!(reason, "an outcome message cannot be read");
                amqp::reject(&delivery.acker, self.timeout).await
            }
        }
    }

    /// One that was delivered often has been in hand when collectors ended, or beside the one that ended them. A process that has just
    /// started may have been ended by the first one that it is given, and sets that aside; a broken connection says nothing of that kind.
    async fn apply_alone(&mut self, delivery: Delivery) -> anyhow::Result<()> {
        let often = deliveries(&delivery) > MAX_DELIVERIES;
        if std::mem::take(&mut self.suspects_first) && often {
            tracing::error!("an outcome was in hand each time that collectors ended; it is set aside");
            return amqp::reject(&delivery.acker, self.timeout).await;
        }
        let acker = delivery.acker.clone();
        let mut batch = Batch::default();
        self.add(&mut batch, delivery).await?;
        match AssertUnwindSafe(self.commit(batch)).catch_unwind().await {
            Ok(result) => result,
            Err(_) if often => amqp::reject(&acker, self.timeout).await,
            Err(_) => bail!("applying a redelivered outcome panicked"),
        }
    }

    /// Commit, publish, ack: in this order. The publish is handed to the connection, its confirm is not waited for: what is not
    /// confirmed by the next checkpoint is known to the database as such.
    async fn commit(&mut self, mut batch: Batch) -> anyhow::Result<()> {
        if crash::has_defect(crash::ACKS_BEFORE_COMMITS) {
            for delivery in std::mem::take(&mut batch.deliveries) {
                amqp::ack(&delivery.acker, false, self.timeout).await?;
            }
        }
        let told = match self.apply_when_free(&batch.outcomes).await {
            // A broker with an alarm takes nothing, but acks get through: what is committed is not delivered again.
            Ok(committed) => self.tell(committed).await,
            Err(error) if store::is_refused(&error) => return self.sift(batch.deliveries, &error).await,
            Err(error) => return Err(error),
        };
        crash::point("collector.after_publish_before_ack");
        self.ack(&batch.deliveries).await?;
        told
    }

    /// Of one queue, deliveries are taken in the order of their tags, and whatever came before is settled: one word is enough for all.
    /// With several partitions they need not be.
    async fn ack(&self, deliveries: &[Delivery]) -> anyhow::Result<()> {
        if self.env.config.collector.partitions == 1 {
            return match deliveries.last() {
                Some(last) => amqp::ack(&last.acker, true, self.timeout).await,
                None => Ok(()),
            };
        }
        for delivery in deliveries {
            amqp::ack(&delivery.acker, false, self.timeout).await?;
        }
        Ok(())
    }

    /// Again while somebody else holds a row of theirs: to hand them back would count as deliveries, and they are good.
    async fn apply_when_free(&mut self, outcomes: &[Outcome]) -> anyhow::Result<Committed> {
        let began = Instant::now();
        loop {
            match self.apply(outcomes).await {
                Err(error)
                    if store::is_locked(&error)
                        && began.elapsed() < LOCKED
                        && !self.shutdown.is_cancelled() =>
                {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "outcomes wait for rows that somebody else holds"
                    );
                }
                result => return result,
            }
        }
    }

    async fn apply(&mut self, outcomes: &[Outcome]) -> anyhow::Result<Committed> {
        if outcomes.is_empty() {
            return Ok(Committed::default());
        }
        let mut client = self.env.store.client().await?;
        let committed = commit::outcomes(self.env, &mut client, &mut self.window, outcomes).await;
        if committed.is_err() {
            // It may be half-open, or still busy with the statement.
            self.env.store.discard(client);
        }
        committed
    }

    /// The database refuses something in these messages, and always will. Each is applied alone, and of the one that it refuses each
    /// outcome; then that message is set aside.
    async fn sift(&mut self, deliveries: Vec<Delivery>, error: &anyhow::Error) -> anyhow::Result<()> {
        tracing::warn!(error = format!("{error:#}"), "the database refuses an outcome; looking for it");
        for delivery in deliveries {
            let outcomes =
                wire::decode::<Outcome>(&delivery.data).map(|decoded| decoded.items).unwrap_or_default();
            if self.is_taken(&outcomes).await? {
                amqp::ack(&delivery.acker, false, self.timeout).await?;
                continue;
            }
            for outcome in &outcomes {
                if !self.is_taken(std::slice::from_ref(outcome)).await? {
                    tracing::warn!(podcast.id = %outcome.podcast, task.id = %outcome.task, "an outcome cannot be stored; its message is set aside");
                }
            }
            amqp::reject(&delivery.acker, self.timeout).await?;
        }
        Ok(())
    }

    /// Commits and publishes, unless the database refuses what it is given.
    async fn is_taken(&mut self, outcomes: &[Outcome]) -> anyhow::Result<bool> {
        match self.apply(outcomes).await {
            Ok(committed) => self.tell(committed).await.map(|()| true),
            Err(error) if store::is_refused(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What a later version means by the same fields is not known.
fn is_known(outcome: &Outcome) -> bool {
    outcome.v <= VERSION
}

fn deliveries(delivery: &Delivery) -> i64 {
    let headers = delivery.properties.headers().as_ref();
    match headers.and_then(|headers| headers.inner().get("x-delivery-count")) {
        Some(AMQPValue::LongLongInt(count)) => *count,
        Some(AMQPValue::LongInt(count)) => i64::from(*count),
        _ => 0,
    }
}
