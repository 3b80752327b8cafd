//! What a run of chaos came to.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::check::Findings;
use super::load::Submitted;
use super::nemesis::{Done, RESUMED};

/// Written to a file as JSON, with these names.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) minutes: f64,
    pub(super) version: &'static str,
    pub(super) accepted: usize,
    pub(super) completed: usize,
    pub(super) failed: usize,
    pub(super) cancelled: usize,
    pub(super) lost: usize,
    pub(super) duplicated: usize,
    pub(super) paid_twice_known: usize,
    pub(super) paid_twice_unexplained: usize,
    pub(super) faults_total: u32,
    pub(super) faults: BTreeMap<String, u32>,
    /// Faults whose turn it was when what they need was not there.
    pub(super) missed: BTreeMap<String, u32>,
    pub(super) longest_resume_ms: u64,
    pub(super) resume_ms: BTreeMap<String, u64>,
    pub(super) violations: Vec<String>,
}

impl Report {
    pub(super) fn new(
        seed: u64,
        minutes: f64,
        done: Done,
        submitted: &[Submitted],
        findings: Findings,
    ) -> Report {
        let state = |name: &str| findings.states.get(name).copied().unwrap_or_default();
        let mut violations = findings.violations.clone();
        let limit = u64::try_from(RESUMED.as_millis()).unwrap_or(u64::MAX);
        for (fault, ms) in done.resumed_ms.iter().filter(|(_, ms)| **ms > limit) {
            violations.push(format!("after \"{fault}\" work flowed again only after {ms} ms"));
        }
        let never: Vec<&str> = common::crash::POINTS
            .iter()
            .filter(|point| done.missed.contains_key(&format!("crash {point}")))
            .filter(|point| !done.faults.contains_key(&format!("crash {point}")))
            .copied()
            .collect();
        if !never.is_empty() {
            violations.push(format!("crash points that nobody passed: {}", never.join(", ")));
        }
        Report {
            seed,
            minutes,
            version: common::process::VERSION,
            accepted: submitted.len(),
            completed: state("completed"),
            failed: state("failed"),
            cancelled: state("cancelled"),
            lost: findings.lost,
            duplicated: findings.duplicated,
            paid_twice_known: findings.paid_twice_known,
            paid_twice_unexplained: findings.paid_twice_unexplained,
            faults_total: done.faults.values().sum(),
            faults: done.faults,
            missed: done.missed,
            longest_resume_ms: done.resumed_ms.values().copied().max().unwrap_or_default(),
            resume_ms: done.resumed_ms,
            violations,
        }
    }

    /// Whether every invariant held.
    pub(super) fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    pub(super) fn write(&self, file: &Path) -> anyhow::Result<()> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let json = serde_json::to_vec_pretty(self)?;
        std::fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}, {} minutes, {} faults of {} kinds",
            self.seed,
            self.minutes,
            self.faults_total,
            self.faults.len()
        )?;
        for (fault, count) in &self.faults {
            let resumed = self.resume_ms.get(fault).map(|ms| format!(", work flowed again after {ms} ms"));
            writeln!(f, "  {count:>4}  {fault}{}", resumed.unwrap_or_default())?;
        }
        for (fault, count) in &self.missed {
            writeln!(f, "  {count:>4}  {fault}: not possible when its turn came")?;
        }
        writeln!(
            f,
            "accepted {}, completed {}, failed {}, cancelled {}, lost {}, duplicated {}",
            self.accepted, self.completed, self.failed, self.cancelled, self.lost, self.duplicated
        )?;
        writeln!(
            f,
            "segments paid twice: {} known, {} unexplained; longest time to resume {} ms",
            self.paid_twice_known, self.paid_twice_unexplained, self.longest_resume_ms
        )?;
        if self.holds() {
            write!(f, "every invariant held")
        } else {
            write!(f, "broken:\n  {}", self.violations.join("\n  "))
        }
    }
}
