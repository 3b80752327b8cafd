//! RabbitMQ: what it does with messages is tried out in queues of the doctor's own, which are deleted afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use common::amqp;
use common::config::Broker;
use common::topology::{self, DeadLetters};
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, BasicRejectOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

use super::{Findings, middle_ms};

/// Messages whose confirms are timed.
const CONFIRMS: usize = 20;
/// Deliveries before a message should be set aside.
const LIMIT: i32 = 2;
/// After so many deliveries nobody counts any more.
const MOST_DELIVERIES: usize = 10;

pub(super) async fn look(broker: &Broker, found: &mut Findings) {
    let connection = match amqp::connect(broker, "doctor").await {
        Ok(connection) => connection,
        Err(error) => {
            let means = "requests are accepted and wait in PostgreSQL; nothing is made";
            let remedy = "Start RabbitMQ, or set PODFLEET__BROKER__URL to where it is, with user, password and virtual host";
            return found.failed("connection", &error, means, remedy);
        }
    };
    version(broker, found).await;
    let timeout = broker.timeout();
    match amqp::probe(&connection, timeout).await {
        Ok(()) => found.ok("messages", "taken and confirmed", "there is no memory or disk alarm"),
        Err(error) => found.failed(
            "messages",
            &error,
            "with an alarm, nothing is sent until it ends",
            "Make room: `rabbitmq-diagnostics alarms` says of what",
        ),
    }
    let tried = tokio::time::timeout(Duration::from_secs(30), queues(&connection, timeout, found)).await;
    if let Err(error) = tried.map_err(anyhow::Error::from).and_then(|tried| tried) {
        let means = "the rest was not tried";
        found.failed(
            "queues",
            &error,
            means,
            "Look at the broker's log; the user needs configure, write and read",
        );
    }
    amqp::close(&connection, timeout).await;
}

/// The broker tells it in the first frame, before anybody signs in.
async fn version(broker: &Broker, found: &mut Findings) {
    match tokio::time::timeout(Duration::from_secs(5), greeted(broker)).await {
        Ok(Ok(version)) => {
            let major: u32 = version.split('.').next().and_then(|text| text.parse().ok()).unwrap_or(0);
            let minor: u32 = version.split('.').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
            if (major, minor) >= (3, 10) {
                found.ok("version", version, "quorum queues are durable from 3.10 on");
            } else {
                let remedy = "Upgrade to 3.10 or newer";
                found.bad(
                    "version",
                    version,
                    "dead letters of quorum queues may be lost before 3.10",
                    remedy,
                );
            }
        }
        Ok(Err(error)) => found.note("version", format!("{error:#}"), "it is not known"),
        Err(_) => found.note("version", "no greeting in 5 s", "it is not known"),
    }
}

async fn greeted(broker: &Broker) -> anyhow::Result<String> {
    let url = reqwest::Url::parse(&broker.url).context("broker.url")?;
    if url.scheme() != "amqp" {
        bail!("it is told behind TLS alone");
    }
    let host = url.host_str().context("broker.url has no host")?;
    let mut stream = tokio::net::TcpStream::connect((host, url.port().unwrap_or(5_672))).await?;
    stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
    let mut header = [0; 7];
    stream.read_exact(&mut header).await?;
    let size = u32::from_be_bytes([header[3], header[4], header[5], header[6]]).min(64 * 1024);
    let mut frame = vec![0; size as usize];
    stream.read_exact(&mut frame).await?;
    version_in(&frame).context("the greeting names none")
}

/// In the table of server properties: the name, `S`, the length in four bytes, the text.
fn version_in(frame: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"\x07versionS";
    let at = frame.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    let length = u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?) as usize;
    String::from_utf8(frame.get(at + 4..at + 4 + length)?.to_vec()).ok()
}

async fn queues(connection: &Connection, timeout: Duration, found: &mut Findings) -> anyhow::Result<()> {
    let name = |what: &str| format!("podfleet.doctor.{what}.{}", Uuid::new_v4().simple());
    let channel = amqp::confirming_channel(connection, timeout).await?;
    let quorum = name("quorum");
    // Deleted soon, it must not have a process for its dead letters, whose end could take those of all other queues along.
    topology::declare_queue(connection, &quorum, false, DeadLetters::AtMostOnce, timeout).await?;
    found.ok(
        "quorum queues",
        "declared as the fleet declares its own",
        "what is confirmed survives a restart",
    );
    let tried = async {
        confirms(&channel, &quorum, found).await?;
        returns(&channel, found).await
    }
    .await;
    delete(&channel, &quorum).await;
    tried?;
    let limited = name("limited");
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(LIMIT));
    declare(&channel, &limited, true, arguments).await?;
    let tried = delivery_limit(&channel, &limited, found).await;
    delete(&channel, &limited).await;
    tried?;
    priority(connection, timeout, &name("classic"), false, found).await?;
    priority(connection, timeout, &name("priority"), true, found).await
}

async fn declare(channel: &Channel, name: &str, durable: bool, arguments: FieldTable) -> anyhow::Result<()> {
    let options = QueueDeclareOptions { durable, exclusive: !durable, ..Default::default() };
    channel.queue_declare(name.into(), options, arguments).await?;
    Ok(())
}

