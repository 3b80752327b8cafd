//! How engines are asked: with which key, in which pieces, and by whom instead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use loadtest::providers::{Latency, Ledger, Misbehaviour, Outcome, Provider, Rule, Settings};
use serde_json::{Value, json};

use crate::fleet::{Fleet, Servers, Setup, numbered_article};

const ONE_SENTENCE: &str = "This is sentence 7 of the article, and it goes on for a while.";

/// Has one short podcast spoken by a provider with these faults; returns what the provider was asked.
async fn spoken(
    servers: &Arc<Servers>,
    name: &str,
    faults: Settings,
    timeout_ms: u32,
) -> anyhow::Result<Ledger> {
    let provider = Provider::start(faults).await?;
    let setup =
        Setup::default().with_speech_server(&provider.url()).with("ENGINES__TONES__TIMEOUT_MS", timeout_ms);
    let fleet = Fleet::start(servers, name, setup.with("ENGINES__TONES__CONCURRENCY", 1)).await?;
    let id = fleet.submit(&json!({"source": {"text": ONE_SENTENCE}, "format": "monologue"})).await?;
    fleet.completed(&id).await?;
    fleet.at_rest().await?;
    fleet.stop().await?;
    Ok(provider.stop().await)
}

/// Keys of the calls for each text, in order.
fn keys(ledger: &Ledger) -> Vec<Vec<String>> {
    let mut keys: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for call in &ledger.calls {
        keys.entry(&call.text_hash).or_default().extend(call.idempotency_key.clone());
    }
    keys.into_values().collect()
}

/// A provider that has answered, or may still, is asked again under the same key; one that definitely failed is not.
pub(crate) async fn the_idempotency_key_changes_after_a_definite_failure_alone(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let different = |keys: &Vec<String>| keys.iter().collect::<BTreeSet<_>>().len();
    let failed =
        keys(&spoken(servers, "failed", Settings::default().fail_first(4, 500, None), 20_000).await?);
    ensure!(failed.iter().any(|keys| keys.len() > 1), "{failed:?}");
    ensure!(failed.iter().all(|keys| different(keys) == keys.len()), "a key for each failure: {failed:?}");
    let stalled = keys(&spoken(servers, "stalled", Settings::default().stall_first(4), 1_000).await?);
    ensure!(stalled.iter().any(|keys| keys.len() > 1), "{stalled:?}");
    ensure!(stalled.iter().all(|keys| different(keys) == 1), "one key through all timeouts: {stalled:?}");
    Ok(())
}

/// A replay begins a new budget of failures, and what was answered before stays answered.
pub(crate) async fn a_replay_asks_under_a_key_of_its_own(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let faults = Rule::new(Misbehaviour::ServerError).on("goes on for a while").times(2);
    let provider = Provider::start(Settings::default().rule(faults)).await?;
    let setup = Setup::default()
        .with_speech_server(&provider.url())
        .with("POLICY__BASE_MS", 50)
        .with("POLICY__MAX_FAILURES", 2);
    let fleet = Fleet::start(servers, "replayed-key", setup).await?;
    let id = fleet.submit(&json!({"source": {"text": ONE_SENTENCE}, "format": "monologue"})).await?;
    ensure!(fleet.ended(&id).await?["state"] == "failed");
    let letters: Value = fleet.get(&format!("/v1/dead-letters?podcast={id}")).await?.json().await?;
    let letter = letters["dead_letters"][0]["id"].as_str().with_context(|| format!("{letters:#}"))?;
    let path = format!("{}/v1/dead-letters/{letter}/replay", fleet.api);
    let wish = json!({"reason": "the engine is repaired"});
    fleet.http.post(path).json(&wish).send().await?.error_for_status()?;
    fleet.completed(&id).await?;
    let asked = keys(&provider.ledger());
    let again: Vec<_> = asked.iter().filter(|keys| keys.len() > 1).collect();
    ensure!(again.len() == 1 && again[0].len() == 3, "two failures and a replay: {asked:?}");
    ensure!(again[0].iter().collect::<BTreeSet<_>>().len() == 3, "a key for each: {asked:?}");
    fleet.at_rest().await?;
    fleet.stop().await
}

