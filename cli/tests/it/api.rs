//! What holds for the whole API: pages, filters, tags, compression, ids of requests, and what the fleet is at.

use std::sync::Arc;

use anyhow::{Context, ensure};
use loadtest::providers::{Latency, Provider, Settings};
use reqwest::Response;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, IF_NONE_MATCH, RANGE};
use serde_json::{Value, json};

use crate::fleet::{Fleet, Servers, Setup, numbered_article, until};

async fn with(fleet: &Fleet, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Response> {
    let request = fleet.http.get(format!("{}{path}", fleet.api));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Ok(request.send().await?)
}

async fn json_of(fleet: &Fleet, path: &str) -> anyhow::Result<Value> {
    Ok(fleet.get(path).await?.error_for_status()?.json().await?)
}

fn header(response: &Response, name: impl reqwest::header::AsHeaderName) -> Option<String> {
    response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

pub(crate) async fn lists_are_paged_and_filtered(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let setup = Setup { workers: 0, collectors: 0, ..Setup::default() };
    let fleet = Fleet::start(servers, "lists", setup).await?;
    let mut ids = Vec::new();
    for (priority, language, text) in
        [("low", "en", "One."), ("high", "en", "Two."), ("high", "ko", "셋."), ("normal", "en", "Four.")]
    {
        let request = json!({"source": {"text": text}, "priority": priority, "language": language});
        ids.push(fleet.submit(&request).await?);
    }
    ids.reverse();
    let listed = async |query: &str| -> anyhow::Result<Vec<String>> {
        let list = json_of(&fleet, &format!("/v1/podcasts?{query}")).await?;
        let podcasts = list["podcasts"].as_array().context("podcasts")?;
        Ok(podcasts.iter().filter_map(|one| one["id"].as_str().map(str::to_owned)).collect())
    };
    ensure!(listed("").await? == ids, "newest first");
    ensure!(listed("priority=high").await? == ids[1..3]);
    ensure!(listed("priority=high&language=ko").await? == ids[1..2]);
    ensure!(listed("state=failed").await?.is_empty());
    let first = json_of(&fleet, &format!("/v1/podcasts/{}", ids[3])).await?;
    let last = json_of(&fleet, &format!("/v1/podcasts/{}", ids[0])).await?;
    let (long_ago, ahead) = ("2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z");
    ensure!(listed(&format!("since={long_ago}&until={ahead}")).await? == ids);
    ensure!(listed(&format!("until={long_ago}")).await?.is_empty());
    ensure!(listed(&format!("since={ahead}")).await?.is_empty());
    ensure!(first["created_at"].as_str() < last["created_at"].as_str());
    // Page by page, and a new one does not shift the pages that follow.
    let mut seen = Vec::new();
    let mut path = "/v1/podcasts?limit=2".to_owned();
    loop {
        let page = json_of(&fleet, &path).await?;
        let podcasts = page["podcasts"].as_array().context("podcasts")?;
        seen.extend(podcasts.iter().filter_map(|one| one["id"].as_str().map(str::to_owned)));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/podcasts?limit=2&cursor={next}");
        fleet.submit(&json!({"source": {"text": "Late."}})).await?;
    }
    ensure!(seen == ids, "{seen:?}");
    for _ in 0..3 {
        let key = fleet.http.post(format!("{}/v1/keys", fleet.api)).json(&json!({"role": "viewer"}));
        key.send().await?.error_for_status()?;
    }
    let keys = json_of(&fleet, "/v1/keys?limit=2").await?;
    let next = keys["next"].as_str().context("there is a third")?;
    let rest = json_of(&fleet, &format!("/v1/keys?limit=2&cursor={next}")).await?;
    let count = |list: &Value| list["keys"].as_array().map(Vec::len);
    ensure!((count(&keys), count(&rest), &rest["next"]) == (Some(2), Some(1), &Value::Null), "{rest}");
    for bad in ["limit=0", "cursor=v1.x", "priority=alone", "since=yesterday", "colour=blue"] {
        let refused = fleet.get(&format!("/v1/podcasts?{bad}")).await?;
        ensure!(refused.status() == 400, "{bad}: {}", refused.status());
        ensure!(header(&refused, "content-type").as_deref() == Some("application/problem+json"));
    }
    fleet.stop().await
}

pub(crate) async fn answers_are_tagged_and_compressed(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let fleet = Fleet::start(servers, "tagged", Setup::default()).await?;
    let id = fleet.submit(&numbered_article(2, 8)).await?;
    fleet.completed(&id).await?;
    let this = format!("/v1/podcasts/{id}");
    let gzip = [(ACCEPT_ENCODING.as_str(), "gzip")];
    // JSON, and the texts of an episode: compressed for whoever can read it, with a tag that is then weak.
    for path in [this.as_str(), &format!("{this}/transcript.json"), &format!("{this}/transcript.vtt")] {
        let plain = with(&fleet, path, &[]).await?.error_for_status()?;
        let tag = header(&plain, ETAG).context("a tag")?;
        ensure!(header(&plain, CONTENT_ENCODING).is_none(), "{path}: nobody asked for it");
        let plain = plain.bytes().await?;
        let packed = with(&fleet, path, &gzip).await?.error_for_status()?;
        ensure!(header(&packed, CONTENT_ENCODING).as_deref() == Some("gzip"), "{path}");
        ensure!(header(&packed, "vary").is_some_and(|vary| vary.contains("accept-encoding")), "{path}");
        let weak = header(&packed, ETAG).context("a tag")?;
        ensure!(weak.starts_with("W/") && weak.trim_start_matches("W/") == tag.trim_start_matches("W/"));
        let packed = packed.bytes().await?;
        ensure!(
            packed.starts_with(&[0x1f, 0x8b]) && packed.len() < plain.len() / 2,
            "{path}: {}",
            packed.len()
        );
        for known in [tag, weak] {
            let unchanged = with(&fleet, path, &[(IF_NONE_MATCH.as_str(), known.as_str())]).await?;
            ensure!(unchanged.status() == 304, "{path} {known}: {}", unchanged.status());
            ensure!(unchanged.bytes().await?.is_empty());
        }
        let other = with(&fleet, path, &[(IF_NONE_MATCH.as_str(), "\"other\"")]).await?;
        ensure!(other.status() == 200);
    }
    // Sound is not, and its ranges are those of its bytes.
    let audio = with(&fleet, &format!("{this}/audio"), &gzip).await?;
    ensure!(header(&audio, CONTENT_ENCODING).is_none());
    ensure!(header(&audio, ETAG).is_some_and(|tag| tag.starts_with('"')), "a strong tag");
    let range = [(ACCEPT_ENCODING.as_str(), "gzip"), (RANGE.as_str(), "bytes=0-9999")];
    let part = with(&fleet, &format!("{this}/audio"), &range).await?;
    ensure!(part.status() == 206 && part.bytes().await?.len() == 10_000);
    // Events come one by one.
    let events = with(&fleet, &format!("{this}/events"), &gzip).await?;
    ensure!(header(&events, CONTENT_ENCODING).is_none());
    // Every answer has the id of its request, and takes one that is given.
    let named = with(&fleet, "/v1/nothing", &[("x-request-id", "mine-1")]).await?;
    ensure!(named.status() == 404 && header(&named, "x-request-id").as_deref() == Some("mine-1"));
    ensure!(header(&with(&fleet, "/livez", &[]).await?, "x-request-id").is_some_and(|id| id.len() == 36));
    fleet.stop().await
}

async fn queue(fleet: &Fleet, name: &str) -> anyhow::Result<Value> {
    let queues = json_of(fleet, "/v1/queues").await?;
    let found = queues["queues"].as_array().context("queues")?.iter().find(|one| one["queue"] == name);
    Ok(found.context("a lane")?.clone())
}

/// Lanes and workers as they are while somebody works, and to whom they are shown.
pub(crate) async fn the_fleet_shows_what_it_is_at(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let slow = Latency::fixed_ms(30_000);
    let provider = Provider::start(Settings::default().speech_latency(slow)).await?;
    let setup = Setup { workers: 0, ..Setup::default() }.with_speech_server(&provider.url());
    let mut fleet = Fleet::start(servers, "at-work", setup).await?;
    let workers = json_of(&fleet, "/v1/workers").await?;
    let speaks = |worker: &Value| worker["permits"]["tts"].as_u64().is_some();
    ensure!(!workers["workers"].as_array().context("workers")?.iter().any(speaks), "{workers}");
    let id = fleet.submit(&numbered_article(1, 40)).await?;
    let outline = queue(&fleet, "podfleet.outline.normal.v1").await?;
    let all = outline["waiting"].as_i64().unwrap_or(0) + outline["in_flight"].as_i64().unwrap_or(0);
    ensure!(all == 1, "nobody is there to take it: {outline}");
    fleet.spawn("worker", &[]).await?;
    let worker = until("a worker that speaks", async || {
        let workers = json_of(&fleet, "/v1/workers").await?;
        let workers = workers["workers"].as_array().context("workers")?;
        let holds = |worker: &&Value| worker["tasks"][0]["kind"] == "tts";
        Ok(workers.iter().find(holds).cloned())
    })
    .await?;
    ensure!(worker["version"].is_string() && speaks(&worker), "{worker}");
    ensure!(
        worker["tasks"][0]["podcast"] == id.as_str() && worker["tasks"][0]["engine"] == "tones",
        "{worker}"
    );
    ensure!(worker["heard_ms_ago"].as_u64().is_some_and(|ago| ago <= 12_000), "{worker}");
    let speech = until("speech that waits", async || {
        let lane = queue(&fleet, "podfleet.tts.normal.v1").await?;
        Ok((lane["waiting"].as_i64() > Some(0) && lane["in_flight"].as_i64() > Some(0)).then_some(lane))
    })
    .await?;
    ensure!(speech["oldest_waiting_seconds"].as_i64().is_some_and(|age| age < 120), "{speech}");
    let total = speech["waiting"].as_i64().unwrap_or(0) + speech["in_flight"].as_i64().unwrap_or(0);
    ensure!((1..=50).contains(&total), "{speech}");
    // Another tenant's support sees the worker and how much it holds, and not what.
    let key = fleet
        .http
        .post(format!("{}/v1/keys", fleet.api))
        .json(&json!({"role": "support", "tenant": "rival"}));
    let key: Value = key.send().await?.error_for_status()?.json().await?;
    let key = key["key"].as_str().context("a key")?;
    let seen = fleet.http.get(format!("{}/v1/workers", fleet.api)).bearer_auth(key).send().await?;
    let seen: Value = seen.error_for_status()?.json().await?;
    let same =
        seen["workers"].as_array().context("workers")?.iter().find(|one| one["worker"] == worker["worker"]);
    let same = same.context("the same worker")?;
    ensure!(same["holding"].as_u64() > Some(0) && same["tasks"] == json!([]), "{same}");
    fleet.http.delete(format!("{}/v1/podcasts/{id}", fleet.api)).send().await?.error_for_status()?;
    // Whoever is killed is gone from the list.
    fleet.role("worker").signal(nix::sys::signal::Signal::SIGKILL);
    until("the worker to be gone", async || {
        let workers = json_of(&fleet, "/v1/workers").await?;
        let gone = !workers["workers"].as_array().context("workers")?.iter().any(speaks);
        Ok(gone.then_some(()))
    })
    .await?;
    fleet.abandon().await
}
