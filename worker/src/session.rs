//! The task loop of a worker, for one session with the broker. One task owns all of its state, so there are no locks:
//! deliveries come in, wait for a permit, run, and their outcomes go out.

mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use common::amqp;
use common::class::Class;
use common::crash;
use common::process;
use common::topology::{self, DEAD_EXCHANGE, HEARTBEATS_EXCHANGE, Lane, lane_queue, outcomes_queue_name};
use common::wire::{self, Pulse, Ticket, VERSION, WorkerPulse};
use common::work::Kind;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll};
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection};
use serde_json::value::RawValue;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::buffer::Buffer;
use crate::outbox::{self, Confirms, Emitter, Held, Settlement};
use crate::{Env, permits_by_kind, run};
use work::Waiting;
pub(crate) use work::Work;

/// Opening takes several calls, each of which may hang.
const OPENING: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(250);

/// Runs until shutdown and everything in hand is settled (`Ok`), or until the first error.
pub(crate) async fn hold(
    env: &Arc<Env>,
    work: &mut Work,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let timeout = env.config.broker.timeout();
    let publishing = amqp::connect(&env.config.broker, "worker publish").await?;
    let consuming = amqp::connect(&env.config.broker, "worker consume").await?;
    work.session += 1;
    work.outbox.take_back_unconfirmed();
    let result = async {
        amqp::probe(&publishing, timeout).await?;
        let opened = tokio::time::timeout(OPENING, Session::open(env, work, &publishing, &consuming));
        let mut session = opened.await.context("the broker did not answer in time")??;
        env.readiness.set(true);
        let served = session.serve(shutdown).await;
        env.readiness.set(false);
        match served {
            Ok(()) => session.drain().await,
            Err(error) => {
                session.forget_buffer();
                Err(error)
            }
        }
    }
    .await;
    amqp::close(&consuming, timeout).await;
    amqp::close(&publishing, timeout).await;
    result
}

/// What one lane delivers; the end of its stream is an item, too.
type Deliveries = BoxStream<'static, (Kind, Lane, Option<lapin::Result<Delivery>>)>;

struct Session<'a> {
    env: &'a Arc<Env>,
    work: &'a mut Work,
    lanes: Channel,
    /// Tags of the consumers, one a lane; none while a task waits to run alone, or does.
    consumers: Vec<ShortString>,
    deliveries: SelectAll<Deliveries>,
    buffer: Buffer<Waiting>,
    outcomes: Channel,
    pulses: Channel,
    confirms: Confirms,
    timeout: Duration,
}

