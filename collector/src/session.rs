//! A collector's session: from connecting to the first error.

mod outcomes;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use common::amqp;
use common::durations::Durations;
use common::publisher::TicketPublisher;
use common::store::{self, durations, fleet, tasks::repair};
use common::topology::{DEAD_QUEUE, EVENTS_EXCHANGE, HEARTBEATS_EXCHANGE, Lane, outcomes_queue_name};
use common::wire::Pulse;
use common::work::Kind;
use futures_util::StreamExt;
use futures_util::stream::{SelectAll, select_all};
use lapin::message::Delivery;
use lapin::options::BasicQosOptions;
use lapin::{Channel, Connection, Consumer};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::commit::{Committed, within};
use crate::inspect::Inspector;
use crate::sweep::{self, Sweeper};
use crate::window::Window;
use crate::{Env, dead, queues};

/// Messages of outcomes that the broker hands over ahead.
const PREFETCH: u16 = 256;
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

/// `is_first`: of this process.
pub(crate) async fn run(env: &Env, shutdown: &CancellationToken, is_first: bool) -> anyhow::Result<()> {
    let timeout = env.config.broker.timeout();
    let publishing = amqp::connect(&env.config.broker, "collector publish").await?;
    let consuming = amqp::connect(&env.config.broker, "collector consume").await?;
    let mut tasks = JoinSet::new();
    let result = async {
        amqp::probe(&publishing, timeout).await?;
        let prepared = shutdown.run_until_cancelled(queues::prepare(env, &consuming)).await;
        let Some(prepared) = prepared else { return Ok(()) };
        prepared?;
        let opened = tokio::time::timeout(
            OPENING,
            Session::open(env, &publishing, &consuming, &mut tasks, shutdown, is_first),
        );
        let mut session = opened.await.context("the broker did not answer in time")??;
        env.readiness.set(true);
        session.collect(&mut tasks).await?;
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
    shutdown: CancellationToken,
    /// Whether the first outcome that comes may have ended the process before this one.
    suspects_first: bool,
    listening_since: Instant,
    /// Since when lanes were found empty each time.
    empty_since: BTreeMap<(Kind, Lane), Instant>,
    inspected: Instant,
    save_at: Instant,
}

impl<'a> Session<'a> {
    async fn open(
        env: &'a Env,
        publishing: &'a Connection,
        consuming: &'a Connection,
        tasks: &mut JoinSet<anyhow::Result<()>>,
        shutdown: &CancellationToken,
        is_first: bool,
    ) -> anyhow::Result<Session<'a>> {
        let timeout = env.config.broker.timeout();
        let settings = &env.config.collector;
        let channel = amqp::confirming_channel(publishing, timeout).await?;
        let (publisher, confirms) =
            TicketPublisher::new(env.ledger.clone(), channel, env.blobs.clone(), timeout);
        tasks.spawn(confirms);
        // A database that cannot write would only have outcomes handed over and back, which counts as deliveries.
        record_checkpoint(env).await?;
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
            shutdown: shutdown.clone(),
            suspects_first: is_first,
            listening_since: Instant::now(),
            empty_since: BTreeMap::new(),
            inspected: Instant::now(),
            save_at: Instant::now() + FIRST_SAVE,
        })
    }

    /// Until shutdown or the first error. Nothing that is being committed is ever cancelled: each branch runs to its end.
    async fn collect(&mut self, tasks: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shutdown = self.shutdown.clone();
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
        let swept = self.sweeper.sweep(self.env, &mut client, &mut self.window).await;
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
        queues::keep_intake(self.consuming, self.timeout).await?;
        self.empty_since.retain(|lane, _| empty.contains(lane));
        for lane in &empty {
            self.empty_since.entry(*lane).or_insert_with(Instant::now);
        }
        // Whoever took the last ticket of a lane says so with his next heartbeat, or his outcome waits to be read.
        let settled =
            |lane: &(Kind, Lane)| self.empty_since.get(lane).is_none_or(|since| since.elapsed() > LISTENED);
        let suspects: Vec<_> = suspects.into_iter().filter(settled).collect();
        if suspects.is_empty()
            || self.listening_since.elapsed() < LISTENED
            || queues::are_outcomes_waiting(self.env, self.consuming).await?
        {
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
        record_checkpoint(self.env).await?;
        let id = self.env.ledger.id;
        self.env
            .store
            .run(async |client| {
                let tx = client.transaction().await?;
                fleet::end_lease(&tx, id).await?;
                tx.commit().await?;
                Ok(())
            })
            .await
    }
}

/// What was published as far as it is confirmed; what was not is released.
async fn record_checkpoint(env: &Env) -> anyhow::Result<()> {
    let checkpoint = env.ledger.checkpoint();
    env.store
        .run(async |client| {
            let tx = client.transaction().await?;
            store::tasks::repair::unpublished(&tx, env.ledger.id, &checkpoint.failed).await?;
            fleet::checkpoint(&tx, env.ledger.id, "collector", &checkpoint).await?;
            tx.commit().await?;
            Ok(())
        })
        .await?;
    env.ledger.recorded(&checkpoint);
    Ok(())
}
