//! A collector's session: from connecting to the first error.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use common::amqp;
use common::crash;
use common::durations::Durations;
use common::publisher::TicketPublisher;
use common::store::{self, durations, fleet, tasks::repair};
use common::topology::{DEAD_QUEUE, EVENTS_EXCHANGE, HEARTBEATS_EXCHANGE, outcomes_queue_name};
use common::wire::{self, Outcome, Pulse};
use futures_util::stream::{SelectAll, select_all};
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::BasicQosOptions;
use lapin::types::AMQPValue;
use lapin::{Channel, Connection, Consumer};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::commit::{self, Committed};
use crate::inspect::Inspector;
use crate::sweep::{self, Sweeper};
use crate::window::Window;
use crate::{Env, dead, queues};

/// A batch is at most this many outcomes, or this many bytes.
const MAX_OUTCOMES: usize = 1_000;
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Messages of outcomes that the broker hands over ahead.
const PREFETCH: u16 = 256;
/// After this many deliveries an outcome that cannot be applied is set aside unread.
const MAX_DELIVERIES: i64 = 5;
/// Opening takes several calls, each of which may hang.
const OPENING: Duration = Duration::from_secs(30);
/// How often the clock's work is looked at when nothing else happens.
const TICK: Duration = Duration::from_millis(200);
/// How often lanes are inspected and workers saved.
const INSPECTION: Duration = Duration::from_secs(5);
const SAVE_WORKERS: Duration = Duration::from_secs(30);
/// They are saved for the first time as soon as all of them have been heard.
const FIRST_SAVE: Duration = Duration::from_secs(6);
/// Two heartbeats and a little: only after that is it known what live workers hold.
const LISTENED: Duration = Duration::from_secs(11);

pub(crate) async fn run(env: &Env, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let timeout = env.config.broker.timeout();
    let publishing = amqp::connect(&env.config.broker, "collector publish").await?;
    let consuming = amqp::connect(&env.config.broker, "collector consume").await?;
    let mut tasks = JoinSet::new();
    let result = async {
        amqp::probe(&publishing, timeout).await?;
        let prepared = shutdown.run_until_cancelled(queues::prepare(env, &consuming)).await;
        let Some(prepared) = prepared else { return Ok(()) };
        prepared?;
        let opened = tokio::time::timeout(OPENING, Session::open(env, &publishing, &consuming, &mut tasks));
        let mut session = opened.await.context("the broker did not answer in time")??;
        env.readiness.set(true);
        session.collect(shutdown, &mut tasks).await?;
        env.readiness.set(false);
        session.leave(&mut tasks).await
    }
    .await;
    amqp::close(&consuming, timeout).await;
    amqp::close(&publishing, timeout).await;
    // With the connection gone every open confirm ends, and its numbers are marked as failed: only then may the task go.
    while let Ok(Some(_)) = tokio::time::timeout(timeout + timeout, tasks.join_next()).await {}
    tasks.shutdown().await;
    result
}

struct Session<'a> {
    env: &'a Env,
    consuming: &'a Connection,
    outcomes: SelectAll<Consumer>,
    heartbeats: Consumer,
    dead: Consumer,
    hints: Channel,
    publisher: TicketPublisher,
    window: Window,
    sweeper: Sweeper,
    inspector: Inspector,
    timeout: Duration,
    listening_since: Instant,
    inspected: Instant,
    save_at: Instant,
}

