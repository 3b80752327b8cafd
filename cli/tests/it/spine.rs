//! A request becomes an episode, once, however it comes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use common::amqp;
use common::config::Broker;
use common::topology;
use futures_util::StreamExt;
use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use loadtest::providers::{Latency, Provider, Settings};
use serde_json::{Value, json};

use crate::fleet::{Fleet, Servers, Setup, numbered_article, until};

const ARTICLE: &str = "# The tide\n\n## The moon\n\nThe moon pulls the sea. It does so twice a day.\n\n## The sun\n\nThe sun helps. When both pull together, the tide is highest.\n";

pub(crate) async fn an_article_becomes_an_episode(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let fleet = Fleet::start(servers, "spine", Setup::default()).await?;
    let id = fleet.submit(&json!({"source": {"text": ARTICLE}, "metadata": {"from": "a test"}})).await?;
    let podcast = fleet.completed(&id).await?;
    ensure!(podcast["title"] == "The tide", "{podcast:#}");
    ensure!(podcast["language"] == "en", "{podcast:#}");
    let audio = std::fs::read(fleet.audio(&id).await?)?;
    ensure!(audio.starts_with(b"ID3"), "an MP3 with a tag");
    for (file, words) in [
        ("transcript.vtt", "WEBVTT"),
        ("transcript.srt", "-->"),
        ("transcript.json", "\"segments\""),
        ("transcript.txt", "The moon pulls the sea."),
        ("chapters.json", "The moon"),
    ] {
        let text = fleet.get(&format!("/v1/podcasts/{id}/{file}")).await?.error_for_status()?.text().await?;
        ensure!(text.contains(words), "{file}: {text}");
    }
    let part = fleet
        .http
        .get(format!("{}/v1/podcasts/{id}/audio", fleet.api))
        .header("range", "bytes=0-9")
        .send()
        .await?;
    ensure!(part.status() == 206 && part.bytes().await? == audio[..10], "a range of the audio");
    fleet.at_rest().await?;
    fleet.stop().await
}

pub(crate) async fn the_same_key_is_the_same_podcast(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let fleet = Fleet::start(servers, "key", Setup { workers: 0, ..Setup::default() }).await?;
    let post = async |text: &str| -> anyhow::Result<(u16, Value)> {
        let request = fleet.http.post(format!("{}/v1/podcasts", fleet.api)).header("idempotency-key", "k1");
        let response = request.json(&json!({"source": {"text": text}})).send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    };
    let (status, first) = post("One sentence.").await?;
    ensure!(status == 202, "{status} {first}");
    let (again, other) = tokio::join!(post("One sentence."), post("Another sentence."));
    let ((status, again), (conflict, problem)) = (again?, other?);
    ensure!(status == 202 && again["id"] == first["id"], "{status} {again}");
    ensure!(conflict == 409 && problem["status"] == 409, "{conflict} {problem}");
    // Many at once, of which one is first.
    let race = futures_util::future::try_join_all((0..20).map(|_| async {
        let request = fleet.http.post(format!("{}/v1/podcasts", fleet.api)).header("idempotency-key", "k2");
        let answer: Value =
            request.json(&json!({"source": {"text": "A race."}})).send().await?.json().await?;
        anyhow::Ok(answer["id"].as_str().map(str::to_owned))
    }))
    .await?;
    ensure!(race.iter().all(|id| id.is_some() && *id == race[0]), "{race:?}");
    ensure!(fleet.count("select count(*) from podcasts").await? == 2);
    ensure!(fleet.count("select count(*) from tasks").await? == 2);
    fleet.stop().await
}

