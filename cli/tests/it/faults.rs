//! Whatever is killed, at whatever moment: every accepted podcast ends, each segment in it once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use common::crash;
use loadtest::providers::{Latency, Provider, Settings};
use nix::sys::signal::Signal;

use crate::audio::expect_every_number_once;
use crate::fleet::{Fleet, Servers, Setup, numbered_article};

pub(crate) const SPOKEN: &str = "select count(*) from tasks where kind = 'tts' and state = 'done'";

pub(crate) async fn slow_speech() -> anyhow::Result<Provider> {
    let latency = Latency::Fixed(Duration::from_millis(300));
    Provider::start(Settings::default().speech_latency(latency)).await
}

/// Each point in turn aborts a process that passes it; a second process of the role carries on.
pub(crate) async fn every_crash_point_is_survived(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    let setup = Setup { workers: 0, collectors: 0, ..Setup::default() };
    let mut fleet = Fleet::start(
        servers,
        "crash",
        setup.with_speech_server(&provider.url()).with("COLLECTOR__SINGLE_ACTIVE", false),
    )
    .await?;
    fleet.spawn("collector", &[]).await?;
    fleet.spawn("worker", &[]).await?;
    let steady_api = fleet.api.clone();
    for (number, point) in crash::POINTS.iter().enumerate() {
        let role = point.split('.').next().context("a role")?;
        let wish = [("PODFLEET_CRASH_AT", *point)];
        match role {
            "producer" => fleet.spawn_producer(&wish).await?,
            "mixer" => {
                fleet.spawn_with("worker", &["--tasks".to_owned(), "mix,join".to_owned()], &wish).await?;
            }
            role => fleet.spawn(role, &wish).await?,
        }
        let mut article = numbered_article(1, 6);
        article["title"] = serde_json::json!(format!("Crash {number}"));
        let key = format!("crash-{number}");
        // The producer may die while it answers: the same key is asked again, elsewhere.
        let mut id = None;
        for api in [fleet.api.clone(), steady_api.clone()] {
            let request =
                fleet.http.post(format!("{api}/v1/podcasts")).header("idempotency-key", &key).json(&article);
            if let Ok(response) = request.send().await {
                let answer: serde_json::Value = response.json().await?;
                id = answer["id"].as_str().map(str::to_owned);
                break;
            }
        }
        let id = id.with_context(|| format!("{point}: nobody accepted"))?;
        fleet.api = steady_api.clone();
        fleet.completed(&id).await.with_context(|| (*point).to_owned())?;
        let mut doomed = fleet.roles.pop().context("the role that crashes")?;
        // Other work passes the point if this podcast went through the other process.
        let mut extra = 0;
        while doomed.child.try_wait()?.is_none() {
            ensure!(extra < 20, "{point} was never hit; the log is {}", doomed.log.display());
            let mut article = numbered_article(1, 6);
            article["title"] = serde_json::json!(format!("Crash {number} again {extra}"));
            if role == "producer" {
                let api = fleet.apis.last().context("an address")?;
                let _ = fleet.http.post(format!("{api}/v1/podcasts")).json(&article).send().await;
            } else {
                let id = fleet.submit(&article).await?;
                fleet.completed(&id).await.with_context(|| (*point).to_owned())?;
            }
            extra += 1;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let log = std::fs::read_to_string(&doomed.log)?;
        ensure!(log.contains(point), "{point}: the process ended for another reason");
    }
    fleet.at_rest().await?;
    fleet.abandon().await
}

pub(crate) async fn a_killed_worker_loses_nothing(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = slow_speech().await?;
    let setup = Setup { workers: 2, ..Setup::default() };
    let mut fleet = Fleet::start(servers, "worker-kill", setup.with_speech_server(&provider.url())).await?;
    let id = fleet.submit(&numbered_article(2, 12)).await?;
    fleet.until_count(SPOKEN, |spoken| spoken >= 4).await?;
    fleet.role("worker").signal(Signal::SIGKILL);
    fleet.completed(&id).await?;
    expect_every_number_once(&fleet, &id).await?;
    let twice = provider.ledger().answers_by_text().values().filter(|count| **count > 1).count();
    ensure!(twice <= 4, "at most what the worker had in hand is paid twice, not {twice}");
    fleet.at_rest().await?;
    fleet.abandon().await
}

pub(crate) async fn a_killed_broker_loses_nothing(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = slow_speech().await?;
    let mut fleet = Fleet::start_with_own_servers(
        servers,
        "broker-kill",
        Setup { workers: 2, ..Setup::default() }.with_speech_server(&provider.url()),
    )
    .await?;
    let id = fleet.submit(&numbered_article(2, 12)).await?;
    fleet.until_count(SPOKEN, |spoken| spoken >= 4).await?;
    let own = fleet.own.as_mut().context("own servers")?;
    own.rabbitmq.kill().await?;
    own.rabbitmq.restart().await?;
    fleet.completed(&id).await?;
    expect_every_number_once(&fleet, &id).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

pub(crate) async fn a_wiped_broker_loses_nothing(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = slow_speech().await?;
    let mut fleet = Fleet::start_with_own_servers(
        servers,
        "broker-wipe",
        Setup { workers: 2, ..Setup::default() }.with_speech_server(&provider.url()),
    )
    .await?;
    let id = fleet.submit(&numbered_article(2, 12)).await?;
    fleet.until_count(SPOKEN, |spoken| spoken >= 4).await?;
    let own = fleet.own.as_mut().context("own servers")?;
    own.rabbitmq.kill().await?;
    own.rabbitmq.wipe().await?;
    own.rabbitmq.restart().await?;
    fleet.completed(&id).await?;
    expect_every_number_once(&fleet, &id).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

pub(crate) async fn a_deleted_lane_comes_back(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = slow_speech().await?;
    let fleet = Fleet::start_with_own_servers(
        servers,
        "lane-deleted",
        Setup::default().with_speech_server(&provider.url()),
    )
    .await?;
    let id = fleet.submit(&numbered_article(2, 12)).await?;
    fleet.until_count(SPOKEN, |spoken| spoken >= 4).await?;
    let own = fleet.own.as_ref().context("own servers")?;
    own.rabbitmq.delete_queue(&fleet.vhost, "podfleet.tts.normal.v1").await?;
    // An idle one, too, which holds nothing that anybody would miss.
    own.rabbitmq.delete_queue(&fleet.vhost, "podfleet.tts.low.v1").await?;
    fleet.completed(&id).await?;
    expect_every_number_once(&fleet, &id).await?;
    let mut low = numbered_article(1, 2);
    low["priority"] = serde_json::json!("low");
    let id = fleet.submit(&low).await?;
    fleet.completed(&id).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

pub(crate) async fn throttled_speech_is_retried_and_paid_once(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let settings =
        Settings::default().fail_first(3, 429, Some(Duration::from_secs(1))).fail_first(2, 500, None);
    let provider = Provider::start(settings).await?;
    let fleet =
        Fleet::start(servers, "throttle", Setup::default().with_speech_server(&provider.url())).await?;
    let id = fleet.submit(&numbered_article(1, 8)).await?;
    fleet.completed(&id).await?;
    expect_every_number_once(&fleet, &id).await?;
    let ledger = provider.ledger();
    ensure!(ledger.answers_by_text().values().all(|count| *count == 1), "{ledger:?}");
    ensure!(fleet.count("select count(*) from attempts where class = 'throttled'").await? == 3);
    ensure!(fleet.count("select count(*) from attempts where class = 'transient'").await? == 2);
    fleet.at_rest().await?;
    fleet.stop().await
}