impl<'a> Session<'a> {
    async fn open(
        env: &'a Env,
        publishing: &'a Connection,
        consuming: &'a Connection,
        tasks: &mut JoinSet<anyhow::Result<()>>,
    ) -> anyhow::Result<Session<'a>> {
        let timeout = env.config.broker.timeout();
        let settings = &env.config.collector;
        let channel = amqp::confirming_channel(publishing, timeout).await?;
        let (publisher, confirms) =
            TicketPublisher::new(env.ledger.clone(), channel, env.blobs.clone(), timeout);
        tasks.spawn(confirms);
        let outcomes_channel = amqp::channel(consuming, timeout).await?;
        outcomes_channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let mut outcomes = Vec::new();
        for partition in 0..settings.partitions {
            let queue = outcomes_queue_name(partition, settings.partitions);
            outcomes.push(amqp::consume(&outcomes_channel, &queue, "collector", false, timeout).await?);
        }
        let listening = amqp::channel(consuming, timeout).await?;
        let dead_channel = amqp::channel(consuming, timeout).await?;
        dead_channel.basic_qos(1, BasicQosOptions::default()).await?;
        let mut window = Window::new(Instant::now());
        window.learnt = Durations::known(env.store.run(async |client| durations::load(client).await).await?);
        Ok(Session {
            env,
            consuming,
            outcomes: select_all(outcomes),
            heartbeats: amqp::listen(&listening, HEARTBEATS_EXCHANGE, "", "collector", timeout).await?,
            dead: amqp::consume(&dead_channel, DEAD_QUEUE, "collector", false, timeout).await?,
            hints: amqp::channel(publishing, timeout).await?,
            publisher,
            window,
            sweeper: Sweeper::new(),
            inspector: Inspector::default(),
            timeout,
            listening_since: Instant::now(),
            inspected: Instant::now(),
            save_at: Instant::now() + FIRST_SAVE,
        })
    }

    /// Until shutdown or the first error. Nothing that is being committed is ever cancelled: each branch runs to its end.
    async fn collect(
        &mut self,
        shutdown: &CancellationToken,
        tasks: &mut JoinSet<anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                Some(ended) = tasks.join_next() => {
                    ended??;
                    bail!("the confirms of this session are over");
                }
                _ = tick.tick() => self.on_tick().await?,
                pulse = self.heartbeats.next() => self.on_pulse(&amqp::taken(pulse, "heartbeats")?),
                delivery = self.outcomes.next() => {
                    let first = amqp::taken(delivery, "outcomes")?;
                    self.on_outcomes(first).await?;
                }
                delivery = self.dead.next() => {
                    dead::bury(&self.env.store, amqp::taken(delivery, "the dead queue")?, self.timeout).await?;
                }
            }
        }
    }

    async fn on_tick(&mut self) -> anyhow::Result<()> {
        let mut client = self.env.store.client().await?;
        let swept = within(self.sweeper.sweep(self.env, &mut client, &mut self.window)).await;
        if swept.is_err() {
            self.env.store.discard(client);
        }
        self.tell(swept?).await?;
        let room = serde_json::to_vec(&Pulse::Room(self.window.room_pulse()))?;
        amqp::broadcast(&self.hints, HEARTBEATS_EXCHANGE, "", &room, self.timeout).await?;
        if self.inspected.elapsed() > INSPECTION {
            self.inspected = Instant::now();
            self.inspect().await?;
        }
        if Instant::now() > self.save_at {
            self.save_at = Instant::now() + SAVE_WORKERS;
            self.save_workers().await?;
        }
        Ok(())
    }

    /// Looks for fan-ins that were missed, for tickets that the broker lost, and for lanes that somebody deleted.
    async fn inspect(&mut self) -> anyhow::Result<()> {
        let mut client = self.env.store.client().await?;
        let lost_after = self.env.config.collector.lost_after_seconds;
        let looked = within(async {
            self.inspector.round(self.env, &mut client).await?;
            let tx = client.transaction().await?;
            let suspects = repair::lanes_with_old_tickets(&tx, lost_after).await?;
            tx.commit().await?;
            Ok(suspects)
        })
        .await;
        let suspects = match looked {
            Ok(suspects) => suspects,
            Err(error) => {
                self.env.store.discard(client);
                return Err(error);
            }
        };
        // All of them are looked at: workers cannot consume from a lane that was deleted while it was idle.
        let empty = queues::empty_lanes(self.consuming, self.timeout).await?;
        if suspects.is_empty() || self.listening_since.elapsed() < LISTENED {
            return Ok(());
        }
        let released =
            within(sweep::release_lost(&mut client, &suspects, &empty, &self.window, lost_after)).await;
        if released.is_err() {
            self.env.store.discard(client);
        }
        released
    }

    async fn save_workers(&mut self) -> anyhow::Result<()> {
        let pulses: Vec<_> = self.window.workers().cloned().collect();
        let learnt = self.window.learnt.take_changed();
        self.env
            .store
            .run(async |client| {
                let tx = client.transaction().await?;
                fleet::save_workers(&tx, &pulses).await?;
                durations::save(&tx, &learnt).await?;
                tx.commit().await?;
                fleet::make_partitions(client).await
            })
            .await
    }

    fn on_pulse(&mut self, delivery: &Delivery) {
        // Room pulses are for producers; what cannot be read comes from another version and is not needed.
        if let Ok(Pulse::Worker(pulse)) = serde_json::from_slice(&delivery.data) {
            self.window.heard(pulse, Instant::now());
        }
    }

    /// Group commit: everything that has arrived while the last commit was in flight, in one transaction.
    async fn on_outcomes(&mut self, first: Delivery) -> anyhow::Result<()> {
        let mut batch = Batch::default();
        let mut next = Some(first);
        while let Some(delivery) = next.take() {
            if delivery.redelivered {
                // Whatever broke the last time must not take its neighbours along.
                self.commit(std::mem::take(&mut batch)).await?;
                self.apply_alone(delivery).await?;
            } else {
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

    /// An unreadable message goes to the dead queue at once; unreadable elements of one go with it, the others count.
    async fn add(&mut self, batch: &mut Batch, delivery: Delivery) -> anyhow::Result<()> {
        match wire::decode::<Outcome>(&delivery.data) {
            Ok(decoded) if decoded.unreadable.is_empty() => {
                batch.bytes += delivery.data.len();
                batch.outcomes.extend(decoded.items);
                batch.deliveries.push(delivery);
                Ok(())
            }
            Ok(decoded) => {
                // Newer workers than this collector: an upgrade of the collectors is due. Their readable outcomes count now;
                // the message waits as a dead letter, and the task is dispatched again when its ticket is missed.
                batch.outcomes.extend(decoded.items);
                self.commit(std::mem::take(batch)).await?;
                amqp::reject(&delivery.acker, self.timeout).await
            }
            Err(reason) => {
                tracing::warn!(reason, "an outcome message cannot be read");
                amqp::reject(&delivery.acker, self.timeout).await
            }
        }
    }

    async fn apply_alone(&mut self, delivery: Delivery) -> anyhow::Result<()> {
        if deliveries(&delivery) > MAX_DELIVERIES {
            return amqp::reject(&delivery.acker, self.timeout).await;
        }
        let mut batch = Batch::default();
        self.add(&mut batch, delivery).await?;
        match AssertUnwindSafe(self.commit(batch)).catch_unwind().await {
            Ok(result) => result,
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
        let told = match self.apply(&batch.outcomes).await {
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

    async fn apply(&mut self, outcomes: &[Outcome]) -> anyhow::Result<Committed> {
        if outcomes.is_empty() {
            return Ok(Committed::default());
        }
        let mut client = self.env.store.client().await?;
        let committed = within(commit::outcomes(self.env, &mut client, &mut self.window, outcomes)).await;
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

    async fn tell(&mut self, committed: Committed) -> anyhow::Result<()> {
        self.publisher.publish(committed.outgoing).await?;
        for hint in committed.hints {
            let key = format!("podcast.{}", hint.event);
            let body = serde_json::to_vec(&hint)?;
            amqp::broadcast(&self.hints, EVENTS_EXCHANGE, &key, &body, self.timeout).await?;
        }
        Ok(())
    }

    /// Leaves in order: everything published is confirmed or recorded as not, and the lease is given up.
    async fn leave(self, tasks: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
        drop(self.publisher);
        while let Ok(Some(ended)) = tokio::time::timeout(self.timeout, tasks.join_next()).await {
            ended??;
        }
        let checkpoint = self.env.ledger.checkpoint();
        let id = self.env.ledger.id;
        self.env
            .store
            .run(async |client| {
                let tx = client.transaction().await?;
                store::tasks::repair::unpublished(&tx, id, &checkpoint.failed).await?;
                fleet::checkpoint(&tx, id, "collector", &checkpoint).await?;
                fleet::end_lease(&tx, id).await?;
                tx.commit().await?;
                Ok(())
            })
            .await
    }
}

#[derive(Default)]
struct Batch {
    outcomes: Vec<Outcome>,
    bytes: usize,
    deliveries: Vec<Delivery>,
}

/// Bounds a transaction as seen from here; the server's own limit for a statement is shorter.
async fn within<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(Duration::from_secs(15), work)
        .await
        .context("PostgreSQL did not finish a transaction in 15 s")?
}

fn deliveries(delivery: &Delivery) -> i64 {
    let headers = delivery.properties.headers().as_ref();
    match headers.and_then(|headers| headers.inner().get("x-delivery-count")) {
        Some(AMQPValue::LongLongInt(count)) => *count,
        Some(AMQPValue::LongInt(count)) => i64::from(*count),
        _ => 0,
    }
}
