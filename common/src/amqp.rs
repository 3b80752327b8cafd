//! RabbitMQ as Podfleet uses it: connections with a heartbeat, publishes that count only when they are confirmed *and*
//! routed, acks that count only when the channel still knew the delivery, and a timeout round each of them.
//!
//! A process keeps two connections, one to publish and one to consume: an alarm of the broker blocks whole connections that
//! publish, and acks must get through meanwhile. Nothing recovers by itself: any error ends the session, and its owner
//! builds a new one ([`crate::backoff::Reconnect`]).

use std::time::Duration;

use anyhow::{Context, bail};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicRejectOptions, ConfirmSelectOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{
    Acker, BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    PublisherConfirm,
};

use crate::config::Broker;
use crate::crash;

/// Largest frame. The library keeps room for dozens of frames in each direction of every connection, and the broker would
/// offer 128 KiB; larger messages travel in several frames.
const FRAME_BYTES: u32 = 16 * 1024;
/// A silent peer is declared dead after twice this long.
const HEARTBEAT_SECONDS: u16 = 5;

pub type Properties = BasicProperties;

/// Persistent JSON.
pub fn persistent_json() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into())
}

/// Opens a connection. `purpose` shows in the broker's list of connections.
pub async fn connect(broker: &Broker, purpose: &str) -> anyhow::Result<Connection> {
    let mut uri: AMQPUri = broker.url.parse().map_err(|error| {
        anyhow::anyhow!("broker.url is not an AMQP address (amqp://user:password@host:port/vhost): {error}")
    })?;
    uri.query.heartbeat = Some(uri.query.heartbeat.unwrap_or(HEARTBEAT_SECONDS).min(HEARTBEAT_SECONDS));
    uri.query.frame_max = Some(uri.query.frame_max.unwrap_or(FRAME_BYTES));
    let at = format!("{}:{}", uri.authority.host, uri.authority.port);
    let properties =
        ConnectionProperties::default().with_connection_name(format!("podfleet {purpose}").into());
    tokio::time::timeout(broker.timeout(), Connection::connect_uri(uri, properties))
        .await
        .map_err(|_| anyhow::anyhow!("no answer within {:?}", broker.timeout()))
        .and_then(|connected| connected.map_err(Into::into))
        .with_context(|| format!("connecting to RabbitMQ at {at}"))
}

/// Opens a channel, bounded in time.
pub async fn channel(connection: &Connection, timeout: Duration) -> anyhow::Result<Channel> {
    bounded(timeout, "opening a channel", connection.create_channel()).await
}

/// Consumes from a queue. `purpose` begins the consumer's tag, which shows in the broker's list.
pub async fn consume(
    channel: &Channel,
    queue: &str,
    purpose: &str,
    no_ack: bool,
    timeout: Duration,
) -> anyhow::Result<Consumer> {
    let options = BasicConsumeOptions { no_ack, ..Default::default() };
    let tag = format!("{purpose}-{}", uuid::Uuid::new_v4().simple());
    let consume = channel.basic_consume(queue.into(), tag.as_str().into(), options, FieldTable::default());
    bounded(timeout, "consuming", consume).await.with_context(|| format!("the queue {queue}"))
}

/// Consumes from an exchange through a queue of this session's own, which vanishes with it and holds a few thousand at most.
pub async fn listen(
    channel: &Channel,
    exchange: &str,
    key: &str,
    purpose: &str,
    timeout: Duration,
) -> anyhow::Result<Consumer> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(10_000));
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let queue = bounded(timeout, "declaring", channel.queue_declare("".into(), options, arguments)).await?;
    let name = queue.name().clone();
    let bind = channel.queue_bind(
        name.clone(),
        exchange.into(),
        key.into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bounded(timeout, "binding", bind).await.with_context(|| format!("the exchange {exchange}"))?;
    consume(channel, name.as_str(), purpose, true, timeout).await
}

/// Whether the broker takes messages at all. With an alarm it still lets everybody connect and consume, and blocks whoever publishes:
/// a session that began then would take deliveries only to give them back when its first publish has timed out.
pub async fn probe(connection: &Connection, timeout: Duration) -> anyhow::Result<()> {
    let channel = confirming_channel(connection, timeout).await?;
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    // No queue has this name, so the message goes nowhere, and is confirmed all the same.
    let probe = async {
        let nowhere = "podfleet.probe".into();
        channel.basic_publish("".into(), nowhere, options, b"", properties).await?.await
    };
    bounded(timeout, "asking whether messages are taken (no answer: a memory or disk alarm)", probe).await?;
    channel.close(200, "asked".into()).await.ok();
    Ok(())
}

/// What a consumer gave. One that ends, with or without an error, ends the session.
pub fn taken(delivery: Option<lapin::Result<Delivery>>, from: &str) -> anyhow::Result<Delivery> {
    match delivery {
        Some(Ok(delivery)) => Ok(delivery),
        Some(Err(error)) => Err(error).with_context(|| format!("taking from {from}")),
        None => bail!("the broker cancelled the consumer of {from}"),
    }
}