impl<'a> Session<'a> {
    async fn open(
        env: &'a Arc<Env>,
        work: &'a mut Work,
        publishing: &Connection,
        consuming: &Connection,
    ) -> anyhow::Result<Session<'a>> {
        let timeout = env.config.broker.timeout();
        let outcomes = amqp::confirming_channel(publishing, timeout).await?;
        topology::declare_exchanges(publishing, timeout).await?;
        let mut session = Session {
            env,
            work,
            lanes: amqp::channel(consuming, timeout).await?,
            consumers: Vec::new(),
            deliveries: SelectAll::new(),
            buffer: Buffer::new(),
            outcomes,
            pulses: amqp::channel(publishing, timeout).await?,
            confirms: Confirms::new(),
            timeout,
        };
        if !session.work.alone {
            session.take_from_lanes().await?;
        }
        Ok(session)
    }

    async fn serve(&mut self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                _ = heartbeat.tick() => self.beat(false).await?,
                (number, confirmed) = outbox::next_confirm(&mut self.confirms) => self.on_confirm(number, confirmed).await?,
                Some(report) = self.work.finished.recv() => self.work.take(report),
                Some(_) = self.work.running.join_next() => {}
                _ = tick.tick() => self.hand_back_stale(),
                Some((kind, lane, delivery)) = self.deliveries.next() => {
                    self.on_delivery(kind, lane, delivery).await?;
                }
            }
            while let Ok(report) = self.work.finished.try_recv() {
                self.work.take(report);
            }
            self.start_what_fits().await?;
            self.publish().await?;
        }
    }

    async fn publish(&mut self) -> anyhow::Result<()> {
        let partitions = self.env.config.collector.partitions;
        self.work.outbox.publish(&self.outcomes, partitions, self.timeout, &self.confirms).await
    }

    /// What is no ticket among tickets goes to the dead queue by itself, as the broker would send the whole message there.
    async fn set_aside(&self, queue: &str, elements: &[&RawValue]) -> anyhow::Result<()> {
        let mut headers = FieldTable::default();
        headers.insert("x-first-death-queue".into(), AMQPValue::LongString(queue.into()));
        let properties = amqp::persistent_json().with_headers(headers);
        let body = serde_json::to_vec(elements)?;
        let confirm =
            amqp::publish(&self.outcomes, DEAD_EXCHANGE, "", &body, properties, self.timeout).await?;
        amqp::confirmed(confirm, self.timeout).await.context("setting aside what is no ticket")
    }

    async fn on_confirm(
        &mut self,
        number: u64,
        confirmed: Result<(), amqp::PublishError>,
    ) -> anyhow::Result<()> {
        confirmed.context("an outcome was not confirmed")?;
        self.work.outbox.confirmed(number, self.work.session, self.timeout).await?;
        Ok(())
    }

    async fn on_delivery(
        &mut self,
        kind: Kind,
        lane: Lane,
        delivery: Option<lapin::Result<Delivery>>,
    ) -> anyhow::Result<()> {
        let delivery = amqp::taken(delivery, &lane_queue(kind, lane))?;
        crash::point("worker.after_delivery_before_run");
        let decoded = match wire::decode::<Ticket>(&delivery.data) {
            Ok(decoded) => decoded,
            Err(reason) => {
                tracing::warn!(reason, "a ticket message cannot be read; it goes to the dead queue");
                return amqp::reject(&delivery.acker, self.timeout).await;
            }
        };
        let (mut handed_back, mut nobodys) = (Vec::new(), Vec::new());
        for (element, reason) in &decoded.unreadable {
            match run::unsupported(self.env, element, reason) {
                Some(outcome) => handed_back.push(outcome),
                None => nobodys.push(&**element),
            }
        }
        let count = decoded.items.len() + handed_back.len();
        if count == 0 {
            return amqp::reject(&delivery.acker, self.timeout).await;
        }
        if !nobodys.is_empty() {
            self.set_aside(&lane_queue(kind, lane), &nobodys).await?;
        }
        let redelivered = delivery.redelivered;
        let held = Held::new(delivery, self.work.session, count);
        for outcome in handed_back {
            self.work.outbox.push(Settlement { outcome, settles: Some(held.clone()) });
        }
        if redelivered {
            // Whether somebody started it is not known, and he may be alive: it waits, and he wins if he finishes.
            for ticket in &decoded.items {
                let outcome = run::unrun(
                    self.env,
                    ticket,
                    Class::Interrupted,
                    "the worker that had the task, or the broker, was interrupted",
                );
                self.work.outbox.push(Settlement { outcome, settles: Some(held.clone()) });
            }
        } else if !decoded.items.is_empty() {
            self.work.holding.extend(decoded.items.iter().map(|ticket| ticket.task));
            self.buffer.push(kind, lane, Instant::now(), Waiting { tickets: decoded.items, held });
        }
        Ok(())
    }

    /// Starts waiting tickets while there are permits. A task that must run alone may take this worker along, and nothing else: it
    /// waits until what runs is done and told, what was not started is handed back first, and nothing is taken meanwhile.
    async fn start_what_fits(&mut self) -> anyhow::Result<()> {
        if self.work.alone {
            return Ok(());
        }
        if self.buffer.has_alone() {
            if !self.consumers.is_empty() {
                self.stop_taking().await?;
                for waiting in self.buffer.take_all_but_one_alone() {
                    self.hand_back(waiting);
                }
            }
            if self.work.idle()
                && self.work.outbox.is_empty()
                && let Some((kind, waiting)) = self.buffer.pop_alone()
            {
                self.work.alone = true;
                self.start(kind, waiting, true);
            }
            return Ok(());
        }
        if self.consumers.is_empty() {
            self.take_from_lanes().await?;
        }
        for kind in self.env.kinds.clone() {
            while self.work.in_use.get(&kind).copied().unwrap_or(0) < self.env.permits {
                let Some((_, waiting)) = self.buffer.pop(kind) else { break };
                self.start(kind, waiting, false);
            }
        }
        Ok(())
    }

    fn start(&mut self, kind: Kind, waiting: Waiting, alone: bool) {
        *self.work.in_use.entry(kind).or_default() += 1;
        self.work.starts += 1;
        let (start, waiting) = (self.work.starts, Arc::new(waiting));
        self.work.started.insert(start, waiting.clone());
        let env = self.env.clone();
        let emitter = Emitter { reports: self.work.reporter.clone(), held: waiting.held.clone() };
        self.work.running.spawn(async move {
            for ticket in &waiting.tickets {
                run::ticket(&env, ticket, &emitter).await;
            }
            emitter.free(kind, alone, start).await;
        });
    }

    /// What was buffered is delivered again by the broker; it was never started.
    fn forget_buffer(&mut self) {
        for ticket in self.buffer.iter().flat_map(|waiting| &waiting.tickets) {
            self.work.holding.remove(&ticket.task);
        }
    }

    fn hand_back_stale(&mut self) {
        for waiting in self.buffer.take_stale(Instant::now()) {
            self.hand_back(waiting);
        }
    }

    fn hand_back(&mut self, waiting: Waiting) {
        for ticket in &waiting.tickets {
            self.work.holding.remove(&ticket.task);
            let outcome = run::unrun(self.env, ticket, Class::Returned, "the worker had no time for it");
            self.work.outbox.push(Settlement { outcome, settles: Some(waiting.held.clone()) });
        }
    }

    async fn beat(&mut self, draining: bool) -> anyhow::Result<()> {
        let pulse = Pulse::Worker(WorkerPulse {
            v: VERSION,
            worker: self.env.id.clone(),
            version: process::VERSION.into(),
            host: process::hostname(),
            pid: std::process::id(),
            permits: permits_by_kind(self.env),
            engines: self.env.engines.names(),
            holding: self.work.holding.iter().copied().collect(),
            draining,
        });
        amqp::broadcast(&self.pulses, HEARTBEATS_EXCHANGE, "", &serde_json::to_vec(&pulse)?, self.timeout)
            .await
    }

    async fn take_from_lanes(&mut self) -> anyhow::Result<()> {
        let env = self.env;
        // First it is seen that all of them exist, and queues for the outcomes: what a lane delivered to a session that comes to nothing
        // would be delivered again as if somebody might have started it, and too often is a dead letter.
        let partitions = env.config.collector.partitions;
        let lanes = env.kinds.iter().flat_map(|kind| Lane::ALL.map(|lane| lane_queue(*kind, lane)));
        let outcomes = (0..partitions).map(|partition| outcomes_queue_name(partition, partitions));
        let queues: Vec<String> = lanes.chain(outcomes).collect();
        amqp::bounded(OPENING, "looking for the queues", topology::find(&self.lanes, &queues))
            .await
            .context("a collector declares them when it starts")?;
        for kind in &env.kinds {
            for lane in Lane::ALL {
                let (tag, stream) = consume(env, &self.lanes, *kind, lane).await?;
                self.consumers.push(tag);
                self.deliveries.push(stream);
            }
        }
        Ok(())
    }

    /// Takes no more from any lane. What was under way to us is in the buffer then, to go back with a word: left to the broker, it would
    /// be delivered again as if somebody might have started it.
    async fn stop_taking(&mut self) -> anyhow::Result<()> {
        for tag in std::mem::take(&mut self.consumers) {
            let cancel = self.lanes.basic_cancel(tag, BasicCancelOptions::default());
            amqp::bounded(self.timeout, "ending a consumer", cancel).await?;
        }
        let ended = tokio::time::Instant::now() + self.timeout;
        // Each stream ends, now that its consumer is cancelled.
        while let Ok(Some((kind, lane, delivery))) =
            tokio::time::timeout_at(ended, self.deliveries.next()).await
        {
            if let Some(delivery) = delivery {
                self.on_delivery(kind, lane, Some(delivery)).await?;
            }
        }
        Ok(())
    }

    /// Ends what runs, and hands it back at once: whether its engine was paid is not known.
    async fn hand_back_running(&mut self) {
        self.work.running.shutdown().await;
        while let Ok(report) = self.work.finished.try_recv() {
            self.work.take(report);
        }
        for waiting in std::mem::take(&mut self.work.started).into_values() {
            for ticket in &waiting.tickets {
                if self.work.holding.remove(&ticket.task) {
                    let message = "the worker had to leave before the task was done";
                    let outcome = run::unrun(self.env, ticket, Class::Interrupted, message);
                    self.work.outbox.push(Settlement { outcome, settles: Some(waiting.held.clone()) });
                }
            }
        }
        self.work.in_use.clear();
    }

    /// Takes nothing new, hands back what was not started, and waits for what runs; what is not done in time is handed back.
    async fn drain(mut self) -> anyhow::Result<()> {
        self.beat(true).await?;
        self.stop_taking().await?;
        for waiting in self.buffer.take_all() {
            self.hand_back(waiting);
        }
        let deadline = tokio::time::sleep_until(self.work.leaves_by(self.env).into());
        tokio::pin!(deadline);
        let mut handed_back = false;
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        while self.work.is_busy() {
            self.publish().await?;
            tokio::select! {
                (number, confirmed) = outbox::next_confirm(&mut self.confirms) => self.on_confirm(number, confirmed).await?,
                Some(report) = self.work.finished.recv() => self.work.take(report),
                Some(_) = self.work.running.join_next() => {}
                _ = heartbeat.tick() => self.beat(true).await?,
                () = &mut deadline => {
                    ensure!(!handed_back, "the broker did not confirm in time what was handed back");
                    tracing::warn!(deliveries = self.work.started.len(), "the time to finish is over; what runs is handed back");
                    self.hand_back_running().await;
                    handed_back = true;
                    deadline.as_mut().reset(tokio::time::Instant::now() + self.timeout);
                }
            }
        }
        Ok(())
    }
}

/// A lane that does not exist yet is the dispatcher's to declare: the session is built again until it is there.
async fn consume(
    env: &Env,
    channel: &Channel,
    kind: Kind,
    lane: Lane,
) -> anyhow::Result<(ShortString, Deliveries)> {
    let prefetch = if lane == Lane::Alone { 1 } else { u16::try_from(env.permits).unwrap_or(u16::MAX) };
    let timeout = env.config.broker.timeout();
    amqp::bounded(
        timeout,
        "limiting what is sent ahead",
        channel.basic_qos(prefetch, BasicQosOptions::default()),
    )
    .await?;
    let consumer = amqp::consume(channel, &lane_queue(kind, lane), &env.id, false, timeout)
        .await
        .context("a collector declares the lanes when it starts")?;
    let tag = consumer.tag();
    // An end that nobody asked for ends the session.
    let ended = futures_util::stream::once(async { None });
    Ok((tag, consumer.map(Some).chain(ended).map(move |delivery| (kind, lane, delivery)).boxed()))
}