async fn delete(channel: &Channel, name: &str) {
    // A channel that the broker has closed cannot; the queue is empty then, and bears its maker's name.
    let _ = channel.queue_delete(name.into(), QueueDeleteOptions::default()).await;
}

async fn publish(channel: &Channel, queue: &str, priority: u8) -> anyhow::Result<lapin::Confirmation> {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let properties = BasicProperties::default().with_delivery_mode(2).with_priority(priority);
    Ok(channel.basic_publish("".into(), queue.into(), options, &[priority], properties).await?.await?)
}

async fn confirms(channel: &Channel, queue: &str, found: &mut Findings) -> anyhow::Result<()> {
    let mut took = Vec::with_capacity(CONFIRMS);
    for _ in 0..CONFIRMS {
        let began = Instant::now();
        let confirmation = publish(channel, queue, 0).await?;
        ensure!(confirmation.is_ack(), "a message was not confirmed");
        took.push(began.elapsed());
    }
    let ms = middle_ms(took);
    let means = "a ticket is on the broker's disk before anybody counts on it";
    if ms < 50.0 {
        found.ok("publisher confirms", format!("{ms:.1} ms, the middle one of {CONFIRMS}"), means);
    } else {
        let slow = "it works, and slowly: each first ticket takes that long to go out";
        found.note("publisher confirms", format!("{ms:.0} ms, the middle one of {CONFIRMS}"), slow);
    }
    Ok(())
}

async fn returns(channel: &Channel, found: &mut Findings) -> anyhow::Result<()> {
    let confirmation = publish(channel, "podfleet.doctor.nowhere", 0).await?;
    match confirmation {
        lapin::Confirmation::Ack(Some(_)) | lapin::Confirmation::Nack(Some(_)) => {
            found.ok("messages without a queue", "come back", "a lane that is gone is noticed");
        }
        _ => found.bad(
            "messages without a queue",
            "are lost without a word",
            "tickets to a lane that is gone would be lost until they are missed",
            "Use RabbitMQ itself: this broker does not keep to AMQP 0-9-1",
        ),
    }
    Ok(())
}

async fn delivery_limit(channel: &Channel, queue: &str, found: &mut Findings) -> anyhow::Result<()> {
    publish(channel, queue, 0).await?;
    let mut deliveries = 0;
    while deliveries < MOST_DELIVERIES
        && let Some(message) = got(channel, queue).await?
    {
        deliveries += 1;
        message.acker.reject(BasicRejectOptions { requeue: true }).await?;
    }
    let limit = LIMIT as usize;
    if deliveries == limit + 1 {
        let means = "a message that kills every reader is set aside in the end; the fleet counts for itself before that";
        found.ok("delivery limit", format!("{LIMIT}: delivered {deliveries} times, then set aside"), means);
    } else {
        let means = "the fleet counts for itself, and sets aside after five deliveries; the broker's limit is not there as a last resort";
        found.note("delivery limit", format!("{LIMIT}, but delivered {deliveries} times"), means);
    }
    Ok(())
}

/// The next message, if one comes soon: a quorum queue takes a moment to put one back.
async fn got(channel: &Channel, queue: &str) -> anyhow::Result<Option<lapin::message::BasicGetMessage>> {
    for _ in 0..20 {
        if let Some(message) = channel.basic_get(queue.into(), BasicGetOptions::default()).await? {
            return Ok(Some(message));
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Ok(None)
}

/// A low one first, then a high one: which comes out first? On a channel of its own, since a refusal closes it.
async fn priority(
    connection: &Connection,
    timeout: Duration,
    queue: &str,
    quorum: bool,
    found: &mut Findings,
) -> anyhow::Result<()> {
    let channel = amqp::confirming_channel(connection, timeout).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-priority".into(), AMQPValue::LongInt(10));
    if quorum {
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    }
    let what = if quorum { "priority in quorum queues" } else { "priority in classic queues" };
    let means = "nothing here relies on it: each priority has a lane of its own, and none starves";
    if let Err(error) = declare(&channel, queue, quorum, arguments).await {
        let reason = error.to_string();
        found.note(what, format!("refused: {}", reason.lines().next().unwrap_or_default()), means);
        return Ok(());
    }
    let tried = async {
        publish(&channel, queue, 1).await?;
        publish(&channel, queue, 9).await?;
        let first = got(&channel, queue).await?.context("a message that was confirmed did not come")?;
        first.acker.ack(BasicAckOptions::default()).await?;
        anyhow::Ok(first.data.first() == Some(&9))
    }
    .await;
    delete(&channel, queue).await;
    let order = if tried? { "the higher one comes first" } else { "ignored: first in, first out" };
    found.ok(what, order, means);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_greeting() {
        let frame = b"\x00\x0a\x00\x0a\x00\x09\x00\x00\x00\x40\x07productS\x00\x00\x00\x08RabbitMQ\x07versionS\x00\x00\x00\x063.10.8\x00";
        assert_eq!(version_in(frame).as_deref(), Some("3.10.8"));
        assert_eq!(version_in(b"\x07versionS\x00\x00\xff\xff3.1"), None);
        assert_eq!(version_in(b"\x07versionS\x00"), None);
        assert_eq!(version_in(b""), None);
    }
}
