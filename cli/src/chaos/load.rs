//! Who uses the fleet while it is maltreated: upstream applications, and somebody of the support staff.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use common::config::Broker;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::application::Application;
use super::world::World;

/// Applications; each has one request at a time.
const APPLICATIONS: usize = 4;
/// When the faults are over, everything must be answered within this.
const LAST_ANSWERS: Duration = Duration::from_secs(60);
/// Support looks for dead letters this often.
const SUPPORT: Duration = Duration::from_secs(1);

/// A request that was accepted.
#[derive(Clone, Debug)]
pub(super) struct Submitted {
    pub(super) key: String,
    pub(super) id: Uuid,
    /// The API was asked to cancel it, and said yes.
    pub(super) cancelled: bool,
}

/// What came of it all, from outside.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) submitted: Vec<Submitted>,
    /// Requests that were sent again under their keys, and answered.
    pub(super) repeated: usize,
    /// Other requests under the same keys, which were refused.
    pub(super) conflicts: usize,
    /// Dead letters that support replayed.
    pub(super) replayed: usize,
    /// Answers that break a promise.
    pub(super) complaints: Vec<String>,
}

/// Shared by everybody who writes into it.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedLog(Arc<Mutex<Log>>);

impl SharedLog {
    pub(super) fn write(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests of low priority, which only the nemesis orders: those that are wanted, and those that are not accepted yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    wanted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Orders {
    pub(super) fn order(&self) {
        self.open.fetch_add(1, Ordering::SeqCst);
        self.wanted.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn are_open(&self) -> bool {
        self.open.load(Ordering::SeqCst) > 0
    }

    /// Whether the caller has to send one.
    pub(super) fn take(&self) -> bool {
        self.wanted.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |wanted| wanted.checked_sub(1)).is_ok()
    }

    pub(super) fn finish(&self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) struct Load {
    stop: CancellationToken,
    people: JoinSet<()>,
    log: SharedLog,
    orders: Orders,
}

impl Load {
    pub(super) fn start(world: &World) -> anyhow::Result<Load> {
        let (stop, log, orders) = (CancellationToken::new(), SharedLog::default(), Orders::default());
        let next = Arc::new(AtomicUsize::new(1));
        let mut people = JoinSet::new();
        for number in 0..APPLICATIONS {
            let application = Application {
                number,
                apis: world.apis.clone(),
                http: http()?,
                broker: Broker { url: world.servers.rabbitmq.url(), ..Broker::default() },
                database_url: world.servers.postgres.url(),
                next: next.clone(),
                orders: orders.clone(),
                log: log.clone(),
            };
            people.spawn(application.run(stop.clone()));
        }
        people.spawn(support(world.apis.clone(), http()?, log.clone(), stop.clone()));
        Ok(Load { stop, people, log, orders })
    }

    pub(super) fn orders(&self) -> Orders {
        self.orders.clone()
    }

    pub(super) fn log(&self) -> Log {
        self.log.write().clone()
    }

    /// Ends it; everything that was begun is answered first.
    pub(super) async fn stop(mut self) -> anyhow::Result<Log> {
        self.stop.cancel();
        let all = async {
            while let Some(ended) = self.people.join_next().await {
                ended.context("an application")?;
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(LAST_ANSWERS, all).await {
            Ok(ended) => ended?,
            Err(_) => {
                let complaint =
                    format!("a request was not answered within {LAST_ANSWERS:?} after the last fault");
                self.log.write().complaints.push(complaint);
            }
        }
        Ok(self.log())
    }
}

fn http() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?)
}

/// Replays what was given up, whatever the reason: a podcast that failed leaves that state only so.
async fn support(apis: Vec<String>, http: reqwest::Client, log: SharedLog, stop: CancellationToken) {
    for api in apis.iter().cycle() {
        let replayed = replay_all(api, &http).await.unwrap_or_default();
        log.write().replayed += replayed;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SUPPORT) => {}
        }
    }
}

async fn replay_all(api: &str, http: &reqwest::Client) -> anyhow::Result<usize> {
    let page: Value =
        http.get(format!("{api}/v1/dead-letters?source=task&limit=100")).send().await?.json().await?;
    let letters = page["dead_letters"].as_array().context("no list of dead letters")?;
    let mut replayed = 0;
    for id in letters.iter().filter_map(|letter| letter["id"].as_str()) {
        let wish = json!({"reason": "what was in its way is gone"});
        let url = format!("{api}/v1/dead-letters/{id}/replay");
        // Its podcast may have ended meanwhile, and the answer may be lost: the next look tells.
        replayed += usize::from(http.post(url).json(&wish).send().await?.status() == StatusCode::OK);
    }
    Ok(replayed)
}
