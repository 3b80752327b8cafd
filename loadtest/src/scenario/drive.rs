//! Sends what is to arrive, when it is to arrive, and follows each of it to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use common::config::Broker;
use jiff::Timestamp;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::arrivals::{Arrival, Door, Screen};
use super::article::story;
use super::submit::{Exchange, over_http};
use super::watch::{Watched, follow};

/// How often it is asked whether the API is there at all.
const PROBE_PERIOD: Duration = Duration::from_millis(250);
/// An answer to that which comes later is none.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Where a running fleet is.
#[derive(Clone, Debug)]
pub struct Fleet {
    pub apis: Vec<String>,
    pub broker: Broker,
}

/// One request, from its arrival to its end.
#[derive(Clone, Debug)]
pub struct Course {
    pub arrival: Arrival,
    pub sent_at: Timestamp,
    /// How much later it was sent than it should have been: above some milliseconds the load itself was at its limit.
    pub late: Duration,
    pub podcast: Option<Uuid>,
    /// From sending to the 202, or to the reply.
    pub answered: Option<Duration>,
    pub in_vain: u32,
    pub ended: Ended,
    pub watched: Watched,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// So long after it was sent.
    Completed(Duration),
    /// In another way, or not in time; in words.
    Not(String),
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Ran {
    pub courses: Vec<Course>,
    pub from: Timestamp,
    /// When the last request had arrived.
    pub to: Timestamp,
    /// Looks at the API, and those of them that were answered by one producer or another.
    pub probes: u32,
    pub probes_answered: u32,
}

struct Shared {
    fleet: Fleet,
    client: reqwest::Client,
    exchange: Exchange,
    run: String,
    patience: Duration,
}

/// Runs all arrivals. `patience` is how long a podcast may take before it counts as failed.
pub async fn drive(fleet: &Fleet, arrivals: &[Arrival], patience: Duration) -> anyhow::Result<Ran> {
    let shared = Arc::new(Shared {
        client: client()?,
        exchange: Exchange::open(&fleet.broker).await?,
        run: Uuid::new_v4().simple().to_string(),
        fleet: fleet.clone(),
        patience,
    });
    let stop = CancellationToken::new();
    let probing = probe(shared.client.clone(), fleet.apis.clone(), stop.clone());
    let mut running = JoinSet::new();
    let (from, started) = (Timestamp::now(), Instant::now());
    for (number, arrival) in arrivals.iter().enumerate() {
        tokio::time::sleep_until((started + arrival.at).into()).await;
        let late = started.elapsed().saturating_sub(arrival.at);
        running.spawn(course(shared.clone(), number, *arrival, late));
    }
    let to = Timestamp::now();
    let mut courses = Vec::with_capacity(arrivals.len());
    while let Some(ended) = running.join_next().await {
        courses.push(ended.context("following a request")?);
    }
    stop.cancel();
    let (probes, probes_answered) = probing.await?;
    courses.sort_by_key(|course: &Course| course.arrival.at);
    if let Some(shared) = Arc::into_inner(shared) {
        shared.exchange.close().await;
    }
    Ok(Ran { courses, from, to, probes, probes_answered })
}

fn client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().connect_timeout(Duration::from_secs(2)).build()?)
}

async fn course(shared: Arc<Shared>, number: usize, arrival: Arrival, late: Duration) -> Course {
    let key = format!("load-{}-{number}", shared.run);
    let body = story(arrival.article, arrival.chapters);
    let (sent_at, started) = (Timestamp::now(), Instant::now());
    let apis = &shared.fleet.apis;
    let answer = match arrival.door {
        Door::Http => over_http(&shared.client, apis, number, &key, &body).await,
        Door::Amqp => shared.exchange.submit(&key, &body).await,
    };
    let mut course = Course {
        arrival,
        sent_at,
        late,
        podcast: None,
        answered: None,
        in_vain: 0,
        ended: Ended::Not(String::new()),
        watched: Watched::default(),
    };
    match answer {
        Err(error) => course.ended = Ended::Not(format!("{error:#}")),
        Ok(answer) => {
            course.podcast = Some(answer.podcast);
            course.answered = Some(answer.at.duration_since(started));
            course.in_vain = answer.in_vain;
            course.watched =
                follow(&shared.client, apis, number, answer.podcast, arrival.screen, shared.patience).await;
            course.ended = match &course.watched.end {
                Some((end, at)) if end == "completed" => Ended::Completed(at.duration_since(started)),
                Some((end, _)) => Ended::Not(format!("podcast {} ended as {end}", answer.podcast)),
                None => {
                    Ended::Not(format!("podcast {} did not end within {:?}", answer.podcast, shared.patience))
                }
            };
        }
    }
    course
}

/// Looks at the API all the time, as a load balancer with two producers behind it: one that answers is enough.
fn probe(client: reqwest::Client, apis: Vec<String>, stop: CancellationToken) -> JoinHandle<(u32, u32)> {
    tokio::spawn(async move {
        let (mut probes, mut answered) = (0, 0);
        while !stop.is_cancelled() {
            tokio::time::sleep(PROBE_PERIOD).await;
            probes += 1;
            for api in &apis {
                let get = client.get(format!("{api}/v1/podcasts?limit=1")).timeout(PROBE_LIMIT);
                if get.send().await.is_ok_and(|answer| answer.status() == 200) {
                    answered += 1;
                    break;
                }
            }
        }
        (probes, answered)
    })
}

impl Course {
    pub fn is_over_http(&self) -> bool {
        self.arrival.door == Door::Http
    }

    pub fn is_on_a_web_socket(&self) -> bool {
        self.arrival.screen == Screen::WebSocket
    }
}
