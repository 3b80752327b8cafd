//! Redis is only a cache: frozen, flushed or killed, it changes no result and costs a task next to nothing.

use std::sync::Arc;

use anyhow::{Context, ensure};
use loadtest::providers::{Latency, Provider, Settings};
use serde_json::json;
use std::time::Duration;

use crate::audio::expect_every_number_once;
use crate::fleet::{Fleet, Servers, Setup, numbered_article};

/// What one task may spend on the cache, in seconds.
const BUDGET: f64 = 0.05;

/// What a podcast came to, without what differs from run to run.
const STATES: &str = "select kind, chapter, segment, state, last_class from tasks where podcast_id = '$'
                      order by kind, chapter, segment";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Redis {
    Well,
    Frozen,
    Flushed,
    Killed,
}

pub(crate) async fn without_redis_all_is_the_same(servers: &Arc<Servers>) -> anyhow::Result<()> {
    // The same for every call, so that what differs is the cache.
    let latency = Latency::Fixed(Duration::from_millis(100));
    let provider = Provider::start(Settings::default().speech_latency(latency)).await?;
    let mut fleet =
        Fleet::start(servers, "redis", Setup::default().with_speech_server(&provider.url())).await?;
    let mut states = Vec::new();
    let worker = fleet.health("worker").await?;
    for (number, how) in
        [Redis::Well, Redis::Well, Redis::Frozen, Redis::Flushed, Redis::Killed].into_iter().enumerate()
    {
        let redis = fleet.redis.as_mut().context("its own")?;
        match how {
            Redis::Well => {}
            Redis::Frozen => redis.pause(),
            // An empty one in its place: what a flush leaves, and its connections are gone, too.
            Redis::Flushed => redis.restart().await?,
            Redis::Killed => redis.kill().await?,
        }
        // Texts of its own, so that nothing is found.
        let mut article = numbered_article(2, 15);
        let text = article["source"]["text"]
            .as_str()
            .context("a text")?
            .replace("a while", &format!("a while, {how:?} {number}"));
        article["source"]["text"] = json!(text);
        let before = waited(&fleet, &worker).await?;
        let id = fleet.submit(&article).await?;
        fleet.completed(&id).await?;
        expect_every_number_once(&fleet, &id).await?;
        if how == Redis::Frozen {
            fleet.redis.as_ref().context("its own")?.resume();
        }
        let rows = fleet.query(&STATES.replace('$', &id)).await?;
        let rows = rows.iter().map(|row| {
            let (kind, chapter, segment): (String, i32, i32) = (row.get(0), row.get(1), row.get(2));
            let (state, class): (String, Option<String>) = (row.get(3), row.get(4));
            (kind, chapter, segment, state, class)
        });
        states.push(rows.collect::<Vec<_>>());
        let took = fleet
            .query(&format!(
                "select percentile_cont(0.5) within group (order by extract(epoch from finished_at - started_at))::float8 * 1000,
                        max(extract(epoch from finished_at - started_at))::float8 * 1000
                 from attempts where podcast_id = '{id}' and kind = 'tts'"
            ))
            .await?;
        let (median, most): (f64, f64) = (took[0].get(0), took[0].get(1));
        // What the worker waited for the cache, by its own clock: how long a segment takes varies more than that.
        let tasks = fleet
            .count(&format!("select count(*) from attempts where podcast_id = '{id}' and kind in ('outline', 'script', 'tts')"))
            .await?;
        let each = (waited(&fleet, &worker).await? - before) / tasks as f64;
        println!(
            "  Redis {how:?}: a task waited {:.1} ms for it; a segment took {median:.0} ms, at most {most:.0} ms",
            each * 1e3
        );
        ensure!(each <= BUDGET, "{:.0} ms more a task without Redis ({how:?})", each * 1e3);
    }
    ensure!(states.iter().all(|rows| *rows == states[0]), "the same tasks in the same states: {states:#?}");
    ensure!(
        provider.ledger().answers_by_text().values().all(|count| *count == 1),
        "each segment was paid once"
    );
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Seconds that a worker has spent on the cache.
async fn waited(fleet: &Fleet, worker: &str) -> anyhow::Result<f64> {
    let metrics = fleet.http.get(format!("{worker}/metrics")).send().await?.text().await?;
    let sum = metrics.lines().find_map(|line| line.strip_prefix("podfleet_cache_wait_seconds_sum "));
    Ok(sum.map_or(Ok(0.0), str::parse)?)
}
