//! What a run of chaos came to.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::check::Findings;
use super::load::Log;
use super::nemesis::{Done, RESUMED};
use super::nothing_found_yet;
use super::watch::Seen;

/// A run of this many minutes is a proof, and must have had as many faults, and as many of each kind.
const PROOF_MINUTES: f64 = 60.0;
const WANTED: u32 = 600;
pub(super) const WANTED_OF_EACH: u32 = 20;
/// Shorter runs than this need not pass every crash point.
const CRASHES_MINUTES: f64 = 2.0;

/// What was asked for.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) seed: u64,
    pub(super) minutes: f64,
    /// The faults that may happen and count.
    pub(super) kinds: Vec<String>,
    /// These are all that there are.
    pub(super) all: bool,
}

/// Written to a file as JSON, with these names.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) minutes: f64,
    pub(super) version: &'static str,
    /// `false` in what is written while the run goes on.
    pub(super) finished: bool,
    pub(super) accepted: usize,
    pub(super) completed: usize,
    pub(super) failed: usize,
    pub(super) cancelled: usize,
    pub(super) lost: usize,
    pub(super) duplicated: usize,
    pub(super) paid_twice_known: usize,
    pub(super) paid_twice_unexplained: usize,
    /// Dead letters that were replayed, requests that were sent again, and other requests under the same keys that were refused.
    pub(super) replayed: usize,
    pub(super) repeated: usize,
    pub(super) conflicts: usize,
    pub(super) faults_total: u32,
    pub(super) faults: BTreeMap<String, u32>,
    /// Turns that had to be put off, because what the fault needs was not there.
    pub(super) missed: BTreeMap<String, u32>,
    pub(super) longest_resume_ms: u64,
    pub(super) resume_ms: BTreeMap<String, u64>,
    /// The most that one process of a role had in memory.
    pub(super) peak_memory_mib: BTreeMap<String, u64>,
    /// How members that were asked to leave did so. While faults last, an error is no violation.
    pub(super) left: BTreeMap<&'static str, u32>,
    pub(super) violations: Vec<String>,
}

impl Report {
    pub(super) fn finished(run: &Run, done: &Done, log: &Log, seen: &Seen, findings: Findings) -> Report {
        let mut report = Report::new(run, done, log, seen, findings);
        report.finished = true;
        report.violations.extend(shortcomings(run, done));
        report
    }

    pub(super) fn unfinished(run: &Run, done: &Done, log: &Log, seen: &Seen) -> Report {
        Report::new(run, done, log, seen, nothing_found_yet())
    }

    fn new(run: &Run, done: &Done, log: &Log, seen: &Seen, findings: Findings) -> Report {
        let state = |name: &str| findings.states.get(name).copied().unwrap_or_default();
        Report {
            seed: run.seed,
            minutes: run.minutes,
            version: common::process::VERSION,
            finished: false,
            accepted: log.submitted.len(),
            completed: state("completed"),
            failed: state("failed"),
            cancelled: state("cancelled"),
            lost: findings.lost,
            duplicated: findings.duplicated,
            paid_twice_known: findings.paid_twice_known,
            paid_twice_unexplained: findings.paid_twice_unexplained,
            replayed: log.replayed,
            repeated: log.repeated,
            conflicts: log.conflicts,
            faults_total: done.faults.values().sum(),
            faults: done.faults.clone(),
            missed: done.missed.clone(),
            longest_resume_ms: done.resumed_ms.values().copied().max().unwrap_or_default(),
            resume_ms: done.resumed_ms.clone(),
            peak_memory_mib: seen.peak_mib.clone(),
            left: BTreeMap::new(),
            violations: findings.violations,
        }
    }

    /// Whether every invariant held.
    pub(super) fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    /// The kind that has had the fewest turns.
    pub(super) fn fewest<'a>(&self, run: &'a Run) -> Option<(&'a str, u32)> {
        let count = |kind: &&'a String| self.faults.get(*kind).copied().unwrap_or_default();
        let kind = run.kinds.iter().min_by_key(count)?;
        Some((kind, count(&kind)))
    }

    pub(super) fn write(&self, file: &Path) -> anyhow::Result<()> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let json = serde_json::to_vec_pretty(self)?;
        // Whoever reads it while it is written sees the one before.
        let new = file.with_extension("new");
        std::fs::write(&new, json)
            .and_then(|()| std::fs::rename(&new, file))
            .with_context(|| format!("cannot write {}", file.display()))
    }
}

