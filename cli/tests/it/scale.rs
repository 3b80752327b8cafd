//! Many tasks, many processes.

use anyhow::{Context, ensure};
use common::store::fleet::FORGET_DEAD_PUBLISHERS;
use common::store::tasks::dispatch::{PROMOTE_DUE, TAKE_READY};
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use crate::audio::expect_every_number_once;
use crate::fleet::{Fleet, Servers, Setup, numbered_article};
use loadtest::providers::{Latency, Provider, Settings};

/// Looks at rows read, not at time.
pub(crate) async fn a_million_waiting_tasks_are_not_read(servers: &Arc<Servers>) -> anyhow::Result<()> {
    // The collector makes the schema and then leaves: nobody may take the tasks.
    let mut fleet = Fleet::start(servers, "million", Setup { workers: 0, ..Setup::default() }).await?;
    fleet.until_count("select count(*) from publishers", |count| count >= 1).await?;
    fleet.role("collector").signal(nix::sys::signal::Signal::SIGTERM);
    fleet.role("collector").exit().await?;
    fleet
        .query(
            "insert into tasks (podcast_id, id, tenant, principal, generation, kind, state, lane, rank, engine, input, input_hash,
                                deadline)
             select gen_random_uuid(), gen_random_uuid(), 't', 'p', 1, 'tts', 'ready', 'normal', n, 'espeak', '{}', '', now()
             from generate_series(1, 1000000) n",
        )
        .await?;
    fleet.query("analyze tasks").await?;
    for query in [
        TAKE_READY.replace("$1", "'tts'").replace("$2", "'normal'").replace("$3", "-9223372036854775808").replace("$4", "100"),
        "select exists (select from tasks t where t.state = 'ready' and t.kind = 'tts' and t.lane = 'normal')".to_owned(),
        PROMOTE_DUE.to_owned(),
        "select kind, lane, count(*) from tasks where state = 'dispatched' group by kind, lane".to_owned(),
    ] {
        let plan = fleet.query(&format!("explain (analyze, format json) {query}")).await?;
        let plan: Value = plan.first().context("a plan")?.get(0);
        let read = rows_read(&plan[0]["Plan"]);
        println!("  {read} rows read by: {}", query.split_whitespace().take(8).collect::<Vec<_>>().join(" "));
        ensure!(read <= 1_000, "{read} rows were read of a million: {plan:#}");
    }
    fleet.abandon().await
}

/// Rows that the scans of a plan produced or threw away.
fn rows_read(plan: &Value) -> u64 {
    let number = |name: &str| plan[name].as_f64().unwrap_or(0.0);
    let mut read = 0.0;
    if plan["Node Type"].as_str().is_some_and(|node| node.contains("Scan")) {
        read += (number("Actual Rows")
            + number("Rows Removed by Filter")
            + number("Rows Removed by Index Recheck"))
            * number("Actual Loops").max(1.0);
    }
    let inner = plan["Plans"].as_array().map(Vec::as_slice).unwrap_or_default();
    read as u64 + inner.iter().map(rows_read).sum::<u64>()
}

