//! What is done to messages: they come twice, in another order, from a newer build, or make no sense at all.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use common::amqp;
use common::config::Broker;
use common::topology::{Lane, REQUESTS_QUEUE, lane_queue, outcomes_queue_name};
use common::work::Kind;
use futures_util::StreamExt;
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::BasicQosOptions;
use serde_json::Value;
use uuid::Uuid;

use super::fault::Mischief;
use super::inflict::Came;
use super::world::World;

/// Messages that are taken at once.
const MOST: u16 = 5;
/// They must come within this.
const PATIENCE: Duration = Duration::from_millis(1500);
/// No build knows it.
const VERSION: u16 = 99;

pub(super) async fn meddle(
    world: &World,
    mischief: Mischief,
    random: &mut fastrand::Rng,
    copied: &mut BTreeMap<Uuid, usize>,
) -> anyhow::Result<Came> {
    let broker = Broker { url: world.servers.rabbitmq.url(), ..Broker::default() };
    let connection = amqp::connect(&broker, "nemesis").await?;
    let channel = amqp::confirming_channel(&connection, broker.timeout()).await?;
    let mut hand = Interceptor { channel, timeout: broker.timeout(), random, copied };
    let came = match mischief {
        Mischief::Garbage => hand.garbage().await,
        _ => hand.intercept(mischief).await,
    };
    amqp::close(&connection, broker.timeout()).await;
    came
}

struct Interceptor<'a> {
    channel: Channel,
    timeout: Duration,
    random: &'a mut fastrand::Rng,
    copied: &'a mut BTreeMap<Uuid, usize>,
}

impl Interceptor<'_> {
    /// Takes messages as one of a queue's consumers, and puts others in their place before it acks them.
    async fn intercept(&mut self, mischief: Mischief) -> anyhow::Result<Came> {
        let lane = lane_queue(Kind::Tts, self.random.choice([Lane::High, Lane::Normal]).context("a lane")?);
        // Outcomes of a newer build are an upgrade in the wrong order.
        let queue = match mischief {
            Mischief::Newer => lane,
            _ => self.random.choice([lane, outcomes_queue_name(0, 1)]).context("a queue")?,
        };
        let mut taken = self.take(&queue).await?;
        // What says that it came before must go on saying so, because whoever had it may have paid: it goes back when this
        // connection closes.
        taken.retain(|delivery| !delivery.redelivered);
        let enough = if mischief == Mischief::Reordered { 2 } else { 1 };
        if taken.len() < enough {
            self.put_back(&queue, &taken).await?;
            return Ok(Came::Missed);
        }
        let bodies: Vec<Vec<u8>> = taken.iter().map(|delivery| delivery.data.clone()).collect();
        for body in self.changed(mischief, bodies) {
            self.publish(&queue, &body).await?;
        }
        self.ack(&taken).await?;
        Ok(Came::Over)
    }

    fn changed(&mut self, mischief: Mischief, mut bodies: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        match mischief {
            Mischief::Duplicated => {
                for task in bodies.iter().flat_map(|body| tasks(body)) {
                    *self.copied.entry(task).or_default() += 1;
                }
                bodies.extend(bodies.clone());
            }
            Mischief::Reordered => bodies.reverse(),
            Mischief::Newer => bodies = bodies.iter().map(|body| newer(body)).collect(),
            Mischief::Garbage => {}
        }
        bodies
    }

    async fn take(&self, queue: &str) -> anyhow::Result<Vec<Delivery>> {
        self.channel.basic_qos(MOST, BasicQosOptions::default()).await?;
        let mut consumer = amqp::consume(&self.channel, queue, "nemesis", false, self.timeout).await?;
        let mut taken = Vec::new();
        let patience = tokio::time::sleep(PATIENCE);
        tokio::pin!(patience);
        while taken.len() < usize::from(MOST) {
            tokio::select! {
                delivery = consumer.next() => taken.push(amqp::taken(delivery, queue)?),
                () = &mut patience => break,
            }
        }
        Ok(taken)
    }

    /// As they were: a redelivery would be another fault.
    async fn put_back(&self, queue: &str, taken: &[Delivery]) -> anyhow::Result<()> {
        for delivery in taken {
            self.publish(queue, &delivery.data).await?;
        }
        self.ack(taken).await
    }

    async fn publish(&self, queue: &str, body: &[u8]) -> anyhow::Result<()> {
        let properties = amqp::persistent_json();
        let confirm = amqp::publish(&self.channel, "", queue, body, properties, self.timeout).await?;
        Ok(amqp::confirmed(confirm, self.timeout).await?)
    }

    async fn ack(&self, taken: &[Delivery]) -> anyhow::Result<()> {
        for delivery in taken {
            amqp::ack(&delivery.acker, false, self.timeout).await?;
        }
        Ok(())
    }

    async fn garbage(&mut self) -> anyhow::Result<Came> {
        let noise: Vec<u8> = std::iter::repeat_with(|| self.random.u8(..)).take(1000).collect();
        let bodies: [&[u8]; 5] = [&noise, b"", b"{}", b"[{\"v\":99}]", b"[[[[[[1"];
        let mut queues = vec![outcomes_queue_name(0, 1), REQUESTS_QUEUE.to_owned()];
        queues.extend(Kind::ALL.map(|kind| lane_queue(kind, Lane::Normal)));
        for (queue, body) in queues.iter().zip(bodies.iter().cycle()) {
            self.publish(queue, body).await?;
        }
        Ok(Came::Over)
    }
}

/// Of a message of tickets: outcomes that come twice cost nothing.
fn tasks(body: &[u8]) -> Vec<Uuid> {
    let elements: Vec<Value> = serde_json::from_slice(body).unwrap_or_default();
    let tickets = elements.iter().filter(|element| element.get("input").is_some());
    tickets.filter_map(|ticket| ticket["task"].as_str()?.parse().ok()).collect()
}

/// The tickets of a message as a later version might write them.
fn newer(body: &[u8]) -> Vec<u8> {
    let mut elements: Vec<Value> = serde_json::from_slice(body).unwrap_or_default();
    for ticket in elements.iter_mut().filter_map(Value::as_object_mut) {
        ticket.insert("v".into(), VERSION.into());
        if let Some(input) = ticket.remove("input") {
            ticket.insert("inputs".into(), vec![input].into());
        }
    }
    serde_json::to_vec(&elements).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_ticket_keeps_its_ids_and_cannot_be_read() {
        let task = Uuid::now_v7();
        let body = serde_json::json!([{"v": 1, "task": task, "input": {"inline": 1}}]).to_string();
        assert_eq!(tasks(body.as_bytes()), [task]);
        let changed: Value = serde_json::from_slice(&newer(body.as_bytes())).unwrap();
        assert_eq!(changed, serde_json::json!([{"v": 99, "task": task, "inputs": [{"inline": 1}]}]));
    }
}