/// The kinds that need more turns before the run has done what it owes.
pub(super) fn behind(run: &Run, done: &Done) -> Vec<String> {
    let count = |kind: &str| done.faults.get(kind).copied().unwrap_or_default();
    let proof = run.minutes >= PROOF_MINUTES;
    let is_behind = |kind: &&String| {
        let unpassed = run.minutes >= CRASHES_MINUTES && kind.starts_with("crash ") && count(kind) == 0;
        let unproven = proof && (count(kind) < WANTED_OF_EACH || !done.resumed_ms.contains_key(*kind));
        run.all && (unpassed || unproven)
    };
    run.kinds.iter().filter(is_behind).cloned().collect()
}

/// What the run itself owes: faults of every kind, and work that flows again in time.
fn shortcomings(run: &Run, done: &Done) -> Vec<String> {
    let mut found = Vec::new();
    let count = |kind: &str| done.faults.get(kind).copied().unwrap_or_default();
    let limit = u64::try_from(RESUMED.as_millis()).unwrap_or(u64::MAX);
    for (fault, ms) in done.resumed_ms.iter().filter(|(_, ms)| **ms > limit) {
        found.push(format!("after \"{fault}\" work flowed again only after {ms} ms"));
    }
    if !run.all {
        return found;
    }
    if run.minutes >= CRASHES_MINUTES {
        let crashes = run.kinds.iter().filter(|kind| kind.starts_with("crash "));
        let never: Vec<&str> = crashes.filter(|kind| count(kind) == 0).map(String::as_str).collect();
        if !never.is_empty() {
            found.push(format!("crash points that nobody passed: {}", never.join(", ")));
        }
    }
    if run.minutes >= PROOF_MINUTES {
        let total: u32 = done.faults.values().sum();
        if total < WANTED {
            found.push(format!("{total} faults are too few; {WANTED} are wanted"));
        }
        for kind in &run.kinds {
            if count(kind) < WANTED_OF_EACH {
                found.push(format!("\"{kind}\" happened {} times; {WANTED_OF_EACH} are wanted", count(kind)));
            }
            if !done.resumed_ms.contains_key(kind) {
                found.push(format!("nobody measured how long \"{kind}\" alone stops the work"));
            }
        }
    }
    found
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
            let resumed =
                self.resume_ms.get(fault).map(|ms| format!(", alone work flowed again after {ms} ms"));
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
        writeln!(
            f,
            "{} dead letters replayed; {} requests sent again, {} others under their keys refused",
            self.replayed, self.repeated, self.conflicts
        )?;
        let left: Vec<String> = self.left.iter().map(|(how, count)| format!("{count} {how}")).collect();
        writeln!(f, "members that were asked to leave: {}", left.join(", "))?;
        let peaks: Vec<String> =
            self.peak_memory_mib.iter().map(|(role, mib)| format!("{role} {mib} MiB")).collect();
        writeln!(f, "most memory of one process: {}", peaks.join(", "))?;
        if self.holds() {
            write!(f, "every invariant held")
        } else {
            write!(f, "broken:\n  {}", self.violations.join("\n  "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(minutes: f64) -> Run {
        Run { seed: 1, minutes, kinds: vec!["broker killed".into(), "crash worker.x".into()], all: true }
    }

    #[test]
    fn a_proof_needs_every_kind_often_enough_and_measured_alone() {
        let mut done = Done::default();
        assert!(shortcomings(&run(1.0), &done).is_empty());
        assert!(behind(&run(1.0), &done).is_empty());
        assert_eq!(behind(&run(2.5), &done), ["crash worker.x"]);
        assert_eq!(behind(&run(60.0), &done), ["broker killed", "crash worker.x"]);
        assert_eq!(shortcomings(&run(2.5), &done), ["crash points that nobody passed: crash worker.x"]);
        done.faults = BTreeMap::from([("broker killed".into(), 580), ("crash worker.x".into(), 20)]);
        done.resumed_ms = BTreeMap::from([("broker killed".into(), 15_000), ("crash worker.x".into(), 9)]);
        assert!(shortcomings(&run(60.0), &done).is_empty());
        assert!(behind(&run(60.0), &done).is_empty());
        done.faults.insert("crash worker.x".into(), 19);
        assert_eq!(shortcomings(&run(60.0), &done).len(), 2, "too few in all, and of that kind");
        done.resumed_ms.insert("broker killed".into(), 15_001);
        assert_eq!(shortcomings(&run(1.0), &done).len(), 1, "too long");
    }
}
