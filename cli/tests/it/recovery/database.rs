//! PostgreSQL dies, falls silent, is locked, or has no connection left: never a false 202, and everything goes on by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use common::config::Database;
use common::private::Fault;
use common::store::Store;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio_postgres::NoTls;

use crate::audio::expect_every_number_once;
use crate::faults::{SPOKEN, slow_speech};
use crate::fleet::{Fleet, Servers, Setup, behind_proxy, numbered_article, until};
use crate::recovery::broker::send_requests;

/// An accepted request must be there when the database is back; a refused one may be sent again under its key.
struct Submitted {
    key: String,
    podcast: Option<String>,
}

async fn submit(fleet: &Fleet, number: usize) -> anyhow::Result<(Submitted, Duration)> {
    let mut article = numbered_article(1, 2);
    article["title"] = json!(format!("Podcast {number}"));
    ask(fleet, format!("key-{number}"), &article).await
}

/// Submits under this key. Anything but 202 and 503 with `Retry-After` is an error. Returns how long the answer took.
async fn ask(fleet: &Fleet, key: String, article: &Value) -> anyhow::Result<(Submitted, Duration)> {
    let asked = Instant::now();
    let request = fleet.http.post(format!("{}/v1/podcasts", fleet.api)).header("idempotency-key", &key);
    let response = request.json(article).send().await?;
    let took = asked.elapsed();
    let (status, again) = (response.status(), response.headers().contains_key("retry-after"));
    let answer: Value = response.json().await?;
    ensure!(status == 202 || status == 503 && again, "{status}: {answer}");
    Ok((Submitted { key, podcast: answer["id"].as_str().map(str::to_owned) }, took))
}

/// What was accepted is there and completes; what was not is accepted now, once.
async fn settle(fleet: &Fleet, submitted: &[Submitted]) -> anyhow::Result<()> {
    for (number, one) in submitted.iter().enumerate() {
        let again = until("acceptance", async || Ok(submit(fleet, number).await?.0.podcast)).await?;
        if let Some(podcast) = &one.podcast {
            ensure!(*podcast == again, "{} was promised as {podcast} and is {again}", one.key);
        }
        fleet.completed(&again).await?;
    }
    let podcasts = fleet
        .count("select count(distinct idempotency_key) from podcasts where idempotency_key like 'key-%'")
        .await?;
    ensure!(podcasts == submitted.len() as i64, "{podcasts} of {}", submitted.len());
    Ok(())
}

fn nobody_died(fleet: &mut Fleet) -> anyhow::Result<()> {
    for role in &mut fleet.roles {
        ensure!(role.child.try_wait()?.is_none(), "{} had to be started again", role.name);
    }
    Ok(())
}

/// Killed, and then stopped and started as an operator does it, with work under way and requests coming in.
pub(crate) async fn a_database_that_dies_is_waited_for(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = slow_speech().await?;
    let setup = Setup { own_postgres: true, workers: 2, ..Setup::default() };
    let mut fleet = Fleet::start(servers, "pg-dies", setup.with_speech_server(&provider.url())).await?;
    let (mut submitted, mut longest) = (Vec::new(), Duration::ZERO);
    let mut long = Vec::new();
    for kill in [true, false] {
        let mut article = numbered_article(2, 12);
        article["title"] = json!(format!("Long {kill}"));
        // The producer may learn only now that the database is back.
        let accepted = async || Ok(ask(&fleet, format!("long-{kill}"), &article).await?.0.podcast);
        long.push(until("acceptance", accepted).await?);
        let spoken = fleet.count(SPOKEN).await?;
        fleet.until_count(SPOKEN, |count| count >= spoken + 4).await?;
        let postgres = fleet.postgres.as_mut().context("its own")?;
        if kill {
            postgres.kill().await?
        } else {
            postgres.stop().await?
        }
        for _ in 0..5 {
            let (one, took) = submit(&fleet, submitted.len()).await?;
            ensure!(one.podcast.is_none(), "a promise without a database");
            longest = longest.max(took);
            submitted.push(one);
        }
        ensure!(fleet.get("/v1/podcasts").await?.status() == 503, "reads are answered too");
        ensure!(fleet.get("/livez").await?.status() == 200);
        // The second time these are there already, or accepted when they are tried again: the same podcasts.
        send_requests(&fleet, 3).await?;
        fleet.postgres.as_mut().context("its own")?.restart().await?;
        let back = Instant::now();
        let spoken = fleet.count(SPOKEN).await?;
        fleet.until_count(SPOKEN, |count| count > spoken).await?;
        println!("  work went on {:.1} s after the database was back", back.elapsed().as_secs_f64());
    }
    println!("  without a database 503 came after {} ms at most", longest.as_millis());
    ensure!(longest < Duration::from_secs(1), "503 took {longest:?}");
    settle(&fleet, &submitted).await?;
    fleet
        .until_count(
            "select count(*) from podcasts where idempotency_key like 'amqp-%' and state = 'completed'",
            |count| count == 3,
        )
        .await?;
    ensure!(fleet.count("select count(*) from dead_letters").await? == 0, "no request was set aside");
    for id in &long {
        fleet.completed(id).await?;
        expect_every_number_once(&fleet, id).await?;
    }
    nobody_died(&mut fleet)?;
    fleet.at_rest().await?;
    fleet.stop().await
}

