//! SIGTERM: a role takes nothing new, finishes or hands back, and leaves with 0. A second signal ends it at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use loadtest::providers::{Latency, Provider, Settings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::faults::SPOKEN;
use crate::fleet::{Fleet, Role, Servers, Setup, numbered_article, until};

const HANDED_BACK_RUNNING: &str =
    "select count(*) from attempts where class = 'interrupted' and message like '%had to leave%'";

/// The server says when it has read this: it lets the body come.
const HALF_A_REQUEST: &[u8] =
    b"POST /v1/podcasts HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
    content-length: 99\r\nexpect: 100-continue\r\n\r\n";

pub(crate) async fn a_second_signal_ends_any_role(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let latency = Latency::Fixed(Duration::from_secs(60));
    let provider = Provider::start(Settings::default().speech_latency(latency)).await?;
    let setup = Setup { workers: 0, ..Setup::default() }.with("COLLECTOR__SINGLE_ACTIVE", false);
    let mut fleet = Fleet::start(servers, "signals", setup.with_speech_server(&provider.url())).await?;
    fleet.submit(&numbered_article(2, 12)).await?;
    let steady = fleet.api.clone();
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        // Each has something in hand that keeps it: speech that takes long, a mixing process that is frozen, half a request.
        let calls = provider.ledger().calls.len();
        fleet.spawn("worker", &[]).await?;
        until("a worker that speaks", async || Ok((provider.ledger().calls.len() > calls).then_some(())))
            .await?;
        aborts(fleet.take_role("worker"), signal, code).await?;

        fleet.spawn("collector", &[]).await?;
        let collector = fleet.roles.pop().context("a collector")?;
        let log = collector.log.clone();
        let pid = collector.child.id().context("a running collector")?;
        let mixer = until("a mixing process", async || {
            // Its own health address is the second one in the log.
            let begun = std::fs::read_to_string(&log)?.matches("health and metrics").count() == 2;
            Ok(child_of(pid).filter(|_| begun))
        })
        .await?;
        kill(mixer, Signal::SIGSTOP)?;
        aborts(collector, signal, code).await?;
        kill(mixer, Signal::SIGCONT)?;
        until("the end of the mixing process", async || Ok((!is_alive(mixer)).then_some(()))).await?;

        fleet.spawn_producer(&[]).await?;
        let producer = fleet.roles.pop().context("a producer")?;
        let mut half = TcpStream::connect(fleet.api.trim_start_matches("http://")).await?;
        half.write_all(HALF_A_REQUEST).await?;
        let mut told = [0; 12];
        half.read_exact(&mut told).await?;
        ensure!(told == *b"HTTP/1.1 100", "it waits for the rest");
        half.write_all(b"{").await?;
        aborts(producer, signal, code).await?;
        fleet.api = steady.clone();
    }
    fleet.abandon().await
}

/// The first signal is heard and does not end it; the second does, at once, with this code.
async fn aborts(mut role: Role, signal: Signal, code: i32) -> anyhow::Result<()> {
    role.signal(signal);
    let log = role.log.clone();
    until("a role that is leaving", async || {
        Ok(std::fs::read_to_string(&log)?.contains("finishing what is in hand").then_some(()))
    })
    .await?;
    ensure!(role.child.try_wait()?.is_none(), "{} had nothing in hand", role.name);
    let asked = Instant::now();
    role.signal(signal);
    let status = role.exit().await?;
    ensure!(status.code() == Some(code), "{} after a second {signal}: {status}", role.name);
    ensure!(asked.elapsed() < Duration::from_secs(3), "{} took {:?}", role.name, asked.elapsed());
    Ok(())
}

/// Dead but not awaited by whoever adopted it is dead, too.
fn is_alive(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// A child process, whichever thread started it.
fn child_of(pid: u32) -> Option<Pid> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let children =
        threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    children
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .next()
        .map(Pid::from_raw)
}

/// Every role is replaced again and again while podcasts are made. Nobody is interrupted, so nothing is paid twice.
pub(crate) async fn every_role_leaves_in_order(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let latency = Latency::Uniform { from: Duration::from_millis(20), to: Duration::from_millis(400) };
    let provider = Provider::start(Settings::default().speech_latency(latency)).await?;
    let mut fleet =
        Fleet::start(servers, "rolling", Setup::default().with_speech_server(&provider.url())).await?;
    let mut ids = Vec::new();
    for round in 0..5 {
        for _ in 0..2 {
            let mut article = numbered_article(2, 12);
            // Words of its own, so that no podcast finds the speech of another.
            let text = article["source"]["text"].as_str().context("a text")?;
            let own = format!("a while and {}", "more ".repeat(1 + ids.len()));
            article["source"]["text"] = json!(text.replace("a while", own.trim_end()));
            ids.push(fleet.submit(&article).await?);
        }
        fleet.until_count(SPOKEN, |count| count >= 10 * round).await?;
        for role in ["worker", "collector", "producer"] {
            match role {
                "producer" => fleet.spawn_producer(&[]).await?,
                role => fleet.spawn(role, &[]).await?,
            }
            let mut old = fleet.take_role(role);
            old.signal(Signal::SIGTERM);
            let status = old.exit().await?;
            ensure!(status.success(), "{} ended with {status}; its log is {}", old.name, old.log.display());
        }
    }
    for id in &ids {
        fleet.completed(id).await?;
    }
    let outlasted = fleet.count(HANDED_BACK_RUNNING).await?;
    ensure!(outlasted == 0, "{outlasted} tasks ended halfway, though everybody left in order");
    let ledger = provider.ledger();
    let calls = ledger.calls.len();
    ensure!(ledger.answered() == calls, "{} of {calls} calls were answered", ledger.answered());
    ensure!(ledger.answers_by_text().values().all(|count| *count == 1), "nothing was paid twice");
    drop(ledger);
    // The broker's own: it takes back what it was about to send to a consumer that ends, and marks it like what somebody had.
    let marked = fleet.count("select count(*) from attempts where class = 'interrupted'").await?;
    println!("  {marked} tickets came back from a worker that had not read them yet");
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Handed back at once, not left to be missed; and the process has done all that it could, so it leaves with 0.
pub(crate) async fn what_outlasts_the_drain_is_handed_back(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default().stall_first(1)).await?;
    let setup = Setup::default().with("WORKER__DRAIN_SECONDS", 1).with("WORKER__CONCURRENCY", 1);
    let mut fleet = Fleet::start(servers, "outlast", setup.with_speech_server(&provider.url())).await?;
    let id = fleet.submit(&numbered_article(1, 4)).await?;
    until("speech that hangs", async || Ok((!provider.ledger().calls.is_empty()).then_some(()))).await?;
    let mut worker = fleet.take_role("worker");
    let asked = Instant::now();
    worker.signal(Signal::SIGTERM);
    let status = worker.exit().await?;
    let took = asked.elapsed();
    ensure!(status.success(), "it ended with {status}; its log is {}", worker.log.display());
    ensure!(took < Duration::from_secs(10), "it took {took:?}");
    println!("  a worker with a task that outlasts its drain of 1 s left after {:.1} s", took.as_secs_f64());
    fleet.until_count(HANDED_BACK_RUNNING, |count| count == 1).await?;
    fleet.spawn("worker", &[]).await?;
    fleet.completed(&id).await?;
    ensure!(
        fleet.count("select count(*) from attempts where class = 'interrupted'").await? == 1,
        "and nothing else"
    );
    fleet.at_rest().await?;
    fleet.stop().await
}