pub(crate) async fn a_broker_that_is_down_delays_but_loses_nothing(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let mut fleet = Fleet::start_with_own_servers(servers, "broker-down", Setup::default()).await?;
    fleet.own.as_mut().context("own servers")?.rabbitmq.kill().await?;
    let started = std::time::Instant::now();
    let id = fleet.submit(&json!({"source": {"text": ARTICLE}})).await?;
    ensure!(started.elapsed() < Duration::from_secs(3), "accepted in {:?}", started.elapsed());
    ensure!(fleet.podcast(&id).await?["state"] == "running");
    fleet.own.as_mut().context("own servers")?.rabbitmq.restart().await?;
    fleet.completed(&id).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

pub(crate) async fn a_cancelled_podcast_stays_cancelled(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let latency = Latency::Fixed(Duration::from_secs(2));
    let provider = Provider::start(Settings::default().speech_latency(latency)).await?;
    let fleet = Fleet::start(servers, "cancel", Setup::default().with_speech_server(&provider.url())).await?;
    let id = fleet.submit(&numbered_article(1, 40)).await?;
    fleet
        .until_count("select count(*) from tasks where kind = 'tts' and state = 'dispatched'", |n| n > 0)
        .await?;
    let cancel = async || fleet.http.delete(format!("{}/v1/podcasts/{id}", fleet.api)).send().await;
    ensure!(cancel().await?.status() == 200);
    ensure!(cancel().await?.status() == 200, "cancelling twice is fine");
    ensure!(fleet.get(&format!("/v1/podcasts/{id}/audio")).await?.status() == 409, "there is no audio");
    fleet.at_rest().await?;
    let asked = provider.ledger().calls.len();
    ensure!(asked < 40, "{asked} segments were spoken for nobody");
    ensure!(fleet.podcast(&id).await?["state"] == "cancelled");
    // A podcast that is complete cannot be cancelled.
    let other = fleet.submit(&numbered_article(1, 1)).await?;
    fleet.completed(&other).await?;
    let late = fleet.http.delete(format!("{}/v1/podcasts/{other}", fleet.api)).send().await?;
    ensure!(late.status() == 409, "{}", late.status());
    fleet.stop().await
}

pub(crate) async fn a_deadline_ends_a_podcast(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default().stall_first(1000)).await?;
    let fleet =
        Fleet::start(servers, "deadline", Setup::default().with_speech_server(&provider.url())).await?;
    let mut request = numbered_article(1, 2);
    request["deadline_seconds"] = json!(2);
    let id = fleet.submit(&request).await?;
    let podcast = fleet.ended(&id).await?;
    ensure!(podcast["state"] == "failed" && podcast["failure"]["class"] == "expired", "{podcast:#}");
    let reason = podcast["failure"]["message"].as_str().unwrap_or_default();
    ensure!(reason.contains("deadline"), "{reason}");
    fleet.at_rest().await?;
    fleet.stop().await
}

pub(crate) async fn requests_come_over_amqp_too(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let fleet = Fleet::start(servers, "amqp", Setup::default()).await?;
    let broker = Broker { url: fleet.environment()["PODFLEET__BROKER__URL"].clone(), ..Broker::default() };
    fleet.until_intake().await?;
    let connection = amqp::connect(&broker, "test").await?;
    let channel = amqp::confirming_channel(&connection, broker.timeout()).await?;
    let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let replies = channel.queue_declare("".into(), exclusive, FieldTable::default()).await?.name().clone();
    let body = serde_json::to_vec(&json!({"source": {"text": ARTICLE}}))?;
    for _ in 0..2 {
        let properties = BasicProperties::default()
            .with_message_id("m1".into())
            .with_reply_to(replies.clone())
            .with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        channel
            .basic_publish(topology::REQUESTS_EXCHANGE.into(), "".into(), options, &body, properties)
            .await?
            .await?;
    }
    let mut consumer = channel
        .basic_consume(replies, "t".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await?;
    let mut podcasts = Vec::new();
    for _ in 0..2 {
        let reply =
            tokio::time::timeout(Duration::from_secs(20), consumer.next()).await?.context("a reply")??;
        reply.ack(BasicAckOptions::default()).await?;
        let reply: Value = serde_json::from_slice(&reply.data)?;
        ensure!(reply["accepted"] == true, "{reply}");
        podcasts.push(reply["podcast"].as_str().context("an id")?.to_owned());
    }
    ensure!(podcasts[0] == podcasts[1], "the message id is the idempotency key: {podcasts:?}");
    fleet.completed(&podcasts[0]).await?;
    until("one podcast", async || {
        Ok((fleet.count("select count(*) from podcasts").await? == 1).then_some(()))
    })
    .await?;
    connection.close(200, "bye".into()).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}