/// The other side is gone and no packet says so.
pub(crate) async fn a_silent_database_is_answered_for(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = slow_speech().await?;
    let setup = Setup { proxied_database: true, ..Setup::default() };
    let mut fleet = Fleet::start(servers, "pg-silent", setup.with_speech_server(&provider.url())).await?;
    let id = fleet.submit(&numbered_article(2, 12)).await?;
    fleet.until_count(SPOKEN, |count| count >= 4).await?;
    fleet.database_proxy.as_ref().context("a proxy")?.set(Fault::Blackhole);
    // Who was under way when it happened waits for a bound; everybody after that is answered at once.
    let (first, waited) = submit(&fleet, 0).await?;
    ensure!(first.podcast.is_none(), "a promise without a database");
    ensure!(waited < Duration::from_secs(5), "{waited:?}");
    until("an unready producer", async || Ok((fleet.get("/readyz").await?.status() == 503).then_some(())))
        .await?;
    let mut submitted = vec![first];
    let mut longest = Duration::ZERO;
    for number in 1..6 {
        let (one, took) = submit(&fleet, number).await?;
        ensure!(one.podcast.is_none(), "a promise without a database");
        longest = longest.max(took);
        submitted.push(one);
    }
    println!(
        "  a silent database: the first 503 after {} ms, then after {} ms at most",
        waited.as_millis(),
        longest.as_millis()
    );
    ensure!(longest < Duration::from_secs(1), "503 took {longest:?}");
    fleet.database_proxy.as_ref().context("a proxy")?.set(Fault::Pass);
    let healed = Instant::now();
    let podcast = until("acceptance", async || Ok(submit(&fleet, 6).await?.0.podcast)).await?;
    submitted.push(Submitted { key: "key-6".into(), podcast: Some(podcast) });
    println!("  accepted again {:.1} s after it spoke again", healed.elapsed().as_secs_f64());
    ensure!(healed.elapsed() < Duration::from_secs(15), "{:?}", healed.elapsed());
    settle(&fleet, &submitted).await.context("refused requests, sent again")?;
    fleet.completed(&id).await?;
    expect_every_number_once(&fleet, &id).await?;
    nobody_died(&mut fleet)?;
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Several idle connections fall silent at once. The first that is used tells, and none of the others is handed out any more.
pub(crate) async fn half_open_connections_are_not_used_again(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let fleet = Fleet::start(servers, "pg-half", Setup { workers: 0, ..Setup::default() }).await?;
    let (proxy, url) = behind_proxy(fleet.database()).await?;
    let store = Store::new(&Database { url, ..Database::default() }, "test", 4)?;
    let backend = async |store: &Store| {
        store
            .run(async |client| Ok(client.query_one("select pg_backend_pid()", &[]).await?.get::<_, i32>(0)))
            .await
    };
    let hold = async || {
        let client = store.client().await?;
        anyhow::Ok((client.query_one("select pg_backend_pid()", &[]).await?.get::<_, i32>(0), client))
    };
    let held = join_all((0..4).map(|_| hold())).await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let before: Vec<i32> = held.iter().map(|(pid, _)| *pid).collect();
    drop(held);
    ensure!(before.contains(&backend(&store).await?), "idle connections are used again while they are well");
    proxy.set(Fault::Blackhole);
    ensure!(store.ping().await.is_err(), "nothing answers");
    proxy.set(Fault::Pass);
    // All four could be used again now, but nobody can know that.
    for _ in 0..4 {
        let asked = Instant::now();
        let pid = backend(&store).await?;
        ensure!(!before.contains(&pid), "a connection that had been silent was handed out again");
        ensure!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    }
    fleet.stop().await
}

/// Locked tables end in timeouts, and readers that wait for each other in 503; who accepts does not wait for them.
pub(crate) async fn locks_and_a_used_up_pool_are_shed(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let setup = Setup { workers: 1, ..Setup::default() }.with("DATABASE__MAX_CONNECTIONS", 3);
    let mut fleet = Fleet::start(servers, "pg-locks", setup).await?;
    let id = fleet.submit(&numbered_article(1, 2)).await?;
    let (mut client, connection) = tokio_postgres::connect(fleet.database(), NoTls).await?;
    let connection = tokio::spawn(connection);

    // One connection for readers, and each waits behind the lock for two seconds.
    let lock = client.transaction().await?;
    lock.batch_execute("lock table dead_letters in access exclusive mode").await?;
    let read = async || anyhow::Ok(fleet.get("/v1/dead-letters").await?.status().as_u16());
    let accept = async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (one, took) = submit(&fleet, 0).await?;
        ensure!(
            one.podcast.is_some() && took < Duration::from_secs(2),
            "acceptance waited for readers: {took:?}"
        );
        ensure!(fleet.get("/livez").await?.status() == 200);
        ensure!(fleet.get("/readyz").await?.status() == 200, "the database is there");
        Ok(())
    };
    let asked = Instant::now();
    let (reads, accepted) = tokio::join!(join_all((0..50).map(|_| read())), accept());
    accepted?;
    let reads = reads.into_iter().collect::<anyhow::Result<Vec<u16>>>()?;
    ensure!(reads.iter().all(|status| *status == 503), "{reads:?}");
    println!(
        "  50 readers with one connection were answered 503 within {:.1} s",
        asked.elapsed().as_secs_f64()
    );
    ensure!(asked.elapsed() < Duration::from_secs(11), "{:?}", asked.elapsed());
    lock.rollback().await?;

    // Nobody can write podcasts: requests are refused after the lock's timeout, and work waits.
    let lock = client.transaction().await?;
    lock.batch_execute("lock table podcasts in access exclusive mode").await?;
    let (refused, took) = submit(&fleet, 1).await?;
    ensure!(refused.podcast.is_none() && took < Duration::from_secs(9), "{took:?}");
    lock.rollback().await?;
    drop(client);
    connection.await??;
    settle(&fleet, &[Submitted { key: "key-0".into(), podcast: None }, refused]).await?;
    fleet.completed(&id).await?;
    nobody_died(&mut fleet)?;
    fleet.at_rest().await?;
    fleet.stop().await
}
