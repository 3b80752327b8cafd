//! Hearing an episode before it is finished.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use loadtest::providers::{Latency, Provider, Settings, decode_numbers};

use crate::audio::{RATE, decode, numbers};
use crate::fleet::{Fleet, Servers, Setup, numbered_article, until};

/// One segment after the other, in order, a good while each.
async fn one_by_one() -> anyhow::Result<(Provider, Setup)> {
    let latency = Latency::Fixed(Duration::from_millis(700));
    let provider = Provider::start(Settings::default().speech_latency(latency)).await?;
    let setup = Setup::default()
        .with_speech_server(&provider.url())
        .with("ENGINES__TONES__CONCURRENCY", 1)
        .with("WORKER__CONCURRENCY", 1)
        .with("PRODUCER__MAX_LISTENERS", 1);
    Ok((provider, setup))
}

async fn listen(fleet: &Fleet, id: &str) -> anyhow::Result<reqwest::Response> {
    // Longer than any other answer.
    let client = reqwest::Client::builder().build()?;
    Ok(client.get(format!("{}/v1/podcasts/{id}/audio?partial=true", fleet.api)).send().await?)
}

/// Everything that is played, and the states of the podcast when the first and the last of it came.
async fn hear(fleet: &Fleet, id: &str) -> anyhow::Result<(Vec<u8>, String)> {
    let answer = listen(fleet, id).await?.error_for_status()?;
    ensure!(answer.headers()["content-type"] == "audio/mpeg");
    let mut pieces = answer.bytes_stream();
    let (mut heard, mut begun) = (Vec::new(), String::new());
    while let Some(piece) = pieces.next().await {
        heard.extend_from_slice(&piece?);
        if begun.is_empty() {
            begun = fleet.podcast(id).await?["state"].as_str().unwrap_or_default().to_owned();
        }
    }
    Ok((heard, begun))
}

pub(crate) async fn an_episode_is_heard_while_it_is_made(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let (_provider, setup) = one_by_one().await?;
    let fleet = Fleet::start(servers, "listening", setup).await?;
    let id = fleet.submit(&numbered_article(2, 3)).await?;
    let (heard, begun) = hear(&fleet, &id).await?;
    ensure!(begun == "running", "the first piece came when the podcast was {begun}");
    let podcast = fleet.completed(&id).await?;
    let first_ms = podcast["first_audio_ms"].as_i64().context("a time of the first audio")?;
    let created: jiff::Timestamp = podcast["created_at"].as_str().context("a time")?.parse()?;
    let finished: jiff::Timestamp = podcast["finished_at"].as_str().context("a time")?.parse()?;
    let took = finished.duration_since(created).as_millis();
    println!("  first audio after {first_ms} ms, the episode after {took} ms");
    ensure!(i128::from(first_ms) < took / 2);
    let told = "select count(*) from events where event = 'first_audio'";
    ensure!(fleet.count(told).await? == 1, "the first audio is told once");
    let file = fleet.folder.join("partial.mp3");
    std::fs::write(&file, &heard)?;
    let samples = decode(&file).await?;
    let marks: Vec<u16> = decode_numbers(&samples, RATE).iter().map(|mark| mark.number).collect();
    ensure!(marks == numbers(&fleet, &id).await?, "heard {marks:?}");
    let heard_ms = samples.len() as f64 / f64::from(RATE) * 1_000.0;
    let whole_ms = podcast["duration_ms"].as_f64().context("a duration")?;
    ensure!((heard_ms - whole_ms).abs() < whole_ms * 0.01 + 100.0, "{heard_ms} ms of {whole_ms}");
    // A finished podcast is served as ever.
    let again = fleet.get(&format!("/v1/podcasts/{id}/audio?partial=true")).await?.error_for_status()?;
    ensure!(again.headers().contains_key("etag") && again.bytes().await?.starts_with(b"ID3"));
    fleet.stop().await
}

pub(crate) async fn listening_ends_with_the_podcast(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let (_provider, setup) = one_by_one().await?;
    let fleet = Fleet::start(servers, "listening-ends", setup).await?;
    let id = fleet.submit(&numbered_article(2, 5)).await?;
    let mut pieces = listen(&fleet, &id).await?.error_for_status()?.bytes_stream();
    pieces.next().await.context("a piece")??;
    let second = listen(&fleet, &id).await?;
    ensure!(second.status() == 503 && second.headers().contains_key("retry-after"), "{}", second.status());
    fleet.http.delete(format!("{}/v1/podcasts/{id}", fleet.api)).send().await?.error_for_status()?;
    let cancelled = Instant::now();
    while let Some(piece) = pieces.next().await {
        piece.context("a cancelled podcast ends in order")?;
    }
    println!("  the audio ended {:.1?} after the cancel", cancelled.elapsed());
    ensure!(listen(&fleet, &id).await?.status() == 409);
    let next = fleet.submit(&numbered_article(1, 5)).await?;
    until("room for a listener", async || Ok((listen(&fleet, &next).await?.status() == 200).then_some(())))
        .await?;
    fleet.completed(&next).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}