/// Opens a channel on which every publish is confirmed.
pub async fn confirming_channel(connection: &Connection, timeout: Duration) -> anyhow::Result<Channel> {
    let channel = channel(connection, timeout).await?;
    bounded(timeout, "switching confirms on", channel.confirm_select(ConfirmSelectOptions::default()))
        .await?;
    Ok(channel)
}

/// Why a message cannot be counted as stored. After a timeout or a broken channel it may be stored all the same.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("no queue took the message (it was returned)")]
    Returned,
    #[error("the broker refused the message (nack)")]
    Refused,
    #[error("the broker did not confirm within {0:?}")]
    Timeout(Duration),
    #[error("the channel does not confirm; this is a bug")]
    Unconfirmed,
    #[error("the connection broke")]
    Broken(#[source] lapin::Error),
}

/// Hands a message to the connection and returns its pending confirm. Waits only while the connection is blocked.
pub async fn publish(
    channel: &Channel,
    exchange: &str,
    routing_key: &str,
    body: &[u8],
    properties: BasicProperties,
    timeout: Duration,
) -> Result<PublisherConfirm, PublishError> {
    let (exchange, routing_key): (ShortString, ShortString) = (exchange.into(), routing_key.into());
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    tokio::time::timeout(timeout, channel.basic_publish(exchange, routing_key, options, body, properties))
        .await
        .map_err(|_| PublishError::Timeout(timeout))?
        .map_err(PublishError::Broken)
}

/// Waits for a confirm. Only an ack without a returned message counts: an unroutable message is acked too.
pub async fn confirmed(confirm: PublisherConfirm, timeout: Duration) -> Result<(), PublishError> {
    let confirmation = tokio::time::timeout(timeout, confirm)
        .await
        .map_err(|_| PublishError::Timeout(timeout))?
        .map_err(PublishError::Broken)?;
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) if crash::has_defect(crash::DROPS_RETURNED) => Ok(()),
        Confirmation::Ack(Some(_)) => Err(PublishError::Returned),
        Confirmation::Nack(_) => Err(PublishError::Refused),
        Confirmation::NotRequested => Err(PublishError::Unconfirmed),
    }
}

/// Publishes without caring whether anybody listens: hints and heartbeats.
pub async fn broadcast(
    channel: &Channel,
    exchange: &str,
    routing_key: &str,
    body: &[u8],
    timeout: Duration,
) -> anyhow::Result<()> {
    let properties = BasicProperties::default().with_content_type("application/json".into());
    let publish = channel.basic_publish(
        exchange.into(),
        routing_key.into(),
        BasicPublishOptions::default(),
        body,
        properties,
    );
    // The confirm, if the channel gives one, is not waited for: a hint may be lost.
    bounded(timeout, "publishing a hint", publish).await.map(drop)
}

/// Acks a delivery (and all before it on its channel, if `multiple`). `Ok(false)` of the library means that the channel is
/// gone and the broker will deliver again: that is an error here.
pub async fn ack(acker: &Acker, multiple: bool, timeout: Duration) -> anyhow::Result<()> {
    let known = bounded(timeout, "acknowledging", acker.ack(BasicAckOptions { multiple })).await?;
    metrics::counter!("podfleet_acks_total", "result" => if known { "ok" } else { "stale" }).increment(1);
    if !known {
        bail!("the delivery was taken on a channel that is gone; the broker delivers it again");
    }
    Ok(())
}

/// Sends an unreadable delivery to the dead exchange.
pub async fn reject(acker: &Acker, timeout: Duration) -> anyhow::Result<()> {
    let known = bounded(timeout, "rejecting", acker.reject(BasicRejectOptions { requeue: false })).await?;
    anyhow::ensure!(known, "the delivery was taken on a channel that is gone; the broker delivers it again");
    Ok(())
}

/// Closes within `timeout`; a blocked connection never answers, and is dropped.
pub async fn close(connection: &Connection, timeout: Duration) {
    if let Err(error) = bounded(timeout, "closing", connection.close(200, "bye".into())).await {
        tracing::debug!(error = format!("{error:#}"), "a broker connection did not close in order");
    }
}

/// The reply code of AMQP 0-9-1 with which the broker closed the channel or the connection.
pub fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// Puts a bound on a call to the broker.
pub async fn bounded<T>(
    timeout: Duration,
    doing: &'static str,
    call: impl Future<Output = lapin::Result<T>>,
) -> anyhow::Result<T> {
    match tokio::time::timeout(timeout, call).await {
        Ok(result) => result.with_context(|| format!("{doing} on the broker")),
        Err(_) => bail!("{doing} on the broker took more than {timeout:?}"),
    }
}
