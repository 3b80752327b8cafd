//! The broker alone: one client publishes 256-byte persistent messages with confirms, consumes and acks them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Context;
use common::amqp;
use common::config::Broker;
use futures_util::StreamExt;
use lapin::options::{BasicQosOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer, PublisherConfirm};

const BYTES: usize = 256;
/// Confirms that may be open.
const OPEN: usize = 1024;
/// Deliveries that may be unacknowledged, and how many one ack stands for.
const PREFETCH: u16 = 1024;
const ACKED_AT_ONCE: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    Quorum,
    Classic,
}

impl Queue {
    fn kind(self) -> &'static str {
        match self {
            Queue::Quorum => "quorum",
            Queue::Classic => "classic",
        }
    }
}

/// Messages a second, each confirmed, consumed and acked.
pub async fn through_a_queue(broker: &Broker, queue: Queue, messages: usize) -> anyhow::Result<f64> {
    let timeout = broker.timeout();
    let (publishing, consuming) =
        (amqp::connect(broker, "floor publish").await?, amqp::connect(broker, "floor consume").await?);
    let channel = amqp::confirming_channel(&publishing, timeout).await?;
    let acking = amqp::channel(&consuming, timeout).await?;
    let name = declare(&acking, queue).await?;
    acking.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let consumer = amqp::consume(&acking, &name, "floor", false, timeout).await?;
    let started = Instant::now();
    tokio::try_join!(publish(&channel, &name, messages, timeout), consume(consumer, messages, timeout))?;
    let seconds = started.elapsed().as_secs_f64();
    acking.queue_delete(name.into(), QueueDeleteOptions::default()).await?;
    amqp::close(&publishing, timeout).await;
    amqp::close(&consuming, timeout).await;
    Ok(messages as f64 / seconds)
}

/// How long each of so many confirms takes, one after another, in milliseconds.
pub async fn confirm_ms(broker: &Broker, queue: Queue, messages: usize) -> anyhow::Result<Vec<f64>> {
    let timeout = broker.timeout();
    let connection = amqp::connect(broker, "floor confirm").await?;
    let channel = amqp::confirming_channel(&connection, timeout).await?;
    let name = declare(&channel, queue).await?;
    let body = [0u8; BYTES];
    let mut took = Vec::with_capacity(messages);
    for _ in 0..messages {
        let started = Instant::now();
        let confirm = amqp::publish(&channel, "", &name, &body, amqp::persistent_json(), timeout).await?;
        amqp::confirmed(confirm, timeout).await?;
        took.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    channel.queue_delete(name.into(), QueueDeleteOptions::default()).await?;
    amqp::close(&connection, timeout).await;
    Ok(took)
}

async fn declare(channel: &Channel, queue: Queue) -> anyhow::Result<String> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(queue.kind().into()));
    let name = format!("floor.{}.{}", queue.kind(), uuid::Uuid::new_v4().simple());
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(name.as_str().into(), options, arguments).await.context("declaring a queue")?;
    Ok(name)
}

async fn publish(channel: &Channel, queue: &str, messages: usize, timeout: Duration) -> anyhow::Result<()> {
    let body = [0u8; BYTES];
    let mut open: VecDeque<PublisherConfirm> = VecDeque::with_capacity(OPEN);
    for _ in 0..messages {
        if open.len() == OPEN
            && let Some(oldest) = open.pop_front()
        {
            amqp::confirmed(oldest, timeout).await?;
        }
        open.push_back(amqp::publish(channel, "", queue, &body, amqp::persistent_json(), timeout).await?);
    }
    for confirm in open {
        amqp::confirmed(confirm, timeout).await?;
    }
    Ok(())
}

async fn consume(mut consumer: Consumer, messages: usize, timeout: Duration) -> anyhow::Result<()> {
    for number in 1..=messages {
        let next = tokio::time::timeout(timeout, consumer.next()).await;
        let delivery = amqp::taken(next.context("nothing came any more")?, "the floor's queue")?;
        if number % ACKED_AT_ONCE == 0 || number == messages {
            amqp::ack(&delivery.acker, true, timeout).await?;
        }
    }
    Ok(())
}
