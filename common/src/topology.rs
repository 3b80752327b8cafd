//! Names of exchanges and queues, and their declaration. Names carry a version, since the arguments of a queue cannot be
//! changed once it exists.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, bail};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ExchangeKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::amqp;
use crate::work::Kind;

/// Reply codes of AMQP 0-9-1: for a queue that does not exist, and for a declaration that does not fit the one that does.
pub const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
/// How often somebody who waits for a queue looks for it.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

pub const REQUESTS_EXCHANGE: &str = "podfleet.requests";
pub const REQUESTS_QUEUE: &str = "podfleet.requests.v1";
pub const EVENTS_EXCHANGE: &str = "podfleet.events";
pub const HEARTBEATS_EXCHANGE: &str = "podfleet.heartbeats";
pub const DEAD_EXCHANGE: &str = "podfleet.dead";
pub const DEAD_QUEUE: &str = "podfleet.dead.v1";

/// A priority class of one kind of task; each is a queue of its own, because message priority differs between broker
/// versions and starves on some.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    High,
    #[default]
    Normal,
    Low,
    /// For tasks that were interrupted twice: a worker that takes one does nothing else meanwhile.
    Alone,
}

impl Lane {
    pub const ALL: [Lane; 4] = [Lane::High, Lane::Normal, Lane::Low, Lane::Alone];

    pub fn as_str(self) -> &'static str {
        match self {
            Lane::High => "high",
            Lane::Normal => "normal",
            Lane::Low => "low",
            Lane::Alone => "alone",
        }
    }

    pub fn parse(name: &str) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| lane.as_str() == name)
    }

    /// A worker takes from its lanes in this proportion, so none starves.
    pub fn weight(self) -> u32 {
        match self {
            Lane::High => 6,
            Lane::Normal => 3,
            Lane::Low | Lane::Alone => 1,
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The queue of a lane.
pub fn lane_queue(kind: Kind, lane: Lane) -> String {
    format!("podfleet.{kind}.{lane}.v1")
}

/// The queue for a podcast's outcomes; there are `partitions` of them.
pub fn outcomes_queue(podcast: Uuid, partitions: u16) -> String {
    let hash = blake3::hash(podcast.as_bytes());
    let first = u16::from_le_bytes([hash.as_bytes()[0], hash.as_bytes()[1]]);
    outcomes_queue_name(first % partitions.max(1), partitions)
}

pub fn outcomes_queue_name(partition: u16, partitions: u16) -> String {
    if partitions <= 1 { "podfleet.outcomes.v1".into() } else { format!("podfleet.outcomes.{partition}.v1") }
}

/// The marker of a broker's memory: while this queue exists, so does what was in the lanes.
pub fn epoch_queue(epoch: Uuid) -> String {
    format!("podfleet.epoch.{}.v1", epoch.simple())
}

/// How the broker passes to the dead queue what it gives up. Every queue works with either; only the one who declares it chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadLetters {
    /// By a process of the broker that keeps the message until the dead queue has confirmed it.
    #[default]
    AtLeastOnce,
    /// At once and unconfirmed, without that process: for a broker that has lost the supervisor of them all, as 3.10 does when a
    /// queue is deleted while it elects its leader. Until it is restarted, no new queue with such a process keeps a leader.
    AtMostOnce,
}

impl DeadLetters {
    fn other(self) -> DeadLetters {
        match self {
            DeadLetters::AtLeastOnce => DeadLetters::AtMostOnce,
            DeadLetters::AtMostOnce => DeadLetters::AtLeastOnce,
        }
    }
}

/// Arguments of a durable queue. The broker keeps no count that we rely on: the delivery limit is a last resort against a
/// message that kills every reader before it is even counted by us, and leads to the dead queue.
fn durable_arguments(single_active: bool, dead_letters: DeadLetters) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(20));
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString(DEAD_EXCHANGE.into()));
    let strategy = match dead_letters {
        DeadLetters::AtLeastOnce => "at-least-once",
        DeadLetters::AtMostOnce => "at-most-once",
    };
    arguments.insert("x-dead-letter-strategy".into(), AMQPValue::LongString(strategy.into()));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    if single_active {
        arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    }
    arguments
}

/// Declares a durable queue; the same call finds the one that exists, however it passes on its dead letters.
pub async fn declare_queue(
    connection: &Connection,
    name: &str,
    single_active: bool,
    dead_letters: DeadLetters,
    timeout: Duration,
) -> anyhow::Result<()> {
    // A declaration that is refused takes its channel along.
    let declare = async |dead_letters| {
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(name.into(), options, durable_arguments(single_active, dead_letters)).await?;
        channel.close(200, "declared".into()).await
    };
    let declared = async {
        match declare(dead_letters).await {
            Err(error) if amqp::reply_code(&error) == Some(PRECONDITION_FAILED) => {
                declare(dead_letters.other()).await
            }
            result => result,
        }
    };
    amqp::bounded(timeout, "declaring a queue", declared).await.with_context(|| {
        format!("declaring the queue {name}; if it exists with other arguments, delete it or use another virtual host")
    })
}

