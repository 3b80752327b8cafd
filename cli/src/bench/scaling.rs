//! Workers 1 → 8, each with four segments at a time of exactly one second: how near eight are to eight times one.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use loadtest::providers::{Latency, Settings};
use loadtest::report::Measured;
use loadtest::scenario::arrivals::Screen;
use loadtest::scenario::{self, follow, request};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Results;
use crate::load::stage::{Setup, Stage};

const WORKERS: [u16; 4] = [1, 2, 4, 8];
const AT_A_TIME: u16 = 4;
/// Podcasts for each worker: 10 waves of four segments.
const PODCASTS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) async fn measure(
    seed: u64,
    results: &mut Results,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let mut rates = Vec::new();
    for workers in WORKERS {
        let setup = Setup {
            producers: 1,
            workers,
            collectors: 1,
            speech: AT_A_TIME,
            writing: AT_A_TIME,
            mixers: 1,
            ..Setup::default()
        };
        let stage = Stage::start(&setup, providers(seed), shutdown).await?;
        let rate = rate(&stage, usize::from(workers)).await;
        stage.stop(rate.is_ok()).await?;
        rates.push((workers, rate?));
    }
    let (one, eight) = (rates[0].1, rates[WORKERS.len() - 1].1);
    results.value("one_worker_per_s", one);
    results.set("eight_workers_linear", Measured::value(eight / (8.0 * one)));
    let names: Vec<String> = rates.iter().map(|(workers, _)| format!("{workers} workers")).collect();
    let bars: Vec<(&str, f64)> = names
        .iter()
        .zip(&rates)
        .map(|(name, (workers, rate))| (name.as_str(), rate / f64::from(*workers) / one))
        .collect();
    results.bars("Segments a second of each worker, against one worker alone", "", Some(0.95), &bars);
    results.raw.insert("scaling".to_owned(), json!(rates));
    Ok(())
}

/// Everything is written at once; a segment takes a second.
fn providers(seed: u64) -> Settings {
    let mut settings = scenario::providers(seed, 1.0);
    (settings.chat.first_token, settings.chat.whole) = (Latency::NONE, None);
    settings.speech.latency = Latency::fixed_ms(1_000);
    settings
}

/// Segments a second between the first wave and the last one.
async fn rate(stage: &Stage, workers: usize) -> anyhow::Result<f64> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("{}/v1/podcasts", stage.fleet.api);
    let ids = try_join_all((0..workers * PODCASTS).map(|number| {
        let sent = client.post(&url).json(&request(number)).send();
        async move {
            let answer: Value = sent.await?.error_for_status()?.json().await?;
            answer["id"].as_str().and_then(|id| id.parse::<Uuid>().ok()).context("the answer has no id")
        }
    }))
    .await?;
    for id in &ids {
        let watched = follow(&client, &stage.fleet.apis, 0, *id, Screen::ServerSentEvents, PATIENCE).await;
        ensure!(watched.end.is_some_and(|(end, _)| end == "completed"), "podcast {id} was not completed");
    }
    let database = stage.database()?;
    let mut spoken = Vec::new();
    for id in ids {
        let attempts = database.attempts_of(id).await?;
        spoken.extend(
            attempts.into_iter().filter(|attempt| attempt.kind == "tts").map(|attempt| attempt.recorded),
        );
    }
    spoken.sort_by(f64::total_cmp);
    // What the first wave brought was begun before the clock.
    let wave = workers * usize::from(AT_A_TIME);
    let first = *spoken.get(wave - 1).context("a first wave")?;
    let last = *spoken.last().context("a last segment")?;
    Ok((spoken.len() - wave) as f64 / (last - first))
}
