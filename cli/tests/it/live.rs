//! Progress as it happens, and what watches over the processes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::{SinkExt, StreamExt};
use loadtest::providers::{Latency, Provider, Settings};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::fleet::{Fleet, Servers, Setup, numbered_article, until};

/// Reads server-sent events until `enough` of them or the end of the stream: their ids and names.
async fn sse(
    fleet: &Fleet,
    id: &str,
    after: Option<i64>,
    enough: usize,
) -> anyhow::Result<Vec<(i64, String)>> {
    let mut request =
        fleet.http.get(format!("{}/v1/podcasts/{id}/events", fleet.api)).timeout(Duration::from_secs(100));
    if let Some(after) = after {
        request = request.header("last-event-id", after.to_string());
    }
    let mut body = request.send().await?.error_for_status()?.bytes_stream();
    let mut text = String::new();
    let mut events = Vec::new();
    while events.len() < enough {
        let Some(chunk) = body.next().await else { break };
        text.push_str(std::str::from_utf8(&chunk?)?);
        while let Some(end) = text.find("\n\n") {
            let block: String = text.drain(..end + 2).collect();
            let field = |name: &str| {
                block.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
            };
            if let (Some(seq), Some(event)) = (field("id:"), field("event:")) {
                events.push((seq.parse()?, event));
            }
        }
    }
    Ok(events)
}

pub(crate) async fn events_resume_where_they_broke_off(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let latency = Latency::Fixed(Duration::from_millis(150));
    let provider = Provider::start(Settings::default().speech_latency(latency)).await?;
    let mut fleet =
        Fleet::start(servers, "live", Setup::default().with_speech_server(&provider.url())).await?;
    let id = fleet.submit(&numbered_article(2, 20)).await?;
    let first = sse(&fleet, &id, None, 3).await?;
    ensure!(first.iter().map(|(seq, _)| *seq).eq(1..=3), "{first:?}");
    ensure!(first[0].1 == "accepted", "{first:?}");
    // Another producer knows the rest, and also a WebSocket does.
    fleet.spawn_producer(&[]).await?;
    let url = format!("{}/v1/podcasts/{id}/ws?after=3", fleet.api.replace("http", "ws"));
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
    let rest = sse(&fleet, &id, Some(3), usize::MAX).await?;
    let (last, end) = rest.last().context("events")?.clone();
    ensure!(rest.iter().map(|(seq, _)| *seq).eq(4..=last), "no gap and no repetition: {rest:?}");
    ensure!(end == "completed", "{end}");
    let mut seqs = Vec::new();
    while let Some(message) = socket.next().await {
        match message? {
            Message::Text(text) => {
                let event: Value = serde_json::from_str(&text)?;
                seqs.push(event["seq"].as_i64().context("a seq")?);
            }
            Message::Ping(data) => socket.send(Message::Pong(data)).await?,
            Message::Close(_) => break,
            _ => {}
        }
    }
    ensure!(seqs.iter().copied().eq(4..=last), "{seqs:?}");
    let over = sse(&fleet, &id, Some(last), usize::MAX).await?;
    ensure!(over.is_empty(), "nothing comes after the end: {over:?}");
    fleet.at_rest().await?;
    fleet.stop().await
}

pub(crate) async fn health_and_metrics_answer(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let mut fleet = Fleet::start(servers, "health", Setup::default()).await?;
    until("a ready producer", async || Ok((fleet.get("/readyz").await?.status() == 200).then_some(())))
        .await?;
    ensure!(fleet.get("/livez").await?.status() == 200);
    let id = fleet.submit(&numbered_article(1, 2)).await?;
    fleet.completed(&id).await?;
    let metrics = fleet.get("/metrics").await?.text().await?;
    ensure!(metrics.contains("podfleet_build_info"), "{metrics}");
    for role in ["worker", "collector"] {
        let log = fleet.role(role).log.clone();
        let address = until("the health address", async || {
            let text = std::fs::read_to_string(&log)?;
            Ok(text.split("address").nth(1).and_then(|rest| {
                let start = rest.find("127.0.0.1")?;
                Some(rest[start..].split(|c: char| c.is_whitespace() || c == '\u{1b}').next()?.to_owned())
            }))
        })
        .await?;
        let get = async |path: &str| fleet.http.get(format!("http://{address}{path}")).send().await;
        ensure!(get("/livez").await?.status() == 200, "{role}");
        ensure!(get("/readyz").await?.status() == 200, "{role}");
        let metrics = get("/metrics").await?.text().await?;
        let own = if role == "worker" { "podfleet_tasks_total" } else { "podfleet_outcomes_total" };
        ensure!(metrics.contains(own), "{role}: {metrics}");
    }
    fleet.stop().await
}
