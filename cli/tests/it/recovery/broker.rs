//! A broker that takes no messages, one that is out of reach, and one that loses patience.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use common::amqp;
use common::private::{Fault, RabbitMq};
use common::topology::{REQUESTS_EXCHANGE, REQUESTS_QUEUE};
use loadtest::providers::{Latency, Provider, Settings};
use serde_json::{Value, json};

use crate::audio::expect_every_number_once;
use crate::faults::{SPOKEN, slow_speech};
use crate::fleet::{Fleet, Servers, Setup, behind_proxy, numbered_article, until};

/// Podcasts that may wait while nothing is dispatched.
const MOST: usize = 5;
const TIMEOUT: Duration = Duration::from_secs(10);

fn titled(title: String) -> Value {
    let mut article = numbered_article(1, 3);
    article["title"] = json!(title);
    article
}

/// Real alarms, of memory and then of the disk, while work is under way: requests are accepted up to the bound and then answered
/// 503; when the alarm is over all is done, by the same processes, and paid once.
pub(crate) async fn an_alarm_is_waited_out(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = slow_speech().await?;
    let setup = Setup { own_rabbitmq: true, ..Setup::default() }
        .with_speech_server(&provider.url())
        .with("PRODUCER__MAX_WAITING", MOST)
        .with("BROKER__TIMEOUT_MS", 2000);
    let mut fleet = Fleet::start(servers, "alarm", setup).await?;
    let mut ids = Vec::new();
    for memory in [true, false] {
        ids.push(fleet.submit(&numbered_article(2, 12)).await?);
        let spoken = fleet.count(SPOKEN).await?;
        fleet.until_count(SPOKEN, |count| count >= spoken + 4).await?;
        let alarm = async |broker: &RabbitMq, on: bool| match memory {
            true => broker.set_memory_alarm(on).await,
            false => broker.set_disk_alarm(on).await,
        };
        fleet.with_rabbitmq(async |broker| alarm(broker, true).await).await?;
        let mut accepted = 0;
        let refused = loop {
            // Not faster: for some seconds the producer still believes in the dispatcher.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let response = fleet.post(&titled(format!("Alarm {memory} {accepted}"))).await?;
            if response.status() != 202 {
                break response;
            }
            accepted += 1;
            ensure!(accepted < 100, "the bound of {MOST} is not kept");
        };
        ensure!(refused.status() == 503, "{}", refused.status());
        let again = refused.headers().get("retry-after").and_then(|value| value.to_str().ok());
        ensure!(
            again.and_then(|text| text.parse().ok()).is_some_and(|seconds: u32| seconds > 0),
            "when to come back"
        );
        let problem: Value = refused.json().await?;
        ensure!(problem["type"] == "urn:podfleet:problem:backlog", "{problem:#}");
        let waiting =
            fleet.count("select count(*) from tasks where kind = 'outline' and state = 'ready'").await?;
        ensure!(waiting >= MOST as i64, "refused before the bound of {MOST}: only {waiting} wait");
        ensure!(accepted >= MOST, "{accepted} were accepted during the alarm");
        fleet.with_rabbitmq(async |broker| alarm(broker, false).await).await?;
        let over = Instant::now();
        fleet
            .until_count("select count(*) from podcasts where state = 'running'", |count| count == 0)
            .await?;
        println!(
            "  {accepted} accepted during an alarm, then refused; all done {:.1} s after it",
            over.elapsed().as_secs_f64()
        );
        ensure!(fleet.post(&titled(format!("After {memory}"))).await?.status() == 202, "accepted again");
    }
    for role in &mut fleet.roles {
        ensure!(role.child.try_wait()?.is_none(), "{} had to be started again", role.name);
    }
    fleet.at_rest().await?;
    ensure!(fleet.count("select count(*) from podcasts where state <> 'completed'").await? == 0);
    ensure!(fleet.count("select count(*) from dead_letters").await? == 0, "nothing was set aside");
    expect_every_number_once(&fleet, &ids[0]).await?;
    fleet.stop().await
}

/// Roles that begin at the same moment on a new broker find queues that others are just making. None of them is taken for lost.
pub(crate) async fn a_fleet_begins_all_at_once(servers: &Arc<Servers>) -> anyhow::Result<()> {
    for round in 0..3 {
        let mut setup = Setup { own_rabbitmq: true, workers: 4, collectors: 2, ..Setup::default() };
        for kind in ["OUTLINE", "SCRIPT", "TTS"] {
            setup = setup.with(&format!("DEFAULTS__{kind}"), "noop");
        }
        setup = setup.with("DEFAULTS__MIX", "none");
        let fleet = Fleet::start(servers, &format!("at-once-{round}"), setup).await?;
        let id = fleet.submit(&json!({"topic": "nothing", "language": "en"})).await?;
        fleet.completed(&id).await?;
        for collector in fleet.roles.iter().filter(|role| role.name.starts_with("collector")) {
            let log = std::fs::read_to_string(&collector.log)?;
            ensure!(!log.contains("no leader for"), "{}", collector.log.display());
        }
        fleet.at_rest().await?;
        fleet.stop().await?;
    }
    Ok(())
}

