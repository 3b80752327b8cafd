//! The fleet itself, measured with tasks that do nothing: one outline, five scripts, twenty-five segments, (five mixes,) one
//! join. Every step is as durable as always.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use common::amqp;
use common::config::Broker;
use common::topology::EVENTS_EXCHANGE;
use common::wire::Hint;
use futures_util::StreamExt;
use futures_util::stream::{self, TryStreamExt};
use hdrhistogram::Histogram;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, Consumer};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Requests that are being answered at a time while the fleet is saturated.
const SUBMITTERS: usize = 32;
/// The longest silence before the measurement is given up.
const SILENCE: Duration = Duration::from_secs(60);

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// Podcasts one after another.
    pub alone: usize,
    /// Podcasts all at once.
    pub saturated: usize,
}

/// What was measured in one run.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Milliseconds from the request to the notice of completion, nothing else going on.
    pub alone_p50_ms: f64,
    pub alone_p95_ms: f64,
    pub workflows: usize,
    pub workflows_per_second: f64,
    pub tasks_per_second: f64,
    /// Milliseconds to the 202, under full load.
    pub accepted_p50_ms: f64,
    pub accepted_p99_ms: f64,
}

/// Measures a running fleet whose engines are all `noop`. `tasks` is the number of tasks of one podcast.
pub async fn measure(api: &str, broker: &Broker, amount: Amount, tasks: usize) -> anyhow::Result<Figures> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
    let mut notices = Notices::open(broker).await?;
    let url = format!("{api}/v1/podcasts");
    // The first ones find cold connections and unplanned statements.
    for _ in 0..5 {
        alone(&client, &url, &mut notices).await?;
    }
    let mut latencies = Histogram::<u64>::new(3)?;
    for _ in 0..amount.alone {
        latencies.record(micros(alone(&client, &url, &mut notices).await?))?;
    }
    let started = Instant::now();
    let (accepted, finished) =
        tokio::join!(submit_all(&client, &url, amount.saturated), notices.wait_for(amount.saturated));
    let (accepted, finished) = (accepted?, finished?);
    let seconds = finished.duration_since(started).as_secs_f64();
    notices.close().await;
    let ms = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    let rate = amount.saturated as f64 / seconds;
    Ok(Figures {
        alone_p50_ms: ms(&latencies, 0.5),
        alone_p95_ms: ms(&latencies, 0.95),
        workflows: amount.saturated,
        workflows_per_second: rate,
        tasks_per_second: rate * tasks as f64,
        accepted_p50_ms: ms(&accepted, 0.5),
        accepted_p99_ms: ms(&accepted, 0.99),
    })
}

async fn submit(client: &reqwest::Client, url: &str) -> anyhow::Result<Uuid> {
    let response = client.post(url).json(&json!({"topic": "nothing", "language": "en"})).send().await?;
    let status = response.status();
    let answer: Value = response.json().await.context("the answer to a request")?;
    ensure!(status == 202, "the request was answered {status}: {answer}");
    answer["id"].as_str().and_then(|id| id.parse().ok()).context("the answer has no id")
}

async fn alone(client: &reqwest::Client, url: &str, notices: &mut Notices) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let id = submit(client, url).await?;
    Ok(notices.completion_of(id).await?.duration_since(started))
}

async fn submit_all(client: &reqwest::Client, url: &str, count: usize) -> anyhow::Result<Histogram<u64>> {
    let mut accepted = Histogram::<u64>::new(3)?;
    let mut answers = stream::iter(0..count)
        .map(|_| async {
            let started = Instant::now();
            submit(client, url).await.map(|_| started.elapsed())
        })
        .buffer_unordered(SUBMITTERS);
    while let Some(latency) = answers.try_next().await? {
        accepted.record(micros(latency))?;
    }
    Ok(accepted)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// Notices of completion, from the exchange where upstream applications hear them.
struct Notices {
    connection: Connection,
    consumer: Consumer,
    heard: HashMap<Uuid, Instant>,
}

impl Notices {
    async fn open(broker: &Broker) -> anyhow::Result<Notices> {
        let connection = amqp::connect(broker, "benchmark").await?;
        let channel = amqp::channel(&connection, broker.timeout()).await?;
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?.name().clone();
        for key in ["podcast.completed", "podcast.failed"] {
            let bind = QueueBindOptions::default();
            channel
                .queue_bind(queue.clone(), EVENTS_EXCHANGE.into(), key.into(), bind, FieldTable::default())
                .await?;
        }
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let consumer =
            channel.basic_consume(queue, "benchmark".into(), options, FieldTable::default()).await?;
        Ok(Notices { connection, consumer, heard: HashMap::new() })
    }

    async fn next(&mut self) -> anyhow::Result<Uuid> {
        let delivery = tokio::time::timeout(SILENCE, self.consumer.next())
            .await
            .with_context(|| format!("no podcast was completed for {SILENCE:?}"))?
            .context("the broker ended the consumer")??;
        let hint: Hint = serde_json::from_slice(&delivery.data)?;
        if hint.event != "completed" {
            bail!("podcast {} ended as {}: {}", hint.podcast, hint.event, hint.data);
        }
        self.heard.insert(hint.podcast, Instant::now());
        Ok(hint.podcast)
    }

    async fn completion_of(&mut self, id: Uuid) -> anyhow::Result<Instant> {
        while !self.heard.contains_key(&id) {
            self.next().await?;
        }
        self.heard.remove(&id).context("a notice that was just there")
    }

    /// Waits for so many different completions; returns when the last was heard.
    async fn wait_for(&mut self, count: usize) -> anyhow::Result<Instant> {
        let mut done = HashSet::new();
        while done.len() < count {
            done.insert(self.next().await?);
        }
        Ok(Instant::now())
    }

    async fn close(self) {
        amqp::close(&self.connection, Duration::from_secs(5)).await;
    }
}
