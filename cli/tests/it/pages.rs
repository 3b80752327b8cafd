//! What open pages of the dashboard cost, and that nobody waits for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use futures_util::future::{join_all, try_join_all};
use tokio_postgres::NoTls;

use crate::fleet::{Fleet, Servers, Setup, numbered_article, until};

/// Renewals that a page is watched for.
const RENEWALS: usize = 4;

/// Opens the page `/now` as a browser keeps it, until it was renewed so often.
async fn watch_now(fleet: &Fleet) -> anyhow::Result<()> {
    let stream = fleet.http.get(format!("{}/now/live", fleet.api)).header("accept", "text/event-stream");
    let mut body = stream.send().await?.error_for_status()?.bytes_stream();
    let mut seen = 0;
    while seen < RENEWALS {
        let chunk = body.next().await.context("the stream ended")??;
        seen += std::str::from_utf8(&chunk)?.matches("event: parts").count();
    }
    Ok(())
}

/// How often the table of minutes was read, as PostgreSQL counts: by nothing but this page, while no collector runs. Its processes tell
/// what they did when they have been idle for ten seconds, and so they are, as nobody looks meanwhile.
async fn reads(fleet: &Fleet) -> anyhow::Result<i64> {
    let idle = "select count(*) from pg_stat_activity where datname = current_database()
                and application_name = 'podfleet producer pages' and state_change > now() - interval '11 seconds'";
    fleet.until_count(idle, |count| count == 0).await?;
    fleet
        .count("select coalesce(seq_scan, 0) + coalesce(idx_scan, 0) from pg_stat_user_tables where relname = 'minutes'")
        .await
}

pub(crate) async fn ten_open_pages_ask_no_more_than_one(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let setup = Setup { workers: 0, collectors: 0, ..Setup::default() };
    let fleet = Fleet::start(servers, "pages-ten", setup).await?;
    let before = reads(&fleet).await?;
    watch_now(&fleet).await?;
    let one = reads(&fleet).await? - before;
    ensure!(one >= RENEWALS as i64, "the page is made anew from the database: {one}");
    try_join_all((0..10).map(|_| watch_now(&fleet))).await?;
    let ten = reads(&fleet).await? - before - one;
    println!("  {RENEWALS} renewals of one page: {one} reads; of ten: {ten}");
    // Where the ten begin on both sides of a turn, there is one more of them.
    ensure!(ten <= one + 1, "ten pages: {ten}, one page: {one}");
    fleet.stop().await
}

/// Pages meet tables that do not answer. They take all connections that pages have, and nobody else's; each tells what it lacks, and
/// the rest.
pub(crate) async fn slow_pages_keep_nobody_waiting(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let fleet = Fleet::start(servers, "pages-slow", Setup::default()).await?;
    let podcast = fleet.submit(&numbered_article(1, 2)).await?;
    fleet.completed(&podcast).await?;
    let (mut client, connection) = tokio_postgres::connect(fleet.database(), NoTls).await?;
    let connection = tokio::spawn(connection);
    let lock = client.transaction().await?;
    lock.batch_execute("lock table minutes, attempts in access exclusive mode").await?;

    let look = async |path: &str| {
        let response = fleet.get(path).await?;
        anyhow::Ok((response.status().as_u16(), response.text().await?))
    };
    let (page, missing) = (format!("/podcasts/{podcast}"), "could not be read in time");
    let (status, text) = look(&page).await?;
    ensure!(status == 200 && text.matches(missing).count() == 1, "{status}: {text}");
    ensure!(text.contains("data-player") && text.contains("id=\"facts\""), "the rest is there: {text}");
    let (status, text) = look("/now").await?;
    ensure!(status == 200 && text.matches(missing).count() == 2, "{status}: {text}");
    ensure!(text.contains("/podcasts?state=running") && text.contains("<th scope=\"row\""), "{text}");

    // More pages than there are connections for them; meanwhile an application works.
    let looking = async {
        let pages = join_all((0..30).map(|_| look(&page))).await;
        pages.into_iter().collect::<anyhow::Result<Vec<_>>>()
    };
    let working = async {
        until("the pages to have taken their connections", async || {
            let waiting =
                "select count(*) from pg_stat_activity where application_name = 'podfleet producer pages'
                           and datname = current_database() and wait_event_type = 'Lock'";
            Ok((fleet.count(waiting).await? == 3).then_some(()))
        })
        .await?;
        let mut longest = Duration::ZERO;
        for number in 0..20 {
            let key = format!("key-{}", number / 2);
            let asked = Instant::now();
            let request =
                fleet.http.post(format!("{}/v1/podcasts", fleet.api)).header("idempotency-key", key);
            let answer = request.json(&numbered_article(1, 1)).send().await?;
            ensure!(answer.status() == 202, "{}: {}", answer.status(), answer.text().await?);
            let podcast = fleet.get(&format!("/v1/podcasts/{podcast}")).await?;
            ensure!(podcast.status() == 200, "{}", podcast.status());
            longest = longest.max(asked.elapsed());
        }
        Ok(longest)
    };
    let (pages, longest) = tokio::join!(looking, working);
    let (pages, longest): (_, Duration) = (pages?, longest?);
    println!("  the slowest of 20 requests and looks beside them took {longest:?}");
    ensure!(longest < Duration::from_millis(1_500), "{longest:?}");
    let told = |status: u16| pages.iter().filter(|(known, _)| *known == status).count();
    ensure!(told(200) > 0 && told(200) + told(503) == pages.len(), "{pages:?}");
    lock.rollback().await?;
    drop(client);
    connection.await??;
    let (status, text) = look(&page).await?;
    ensure!(status == 200 && !text.contains(missing) && text.contains("class=\"span"), "{status}: {text}");
    fleet.stop().await
}
