//! Requests on their way in, as a careful client sends them: under a key, and again elsewhere when nobody answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use common::amqp;
use common::config::Broker;
use common::topology::REQUESTS_EXCHANGE;
use futures_util::StreamExt;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// What has no answer by then counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before a request is sent again.
const PAUSE: Duration = Duration::from_millis(100);

/// The podcast, when the answer was there, and how often the request was sent in vain before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) podcast: Uuid,
    pub(super) at: Instant,
    pub(super) in_vain: u32,
}

/// Asks one producer after another, as a load balancer does when one is gone.
pub(super) async fn over_http(
    client: &reqwest::Client,
    apis: &[String],
    first: usize,
    key: &str,
    body: &Value,
) -> anyhow::Result<Answer> {
    let started = Instant::now();
    let mut in_vain = 0;
    loop {
        let api = &apis[(first + in_vain as usize) % apis.len()];
        let sent =
            client.post(format!("{api}/v1/podcasts")).header("idempotency-key", key).json(body).send().await;
        match sent {
            Ok(answer) if answer.status() == 202 => {
                let at = Instant::now();
                let answer: Value = answer.json().await.context("the answer to a request")?;
                let podcast = answer["id"].as_str().and_then(|id| id.parse().ok());
                return Ok(Answer { podcast: podcast.context("the answer has no id")?, at, in_vain });
            }
            Ok(answer) if answer.status().is_client_error() => {
                bail!(
                    "the request was answered {}: {}",
                    answer.status(),
                    answer.text().await.unwrap_or_default()
                );
            }
            _ if started.elapsed() > PATIENCE => bail!("the request was not answered within {PATIENCE:?}"),
            _ => {
                in_vain += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// A connection to the broker on which many requests are sent, and the queue to which they are answered.
pub(super) struct Exchange {
    connection: Connection,
    channel: Channel,
    replies: String,
    waiting: Arc<Mutex<Waiting>>,
    listening: JoinHandle<()>,
    timeout: Duration,
}

type Waiting = HashMap<String, oneshot::Sender<(Instant, Value)>>;

impl Exchange {
    pub(super) async fn open(broker: &Broker) -> anyhow::Result<Exchange> {
        let timeout = broker.timeout();
        let connection = amqp::connect(broker, "load test").await?;
        let channel = amqp::confirming_channel(&connection, timeout).await?;
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
        let replies = queue.name().as_str().to_owned();
        let mut consumer = amqp::consume(&channel, &replies, "load-test", true, timeout).await?;
        let waiting: Arc<Mutex<Waiting>> = Arc::default();
        let theirs = waiting.clone();
        let listening = tokio::spawn(async move {
            while let Some(Ok(delivery)) = consumer.next().await {
                let at = Instant::now();
                let key = delivery.properties.correlation_id().as_ref().map(|id| id.as_str().to_owned());
                let asker = key.and_then(|key| locked(&theirs).remove(&key));
                // An answer that nobody waits for is a second one to a request that was delivered twice.
                if let (Some(asker), Ok(answer)) = (asker, serde_json::from_slice(&delivery.data)) {
                    let _ = asker.send((at, answer));
                }
            }
        });
        Ok(Exchange { connection, channel, replies, waiting, listening, timeout })
    }

    pub(super) async fn submit(&self, key: &str, body: &Value) -> anyhow::Result<Answer> {
        let (asker, answer) = oneshot::channel();
        locked(&self.waiting).insert(key.to_owned(), asker);
        let properties = amqp::persistent_json()
            .with_message_id(key.into())
            .with_correlation_id(key.into())
            .with_reply_to(self.replies.as_str().into());
        let body = serde_json::to_vec(body)?;
        let confirm =
            amqp::publish(&self.channel, REQUESTS_EXCHANGE, "", &body, properties, self.timeout).await?;
        amqp::confirmed(confirm, self.timeout).await?;
        let (at, answer) = tokio::time::timeout(PATIENCE, answer)
            .await
            .with_context(|| format!("the message was not answered within {PATIENCE:?}"))??;
        let podcast = answer["podcast"].as_str().and_then(|id| id.parse().ok());
        let podcast = podcast.with_context(|| format!("the message was refused: {answer}"))?;
        Ok(Answer { podcast, at, in_vain: 0 })
    }

    pub(super) async fn close(self) {
        amqp::close(&self.connection, self.timeout).await;
        self.listening.abort();
    }
}

fn locked(waiting: &Mutex<Waiting>) -> std::sync::MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