/// RabbitMQ without the supervisor of its dead-letter processes, as it is left by a queue deleted while it elected its leader:
/// queues that are new, or elect anew, lose every leader that needs such a process. The fleet does without, with two collectors that
/// find out one after the other, and with queues of either kind once the broker was restarted.
pub(crate) async fn a_broker_that_loses_leaders_is_worked_with(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = slow_speech().await?;
    let setup = Setup { own_rabbitmq: true, workers: 2, collectors: 2, ..Setup::default() };
    let mut fleet = Fleet::start(servers, "leaders", setup.with_speech_server(&provider.url())).await?;
    let before = fleet.submit(&numbered_article(1, 6)).await?;
    fleet.completed(&before).await?;
    let end_supervisor = "supervisor:terminate_child(rabbit_sup, rabbit_fifo_dlx_sup).";
    fleet.with_rabbitmq(async |broker| broker.ctl(&["eval", end_supervisor]).await).await?;
    let ids = [fleet.submit(&numbered_article(2, 12)).await?, fleet.submit(&numbered_article(1, 4)).await?];
    let deleted = [
        "podfleet.tts.normal.v1",
        "podfleet.script.normal.v1",
        "podfleet.mix.low.v1",
        "podfleet.outcomes.v1",
        "podfleet.requests.v1",
    ];
    for queue in deleted {
        fleet.with_rabbitmq(async |broker| broker.delete_queue(&fleet.vhost, queue).await).await?;
    }
    let broken = Instant::now();
    for id in &ids {
        fleet.completed(id).await?;
    }
    println!("  all done {:.1} s after five queues lost their leaders", broken.elapsed().as_secs_f64());
    fleet.at_rest().await?;
    let mut said = 0;
    for collector in fleet.roles.iter().filter(|role| role.name.starts_with("collector")) {
        said += std::fs::read_to_string(&collector.log)?.matches("no leader for").count();
    }
    ensure!(said > 0, "the broker had no such queue: this test tests nothing");
    ensure!(said <= 3 * deleted.len(), "{said} times queues were declared anew, of {} in all", deleted.len());

    let broker = fleet.rabbitmq.as_mut().context("a broker of its own")?;
    broker.kill().await?;
    broker.restart().await?;
    fleet
        .with_rabbitmq(async |broker| broker.delete_queue(&fleet.vhost, "podfleet.tts.high.v1").await)
        .await?;
    fleet.spawn("worker", &[]).await?;
    fleet.spawn("collector", &[]).await?;
    let mut urgent = numbered_article(1, 4);
    urgent["priority"] = json!("high");
    let after = fleet.submit(&urgent).await?;
    fleet.completed(&after).await?;
    expect_every_number_once(&fleet, &ids[0]).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

/// A worker that the broker cannot reach any more, in the middle of its calls: others do its work, and its late answers do no harm.
pub(crate) async fn a_partition_is_survived(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = slow_speech().await?;
    let setup = Setup { workers: 0, ..Setup::default() };
    let mut fleet = Fleet::start(servers, "partition", setup.with_speech_server(&provider.url())).await?;
    let (proxy, url) = behind_proxy(&fleet.environment()["PODFLEET__BROKER__URL"].clone()).await?;
    fleet.spawn("worker", &[("PODFLEET__BROKER__URL", &url)]).await?;
    let id = fleet.submit(&numbered_article(2, 12)).await?;
    fleet.until_count(SPOKEN, |spoken| spoken >= 4).await?;
    proxy.set(Fault::Blackhole);
    let cut = Instant::now();
    fleet.spawn("worker", &[]).await?;
    fleet.completed(&id).await?;
    println!("  done {:.1} s after a worker was cut off from the broker", cut.elapsed().as_secs_f64());
    expect_every_number_once(&fleet, &id).await?;
    let twice = provider.ledger().answers_by_text().values().filter(|count| **count > 1).count();
    ensure!(twice <= 4, "at most what it had in hand is paid twice, not {twice}");
    // Back again, it tells what it had done, and takes part.
    proxy.set(Fault::Pass);
    let mut other = fleet.roles.pop().context("the other worker")?;
    other.signal(nix::sys::signal::Signal::SIGTERM);
    other.exit().await?;
    let id = fleet.submit(&titled("After the partition".into())).await?;
    fleet.completed(&id).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Sends requests over AMQP, under the keys `amqp-0`, `amqp-1` and so on.
pub(super) async fn send_requests(fleet: &Fleet, count: usize) -> anyhow::Result<()> {
    let connection = fleet.connect().await?;
    let channel = amqp::confirming_channel(&connection, TIMEOUT).await?;
    for number in 0..count {
        let body = serde_json::to_vec(&titled(format!("Over AMQP {number}")))?;
        let properties = amqp::persistent_json().with_message_id(format!("amqp-{number}").into());
        let confirm = amqp::publish(&channel, REQUESTS_EXCHANGE, "", &body, properties, TIMEOUT).await?;
        amqp::confirmed(confirm, TIMEOUT).await?;
    }
    Ok(connection.close(200, "sent".into()).await?)
}

/// Without a dispatcher the bound holds for requests over AMQP, too: beyond it a producer keeps what it has in hand, and the others
/// stay where they are.
pub(crate) async fn requests_over_amqp_stay_in_their_queue(servers: &Arc<Servers>) -> anyhow::Result<()> {
    const SENT: usize = 80;
    /// What a producer takes in hand.
    const IN_HAND: usize = 64;
    let mut setup = Setup::default().with("DEFAULTS__MIX", "none").with("PRODUCER__MAX_WAITING", MOST);
    for kind in ["OUTLINE", "SCRIPT", "TTS"] {
        setup = setup.with(&format!("DEFAULTS__{kind}"), "noop");
    }
    let mut fleet = Fleet::start(servers, "amqp-backlog", setup).await?;
    fleet.until_intake().await?;
    let mut collector = fleet.take_role("collector");
    collector.signal(nix::sys::signal::Signal::SIGTERM);
    ensure!(collector.exit().await?.success(), "a collector leaves in order");
    let metrics = async || anyhow::Ok(fleet.get("/metrics").await?.text().await?);
    until("a producer that misses the dispatcher", async || {
        Ok(metrics().await?.contains("podfleet_waiting_podcasts").then_some(()))
    })
    .await?;
    let sessions = async || {
        let metrics = metrics().await?;
        let ended = metrics.lines().find(|line| line.starts_with("podfleet_sessions_ended_total"));
        anyhow::Ok(ended.map(str::to_owned))
    };
    // It may have come before its queue could be used.
    let ended = sessions().await?;
    send_requests(&fleet, SENT).await?;
    let accepted = until("as many as may wait, and not more", async || {
        let accepted = usize::try_from(fleet.count("select count(*) from podcasts").await?)?;
        let left = usize::try_from(fleet.messages(REQUESTS_QUEUE).await?)?;
        Ok((accepted >= MOST && accepted + IN_HAND + left == SENT).then_some(accepted))
    })
    .await?;
    // What is on its way to the database while it is counted is not counted.
    ensure!(accepted <= 2 * MOST, "{accepted} were accepted, and the bound is {MOST}");
    ensure!(fleet.post(&titled("Over HTTP".into())).await?.status() == 503, "the same bound");
    ensure!(sessions().await? == ended, "the producer holds on to the broker");
    fleet.spawn("collector", &[]).await?;
    let completed =
        "select count(*) from podcasts where state = 'completed' and idempotency_key like 'amqp-%'";
    fleet.until_count(completed, |count| count == SENT as i64).await?;
    ensure!(fleet.count("select count(*) from dead_letters").await? == 0, "nothing was set aside");
    fleet.at_rest().await?;
    fleet.stop().await
}

/// The broker closes the channel of a consumer that acks too late, and leaves its connection open.
pub(crate) async fn a_consumer_that_timed_out_is_built_again(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let latency = Latency::Fixed(Duration::from_secs(7));
    let provider = Provider::start(Settings::default().speech_latency(latency)).await?;
    let setup = Setup { own_rabbitmq: true, workers: 0, ..Setup::default() };
    let mut fleet = Fleet::start(servers, "patience", setup.with_speech_server(&provider.url())).await?;
    // Both are read when a channel opens.
    for setting in ["consumer_timeout, 2000", "channel_tick_interval, 1000"] {
        let expression = format!("application:set_env(rabbit, {setting}).");
        fleet.with_rabbitmq(async |broker| broker.ctl(&["eval", &expression]).await).await?;
    }
    fleet.spawn("worker", &[]).await?;
    let id = fleet.submit(&numbered_article(1, 2)).await?;
    fleet.completed(&id).await?;
    let log = std::fs::read_to_string(&fleet.role("worker").log)?;
    ensure!(log.contains("delivery acknowledgement on channel"), "the broker did not lose patience");
    expect_every_number_once(&fleet, &id).await?;
    // Whoever had a ticket may be alive, but nobody waits for him for ever: it is begun again, and that shows.
    let calls =
        fleet.count("select count(*) from attempts where kind = 'tts' and class = 'interrupted'").await?;
    let again: i64 = provider.ledger().answers_by_text().into_values().map(|count| count as i64 - 1).sum();
    println!("  {again} answers more than segments, with {calls} attempts whose end nobody had seen");
    ensure!(again <= calls, "{again} answers were paid again, and only {calls} attempts tell why");
    fleet.at_rest().await?;
    fleet.stop().await
}
