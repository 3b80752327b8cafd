//! What broker and database do without a fleet, and what the fleet's statements cost.

use common::config::Broker;
use common::private::PrivateServers;
use loadtest::bench::{Bench, Queue, confirm_ms, cost_with, through_a_queue};
use loadtest::report::{Measured, median};
use serde_json::json;

use super::Results;

const MESSAGES: usize = 100_000;
const CONFIRMS: usize = 1_000;
const TRANSACTIONS: usize = 200;
const ROWS: usize = 1_000;
/// Rounds of which the median counts: floor and path in turn.
const ROUNDS: usize = 3;
const THOUSAND: i64 = 1_000;
const MILLION: i64 = 1_000_000;

pub(super) async fn measure(results: &mut Results) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("podfleet-bench-").tempdir()?;
    let servers = PrivateServers::start(folder.path()).await?;
    let measured = alone(&servers, results).await;
    servers.stop().await?;
    measured
}

async fn alone(servers: &PrivateServers, results: &mut Results) -> anyhow::Result<()> {
    let broker = Broker { url: servers.rabbitmq.url(), ..Broker::default() };
    let (mut quorum, mut classic) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        quorum.push(through_a_queue(&broker, Queue::Quorum, MESSAGES / ROUNDS).await?);
        classic.push(through_a_queue(&broker, Queue::Classic, MESSAGES / ROUNDS).await?);
    }
    let confirms = confirm_ms(&broker, Queue::Quorum, CONFIRMS).await?;
    results.value("quorum_per_s", median(&quorum));
    results.value("classic_per_s", median(&classic));
    results.value("confirm_ms", median(&confirms));

    servers.postgres.create_database("bench").await?;
    let bench = Bench::prepare(&servers.postgres.database_url("bench")).await?;
    let (mut floor, mut path) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        floor.push(bench.floor(TRANSACTIONS / ROUNDS).await?);
        path.push(bench.commit_path(TRANSACTIONS / ROUNDS).await?);
    }
    let row_by_row = bench.row_by_row(ROWS).await?;
    results.value("postgres_per_s", median(&floor));
    results.set("commit_per_s", Measured::value(median(&path)).against(median(&floor)));
    results.set("database_rows_per_s", Measured::value(median(&floor)).against(row_by_row));

    let thousand = cost_with(&bench, THOUSAND, TRANSACTIONS).await?.each_us;
    let million = cost_with(&bench, MILLION, TRANSACTIONS).await?.each_us;
    let (few, many) = (median(&thousand), median(&million));
    results.value("waiting_thousand_us", few);
    results.set("waiting_million_us", Measured::value(many).against(few));

    results.bars(
        "What servers do alone, a second",
        "",
        None,
        &[
            ("messages, quorum queue", median(&quorum).unwrap_or(0.0)),
            ("messages, classic queue", median(&classic).unwrap_or(0.0)),
            ("tasks, PostgreSQL", median(&floor).unwrap_or(0.0)),
            ("tasks, the fleet's commit", median(&path).unwrap_or(0.0)),
            ("rows, a transaction each", row_by_row),
        ],
    );
    results.raw.insert(
        "floors".to_owned(),
        json!({"quorum": quorum, "classic": classic, "confirm_ms": confirms, "postgres": floor, "commit": path, "row_by_row": row_by_row,
               "thousand_us": thousand, "million_us": million}),
    );
    Ok(())
}
