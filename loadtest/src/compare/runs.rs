//! Reports of the same load, from a file or from a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::report::{Better, Document};

/// At least one run.
#[derive(Clone, Debug)]
pub struct Runs {
    pub scenario: String,
    documents: Vec<Document>,
}

/// Every value of one figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Observations {
    pub(super) what: String,
    pub(super) better: Better,
    pub(super) values: Vec<f64>,
}

impl Runs {
    /// One report, or all in a folder.
    pub fn read(path: &Path) -> anyhow::Result<Runs> {
        let files = if path.is_dir() { reports(path)? } else { vec![path.to_owned()] };
        let documents = files.iter().map(|file| Document::read(file)).collect::<anyhow::Result<Vec<_>>>()?;
        Runs::of(documents).with_context(|| format!("{} cannot be compared", path.display()))
    }

    pub fn of(documents: Vec<Document>) -> anyhow::Result<Runs> {
        let scenario = documents.first().context("there is no report")?.scenario.clone();
        for other in &documents {
            ensure!(other.scenario == scenario, "it holds runs of `{scenario}` and of `{}`", other.scenario);
        }
        Ok(Runs { scenario, documents })
    }

    pub fn count(&self) -> usize {
        self.documents.len()
    }

    /// By id, what has a better way; in how many runs ever it was measured.
    pub(super) fn observations(&self) -> BTreeMap<String, Observations> {
        let mut found: BTreeMap<String, Observations> = BTreeMap::new();
        for figure in self.documents.iter().flat_map(|document| &document.results) {
            if figure.better == Better::Neither {
                continue;
            }
            let observations = found.entry(figure.id.to_string()).or_insert_with(|| Observations {
                what: figure.what.to_string(),
                better: figure.better,
                values: Vec::new(),
            });
            observations.values.extend(figure.value);
        }
        found
    }
}

fn reports(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "{} holds no report (*.json)", folder.display());
    Ok(files)
}
