//! What a tenant may ask for: refused by the limit's name, exactly where it costs money, and with no way around it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use common::amqp;
use common::config::Broker;
use common::topology;
use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::access::command;
use crate::fleet::{Fleet, Servers, Setup, until};

fn twelve_characters(n: usize) -> Value {
    json!({"source": {"text": format!("Number {n:04}.")}})
}

/// Fifty at once, over two producers, with keys of their own: as many as there is room for, to the last one.
pub(crate) async fn fifty_at_once_get_exactly_what_there_is(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let setup = Setup { producers: 2, workers: 0, ..Setup::default() };
    let fleet = Fleet::start(servers, "budget", setup.with("LIMITS__PODCASTS_IN_FLIGHT", 20)).await?;
    let send = async |n: usize| -> anyhow::Result<(u16, Value)> {
        let api = &fleet.apis[n % 2];
        let request =
            fleet.http.post(format!("{api}/v1/podcasts")).header("idempotency-key", format!("k{n}"));
        let answer = request.json(&twelve_characters(n)).send().await?;
        let retry = answer.headers().get("retry-after").is_some();
        let status = answer.status().as_u16();
        ensure!((status == 429) == retry, "429 says when to come again: {status}");
        Ok((status, answer.json().await?))
    };
    let all: Vec<(u16, Value)> = join_all((0..50).map(send)).await.into_iter().collect::<Result<_, _>>()?;
    let accepted = all.iter().filter(|(status, _)| *status == 202).count();
    ensure!(accepted == 20, "{accepted} of 20");
    let (_, refused) = all.iter().find(|(status, _)| *status == 429).context("a refusal")?;
    ensure!(refused["limit"] == json!({"name": "podcasts_in_flight", "most": 20}), "{refused}");
    ensure!(refused["errors"][0]["field"] == "podcasts_in_flight", "{refused}");
    ensure!(!refused["errors"][0]["remedy"].as_str().unwrap_or_default().is_empty(), "{refused}");
    ensure!(fleet.count("select count(*) from podcasts").await? == 20);
    // Whoever was accepted is told so again; whoever was not, is not.
    let again: Vec<(u16, Value)> = join_all((0..50).map(send)).await.into_iter().collect::<Result<_, _>>()?;
    for ((before, _), (after, _)) in all.iter().zip(&again) {
        ensure!(before == after, "{before} became {after}");
    }
    // One ends, and there is room for one.
    let id = all.iter().find_map(|(_, answer)| answer["id"].as_str()).context("an id")?;
    fleet.http.delete(format!("{}/v1/podcasts/{id}", fleet.api)).send().await?.error_for_status()?;
    let more: Vec<(u16, Value)> =
        join_all((100..110).map(send)).await.into_iter().collect::<Result<_, _>>()?;
    ensure!(more.iter().filter(|(status, _)| *status == 202).count() == 1);
    fleet.abandon().await
}

/// Characters of a day, set for one tenant, over HTTP and AMQP alike; nothing is left to chance when fifty race for the rest.
pub(crate) async fn a_days_characters_are_counted_to_the_last(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let setup = Setup { producers: 2, workers: 0, ..Setup::default() };
    let fleet = Fleet::start(servers, "characters", setup).await?;
    let set = ["limits", "set", "--tenant", "default", "--characters-per-day", "125"];
    let (code, _, error) = command(&fleet, &set).await?;
    ensure!(code == Some(0), "{error}");
    until("the limit to hold", async || {
        let limits: Value = fleet.get("/v1/limits").await?.json().await?;
        Ok((limits["limits"]["characters_per_day"] == 125).then_some(()))
    })
    .await?;
    // Every producer reads it by itself.
    for api in &fleet.apis {
        until("the limit to hold", async || {
            let limits: Value = fleet.http.get(format!("{api}/v1/limits")).send().await?.json().await?;
            Ok((limits["limits"]["characters_per_day"] == 125).then_some(()))
        })
        .await?;
    }
    let send = async |n: usize| -> anyhow::Result<u16> {
        let api = &fleet.apis[n % 2];
        Ok(fleet
            .http
            .post(format!("{api}/v1/podcasts"))
            .json(&twelve_characters(n))
            .send()
            .await?
            .status()
            .as_u16())
    };
    let all: Vec<u16> = join_all((0..50).map(send)).await.into_iter().collect::<Result<_, _>>()?;
    ensure!(all.iter().filter(|status| **status == 202).count() == 10, "10 x 12 of 125 characters: {all:?}");
    let (code, shown, _) = command(&fleet, &["limits", "show", "--json"]).await?;
    let shown: Value = serde_json::from_str(&shown)?;
    ensure!(code == Some(0) && shown["used"]["characters"] == 120, "{shown}");
    // Over AMQP the same limit refuses, says so to the sender, and leaves a letter.
    let broker = Broker { url: fleet.environment()["PODFLEET__BROKER__URL"].clone(), ..Broker::default() };
    fleet.until_intake().await?;
    let connection = amqp::connect(&broker, "test").await?;
    let channel = amqp::confirming_channel(&connection, broker.timeout()).await?;
    let exclusive =
        QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let replies = channel.queue_declare("".into(), exclusive, FieldTable::default()).await?;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut answers =
        channel.basic_consume(replies.name().clone(), "".into(), options, FieldTable::default()).await?;
    let properties =
        amqp::persistent_json().with_message_id("one-more".into()).with_reply_to(replies.name().clone());
    let body = serde_json::to_vec(&twelve_characters(51))?;
    let timeout = Duration::from_secs(10);
    let confirm =
        amqp::publish(&channel, topology::REQUESTS_EXCHANGE, "", &body, properties, timeout).await?;
    amqp::confirmed(confirm, timeout).await?;
    let answer =
        tokio::time::timeout(Duration::from_secs(60), answers.next()).await?.context("an answer")??;
    let answer: Value = serde_json::from_slice(&answer.data)?;
    ensure!(answer["accepted"] == false && answer["errors"][0]["field"] == "characters_per_day", "{answer}");
    fleet
        .until_count("select count(*) from dead_letters where message like '%characters_per_day%'", |n| {
            n == 1
        })
        .await?;
    connection.close(200, "bye".into()).await?;
    fleet.abandon().await
}