/// Sees that a collector has made these queues. One that is just being made can be found, but consumers hang on it: the exchange of
/// dead letters, which is declared last, tells whether the broker was set up to the end. A missing one closes the channel.
pub async fn find(channel: &Channel, queues: &[String]) -> lapin::Result<()> {
    let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
    channel
        .exchange_declare(DEAD_EXCHANGE.into(), ExchangeKind::Fanout, passive, FieldTable::default())
        .await?;
    for queue in queues {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        channel.queue_declare(queue.as_str().into(), passive, FieldTable::default()).await?;
    }
    Ok(())
}

/// Waits until a collector has made a queue: for as long as the caller lets it.
pub async fn until_made(connection: &Connection, queue: &str, timeout: Duration) -> anyhow::Result<()> {
    loop {
        let found = async {
            let channel = connection.create_channel().await?;
            find(&channel, &[queue.to_owned()]).await?;
            channel.close(200, "found".into()).await
        };
        match tokio::time::timeout(timeout, found).await {
            Ok(Err(error)) if amqp::reply_code(&error) == Some(NOT_FOUND) => {
                tokio::time::sleep(LOOK_AGAIN).await
            }
            Ok(found) => return found.with_context(|| format!("looking for the queue {queue}")),
            Err(_) => bail!("the broker did not say in time whether the queue {queue} exists"),
        }
    }
}

/// The dead queue has no dead-letter exchange of its own: what lies there waits for the collector.
pub async fn declare_dead_queue(connection: &Connection, timeout: Duration) -> anyhow::Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(1_000_000));
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    let channel = amqp::channel(connection, timeout).await?;
    let declared = async {
        channel.queue_declare(DEAD_QUEUE.into(), options, arguments).await?;
        channel.close(200, "declared".into()).await
    };
    amqp::bounded(timeout, "declaring the dead queue", declared).await
}

/// Exchanges cost nothing and have no state: every role declares them. Queues, and what leads to them, are the collectors' to make.
pub async fn declare_exchanges(connection: &Connection, timeout: Duration) -> anyhow::Result<()> {
    let channel = amqp::channel(connection, timeout).await?;
    for (name, kind) in [
        (REQUESTS_EXCHANGE, ExchangeKind::Fanout),
        (EVENTS_EXCHANGE, ExchangeKind::Topic),
        (HEARTBEATS_EXCHANGE, ExchangeKind::Fanout),
    ] {
        declare_exchange(&channel, name, kind, timeout).await?;
    }
    amqp::bounded(timeout, "closing a channel", channel.close(200, "declared".into())).await
}

async fn declare_exchange(
    channel: &Channel,
    name: &str,
    kind: ExchangeKind,
    timeout: Duration,
) -> anyhow::Result<()> {
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let declaration = channel.exchange_declare(name.into(), kind, durable, FieldTable::default());
    amqp::bounded(timeout, "declaring an exchange", declaration)
        .await
        .with_context(|| format!("the exchange {name}"))
}

/// Leads requests and dead letters to their queues, which all work by now: this is what [`find`] looks for.
pub async fn bind_queues(connection: &Connection, timeout: Duration) -> anyhow::Result<()> {
    let channel = amqp::channel(connection, timeout).await?;
    declare_exchange(&channel, DEAD_EXCHANGE, ExchangeKind::Fanout, timeout).await?;
    for (queue, exchange) in [(REQUESTS_QUEUE, REQUESTS_EXCHANGE), (DEAD_QUEUE, DEAD_EXCHANGE)] {
        let binding = channel.queue_bind(
            queue.into(),
            exchange.into(),
            "".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        amqp::bounded(timeout, "binding a queue", binding)
            .await
            .with_context(|| format!("the queue {queue}"))?;
    }
    amqp::bounded(timeout, "closing a channel", channel.close(200, "bound".into())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_partition_keeps_the_plain_name() {
        assert_eq!(outcomes_queue(Uuid::now_v7(), 1), "podfleet.outcomes.v1");
        let name = outcomes_queue(Uuid::now_v7(), 4);
        assert!((0..4).any(|k| name == format!("podfleet.outcomes.{k}.v1")), "{name}");
    }

    #[test]
    fn names_parse_back() {
        for lane in Lane::ALL {
            assert_eq!(Lane::parse(lane.as_str()), Some(lane));
        }
    }
}