/// A tenant's short podcast does not stand behind the long one that the tenant asked for before it.
pub(crate) async fn a_short_podcast_passes_a_long_one(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let latency = Latency::Fixed(Duration::from_millis(200));
    let provider = Provider::start(Settings::default().speech_latency(latency)).await?;
    let setup = Setup::default().with_speech_server(&provider.url()).with("WORKER__CONCURRENCY", 1);
    let fleet = Fleet::start(servers, "order", setup).await?;
    let long = fleet.submit(&numbered_article(4, 25)).await?;
    let spoken = "select count(*) from attempts where kind = 'tts' and class = 'success'";
    fleet.until_count(spoken, |count| count >= 2).await?;
    let short = fleet.submit(&numbered_article(1, 3)).await?;
    fleet.completed(&short).await?;
    let podcast = fleet.podcast(&long).await?;
    ensure!(podcast["state"] == "running", "the long one was finished first: {podcast:#}");
    ensure!(podcast["estimate_seconds"].as_f64() > Some(0.0), "{podcast:#}");
    fleet.completed(&long).await?;
    expect_every_number_once(&fleet, &long).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Two collectors that come too late to renew their leases, each in the middle of it: neither waits for the other's row.
pub(crate) async fn late_collectors_do_not_wait_for_each_other(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let fleet =
        Fleet::start(servers, "late", Setup { workers: 0, collectors: 0, ..Setup::default() }).await?;
    fleet
        .query(
            "insert into publishers (id, role, lease_until)
             select gen_random_uuid(), role, now() - interval '1 s' from unnest(array['a', 'b', 'c']) as role",
        )
        .await?;
    let (mut first, mut second) = (fleet.client().await?, fleet.client().await?);
    let (first, second) = (first.transaction().await?, second.transaction().await?);
    let renew = "update publishers set lease_until = now() + interval '6 s' where role = $1";
    first.execute(renew, &[&"a"]).await?;
    second.execute(renew, &[&"b"]).await?;
    second.execute("set local lock_timeout = '2s'", &[]).await?;
    first.execute("set local lock_timeout = '2s'", &[]).await?;
    let (by_first, by_second) = tokio::try_join!(
        first.execute(FORGET_DEAD_PUBLISHERS, &[]),
        second.execute(FORGET_DEAD_PUBLISHERS, &[])
    )?;
    ensure!(by_first + by_second == 1, "{by_first} and {by_second} were forgotten");
    first.commit().await?;
    second.commit().await?;
    fleet.until_count("select count(*) from publishers where role in ('a', 'b')", |count| count == 2).await?;
    fleet.abandon().await
}

/// Whoever releases the tickets of a dead publisher may be killed before that is committed: until then the publisher is remembered.
pub(crate) async fn a_publisher_with_lost_tickets_is_remembered(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let fleet = Fleet::start(servers, "remembered", Setup { workers: 0, ..Setup::default() }).await?;
    fleet.submit(&numbered_article(1, 2)).await?;
    let dispatched = "select count(*) from tasks where state = 'dispatched'";
    fleet.until_count(dispatched, |count| count == 1).await?;
    let mut client = fleet.client().await?;
    for (state, forgotten) in [("dispatched", 0), ("ready", 1)] {
        let tx = client.transaction().await?;
        let dies = "update publishers set lease_until = now() - interval '1 s', confirmed = 0
                    where id = (select publisher from tasks where state = 'dispatched')";
        ensure!(tx.execute(dies, &[]).await? == 1);
        tx.execute("update tasks set state = $1", &[&state]).await?;
        ensure!(tx.execute(FORGET_DEAD_PUBLISHERS, &[]).await? == forgotten, "its ticket is {state}");
        tx.rollback().await?;
    }
    fleet.abandon().await
}

pub(crate) async fn several_of_each_role_give_the_same_result(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    let setup = Setup { producers: 2, workers: 3, collectors: 3, ..Setup::default() };
    let setup = setup
        .with_speech_server(&provider.url())
        .with("COLLECTOR__SINGLE_ACTIVE", false)
        .with("COLLECTOR__PARTITIONS", 2)
        .with("COLLECTOR__MIXERS", 1);
    let fleet = Fleet::start(servers, "several", setup).await?;
    let ids = try_join_all((0..12).map(|number| {
        let fleet = &fleet;
        async move {
            let mut article = numbered_article(2, 4);
            article["title"] = json!(format!("Podcast {number}"));
            article["priority"] = json!(["high", "normal", "low"][number % 3]);
            let api = &fleet.apis[number % 2];
            let answer: Value =
                fleet.http.post(format!("{api}/v1/podcasts")).json(&article).send().await?.json().await?;
            anyhow::Ok(answer["id"].as_str().context("an id")?.to_owned())
        }
    }))
    .await?;
    for id in &ids {
        fleet.completed(id).await?;
        expect_every_number_once(&fleet, id).await?;
    }
    ensure!(fleet.count("select count(*) from tasks where kind = 'join'").await? == 12);
    ensure!(
        fleet.count("select count(*) from tasks where kind = 'mix'").await?
            == fleet.count("select count(*) from chapters").await?
    );
    fleet.at_rest().await?;
    fleet.stop().await
}
