//! Messages that come several times, in any order, or with poison; and two that want different ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use common::amqp;
use futures_util::future::try_join_all;
use lapin::options::{BasicAckOptions, BasicGetOptions};
use loadtest::providers::{Provider, Settings};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::audio::expect_every_number_once;
use crate::fleet::{Fleet, Servers, Setup, numbered_article, until};

const OUTCOMES: &str = "podfleet.outcomes.v1";
const ATTEMPTS: &str = "select count(*) from attempts";
const TIMEOUT: Duration = Duration::from_secs(10);

/// Takes everything out of a queue.
async fn take_all(fleet: &Fleet, queue: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let connection = fleet.connect().await?;
    let channel = connection.create_channel().await?;
    let mut taken = Vec::new();
    while let Some(got) = channel.basic_get(queue.into(), BasicGetOptions::default()).await? {
        got.delivery.acker.ack(BasicAckOptions::default()).await?;
        taken.push(got.delivery.data);
    }
    connection.close(200, "bye".into()).await?;
    Ok(taken)
}

async fn put_all(fleet: &Fleet, queue: &str, bodies: &[Vec<u8>]) -> anyhow::Result<()> {
    let connection = fleet.connect().await?;
    let channel = amqp::confirming_channel(&connection, TIMEOUT).await?;
    for body in bodies {
        let confirm = amqp::publish(&channel, "", queue, body, amqp::persistent_json(), TIMEOUT).await?;
        amqp::confirmed(confirm, TIMEOUT).await?;
    }
    Ok(connection.close(200, "bye".into()).await?)
}

/// Five of each, shuffled; gives one of each.
async fn multiply(fleet: &Fleet, queue: &str, random: &mut fastrand::Rng) -> anyhow::Result<Vec<Vec<u8>>> {
    let taken = take_all(fleet, queue).await?;
    let mut many: Vec<Vec<u8>> = taken.iter().flat_map(|body| std::iter::repeat_n(body.clone(), 5)).collect();
    random.shuffle(&mut many);
    put_all(fleet, queue, &many).await?;
    Ok(taken)
}

/// Ends a role in order, so that what it has is settled and what comes lies in the queue.
async fn end(fleet: &mut Fleet, role: &str) -> anyhow::Result<()> {
    let mut role = fleet.take_role(role);
    role.signal(Signal::SIGTERM);
    ensure!(role.exit().await?.success(), "{} leaves in order", role.name);
    Ok(())
}

/// Stage by stage: the tickets of every kind, and the outcomes of every kind. At last all outcomes come once more.
pub(crate) async fn each_message_five_times_in_any_order(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let provider = Provider::start(Settings::default()).await?;
    // One at a time: what is already done is found, and not paid again.
    let setup = Setup { workers: 0, ..Setup::default() }
        .with("WORKER__CONCURRENCY", 1)
        .with("COLLECTOR__MIXERS", 0)
        .with("COLLECTOR__SINGLE_ACTIVE", false);
    let mut fleet = Fleet::start(servers, "five", setup.with_speech_server(&provider.url())).await?;
    // No more than a lane without workers is given.
    let id = fleet.submit(&numbered_article(1, 3)).await?;
    let (mut multiplied, mut outcomes) = (0, Vec::new());
    for (kind, tasks) in [("outline", 1), ("script", 1), ("tts", 3), ("mix", 1), ("join", 1)] {
        let dispatched = format!("select count(*) from tasks where kind = '{kind}' and state = 'dispatched'");
        fleet.until_count(&dispatched, |count| count >= tasks).await.with_context(|| kind.to_owned())?;
        let lane = format!("podfleet.{kind}.normal.v1");
        until("tickets", async || Ok((fleet.messages(&lane).await? > 0).then_some(()))).await?;
        // Nobody takes outcomes until all are there.
        end(&mut fleet, "collector").await?;
        multiplied += multiply(&fleet, &lane, &mut random).await?.len();
        let arguments = ["--tasks".to_owned(), kind.to_owned()];
        fleet.spawn_with("worker", &arguments, &[]).await?;
        let (worker, sent) = (fleet.health("worker").await?, fleet.count(&dispatched).await?);
        until("all of them done", async || {
            let metrics = fleet.http.get(format!("{worker}/metrics")).send().await?.text().await?;
            let of_kind = metrics.lines().filter(|line| line.starts_with("podfleet_tasks_total{"));
            let done: i64 = of_kind.filter_map(|line| line.rsplit(' ').next()?.parse::<i64>().ok()).sum();
            Ok((done >= 5 * sent).then_some(()))
        })
        .await?;
        end(&mut fleet, "worker").await?;
        outcomes.extend(multiply(&fleet, OUTCOMES, &mut random).await?);
        fleet.spawn("collector", &[]).await?;
    }
    fleet.completed(&id).await.with_context(|| format!("seed {seed}"))?;
    println!("  {} messages, five times each", multiplied + outcomes.len());
    let before = fleet.count(ATTEMPTS).await?;
    put_all(&fleet, OUTCOMES, &outcomes).await?;
    // What comes behind them is committed after them.
    let behind = fleet.submit(&numbered_article(1, 1)).await?;
    let all = ["--tasks".to_owned(), "outline,script,tts,mix,join".to_owned()];
    fleet.spawn_with("worker", &all, &[]).await?;
    fleet.completed(&behind).await?;
    let others = format!("{ATTEMPTS} where podcast_id <> '{behind}'");
    ensure!(fleet.count(&others).await? == before, "seed {seed}: an outcome was recorded a second time");
    expect_every_number_once(&fleet, &id).await?;
    ensure!(provider.ledger().answers_by_text().values().all(|count| *count == 1), "seed {seed}: paid once");
    fleet.at_rest().await?;
    fleet.stop().await
}

