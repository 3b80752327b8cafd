//! More podcasts than can be spoken for a while, short and long ones: the order of work against first come, first served, on the same
//! arrivals.

use anyhow::Context;
use common::config::Order;
use loadtest::report::{Document, Measured};
use loadtest::scenario::Scenario;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Results;
use crate::load::measure as load;

pub(super) async fn measure(
    seed: u64,
    results: &mut Results,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let scenario = Scenario::named("order").context("a scenario of this name")?;
    let by_arrival = load(&scenario, seed, Order::Arrival, shutdown).await?;
    let by_work = load(&scenario, seed, Order::Work, shutdown).await?;
    let seconds = |document: &Document, id| document.figure(id).and_then(|row| row.value);
    for (target, row) in [("order_mean_s", "completion_mean_s"), ("order_p95_s", "completion_p95_s")] {
        results.set(target, Measured::value(seconds(&by_work, row)).against(seconds(&by_arrival, row)));
    }
    results.raw.insert("order".to_owned(), json!({"arrival": by_arrival, "work": by_work}));
    Ok(())
}
