//! A short run of `podfleet loadtest chaos`; the long ones are `make chaos MINUTES=60`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::fleet::Servers;

/// Faults, healing, and the checks, on a machine that runs other tests, too.
const LONGEST: Duration = Duration::from_secs(15 * 60);

pub(crate) async fn nothing_is_lost_in_chaos(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let report = servers.folder("chaos")?.join("report.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_podfleet"));
    command
        .args(["loadtest", "chaos", "--seed", "7", "--minutes", "2.5", "--output"])
        .arg(&report)
        .kill_on_drop(true);
    let output = tokio::time::timeout(LONGEST, command.output()).await.context("chaos did not end")??;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(&report)?)?;
    let number = |name: &str| report[name].as_u64().with_context(|| name.to_owned());
    ensure!(number("accepted")? > 20, "hardly anything was submitted: {report}");
    ensure!(number("faults_total")? > 20, "hardly anything was done: {report}");
    for name in ["lost", "duplicated", "paid_twice_unexplained"] {
        ensure!(number(name)? == 0, "{name}: {report}");
    }
    Ok(())
}
