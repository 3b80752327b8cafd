//! Work that was lost on its way, and steps that were never taken.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use common::topology::{DEAD_QUEUE, REQUESTS_EXCHANGE, REQUESTS_QUEUE};
use lapin::options::{BasicGetOptions, BasicPublishOptions};
use loadtest::providers::{Latency, Provider, Settings};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::audio::expect_every_number_once;
use crate::faults::SPOKEN;
use crate::fleet::{Fleet, Servers, Setup, numbered_article, until};
use crate::ops::heeded;
use crate::recovery::broker::send_requests;

const TICKETS: &str = "podfleet.tts.normal.v1";
const OUTLINES: &str = "podfleet.outline.normal.v1";
const OUTCOMES: &str = "podfleet.outcomes.v1";
const REPAIRED: &str =
    "select count(*) from attempts where class = 'interrupted' and message like 'its ticket%'";

/// Somebody takes the binding of the requests' queue away, and then the queue. Publishers are told that nothing took their message, until
/// it is there again.
pub(crate) async fn requests_find_their_queue_again(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let setup = ["OUTLINE", "SCRIPT", "TTS"]
        .iter()
        .fold(Setup::default(), |setup, kind| setup.with(&format!("DEFAULTS__{kind}"), "noop"));
    let fleet = Fleet::start(servers, "unbound", setup.with("DEFAULTS__MIX", "none")).await?;
    fleet.until_intake().await?;
    let connection = fleet.connect().await?;
    let channel = connection.create_channel().await?;
    let none = lapin::types::FieldTable::default();
    channel.queue_unbind(REQUESTS_QUEUE.into(), REQUESTS_EXCHANGE.into(), "".into(), none).await?;
    ensure!(send_requests(&fleet, 1).await.is_err(), "nothing leads to the queue");
    until("a binding", async || Ok(send_requests(&fleet, 1).await.ok())).await?;
    fleet.with_rabbitmq(async |rabbitmq| rabbitmq.delete_queue(&fleet.vhost, REQUESTS_QUEUE).await).await?;
    ensure!(send_requests(&fleet, 2).await.is_err(), "there is no queue");
    until("the queue", async || Ok(send_requests(&fleet, 2).await.ok())).await?;
    let completed = "select count(*) from podcasts where state = 'completed'";
    fleet.until_count(completed, |count| count == 2).await?;
    connection.close(200, "done".into()).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

/// What nobody can read is given up while the dead queue is gone: the broker keeps it until there is one again.
pub(crate) async fn a_letter_waits_for_its_queue(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let fleet = Fleet::start(servers, "no-dead", Setup::default()).await?;
    fleet.until_intake().await?;
    fleet.with_rabbitmq(async |rabbitmq| rabbitmq.delete_queue(&fleet.vhost, DEAD_QUEUE).await).await?;
    let connection = fleet.connect().await?;
    let channel = connection.create_channel().await?;
    let options = BasicPublishOptions::default();
    channel.basic_publish("".into(), TICKETS.into(), options, b"noise", Default::default()).await?;
    connection.close(200, "sent".into()).await?;
    fleet
        .until_count("select count(*) from dead_letters where source = 'message'", |count| count == 1)
        .await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

/// A worker whose outcomes nobody could take, takes no tickets: they would only be delivered again and again.
pub(crate) async fn nothing_is_taken_without_a_queue_for_outcomes(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let mut fleet = Fleet::start(servers, "no-outcomes", Setup { workers: 0, ..Setup::default() }).await?;
    fleet.until_intake().await?;
    let id = fleet.submit(&numbered_article(1, 3)).await?;
    until("its first ticket", async || Ok((fleet.messages(OUTLINES).await? == 1).then_some(()))).await?;
    let mut collector = fleet.take_role("collector");
    collector.signal(Signal::SIGTERM);
    ensure!(collector.exit().await?.success(), "a collector leaves in order");
    fleet.with_rabbitmq(async |rabbitmq| rabbitmq.delete_queue(&fleet.vhost, OUTCOMES).await).await?;
    fleet.spawn("worker", &[]).await?;
    let log = fleet.role("worker").log.clone();
    until("a worker that looked twice", async || {
        let ended = std::fs::read_to_string(&log)?.matches("the worker's session ended").count();
        Ok((ended >= 2).then_some(()))
    })
    .await?;
    fleet.spawn("collector", &[]).await?;
    fleet.completed(&id).await?;
    let interrupted = "select count(*) from attempts where class = 'interrupted'";
    ensure!(
        fleet.count(interrupted).await? == 0,
        "a ticket was taken by a worker that could not tell its end"
    );
    fleet.at_rest().await?;
    fleet.stop().await
}

/// A chapter was mixed, and its file is gone before the episode is joined. The join names it, and it is mixed again.
pub(crate) async fn a_lost_mix_is_made_again(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    let setup = Setup::default().with_speech_server(&provider.url());
    let fleet = Fleet::start(servers, "lost-mix", setup).await?;
    let wish = json!({"kind": "join", "everyone": true, "reason": "somebody cleans up"});
    let paused = fleet.http.post(format!("{}/v1/pauses", fleet.api)).json(&wish).send().await?;
    let pause: Value = paused.error_for_status()?.json().await?;
    heeded(&fleet).await?;
    let id = fleet.submit(&numbered_article(2, 6)).await?;
    fleet.until_count("select chapters_mixed::bigint from podcasts", |mixed| mixed == 2).await?;
    let first = "select mix ->> 'audio' from chapters where chapter = 0";
    let audio: String = fleet.query(first).await?.first().context("a mix")?.get(0);
    std::fs::remove_file(fleet.folder.join("blobs").join(&audio)).with_context(|| audio.clone())?;
    let resume = format!("{}/v1/pauses/{}/resume", fleet.api, pause["id"].as_str().context("an id")?);
    fleet.http.post(resume).json(&json!({"reason": "all clean"})).send().await?.error_for_status()?;
    fleet.completed(&id).await?;
    expect_every_number_once(&fleet, &id).await?;
    let mixes = "select count(*) from attempts where kind = 'mix' and class = 'success'";
    ensure!(fleet.count(mixes).await? == 3, "one of two chapters was mixed twice");
    fleet.at_rest().await?;
    fleet.stop().await
}

/// With three collectors, all of them taking outcomes, which look after the same work at the same time.
pub(crate) async fn purged_lanes_and_outcomes_are_found(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    let setup = Setup { workers: 0, collectors: 3, ..Setup::default() }
        .with_speech_server(&provider.url())
        .with("COLLECTOR__SINGLE_ACTIVE", false)
        .with("COLLECTOR__MIXERS", 1)
        .with("COLLECTOR__LOST_AFTER_SECONDS", 10);
    let mut fleet = Fleet::start(servers, "purged", setup).await?;
    let id = fleet.submit(&numbered_article(2, 6)).await?;
    // Somebody who writes but does not speak: the lane fills.
    let writer = ["--tasks".to_owned(), "outline,script".to_owned()];
    fleet.spawn_with("worker", &writer, &[]).await?;
    until(
        "tickets in the lane",
        async || Ok((fleet.messages(TICKETS).await.unwrap_or(0) >= 6).then_some(())),
    )
    .await?;
    fleet.with_rabbitmq(async |rabbitmq| rabbitmq.purge_queue(&fleet.vhost, TICKETS).await).await?;
    // Others may follow them into the lane at once: that these were lost shows when they are missed.
    fleet.until_count(REPAIRED, |count| count >= 6).await?;
    // Released is not yet dispatched, and nobody would do that when the collectors are gone.
    until("tickets in the lane again", async || {
        Ok((fleet.messages(TICKETS).await.unwrap_or(0) >= 6).then_some(()))
    })
    .await?;

    // Nobody takes outcomes: they pile up, and are purged.
    for _ in 0..3 {
        let mut collector = fleet.take_role("collector");
        collector.signal(Signal::SIGTERM);
        ensure!(collector.exit().await?.success(), "a collector leaves in order");
    }
    fleet.spawn("worker", &[]).await?;
    until("outcomes in their queue", async || Ok((fleet.messages(OUTCOMES).await? > 0).then_some(())))
        .await?;
    until("an idle worker", async || {
        Ok((fleet.messages(TICKETS).await? == 0 && provider.ledger().answered() >= 6).then_some(()))
    })
    .await?;
    let (before, spoken) = (fleet.count(REPAIRED).await?, provider.ledger().answered());
    fleet.with_rabbitmq(async |rabbitmq| rabbitmq.purge_queue(&fleet.vhost, OUTCOMES).await).await?;
    for _ in 0..3 {
        fleet.spawn("collector", &[]).await?;
    }
    fleet.completed(&id).await?;
    ensure!(fleet.count(REPAIRED).await? > before, "what was lost was sent again");
    ensure!(
        spoken > 0 && provider.ledger().answers_by_text().values().all(|count| *count == 1),
        "and not paid again"
    );
    ensure!(
        fleet.count("select count(*) from (select task_id, attempt, part from attempts where class = 'interrupted'
                     group by 1, 2, 3 having count(*) > 1) twice").await? == 0,
        "three collectors released something twice"
    );
    expect_every_number_once(&fleet, &id).await?;

    // A deleted queue of outcomes: the session is built again, and the queue with it.
    fleet.with_rabbitmq(async |rabbitmq| rabbitmq.delete_queue(&fleet.vhost, OUTCOMES).await).await?;
    let mut article = numbered_article(1, 3);
    article["title"] = serde_json::json!("After the deletion");
    let id = fleet.submit(&article).await?;
    fleet.completed(&id).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

/// One ticket is gone, and its lane is never empty: what was dispatched later passes it by.
pub(crate) async fn what_is_lost_from_a_busy_lane_is_found(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let latency = Latency::Fixed(Duration::from_secs(1));
    let provider = Provider::start(Settings::default().speech_latency(latency)).await?;
    let setup = Setup { workers: 0, ..Setup::default() }
        .with_speech_server(&provider.url())
        .with("COLLECTOR__LOST_AFTER_SECONDS", 10);
    let mut fleet = Fleet::start(servers, "busy-lane", setup).await?;
    let id = fleet.submit(&numbered_article(2, 40)).await?;
    fleet.spawn_with("worker", &["--tasks".to_owned(), "outline,script".to_owned()], &[]).await?;
    until(
        "tickets in the lane",
        async || Ok((fleet.messages(TICKETS).await.unwrap_or(0) >= 8).then_some(())),
    )
    .await?;
    let connection = fleet.connect().await?;
    let channel = connection.create_channel().await?;
    let lost = channel.basic_get(TICKETS.into(), BasicGetOptions { no_ack: true }).await?;
    ensure!(lost.is_some(), "a ticket to lose");
    connection.close(200, "lost".into()).await?;

    let slowly = ["--tasks", "tts", "--concurrency", "1"].map(str::to_owned);
    fleet.spawn_with("worker", &slowly, &[]).await?;
    let emptied = Cell::new(false);
    until("what was lost", async || {
        emptied.set(emptied.get() || fleet.messages(TICKETS).await? == 0);
        Ok((fleet.count(REPAIRED).await? >= 1).then_some(()))
    })
    .await?;
    ensure!(!emptied.get(), "the lane was empty: that is another way to find it");
    fleet.completed(&id).await?;
    expect_every_number_once(&fleet, &id).await?;
    ensure!(provider.ledger().answers_by_text().values().all(|count| *count == 1), "paid once");
    fleet.at_rest().await?;
    fleet.stop().await
}

/// A state that no code of ours leads to, made by hand: all is done and the next step does not exist.
pub(crate) async fn missed_fan_ins_are_made_and_drift_is_told(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    let setup = Setup { collectors: 3, ..Setup::default() }
        .with("COLLECTOR__SINGLE_ACTIVE", false)
        .with("COLLECTOR__MIXERS", 1);
    let mut fleet = Fleet::start(servers, "fan-in", setup.with_speech_server(&provider.url())).await?;
    let id = fleet.submit(&numbered_article(2, 3)).await?;
    fleet.completed(&id).await?;
    for lost in ["kind = 'join'", "kind = 'join' or kind = 'mix' and chapter = 0"] {
        let mixes = if lost.contains("mix") { 1 } else { 0 };
        fleet
            .execute(&format!(
                "update podcasts set state = 'running', episode = null, finished_at = null, chapters_mixed = chapters_mixed - {mixes}
                     where id = '{id}';
                 update chapters set mix = null where podcast_id = '{id}' and chapter < {mixes};
                 delete from tasks where podcast_id = '{id}' and ({lost});"
            ))
            .await?;
        ensure!(fleet.podcast(&id).await?["state"] != "failed");
        fleet.completed(&id).await.with_context(|| lost.to_owned())?;
        expect_every_number_once(&fleet, &id).await?;
    }
    let repairs = fleet.count("select count(*) from tasks where kind in ('mix', 'join')").await?;
    ensure!(repairs == 3, "each fan-in once: {repairs}");
    ensure!(
        provider.ledger().answers_by_text().values().all(|count| *count == 1),
        "nothing was spoken again"
    );

    // Counters that are wrong are told and left alone.
    for _ in 0..2 {
        let mut collector = fleet.take_role("collector");
        collector.signal(Signal::SIGTERM);
        collector.exit().await?;
    }
    let mut worker = fleet.take_role("worker");
    worker.signal(Signal::SIGTERM);
    worker.exit().await?;
    let mut article = numbered_article(1, 2);
    article["title"] = serde_json::json!("Drift");
    let id = fleet.submit(&article).await?;
    fleet.execute(&format!("update podcasts set segments_done = 1 where id = '{id}'")).await?;
    told(&mut fleet, "podfleet_drifted_podcasts 1").await?;
    let counted = format!("select segments_done::bigint from podcasts where id = '{id}'");
    ensure!(fleet.count(&counted).await? == 1, "nobody repairs it in silence");
    fleet.execute(&format!("update podcasts set segments_done = 0 where id = '{id}'")).await?;
    told(&mut fleet, "podfleet_drifted_podcasts 0").await?;
    fleet.spawn("worker", &[]).await?;
    fleet.completed(&id).await?;
    ensure!(fleet.count(SPOKEN).await? > 0);
    fleet.at_rest().await?;
    fleet.stop().await
}

async fn told(fleet: &mut Fleet, line: &str) -> anyhow::Result<()> {
    let address = fleet.health("collector").await?;
    until(line, async || {
        let metrics = fleet.http.get(format!("{address}/metrics")).send().await?.text().await?;
        Ok(metrics.lines().any(|found| found == line).then_some(()))
    })
    .await
}
