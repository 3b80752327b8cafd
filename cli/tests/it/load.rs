//! Short runs of `podfleet loadtest run`. They judge what is reported and that nothing fails, never how long it took: the machine runs
//! other tests, too.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use loadtest::probe::Machine;
use loadtest::report::{Document, Figure, Goal};
use serde_json::Value;
use tokio::process::Command;

use crate::fleet::Servers;

const LONGEST: Duration = Duration::from_secs(10 * 60);

/// What every report of a scenario has.
const ROWS: [&str; 30] = [
    "completion_mean_s",
    "completion_p50_s",
    "completion_p95_s",
    "completion_p99_s",
    "done_p95_s",
    "first_audio_mean_s",
    "first_audio_p99_s",
    "first_answer_mean_ms",
    "first_answer_p95_ms",
    "first_answer_p99_ms",
    "amqp_answer_p95_ms",
    "requests",
    "completed",
    "segments",
    "segments_per_s",
    "podcasts_at_once",
    "errors_percent",
    "availability_percent",
    "cache_hits_percent",
    "cache_possible_percent",
    "cache_of_possible_percent",
    "progress_p50_ms",
    "progress_p99_ms",
    "notice_p99_ms",
    "cpu_percent",
    "memory_mb",
    "worker_memory_mb",
    "transactions_each",
    "rows_written_each",
    "messages_each",
];

async fn run(folder: &Path, arguments: &[&str]) -> anyhow::Result<Value> {
    let report = folder.join("report.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_podfleet"));
    command.args(["loadtest", "run"]).args(arguments).arg("--output").arg(&report);
    command.env("TMPDIR", folder).kill_on_drop(true);
    let output =
        tokio::time::timeout(LONGEST, command.output()).await.context("the load test did not end")??;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(report.with_extension("html"))?;
    ensure!(page.contains("<svg") && !page.contains("<script"), "the page has its plots, and runs nothing");
    Ok(serde_json::from_slice(&std::fs::read(&report)?)?)
}

/// Ten users for a few seconds, who ask for two articles again and again.
pub(crate) async fn a_short_load_is_reported_and_nothing_fails(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let folder = servers.folder("load")?;
    let arguments =
        ["light", "--minutes", "1", "--faster", "10", "--articles", "2", "--workers", "1", "--pages", "2"];
    let report = run(&folder, &arguments).await?;
    let rows = report["results"].as_array().context("rows")?;
    let row = |id: &str| {
        rows.iter().find(|row| row["id"] == id).with_context(|| format!("no row {id}: {report:#}"))
    };
    for id in ROWS {
        let row = row(id)?;
        ensure!(row["value"].as_f64().is_some(), "{id} was not measured: {row}");
        ensure!(row["goal"].is_null() == row["met"].is_null(), "{row}");
    }
    let value = |id: &str| anyhow::Ok(row(id)?["value"].as_f64().unwrap_or(f64::NAN));
    ensure!(value("requests")? >= 3.0, "hardly anything was asked for: {report:#}");
    ensure!(value("errors_percent")? == 0.0 && value("completed")? == value("requests")?, "{report:#}");
    ensure!(value("segments")? == 25.0 * value("completed")?, "a podcast has 25 segments: {report:#}");
    ensure!(value("page_renewals")? >= 4.0, "two pages were open for some seconds: {report:#}");
    // No more than there are requests about an article that was asked for before: other articles are other work. A busy machine may
    // miss some, for the cache has little time.
    let (hits, possible) = (value("cache_hits_percent")?, value("cache_possible_percent")?);
    ensure!(hits > 0.0 && hits < possible + 0.1, "{hits} % came from a cache, of {possible} % at most");
    let roles = report["details"]["processes"].as_array().context("processes")?;
    for role in ["producer", "worker", "collector", "mixer", "postgres", "rabbitmq", "redis"] {
        ensure!(roles.iter().any(|process| process["role"] == role), "{role} was not watched: {roles:?}");
    }
    ensure!(report["details"]["database"]["rows_inserted"].as_i64() > Some(0), "{report:#}");
    ensure!(report["machine"]["cores"].as_u64() > Some(0), "{report:#}");
    Ok(())
}

/// The verdict, the exit code, and what cannot be compared.
pub(crate) async fn a_slower_build_is_found_out(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let folder = servers.folder("compare")?;
    let runs = |name: &str, scenario: &str, latencies: [f64; 3]| {
        for (number, latency) in latencies.into_iter().enumerate() {
            let results = vec![Figure::new("completion_p95_s", "P95", latency, "s").goal(Goal::Under(25.0))];
            let document = Document {
                scenario: scenario.to_owned(),
                seed: 1,
                at: Timestamp::UNIX_EPOCH,
                version: "1".to_owned(),
                machine: Machine::default(),
                setup: Value::Null,
                results,
                details: Value::Null,
            };
            document.write(&folder.join(name).join(format!("{number}.json")))?;
        }
        anyhow::Ok(folder.join(name))
    };
    let good = runs("good", "medium", [18.0, 18.3, 17.9])?;
    let same = runs("same", "medium", [18.2, 17.8, 18.1])?;
    let slow = runs("slow", "medium", [22.0, 22.4, 21.8])?;
    let heavy = runs("heavy", "heavy", [18.0, 18.3, 17.9])?;
    let strict = folder.join("strict.toml");
    std::fs::write(&strict, "[figures]\ncompletion_p95_s = 50")?;
    let wrong = folder.join("wrong.toml");
    std::fs::write(&wrong, "procent = 5")?;
    let compare = async |new: &Path, thresholds: Option<&Path>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podfleet"));
        command.args(["loadtest", "compare"]).arg(&good).arg(new);
        if let Some(file) = thresholds {
            command.arg("--thresholds").arg(file);
        }
        let output = command.output().await?;
        let said = [output.stdout, output.stderr].concat();
        anyhow::Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
    };
    for (new, thresholds, code, words) in [
        (&same, None, 0, "No regression: of 1 figures 0 became better"),
        (&slow, None, 1, "Regression: completion_p95_s (P95) is 22 % worse (between "),
        (&slow, Some(&strict), 0, "No regression"),
        (&heavy, None, 2, "compare runs of one load"),
        (&same, Some(&wrong), 2, "procent"),
    ] {
        let (found, said) = compare(new, thresholds.map(std::path::PathBuf::as_path)).await?;
        ensure!(found == Some(code) && said.contains(words), "{}: {found:?} {said}", new.display());
    }
    Ok(())
}
