//! An upstream application that submits over HTTP and AMQP. It asks again under the same key until it is answered, as the
//! documentation tells it to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use common::amqp;
use common::config::Broker;
use common::topology::REQUESTS_EXCHANGE;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::load::{Orders, SharedLog, Submitted};
use super::provider::REFUSED_ONCE;
use super::world::connect;

/// Podcasts that may be unfinished before applications wait.
const MOST_RUNNING: i64 = 30;
/// An application that has waited this long does not wait while fewer than these are unfinished: if everything that runs waits for
/// something, new work shows that work flows.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const MOST_WAITING: i64 = 120;
/// Between two requests of one application.
const PAUSE: Duration = Duration::from_secs(1);
/// Before an unanswered request is sent again.
const AGAIN: Duration = Duration::from_millis(200);
/// A message that did not become a podcast within this is sent again: the broker may have been wiped.
const LOST: Duration = Duration::from_secs(4);
/// How often something that need not succeed is tried while the API is down.
const TRIES: usize = 20;

pub(super) struct Application {
    pub(super) number: usize,
    pub(super) apis: Vec<String>,
    pub(super) http: reqwest::Client,
    pub(super) broker: Broker,
    pub(super) database_url: String,
    /// Numbers the requests of all applications.
    pub(super) next: Arc<AtomicUsize>,
    pub(super) orders: Orders,
    pub(super) log: SharedLog,
}

impl Application {
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut last = Instant::now();
        while !stop.is_cancelled() {
            let ordered = self.orders.take();
            if ordered || self.has_room(last.elapsed()).await {
                last = Instant::now();
                if let Err(error) = self.ask(ordered).await {
                    self.log.write().complaints.push(format!("{error:#}"));
                }
                if ordered {
                    self.orders.finish();
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One request. An error is a broken promise of the fleet.
    async fn ask(&self, low: bool) -> anyhow::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let key = format!("chaos-{number}");
        let body = article(number, low);
        let id = if number.is_multiple_of(4) {
            self.submit_over_amqp(&key, &body).await?
        } else {
            self.submit_over_http(&key, &body).await?
        };
        self.log.write().submitted.push(Submitted { key: key.clone(), id, cancelled: false });
        if number.is_multiple_of(17) && self.cancel(id).await {
            let mut log = self.log.write();
            log.submitted.iter_mut().filter(|one| one.id == id).for_each(|one| one.cancelled = true);
        } else if number.is_multiple_of(5) {
            self.repeat(&key, &body, id).await?;
        }
        Ok(())
    }

    async fn has_room(&self, waited: Duration) -> bool {
        let most = if waited > LONGEST_WAIT { MOST_WAITING } else { MOST_RUNNING };
        let count = async {
            let database = connect(&self.database_url).await?;
            let row =
                database.query_one("select count(*) from podcasts where state = 'running'", &[]).await?;
            anyhow::Ok(row.get::<_, i64>(0))
        };
        // Whether it can be counted or not, asking does no harm.
        count.await.map_or(true, |running| running < most)
    }

    fn api(&self, attempt: usize) -> &str {
        &self.apis[(self.number + attempt) % self.apis.len()]
    }

    async fn submit_over_http(&self, key: &str, body: &Value) -> anyhow::Result<Uuid> {
        for attempt in 0.. {
            if let Some(answer) = self.post(attempt, key, body).await {
                return answer.with_context(|| format!("{key} was not accepted"));
            }
            tokio::time::sleep(AGAIN).await;
        }
        bail!("{key} was never answered")
    }

    /// `None` when there is no answer that means anything: the API is down, or says that it cannot.
    async fn post(&self, attempt: usize, key: &str, body: &Value) -> Option<anyhow::Result<Uuid>> {
        let url = format!("{}/v1/podcasts", self.api(attempt));
        let answer = self.http.post(url).header("idempotency-key", key).json(body).send().await.ok()?;
        let status = answer.status();
        if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
            let problem = answer.text().await.unwrap_or_default();
            return Some(Err(anyhow::anyhow!("{status}: {problem}")));
        }
        if !status.is_success() {
            return None;
        }
        let answer: Value = answer.json().await.ok()?;
        Some(answer["id"].as_str().and_then(|id| id.parse().ok()).context("an answer without id"))
    }

    /// The same request again is the same podcast, and another one under its key is refused.
    async fn repeat(&self, key: &str, body: &Value, id: Uuid) -> anyhow::Result<()> {
        if let Some(again) = self.try_to_post(key, body).await {
            let again = again.with_context(|| format!("{key}, sent again, was not accepted"))?;
            ensure!(again == id, "{key} is {id}, and sent again it is {again}");
            self.log.write().repeated += 1;
        }
        let mut other = body.clone();
        other["title"] = json!("Another podcast under the same key");
        match self.try_to_post(key, &other).await {
            Some(Ok(other)) => bail!("{key} is {id}, and another request under it was accepted as {other}"),
            Some(Err(problem)) if problem.to_string().starts_with("409") => self.log.write().conflicts += 1,
            Some(Err(problem)) => bail!("another request under {key} was not called a conflict: {problem}"),
            None => {}
        }
        Ok(())
    }

    async fn try_to_post(&self, key: &str, body: &Value) -> Option<anyhow::Result<Uuid>> {
        for attempt in 1..=TRIES {
            if let Some(answer) = self.post(attempt, key, body).await {
                return Some(answer);
            }
            tokio::time::sleep(AGAIN).await;
        }
        None
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
            tokio::time::sleep(AGAIN).await;
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
fn article(number: usize, low: bool) -> Value {
    let mut text = format!("# Story {number}\n\n");
    let mut sentence = 1;
    let ending = if number.is_multiple_of(10) { REFUSED_ONCE } else { "no other" };
    for chapter in 0..1 + number % 2 {
        text.push_str(["## First part\n\n", "## Second part\n\n"][chapter]);
        for _ in 0..3 + number % 4 {
            text.push_str(&format!(
                "Sentence {sentence} belongs to story {number} and to {ending}, and it goes on for a while.\n\n"
            ));
            sentence += 1;
        }
    }
    let priority = if low { "low" } else { ["high", "normal"][number % 2] };
    json!({"source": {"text": text}, "language": "en", "format": "dialogue", "priority": priority})
}
