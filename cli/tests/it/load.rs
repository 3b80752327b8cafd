//! Comparison of load tests: what it says of builds, never how long anything took: the machine runs
//! other tests, too.

use std::path::Path;
use std::sync::Arc;

use anyhow::ensure;
use jiff::Timestamp;
use loadtest::probe::Machine;
use loadtest::report::{Document, Figure, Goal};
use serde_json::Value;
use tokio::process::Command;

use crate::fleet::Servers;

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
