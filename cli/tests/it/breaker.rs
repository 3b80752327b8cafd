//! Engines that are ill: the fleet leaves them alone together, keeps to their rates together, and loses nothing meanwhile,
//! with Redis and without.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use loadtest::providers::{Latency, Ledger, Misbehaviour, Provider, Rule, Settings};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::audio::expect_every_number_once;
use crate::fleet::{Fleet, PATIENCE, Servers, Setup, numbered_article, until};

const PERMITS: usize = 4;
/// The fleet's workers when it is not said otherwise.
const WORKERS: usize = 2;
const DEAD: &str = "select count(*) from dead_letters";

fn setup(provider: &Provider) -> Setup {
    Setup { workers: WORKERS, ..Setup::default() }
        .with_speech_server(&provider.url())
        .with("ENGINES__TONES__BREAKER__OPEN_MS", 1000)
        .with("ENGINES__TONES__BREAKER__OPEN_CAP_MS", 2000)
        .with("WORKER__CONCURRENCY", PERMITS)
}

/// A text of its own, so that no podcast finds another one's segments.
fn article(title: &str, segments: usize) -> Value {
    let mut article = numbered_article(1, segments);
    let text = article["source"]["text"].as_str().unwrap_or_default().replace("article", title);
    article["source"]["text"] = json!(text);
    article
}

/// What a worker says of itself, over all workers: the sum of a metric.
async fn metric(fleet: &Fleet, line: &str) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for role in fleet.roles.iter().filter(|role| role.name.starts_with("worker")) {
        let log = std::fs::read_to_string(&role.log)?;
        let address = log.split("address").nth(1).and_then(|rest| {
            let start = rest.find("127.0.0.1")?;
            rest[start..].split(|c: char| c.is_whitespace() || c == '\u{1b}').next()
        });
        let url = format!("http://{}/metrics", address.context("the worker's address")?);
        let text = fleet.http.get(url).send().await?.text().await?;
        let values = text.lines().filter_map(|found| found.strip_prefix(line)?.trim().parse::<f64>().ok());
        sum += values.sum::<f64>();
    }
    Ok(sum)
}

async fn show(fleet: &Fleet, podcast: &str) -> anyhow::Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_podfleet"))
        .args(["show", podcast, "--server", &fleet.api])
        .stdin(Stdio::null())
        .output()
        .await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How long the provider has no use for the key.
const WRONG_KEY: Duration = Duration::from_secs(60);
/// How long it throttles everybody.
const THROTTLED: Duration = Duration::from_secs(30);

/// The first calls of everybody at once, and then one at a time.
fn expect_few_calls(ledger: &Ledger, ill: Duration, each: Duration) -> anyhow::Result<()> {
    let refused = ledger.calls.iter().filter(|call| call.rule.is_some()).count();
    let most = WORKERS * PERMITS + 10 + (ill.as_secs_f64() / each.as_secs_f64()) as usize;
    println!("{refused} calls in {ill:?} of an engine that did not work; at most {most}");
    ensure!(refused >= 2 && refused <= most, "{refused} calls in {ill:?}; at most {most}");
    Ok(())
}

/// The key is wrong for a while: work waits, `show` says why, nothing dies, and all of it is done afterwards.
pub(crate) async fn an_engine_with_a_wrong_key_parks_work_and_kills_none(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    provider.add_rules(vec![Rule::new(Misbehaviour::WrongKey)])?;
    let fleet = Fleet::start(servers, "wrong-key", setup(&provider)).await?;
    let began = Instant::now();
    let mut podcasts = Vec::new();
    for title in ["tide", "moon", "harbour"] {
        podcasts.push(fleet.submit(&article(title, 12)).await?);
    }
    let told = until("parked work", async || {
        let told = show(&fleet, &podcasts[0]).await?;
        Ok(told.contains("waits: engine tones has been left alone since").then_some(told))
    })
    .await?;
    ensure!(told.contains("answered 401") && told.contains("next attempt"), "{told}");
    ensure!(metric(&fleet, "podfleet_engine_parked_total{engine=\"tones\"}").await? > 0.0);
    ensure!(metric(&fleet, "podfleet_engine_open{engine=\"tones\"}").await? > 0.0);
    tokio::time::sleep(WRONG_KEY.saturating_sub(began.elapsed())).await;
    let ill = began.elapsed();
    provider.clear_rules();
    expect_few_calls(&provider.ledger(), ill, Duration::from_secs(2))?;
    for podcast in &podcasts {
        fleet.completed(podcast).await?;
        expect_every_number_once(&fleet, podcast).await?;
    }
    let sent = fleet.query("select avg(attempt)::float8 from tasks where kind = 'tts'").await?;
    println!("a segment was sent out {:.1} times in {ill:?}", sent[0].get::<_, f64>(0));
    ensure!(fleet.count(DEAD).await? == 0);
    ensure!(metric(&fleet, "podfleet_engine_opens_total{engine=\"tones\"}").await? >= 1.0);
    fleet.at_rest().await?;
    fleet.stop().await
}

