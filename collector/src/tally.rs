//! What was answered since the last sweep, by tenant and kind: kept in memory, so that counting costs a commit nothing. What a crash
//! takes along is missing in the dashboard's figures, and nowhere else.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::class::Class;
use common::store::minutes::{Counts, bucket};
use common::wire::Outcome;
use common::work::Kind;

/// Tenants counted apart between two sweeps; beyond, figures are left out.
const MOST: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: Mutex<BTreeMap<(String, Kind), Counts>>,
}

impl Tally {
    fn counts(&self) -> MutexGuard<'_, BTreeMap<(String, Kind), Counts>> {
        // A panic in between leaves at worst a figure that is off by one.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Outcomes that were committed as attempts.
    pub(crate) fn note<'a>(&self, outcomes: impl Iterator<Item = &'a Outcome>) {
        let mut counts = self.counts();
        for outcome in outcomes {
            let one = count(outcome);
            let key = (outcome.tenant.clone(), outcome.kind);
            if counts.len() < MOST || counts.contains_key(&key) {
                counts.entry(key).or_default().add(&one);
            }
        }
    }

    pub(crate) fn take(&self) -> Vec<(String, &'static str, Counts)> {
        let taken = std::mem::take(&mut *self.counts());
        taken.into_iter().map(|((tenant, kind), counts)| (tenant, kind.as_str(), counts)).collect()
    }

    /// What was taken and could not be written.
    pub(crate) fn put_back(&self, taken: Vec<(String, &'static str, Counts)>) {
        let mut counts = self.counts();
        for (tenant, kind, more) in taken {
            if let Some(kind) = Kind::parse(kind) {
                counts.entry((tenant, kind)).or_default().add(&more);
            }
        }
    }
}

/// A part of a script that is not the last is work under way, and not done.
fn count(outcome: &Outcome) -> Counts {
    let mut counts = Counts::default();
    match outcome.class() {
        Class::Success if outcome.last => {
            counts.done = 1;
            counts.cached = i64::from(outcome.cached);
            if !outcome.cached {
                let took = outcome.finished_at.duration_since(outcome.started_at).as_millis();
                counts.took[bucket(i64::try_from(took).unwrap_or(i64::MAX))] = 1;
            }
        }
        Class::Success | Class::Returned | Class::Parked | Class::Unsupported => {}
        _ => counts.failed = 1,
    }
    if !outcome.cached {
        counts.units = outcome.units;
        counts.cost_micros = outcome.cost_micros;
    }
    counts
}