/// All of it is said, once, and paid in the engine's own unit.
pub(crate) async fn a_long_segment_is_spoken_in_pieces(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    let setup = Setup::default()
        .with_speech_server(&provider.url())
        .with("ENGINES__TONES__MAX_INPUT", 40)
        .with("ENGINES__TONES__INPUT_UNIT", "bytes")
        .with("ENGINES__TONES__PRICE_INPUT", 15);
    let fleet = Fleet::start(servers, "pieces", setup).await?;
    let id = fleet.submit(&json!({"source": {"text": ONE_SENTENCE}, "format": "monologue"})).await?;
    fleet.completed(&id).await?;
    let calls = provider.ledger().calls.len() as i64;
    let segments = fleet.count("select count(*) from segments").await?;
    ensure!(calls > segments, "{calls} calls for {segments} segments of up to 62 bytes");
    let cost = "select count(*) from attempts where kind = 'tts' and cost_micros <> units * 15";
    ensure!(fleet.count(cost).await? == 0);
    // Every byte once, but for the space at each cut.
    let bytes = fleet.count("select sum(octet_length(text))::bigint from segments").await?;
    let paid = fleet.count("select sum(units)::bigint from attempts where kind = 'tts'").await?;
    ensure!(paid == bytes - (calls - segments), "{paid} units of {bytes} in {calls} calls");
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Another account of the same provider keeps the voice, and takes over within the attempt.
pub(crate) async fn speech_falls_back_to_an_engine_that_sounds_the_same(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let broken =
        Provider::start(Settings::default().fail_first(1_000, 503, Some(Duration::from_secs(60)))).await?;
    let spare = Provider::start(Settings::default()).await?;
    let setup = Setup::default()
        .with_speech_server(&broken.url())
        .with("ENGINES__TONES__VOICES", "low,high")
        .with("ENGINES__TONES__FALLBACK", "spare")
        .with("ENGINES__SPARE__TYPE", "openai")
        .with("ENGINES__SPARE__KINDS", "tts")
        .with("ENGINES__SPARE__MODEL", "tones")
        .with("ENGINES__SPARE__VOICES", "low,high")
        .with("ENGINES__SPARE__URL", spare.url());
    let fleet = Fleet::start(servers, "spare", setup).await?;
    let id = fleet.submit(&json!({"source": {"text": ONE_SENTENCE}, "format": "monologue"})).await?;
    fleet.completed(&id).await?;
    let voices: BTreeSet<String> = spare.ledger().calls.iter().map(|call| call.voice.clone()).collect();
    ensure!(voices == BTreeSet::from(["low".to_owned()]), "{voices:?}");
    ensure!(fleet.count("select count(*) from attempts where class <> 'success'").await? == 0);
    fleet.stop().await
}

/// It takes three calls at a time and refuses more; the configuration allows 16.
pub(crate) async fn a_server_is_asked_no_more_than_it_takes(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let mut settings = Settings::default().speech_latency(Latency::Fixed(Duration::from_millis(300)));
    settings.speech.limits.concurrency = Some(3);
    let provider = Provider::start(settings).await?;
    let setup = Setup::default()
        .with_speech_server(&provider.url())
        .with("ENGINES__TONES__CONCURRENCY", 16)
        .with("WORKER__CONCURRENCY", 16);
    let fleet = Fleet::start(servers, "adaptive", setup).await?;
    let id = fleet.submit(&numbered_article(4, 15)).await?;
    fleet.completed(&id).await?;
    let ledger = provider.ledger();
    let count = |outcome| ledger.calls.iter().filter(|call| call.outcome == outcome).count();
    let (answered, refused) = (count(Outcome::Answered), count(Outcome::Failed(429)));
    println!("  {answered} answered, {refused} refused");
    ensure!(refused > 0, "nothing was found out");
    ensure!(answered >= 60 && refused <= 25, "{refused} of {answered} calls were refused");
    fleet.at_rest().await?;
    fleet.stop().await
}
