//! Upstream applications that submit over HTTP and AMQP while the fleet is maltreated. Each asks again under the same key until it
//! is answered, as the documentation tells them to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use common::amqp;
use common::config::Broker;
use common::topology::REQUESTS_EXCHANGE;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::world::{World, connect};

/// Applications; each has one request at a time.
const APPLICATIONS: usize = 4;
/// Podcasts that may be unfinished before applications wait.
const MOST_RUNNING: i64 = 40;
/// A message that did not become a podcast within this is sent again: the broker may have been wiped.
const LOST: Duration = Duration::from_secs(4);
/// When the faults are over, everything must be answered within this.
const LAST_ANSWERS: Duration = Duration::from_secs(60);

/// A request that was accepted.
#[derive(Clone, Debug)]
pub(super) struct Submitted {
    pub(super) key: String,
    pub(super) id: Uuid,
    /// The API was asked to cancel it, and said yes.
    pub(super) cancelled: bool,
}

pub(super) struct Load {
    stop: CancellationToken,
    applications: JoinSet<anyhow::Result<Vec<Submitted>>>,
}

struct Application {
    number: usize,
    apis: Vec<String>,
    http: reqwest::Client,
    broker: Broker,
    database_url: String,
    /// Numbers the requests of all applications.
    next: Arc<AtomicUsize>,
}

impl Load {
    pub(super) fn start(world: &World) -> anyhow::Result<Load> {
        let stop = CancellationToken::new();
        let next = Arc::new(AtomicUsize::new(1));
        let mut applications = JoinSet::new();
        for number in 0..APPLICATIONS {
            let application = Application {
                number,
                apis: world.apis.clone(),
                http: reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?,
                broker: Broker { url: world.servers.rabbitmq.url(), ..Broker::default() },
                database_url: world.servers.postgres.url(),
                next: next.clone(),
            };
            applications.spawn(application.run(stop.clone()));
        }
        Ok(Load { stop, applications })
    }

    /// Ends it; everything that was begun is answered first.
    pub(super) async fn stop(mut self) -> anyhow::Result<Vec<Submitted>> {
        self.stop.cancel();
        let all = async {
            let mut submitted = Vec::new();
            while let Some(ended) = self.applications.join_next().await {
                submitted.extend(ended.context("an application")??);
            }
            Ok(submitted)
        };
        tokio::time::timeout(LAST_ANSWERS, all).await.context("a request was never answered")?
    }
}

impl Application {
    async fn run(self, stop: CancellationToken) -> anyhow::Result<Vec<Submitted>> {
        let mut submitted = Vec::new();
        while !stop.is_cancelled() {
            if !self.has_room().await {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let key = format!("chaos-{number}");
            let body = article(number);
            let over_amqp = number.is_multiple_of(4);
            let id = if over_amqp {
                self.submit_over_amqp(&key, &body).await?
            } else {
                self.submit_over_http(&key, &body).await?
            };
            let cancelled = number.is_multiple_of(17) && self.cancel(id).await;
            submitted.push(Submitted { key, id, cancelled });
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(submitted)
    }

    async fn has_room(&self) -> bool {
        let count = async {
            let database = connect(&self.database_url).await?;
            let row =
                database.query_one("select count(*) from podcasts where state = 'running'", &[]).await?;
            anyhow::Ok(row.get::<_, i64>(0))
        };
        // Whether it can be counted or not, asking does no harm.
        count.await.map_or(true, |running| running < MOST_RUNNING)
    }

    fn api(&self, attempt: usize) -> &str {
        &self.apis[(self.number + attempt) % self.apis.len()]
    }

    async fn submit_over_http(&self, key: &str, body: &Value) -> anyhow::Result<Uuid> {
        for attempt in 0.. {
            let url = format!("{}/v1/podcasts", self.api(attempt));
            if let Ok(answer) = self.http.post(url).header("idempotency-key", key).json(body).send().await {
                let status = answer.status();
                let refused = status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS;
                ensure!(!refused, "{key} was refused: {}", answer.text().await.unwrap_or_default());
                if status.is_success()
                    && let Ok(answer) = answer.json::<Value>().await
                {
                    return answer["id"]
                        .as_str()
                        .and_then(|id| id.parse().ok())
                        .context("an answer without id");
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::bail!("{key} was never answered")
    }

    async fn submit_over_amqp(&self, key: &str, body: &Value) -> anyhow::Result<Uuid> {
        let body = serde_json::to_vec(body)?;
        loop {
            // A broker that is down is not asked for an opinion.
            if self.publish(key, &body).await.is_ok()
                && let Ok(Some(id)) = tokio::time::timeout(LOST, self.until_accepted(key)).await
            {
                return Ok(id);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn publish(&self, key: &str, body: &[u8]) -> anyhow::Result<()> {
        let connection = amqp::connect(&self.broker, "application").await?;
        let channel = amqp::confirming_channel(&connection, self.broker.timeout()).await?;
        let properties = amqp::persistent_json().with_message_id(key.into());
        let timeout = self.broker.timeout();
        let confirm = amqp::publish(&channel, REQUESTS_EXCHANGE, "", body, properties, timeout).await?;
        amqp::confirmed(confirm, timeout).await?;
        amqp::close(&connection, timeout).await;
        Ok(())
    }

    async fn until_accepted(&self, key: &str) -> Option<Uuid> {
        loop {
            if let Ok(database) = connect(&self.database_url).await {
                let select = "select id from podcasts where idempotency_key = $1";
                while let Ok(found) = database.query_opt(select, &[&key]).await {
                    if let Some(row) = found {
                        return row.get(0);
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Whether the API said yes. It may say no: the podcast may have ended already.
    async fn cancel(&self, id: Uuid) -> bool {
        let url = format!("{}/v1/podcasts/{id}", self.api(0));
        self.http.delete(url).send().await.is_ok_and(|answer| answer.status().is_success())
    }
}

/// One or two chapters of three to six numbered sentences, unlike those of any other request: the speech server codes the
/// numbers in tones, and its ledger tells the sentences apart.
fn article(number: usize) -> Value {
    let mut text = format!("# Story {number}\n\n");
    let mut sentence = 1;
    for chapter in 0..1 + number % 2 {
        text.push_str(["## First part\n\n", "## Second part\n\n"][chapter]);
        for _ in 0..3 + number % 4 {
            text.push_str(&format!(
                "Sentence {sentence} belongs to story {number} and to no other, and it goes on for a while.\n\n"
            ));
            sentence += 1;
        }
    }
    json!({"source": {"text": text}, "language": "en", "format": "dialogue", "priority": (["high", "normal", "low"][number % 3])})
}
