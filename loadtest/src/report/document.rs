//! A whole report, as it is written to a file and read again for comparison.

use std::fs;
use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::figure::Figure;
use crate::probe::Machine;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Document {
    /// `light`, `medium`, …, or `bench`.
    pub scenario: String,
    pub seed: u64,
    pub at: Timestamp,
    pub version: String,
    pub machine: Machine,
    /// How it was measured: roles, concurrency, latencies.
    #[serde(default)]
    pub setup: Value,
    pub results: Vec<Figure>,
    /// What lies behind the results: processes, database, broker, series for plots.
    #[serde(default)]
    pub details: Value,
}

impl Document {
    pub fn figure(&self, id: &str) -> Option<&Figure> {
        self.results.iter().find(|figure| figure.id == id)
    }

    pub fn read(file: &Path) -> anyhow::Result<Document> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not a report of a load test", file.display()))
    }

    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        write(file, &serde_json::to_vec_pretty(self)?)
    }
}

/// Makes the folder, too, and never leaves half a file.
pub(super) fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let write = || {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let unfinished = file.with_extension("unfinished");
        fs::write(&unfinished, bytes)?;
        fs::rename(&unfinished, file)
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}
