//! The load scenarios, shortened, and what they say about the targets.

use common::config::Order;
use loadtest::report::{Document, Measured};
use loadtest::scenario::Scenario;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Results;
use crate::args::loadtest::Bench;
use crate::load::measure as load;
use crate::output::remark;

pub(super) async fn measure(
    options: &Bench,
    results: &mut Results,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let mut ran = Vec::new();
    for name in ["light", "medium", "heavy", "soak", "cache"] {
        let mut scenario = Scenario::named(name).ok_or_else(|| anyhow::anyhow!("no scenario {name}"))?;
        // The cache scenario is as long as it must be for most requests to repeat one.
        if scenario.articles.is_none() {
            scenario.minutes = options.minutes;
        }
        let document = load(&scenario, options.seed, Order::Work, shutdown).await?;
        let failed = document.figure("errors_percent").and_then(|row| row.value).unwrap_or(100.0);
        remark(format_args!("  {name}: {failed:.1} % not completed"));
        answer(name, &document, results);
        ran.push(document);
    }
    results.raw.insert("loads".to_owned(), json!(ran));
    Ok(())
}

/// Rows of targets, by the scenario that answers them.
fn answer(name: &str, document: &Document, results: &mut Results) {
    let rows: &[(&'static str, &str)] = match name {
        "light" => &[("light_s", "done_p95_s")],
        "medium" => &[
            ("medium_s", "done_p95_s"),
            ("segments_per_s", "segments_per_s"),
            ("completion_mean_s", "completion_mean_s"),
            ("completion_p95_s", "completion_p95_s"),
            ("progress_ms", "progress_p99_ms"),
            ("notice_ms", "notice_p99_ms"),
        ],
        "heavy" => &[
            ("heavy_s", "done_p95_s"),
            ("podcasts_at_once", "podcasts_at_once"),
            ("first_answer_ms", "first_answer_p95_ms"),
            ("errors_percent", "errors_percent"),
            ("cpu_percent", "cpu_percent"),
            ("memory_mb", "memory_mb"),
            ("worker_memory_mb", "worker_memory_mb"),
        ],
        "soak" => &[("availability_percent", "availability_percent")],
        _ => &[
            ("cache_hits_percent", "cache_hits_percent"),
            ("cache_of_possible_percent", "cache_of_possible_percent"),
        ],
    };
    for (target, row) in rows {
        if let Some(figure) = document.figure(row) {
            results.set(
                target,
                Measured { value: figure.value, reference: figure.reference, reason: figure.reason.clone() },
            );
        }
    }
}