/// A provider that only throttles is asked little, by all workers together.
pub(crate) async fn throttling_slows_the_whole_fleet_down(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    let rule = Rule { retry_after_ms: Some(500), ..Rule::new(Misbehaviour::Throttled) };
    provider.add_rules(vec![rule])?;
    let fleet = Fleet::start(servers, "throttling", setup(&provider)).await?;
    let began = Instant::now();
    let mut podcasts = Vec::new();
    for title in ["tide", "moon", "harbour"] {
        podcasts.push(fleet.submit(&article(title, 20)).await?);
    }
    tokio::time::sleep(THROTTLED).await;
    let ill = began.elapsed();
    provider.clear_rules();
    expect_few_calls(&provider.ledger(), ill, Duration::from_secs(1))?;
    for podcast in &podcasts {
        fleet.completed(podcast).await?;
    }
    ensure!(fleet.count(DEAD).await? == 0);
    fleet.at_rest().await?;
    fleet.stop().await
}

/// One text that the engine always fails at: its neighbours do not wait for it, and it gets as many attempts as without them.
pub(crate) async fn a_text_that_always_fails_stops_nobody_else(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    provider.add_rules(vec![Rule::new(Misbehaviour::ServerError).on("sentence 2 of the reef")])?;
    let setup = setup(&provider)
        .with("ENGINES__TONES__BREAKER__FAILURES", 2)
        .with("ENGINES__TONES__POLICY__MAX_FAILURES", 4)
        .with("POLICY__MAX_FAILURES", 9);
    let fleet = Fleet::start(servers, "one-text", setup).await?;
    let failing = fleet.submit(&article("reef", 2)).await?;
    let failed = fleet.ended(&failing).await?;
    ensure!(failed["failure"]["class"] == "transient", "{failed:#}");
    let attempts = "select count(*) from attempts where class = 'transient'";
    ensure!(fleet.count(attempts).await? == 4, "the policy of its engine");
    let other = fleet.submit(&article("harbour", 6)).await?;
    fleet.completed(&other).await?;
    ensure!(metric(&fleet, "podfleet_engine_opens_total{engine=\"tones\"}").await? == 0.0);
    fleet.at_rest().await?;
    fleet.stop().await
}