pub(crate) async fn a_minutes_requests_are_counted_for_key_and_tenant(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let setup =
        Setup { workers: 0, collectors: 0, ..Setup::default() }.with("LIMITS__REQUESTS_PER_MINUTE", 100);
    let fleet = Fleet::start(servers, "rate", setup).await?;
    let slow = crate::access::make_key(&fleet, "acme", "viewer", &["--requests-per-minute", "5"]).await?;
    let other = crate::access::make_key(&fleet, "acme", "viewer", &[]).await?;
    let ask = async |key: &str| {
        Ok::<_, anyhow::Error>(
            fleet.http.get(format!("{}/v1/podcasts", fleet.api)).bearer_auth(key).send().await?,
        )
    };
    for left in (0..5).rev() {
        let answer = ask(&slow).await?;
        let told = answer.headers()["ratelimit"].to_str()?.to_owned();
        ensure!(answer.status() == 200 && told.starts_with(&format!("\"requests\";r={left};t=")), "{told}");
        ensure!(answer.headers()["ratelimit-policy"] == "\"requests\";q=5;w=60");
    }
    let refused = ask(&slow).await?;
    ensure!(refused.status() == 429);
    let wait: u64 = refused.headers()["retry-after"].to_str()?.parse()?;
    ensure!((1..=12).contains(&wait), "one comes back every 12 s: {wait}");
    let problem: Value = refused.json().await?;
    ensure!(problem["limit"] == json!({"name": "requests_per_minute", "most": 5}), "{problem}");
    let answer = ask(&other).await?;
    ensure!(answer.status() == 200 && answer.headers()["ratelimit-policy"] == "\"requests\";q=100;w=60");
    let health = fleet.get("/readyz").await?;
    ensure!(!health.headers().contains_key("ratelimit"), "health is not counted");
    fleet.stop().await
}

/// Whoever says his request letter by letter, or sends no end, does not keep a place.
pub(crate) async fn slow_and_deep_requests_end(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let setup = Setup { workers: 0, collectors: 0, ..Setup::default() };
    let fleet = Fleet::start(servers, "slow", setup).await?;
    let address = fleet.api.trim_start_matches("http://").to_owned();
    let until_closed = async |said: &str| -> anyhow::Result<(Duration, String)> {
        let started = Instant::now();
        let mut stream = TcpStream::connect(&address).await?;
        stream.write_all(said.as_bytes()).await?;
        let mut answer = Vec::new();
        let closing = stream.read_to_end(&mut answer);
        tokio::time::timeout(Duration::from_secs(60), closing).await.context("it is never closed")??;
        Ok((started.elapsed(), String::from_utf8_lossy(&answer).into_owned()))
    };
    let (head, body) = tokio::join!(
        until_closed("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: "),
        until_closed(
            "POST /v1/podcasts HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        ),
    );
    let (took, _) = head?;
    ensure!(took < Duration::from_secs(40), "a head may take 20 s, and took {took:?}");
    let (_, answer) = body?;
    ensure!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("too-slow"), "{answer}");
    let deep = format!("{{\"reason\": \"x\", \"payload\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let path = format!("{}/v1/dead-letters/0190a000-0000-7000-8000-000000000000/edit-replay", fleet.api);
    let answer = fleet.http.post(path).header("content-type", "application/json").body(deep).send().await?;
    ensure!(answer.status() == 422, "{}", answer.status());
    ensure!(answer.text().await?.contains("recursion limit"));
    ensure!(fleet.get("/livez").await?.status() == 200);
    fleet.stop().await
}
