//! Short runs of `podfleet loadtest chaos`; the long ones are `make chaos MINUTES=60`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use common::crash;
use serde_json::Value;
use tokio::process::Command;

use crate::fleet::Servers;

/// Faults, healing, and the checks, on a machine that runs other tests, too.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Runs it; returns whether its exit code was 0, and its report.
async fn chaos(folder: &Path, arguments: &[&str], defect: Option<&str>) -> anyhow::Result<(bool, Value)> {
    let report = folder.join("report.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_podfleet"));
    command
        .args(["loadtest", "chaos", "--output"])
        .arg(&report)
        .args(arguments)
        .env("TMPDIR", folder)
        .kill_on_drop(true);
    if let Some(defect) = defect {
        command.env("PODFLEET_DEFECT", defect);
    }
    let output = tokio::time::timeout(LONGEST, command.output()).await.context("chaos did not end")??;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    let report = std::fs::read(&report)
        .with_context(|| format!("no report: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok((output.status.success(), serde_json::from_slice(&report)?))
}

pub(crate) async fn nothing_is_lost_in_chaos(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let folder = servers.folder("chaos")?;
    let (held, report) = chaos(&folder, &["--seed", "7", "--minutes", "2.5"], None).await?;
    ensure!(held, "{report:#}");
    let number = |name: &str| report[name].as_u64().with_context(|| name.to_owned());
    ensure!(number("accepted")? > 20, "hardly anything was submitted: {report}");
    ensure!(number("faults_total")? > 20, "hardly anything was done: {report}");
    ensure!(number("repeated")? > 0 && number("conflicts")? > 0, "no key was used twice: {report}");
    for name in ["lost", "duplicated", "paid_twice_unexplained"] {
        ensure!(number(name)? == 0, "{name}: {report}");
    }
    Ok(())
}

/// The checker is tested, too: a fleet with a known mistake must not pass, and the same fleet without it must. With a mistake the
/// repairs that would hide it are off, so they are off for the other one as well.
async fn is_found_out(servers: &Arc<Servers>, defect: &str, only: &str, minutes: &str) -> anyhow::Result<()> {
    let run = async |defect: &str, rest: &str| {
        let folder = servers.folder(defect)?;
        let arguments = ["--seed", "3", "--minutes", minutes, "--rest", rest, "--only", only];
        chaos(&folder, &arguments, Some(defect)).await
    };
    let (held, report) = run(defect, "15").await?;
    ensure!(!held, "{defect} was not found: {report:#}");
    // What is lost of a podcast that was cancelled meanwhile is a task that stays on its way.
    let stays = report["violations"].to_string().contains("tasks are on their way at rest");
    let is_lost = report["lost"].as_u64() > Some(0) || stays;
    ensure!(is_lost, "{defect} was found by something else: {report:#}");
    let (held, report) = run(crash::WITHOUT_REPAIRS, "60").await?;
    ensure!(held, "a fleet without a defect was found guilty: {report:#}");
    Ok(())
}

pub(crate) async fn acks_before_commits_are_found_out(servers: &Arc<Servers>) -> anyhow::Result<()> {
    is_found_out(servers, crash::ACKS_BEFORE_COMMITS, "collector killed,crash collector", "0.8").await
}

pub(crate) async fn a_naive_fan_in_is_found_out(servers: &Arc<Servers>) -> anyhow::Result<()> {
    is_found_out(servers, crash::NAIVE_FAN_IN, "worker killed", "0.4").await
}

pub(crate) async fn dropped_returns_are_found_out(servers: &Arc<Servers>) -> anyhow::Result<()> {
    // A lane is rarely empty at its turn, and not every deletion meets a ticket.
    is_found_out(servers, crash::DROPS_RETURNED, "empty lane deleted", "0.8").await
}