/// With a fallback that sounds the same, an engine that is left alone is not waited for.
pub(crate) async fn an_engine_that_is_left_alone_is_replaced_by_its_fallback(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let broken = Provider::start(Settings::default()).await?;
    broken.add_rules(vec![Rule::new(Misbehaviour::NoCredit)])?;
    let spare = Provider::start(Settings::default()).await?;
    let setup = setup(&broken)
        .with("ENGINES__TONES__BREAKER__OPEN_CAP_MS", 30_000)
        .with("ENGINES__TONES__VOICES", "low,high")
        .with("ENGINES__TONES__FALLBACK", "spare")
        .with("ENGINES__SPARE__TYPE", "openai")
        .with("ENGINES__SPARE__KINDS", "tts")
        .with("ENGINES__SPARE__MODEL", "tones")
        .with("ENGINES__SPARE__VOICES", "low,high")
        .with("ENGINES__SPARE__URL", spare.url());
    let fleet = Fleet::start(servers, "straight", setup).await?;
    let began = Instant::now();
    let podcast = fleet.submit(&article("tide", 40)).await?;
    fleet.completed(&podcast).await?;
    let (asked, spoken) = (broken.ledger().calls.len(), spare.ledger().calls.len());
    let most = WORKERS * PERMITS + 1 + (began.elapsed().as_secs() / 30) as usize;
    ensure!(
        asked >= 1 && asked <= most && spoken >= 40,
        "{asked} calls of {most}, {spoken} by the spare one"
    );
    ensure!(fleet.count("select count(*) from attempts where class <> 'success'").await? == 0);
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Calls after the first ones, which may come at once, keep to the rate: of the whole fleet, also by shares.
fn expect_rate(ledger: &Ledger, from: usize, per_minute: f64, bursts: f64) -> anyhow::Result<()> {
    let calls: Vec<_> = ledger.calls.iter().skip(from).collect();
    let (Some(first), Some(last)) = (calls.first(), calls.last()) else { anyhow::bail!("no calls") };
    let seconds = last.started_at.duration_since(first.started_at).as_secs_f64();
    let most = per_minute / 60.0 * (seconds + 6.0 * bursts) + 4.0;
    println!("{} calls in {seconds:.1} s, at most {most:.0}", calls.len());
    ensure!(calls.len() as f64 <= most, "{} calls in {seconds:.1} s; at most {most:.0}", calls.len());
    Ok(())
}

pub(crate) async fn a_rate_holds_for_the_whole_fleet(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    let setup = Setup { workers: 3, ..setup(&provider) }.with("ENGINES__TONES__REQUESTS_PER_MINUTE", 120);
    let mut fleet = Fleet::start(servers, "rate", setup).await?;
    let podcast = fleet.submit(&article("tide", 36)).await?;
    fleet.completed(&podcast).await?;
    expect_rate(&provider.ledger(), 0, 120.0, 1.0)?;
    let before = provider.ledger().calls.len();
    // Each worker takes a third then, after a third of a burst: what was taken in Redis is not known.
    fleet.redis().kill().await?;
    let podcast = fleet.submit(&article("moon", 36)).await?;
    fleet.completed(&podcast).await?;
    expect_rate(&provider.ledger(), before, 120.0, 1.0)?;
    ensure!(fleet.count("select count(*) from attempts where class <> 'success'").await? == 0);
    fleet.at_rest().await?;
    fleet.stop().await
}

const TOOK: &str = "select percentile_cont(0.5) within group (order by extract(epoch from finished_at - started_at)::float8 * 1000)
                    from attempts where kind = 'tts' and class = 'success'";

const OPENED: &str = "podfleet_engine_opens_total{engine=\"tones\"}";

/// Redis frozen, killed and emptied while podcasts are made and while an engine is ill: the same ends as with it.
pub(crate) async fn without_redis_everything_ends_the_same(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    // One of two workers that know nothing of each other fails so often in a row, too.
    let setup = setup(&provider)
        .with("ENGINES__TONES__BREAKER__FAILURES", 5)
        .with("ENGINES__TONES__POLICY__MAX_FAILURES", 9);
    let mut fleet = Fleet::start(servers, "no-redis", setup).await?;
    let courses = [
        ("there", false),
        ("frozen", false),
        ("frozen and ill", true),
        ("killed", false),
        ("killed and ill", true),
        ("empty", true),
    ];
    for (title, ill) in courses {
        if ill {
            provider.add_rules(vec![Rule::new(Misbehaviour::ServerError).times(12)])?;
        }
        let opened = metric(&fleet, OPENED).await?;
        let podcast = fleet.submit(&article(title, 16)).await?;
        match title.split(' ').next() {
            Some("there") => {}
            Some("frozen") => fleet.redis().pause(),
            Some("killed") => fleet.redis().kill().await?,
            _ => fleet.redis().restart().await?,
        }
        fleet.completed(&podcast).await.with_context(|| title.to_owned())?;
        expect_every_number_once(&fleet, &podcast).await.with_context(|| title.to_owned())?;
        let took = fleet.query(&format!("{TOOK} and podcast_id = '{podcast}'")).await?;
        println!("Redis {title}: half of the segments took at most {:.0} ms", took[0].get::<_, f64>(0));
        let opens = metric(&fleet, OPENED).await? > opened;
        ensure!(opens == ill, "{title}: the engine was left alone: {opens}");
        fleet.redis().resume();
        if title.starts_with("killed") {
            fleet.redis().restart().await?;
        }
        provider.clear_rules();
    }
    ensure!(fleet.count(DEAD).await? == 0);
    ensure!(provider.ledger().duplicates().is_empty(), "paid twice: {:?}", provider.ledger().duplicates());
    fleet.at_rest().await?;
    fleet.stop().await
}

/// It is caught within this time, its five interruptions included.
const CAUGHT: Duration = Duration::from_secs(90);

/// A text that aborts whoever speaks it, each time: it ends as a dead letter that says so, and every other podcast is completed.
pub(crate) async fn an_input_that_kills_its_worker_is_caught(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    let setup = Setup { workers: 0, ..setup(&provider) };
    let mut fleet = Fleet::start(servers, "deadly", setup).await?;
    let deadly = [("PODFLEET_CRASH_ON_TEXT", "sentence 3 of the abyss")];
    for _ in 0..WORKERS {
        fleet.spawn("worker", &deadly).await?;
    }
    let began = Instant::now();
    let abyss = fleet.submit(&article("abyss", 6)).await?;
    let mut others = Vec::new();
    let mut crashes = 0;
    // Whoever dies is started again, as an orchestrator does, while more and more is asked for.
    let failed = loop {
        ensure!(began.elapsed() < PATIENCE, "it was not caught; {crashes} crashes");
        for number in 0..fleet.roles.len() {
            let role = &mut fleet.roles[number];
            if role.name.starts_with("worker") && role.child.try_wait()?.is_some() {
                ensure!(std::fs::read_to_string(&role.log)?.contains("aborting"), "{}", role.log.display());
                fleet.roles.remove(number);
                fleet.spawn("worker", &deadly).await?;
                crashes += 1;
                break;
            }
        }
        if others.len() < 8 && began.elapsed() > Duration::from_secs(2) * others.len() as u32 {
            others.push(fleet.submit(&article(&format!("harbour {}", others.len()), 4)).await?);
        }
        let podcast = fleet.podcast(&abyss).await?;
        if podcast["state"] != "running" {
            break podcast;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let caught = began.elapsed();
    println!("caught after {caught:?} and {crashes} crashes; {} other podcasts were asked for", others.len());
    ensure!(failed["state"] == "failed" && failed["failure"]["class"] == "interrupted", "{failed:#}");
    ensure!(failed["failure"]["message"].as_str().unwrap_or_default().contains("interrupted"), "{failed:#}");
    ensure!(caught < CAUGHT, "it took {caught:?}");
    // The last interruption may be seen before its worker has gone.
    ensure!((4..=6).contains(&crashes), "{crashes} crashes");
    for other in &others {
        fleet.completed(other).await?;
        expect_every_number_once(&fleet, other).await?;
    }
    let letters = fleet.query("select class, podcast_id::text from dead_letters").await?;
    ensure!(letters.len() == 1 && letters[0].get::<_, String>(1) == abyss, "{letters:?}");
    ensure!(letters[0].get::<_, String>(0) == "interrupted", "{letters:?}");
    for role in fleet.roles.iter().filter(|role| role.name.starts_with("worker")) {
        role.signal(Signal::SIGTERM);
    }
    fleet.at_rest().await?;
    fleet.abandon().await
}

/// A worker that is busy with others' segments, and has more of them at hand, is given a text that must run alone and aborts it: none
/// of the others is interrupted by that.
pub(crate) async fn a_task_that_runs_alone_takes_no_other_along(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let settings = Settings::default().speech_latency(Latency::fixed_ms(200));
    let provider = Provider::start(settings).await?;
    let setup = Setup { workers: 0, ..setup(&provider) };
    let mut fleet = Fleet::start(servers, "apart", setup).await?;
    let deadly = [("PODFLEET_CRASH_ON_TEXT", "sentence 1 of the abyss")];
    let abyss = fleet.submit(&article("abyss", 1)).await?;
    let mut others = Vec::new();
    let mut crashes = 0;
    loop {
        fleet.spawn("worker", &deadly).await?;
        let worker = fleet.roles.len() - 1;
        let began = Instant::now();
        let ended = loop {
            ensure!(began.elapsed() < PATIENCE, "nothing became of it; {crashes} crashes");
            if fleet.roles[worker].child.try_wait()?.is_some() {
                break false;
            }
            if fleet.podcast(&abyss).await?["state"] != "running" {
                break true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        if ended {
            break;
        }
        ensure!(std::fs::read_to_string(&fleet.roles[worker].log)?.contains("aborting"));
        fleet.roles.remove(worker);
        crashes += 1;
        // It is suspected now, so from here on it runs alone.
        if crashes == 2 {
            for title in ["tide", "moon", "harbour"] {
                others.push(fleet.submit(&article(title, 100)).await?);
            }
        }
    }
    ensure!(crashes == 5, "{crashes} crashes");
    ensure!(fleet.podcast(&abyss).await?["failure"]["class"] == "interrupted");
    let spoken = format!("select count(*) from attempts where podcast_id <> '{abyss}' and class = 'success'");
    ensure!(fleet.count(&spoken).await? > 0, "it was busy meanwhile");
    for other in &others {
        fleet.completed(other).await?;
        expect_every_number_once(&fleet, other).await?;
    }
    let interrupted =
        format!("select count(*) from attempts where podcast_id <> '{abyss}' and class = 'interrupted'");
    ensure!(fleet.count(&interrupted).await? == 0, "others were interrupted, too");
    fleet.at_rest().await?;
    fleet.stop().await
}
