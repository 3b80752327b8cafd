//! Equal work, wherever it is asked for at the same time, is done and paid for once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use loadtest::providers::{Latency, Outcome, Provider, Settings};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::audio::expect_every_number_once;
use crate::fleet::{Fleet, Servers, Setup, numbered_article, until};

const PODCASTS: usize = 20;
/// Those whose tickets came back because somebody else was at it.
const AWAITED: &str = "select count(distinct podcast_id) from attempts where class = 'returned' and message like 'another worker%'";

/// The cache's budget is for providers; here the machine may be busy with something else.
fn patient(setup: Setup) -> Setup {
    setup.with("CACHE__BUDGET_MS", 8_000)
}

async fn slow_speech(seconds: u64) -> anyhow::Result<Provider> {
    let latency = Latency::Fixed(Duration::from_secs(seconds));
    Provider::start(Settings::default().speech_latency(latency)).await
}

pub(crate) async fn equal_speech_is_paid_once(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = slow_speech(2).await?;
    let setup = patient(Setup { workers: 3, ..Setup::default() })
        .with_speech_server(&provider.url())
        .with("ENGINES__TONES__PRICE_INPUT", 15);
    let fleet = Fleet::start(servers, "equal", setup).await?;
    let article = numbered_article(2, 3);
    let mut ids = Vec::new();
    for _ in 0..PODCASTS {
        ids.push(fleet.submit(&article).await?);
    }
    let (mut calls, mut micros) = (0, 0);
    for id in &ids {
        let podcast = fleet.completed(id).await?;
        calls += podcast["saved"]["calls"].as_i64().unwrap_or_default();
        micros += podcast["saved"]["micros"].as_i64().unwrap_or_default();
    }
    expect_every_number_once(&fleet, &ids[PODCASTS - 1]).await?;
    let ledger = provider.ledger();
    let answers = ledger.answers_by_text();
    let segments = answers.len();
    ensure!(segments >= 6 && answers.values().all(|count| *count == 1), "paid more than once: {answers:?}");
    ensure!(fleet.count(AWAITED).await? > 0, "nobody waited: nothing is shown here");
    let wasted = "select count(*) from tasks where failures + throttles + interruptions > 0";
    ensure!(fleet.count(wasted).await? == 0, "waiting has used up a budget");
    let saved = (PODCASTS - 1) * segments;
    ensure!(calls == i64::try_from(saved)?, "{calls} calls saved, not {saved}");
    let paid = fleet.query("select sum(cost_micros)::bigint from attempts where kind = 'tts'").await?[0]
        .get::<_, i64>(0);
    ensure!(paid > 0 && micros == paid * (PODCASTS as i64 - 1), "{micros} saved, {paid} paid");
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Outlines and scripts, too: whatever a chapter takes, a length that is asked for again included, it is asked for once.
pub(crate) async fn equal_writing_is_paid_once(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let mut settings = Settings::default();
    settings.chat.whole = Some(Latency::Fixed(Duration::from_secs(2)));
    let words = |text: &str| text.split(' ').count() * 24_000 * 60 / 175;
    let provider = Provider::start(settings.samples_for(words)).await?;
    let setup = patient(Setup { workers: 2, ..Setup::default() })
        .with_speech_server(&provider.url())
        .with("ENGINES__WRITER__TYPE", "openai")
        .with("ENGINES__WRITER__KINDS", "outline,script")
        .with("ENGINES__WRITER__URL", provider.url())
        .with("ENGINES__WRITER__MODEL", "simulated")
        .with("DEFAULTS__OUTLINE", "writer")
        .with("DEFAULTS__SCRIPT", "writer");
    let fleet = Fleet::start(servers, "equal-writing", setup).await?;
    let request = json!({"topic": "How the tides work", "language": "en", "target_minutes": 1});
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(fleet.submit(&request).await?);
    }
    for id in &ids {
        fleet.completed(id).await?;
    }
    let ledger = provider.ledger();
    let answers = ledger.answers_by_text();
    ensure!(answers.values().all(|count| *count == 1), "paid more than once: {answers:?}");
    let written =
        "select count(*) from (select from attempts where kind in ('outline', 'script') and class = 'success'
                   group by task_id having not bool_or(cached)) paid";
    let chapters = fleet.count("select max(chapters_total)::bigint from podcasts").await?;
    let written = fleet.count(written).await?;
    ensure!(written == 1 + chapters, "{written} outlines and scripts were written for {chapters} chapters");
    ensure!(fleet.count(AWAITED).await? > 0, "nobody waited: nothing is shown here");
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Others wait for a worker that is killed at work: one of them takes the work over, and all complete.
pub(crate) async fn the_work_of_a_dead_worker_is_taken_over(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = slow_speech(3).await?;
    let setup = patient(Setup::default()).with_speech_server(&provider.url());
    let mut fleet = Fleet::start(servers, "equal-dead", setup).await?;
    let article = numbered_article(1, 2);
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(fleet.submit(&article).await?);
    }
    fleet.until_count(AWAITED, |count| count > 0).await?;
    fleet.spawn("worker", &[]).await?;
    until("speech under way", async || Ok((provider.ledger().in_flight > 0).then_some(()))).await?;
    fleet.role("worker").signal(Signal::SIGKILL);
    let killed = Instant::now();
    fleet.role("worker").exit().await?;
    for id in &ids {
        fleet.completed(id).await?;
    }
    println!("  all had the work of the dead worker after {:.1?}", killed.elapsed());
    let ledger = provider.ledger();
    let abandoned = ledger.calls.iter().filter(|call| call.outcome == Outcome::Abandoned).count();
    ensure!(abandoned > 0, "the worker was killed when it had nothing to do");
    ensure!(ledger.answers_by_text().values().all(|count| *count == 1), "{:?}", ledger.answers_by_text());
    fleet.at_rest().await?;
    fleet.abandon().await
}