/// The database refuses one outcome of a batch: the others are committed, and it becomes a dead letter.
pub(crate) async fn one_poisonous_outcome_is_set_aside_alone(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    let mut fleet = Fleet::start(
        servers,
        "poison",
        Setup::default().with_speech_server(&provider.url()).with("COLLECTOR__SINGLE_ACTIVE", false),
    )
    .await?;
    let id = fleet.submit(&numbered_article(1, 6)).await?;
    let spoken = "select count(*) from tasks where kind = 'tts' and state in ('dispatched', 'done')";
    fleet.until_count(spoken, |count| count >= 6).await?;
    end(&mut fleet, "collector").await?;
    // A second podcast, whose outline waits for a collector as well.
    let mut article = numbered_article(1, 2);
    article["title"] = json!("Another");
    let other = fleet.submit(&article).await?;
    until("outcomes", async || Ok((fleet.messages(OUTCOMES).await? > 0).then_some(()))).await?;
    let taken = take_all(&fleet, OUTCOMES).await?;
    let mut poison: Value = serde_json::from_slice(taken.first().context("an outcome")?)?;
    poison.as_array_mut().context("a list")?.truncate(1);
    poison[0]["class"] = json!("transient");
    // Text in PostgreSQL has no NUL.
    poison[0]["error"] = json!({"message": "a\u{0}b"});
    let mut bodies = vec![serde_json::to_vec(&poison)?];
    bodies.extend(taken);
    put_all(&fleet, OUTCOMES, &bodies).await?;
    fleet.spawn("collector", &[]).await?;
    fleet.completed(&id).await?;
    fleet.completed(&other).await?;
    let letters = "select count(*) from dead_letters where source = 'message' and origin = 'outcome'";
    fleet.until_count(letters, |count| count == 1).await?;
    ensure!(fleet.count("select count(*) from dead_letters").await? == 1, "and nothing else");
    expect_every_number_once(&fleet, &id).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Hundreds of podcasts are cancelled at about the moment at which they are completed. Whoever asked is told the truth.
pub(crate) async fn cancel_and_completion_have_one_winner(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let mut setup = Setup::default().with("DEFAULTS__MIX", "none").with("COLLECTOR__MIXERS", 1);
    for kind in ["OUTLINE", "SCRIPT", "TTS"] {
        setup = setup.with(&format!("DEFAULTS__{kind}"), "noop");
    }
    let fleet = Fleet::start(servers, "races", setup).await?;
    // How long one takes, so that cancelling comes at about that time, however busy this machine is.
    let begun = Instant::now();
    let first = fleet.submit(&numbered_article(1, 1)).await?;
    fleet.completed(&first).await?;
    let longest = AtomicU64::new(begun.elapsed().as_millis() as u64 * 2);
    let race = async |number: u64| {
        let mut article = numbered_article(1, 1);
        article["title"] = json!(format!("Race {number}"));
        let begun = Instant::now();
        let id = fleet.submit(&article).await?;
        // Not for a result: the moment at which it is cancelled.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=longest.load(Ordering::Relaxed)))).await;
        let cancelled =
            fleet.http.delete(format!("{}/v1/podcasts/{id}", fleet.api)).send().await?.status().as_u16();
        let podcast = fleet.ended(&id).await?;
        match (cancelled, podcast["state"].as_str()) {
            (200, Some("cancelled")) => Ok(None),
            (409, Some("completed")) => Ok(Some(begun.elapsed())),
            told => anyhow::bail!("{id}: {told:?}"),
        }
    };
    let (mut cancelled, mut completed) = (0, 0);
    for round in 0..20 {
        if round >= 5 && cancelled >= 20 && completed >= 20 {
            break;
        }
        let ends = try_join_all((0..40).map(|number| race(40 * round + number))).await?;
        let took: Vec<Duration> = ends.iter().copied().flatten().collect();
        cancelled += ends.len() - took.len();
        completed += took.len();
        // Forty at once take longer than one: how long is known once some have not been cancelled.
        let now = longest.load(Ordering::Relaxed);
        let slowest = took.into_iter().max().map_or(now * 2, |slowest| slowest.as_millis() as u64);
        longest.store(slowest, Ordering::Relaxed);
    }
    println!("  races: cancelled {cancelled}, completed {completed}");
    ensure!(cancelled >= 20 && completed >= 20, "no race: {cancelled} cancelled, {completed} completed");
    let ends = "select count(*) from (select podcast_id from events where event in ('completed', 'cancelled', 'failed')
                group by podcast_id having count(*) <> 1) twice";
    ensure!(fleet.count(ends).await? == 0, "one end each");
    fleet.at_rest().await?;
    fleet.stop().await
}
