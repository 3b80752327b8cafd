//! A producer's session with the broker: from connecting to the first error. It publishes what the acceptor hands over, takes
//! requests, and hears of room and of news. The API does not need it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use common::amqp;
use common::crash;
use common::publisher::TicketPublisher;
use common::topology::{self, EVENTS_EXCHANGE, HEARTBEATS_EXCHANGE, REQUESTS_QUEUE};
use common::wire::{Hint, Pulse};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::message::Delivery;
use lapin::options::BasicQosOptions;
use lapin::{Channel, Connection, Consumer};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Env;
use crate::accept::Intake;
use crate::intake::Clerk;
use crate::link::Telling;

/// Requests that the broker hands over ahead; they are accepted side by side.
const PREFETCH: u16 = 64;
/// Opening takes several calls, each of which may hang.
const OPENING: Duration = Duration::from_secs(30);

pub(crate) async fn run(env: &Env, intake: &Intake, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let timeout = env.config.broker.timeout();
    let publishing = amqp::connect(&env.config.broker, "producer publish").await?;
    let consuming = amqp::connect(&env.config.broker, "producer consume").await?;
    let mut tasks = JoinSet::new();
    let opened = async {
        amqp::probe(&publishing, timeout).await?;
        let opening = Session::open(env, intake, (&publishing, &consuming), &mut tasks, shutdown);
        tokio::time::timeout(OPENING, opening).await.context("the broker did not answer in time")?
    };
    let opened = opened.await;
    let mut result = match opened {
        Ok(session) => session.serve(shutdown, &mut tasks).await,
        Err(error) => Err(error),
    };
    if result.is_ok() {
        result = confirms(&mut tasks, timeout).await;
    }
    amqp::close(&consuming, timeout).await;
    amqp::close(&publishing, timeout).await;
    if result.is_err() {
        // What was still waited for fails with the connection, and stands in the ledger as failed only after that.
        confirms(&mut tasks, timeout).await.ok();
    }
    tasks.shutdown().await;
    result
}

/// Waits until every confirm of the session is in the ledger, one way or the other.
async fn confirms(tasks: &mut JoinSet<anyhow::Result<()>>, timeout: Duration) -> anyhow::Result<()> {
    match tokio::time::timeout(timeout + Duration::from_secs(1), tasks.join_next()).await {
        Ok(Some(ended)) => ended?,
        Ok(None) => Ok(()),
        Err(_) => bail!("the broker did not confirm in time"),
    }
}

struct Session<'a> {
    env: &'a Env,
    requests: Consumer,
    news: Consumer,
    heartbeats: Consumer,
    clerk: Clerk,
    publisher: TicketPublisher,
    hints: Channel,
    timeout: Duration,
}

impl<'a> Session<'a> {
    async fn open(
        env: &'a Env,
        intake: &Intake,
        (publishing, consuming): (&Connection, &Connection),
        tasks: &mut JoinSet<anyhow::Result<()>>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Session<'a>> {
        let timeout = env.config.broker.timeout();
        topology::declare_exchanges(consuming, timeout).await?;
        let requests_channel = amqp::channel(consuming, timeout).await?;
        requests_channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        topology::until_made(consuming, REQUESTS_QUEUE, timeout).await?;
        let requests = amqp::consume(&requests_channel, REQUESTS_QUEUE, "producer", false, timeout).await?;
        let clerk = Clerk {
            config: env.config.clone(),
            intake: intake.clone(),
            dead: amqp::confirming_channel(publishing, timeout).await?,
            replies: amqp::channel(publishing, timeout).await?,
            timeout,
            shutdown: shutdown.clone(),
        };
        let hints = amqp::channel(publishing, timeout).await?;
        let channel = amqp::confirming_channel(publishing, timeout).await?;
        let listening = amqp::channel(consuming, timeout).await?;
        let news = amqp::listen(&listening, EVENTS_EXCHANGE, "podcast.#", "producer", timeout).await?;
        let heartbeats = amqp::listen(&listening, HEARTBEATS_EXCHANGE, "", "producer", timeout).await?;
        // Last, so that nothing waits for confirms of a session that did not open.
        let (publisher, confirms) =
            TicketPublisher::new(env.link.ledger().clone(), channel, env.blobs.clone(), timeout);
        tasks.spawn(confirms);
        Ok(Session { env, requests, news, heartbeats, clerk, publisher, hints, timeout })
    }

    async fn serve(
        self,
        shutdown: &CancellationToken,
        tasks: &mut JoinSet<anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let Session { env, requests, news, heartbeats, clerk, publisher, hints, timeout } = self;
        let outbox = env.link.connect();
        metrics::gauge!("podfleet_broker_up", "role" => "producer").set(1.0);
        tracing::info!("the broker is connected");
        let mut desk = Desk { env, publisher, hints, timeout, outbox };
        let result = desk.work((requests, news, heartbeats), &clerk, shutdown, tasks).await;
        metrics::gauge!("podfleet_broker_up", "role" => "producer").set(0.0);
        env.link.abandon(desk.outbox);
        result
    }
}

/// The publishing half of a session.
struct Desk<'a> {
    env: &'a Env,
    publisher: TicketPublisher,
    hints: Channel,
    timeout: Duration,
    outbox: mpsc::Receiver<Telling>,
}

impl Desk<'_> {
    /// Until shutdown or the first error. Requests in hand are finished at shutdown, not cancelled.
    async fn work(
        &mut self,
        (mut requests, mut news, mut heartbeats): (Consumer, Consumer, Consumer),
        clerk: &Clerk,
        shutdown: &CancellationToken,
        tasks: &mut JoinSet<anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let mut in_hand = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = tasks.join_next() => {
                    ended??;
                    bail!("the confirms of this session are over");
                }
                Some(telling) = self.outbox.recv() => self.tell(telling).await?,
                Some(handled) = in_hand.next() => handled?,
                pulse = heartbeats.next() => self.on_pulse(&amqp::taken(pulse, "heartbeats")?),
                delivery = news.next() => self.on_news(&amqp::taken(delivery, "events")?),
                delivery = requests.next() => in_hand.push(clerk.handle(amqp::taken(delivery, "requests")?)),
            }
        }
        while let Some(handled) = in_hand.next().await {
            handled?;
        }
        self.env.link.disconnect();
        while let Some(telling) = self.outbox.recv().await {
            self.tell(telling).await?;
        }
        Ok(())
    }

    async fn tell(&self, telling: Telling) -> anyhow::Result<()> {
        let publishes = !telling.tickets.is_empty();
        self.publisher.publish(telling.tickets).await?;
        if publishes {
            crash::point("producer.after_publish_before_checkpoint");
        }
        for hint in telling.hints {
            let key = format!("podcast.{}", hint.event);
            let body = serde_json::to_vec(&hint)?;
            amqp::broadcast(&self.hints, EVENTS_EXCHANGE, &key, &body, self.timeout).await?;
        }
        Ok(())
    }

    fn on_pulse(&self, delivery: &Delivery) {
        let now = Instant::now();
        match serde_json::from_slice(&delivery.data) {
            Ok(Pulse::Room(room)) => self.env.link.heard(room, now),
            Ok(Pulse::Worker(worker)) => self.env.roster.heard(worker, now),
            // It comes from another version, and is not needed.
            Err(_) => {}
        }
    }

    fn on_news(&self, delivery: &Delivery) {
        if let Ok(hint) = serde_json::from_slice::<Hint>(&delivery.data) {
            self.env.hub.hint(hint.podcast);
        }
    }
}
