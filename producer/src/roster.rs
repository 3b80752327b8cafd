//! The workers that are there, as their heartbeats tell: in memory only. Without a broker nobody is heard, and nobody is there.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::wire::WorkerPulse;

/// A worker that was not heard for so long is gone: two heartbeats and a little.
const SILENCE: Duration = Duration::from_secs(12);
/// More are not remembered: whoever sends heartbeats under made-up names takes no more memory than this.
const MOST: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Roster {
    heard: Mutex<BTreeMap<String, (WorkerPulse, Instant)>>,
}

impl Roster {
    pub(crate) fn heard(&self, pulse: WorkerPulse, now: Instant) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.retain(|_, (_, at)| now.duration_since(*at) <= SILENCE);
        if heard.len() < MOST || heard.contains_key(&pulse.worker) {
            heard.insert(pulse.worker.clone(), (pulse, now));
        }
    }

    /// Those who are there, by name, and how long ago each was heard.
    pub(crate) fn present(&self, now: Instant) -> Vec<(WorkerPulse, Duration)> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let ages = heard.values().map(|(pulse, at)| (pulse, now.duration_since(*at)));
        ages.filter(|(_, age)| *age <= SILENCE).map(|(pulse, age)| (pulse.clone(), age)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(worker: &str) -> WorkerPulse {
        WorkerPulse {
            v: 1,
            worker: worker.into(),
            version: "0".into(),
            host: "h".into(),
            pid: 1,
            permits: BTreeMap::new(),
            engines: Vec::new(),
            holding: Vec::new(),
            draining: false,
        }
    }

    #[test]
    fn whoever_is_silent_is_gone() {
        let (roster, now) = (Roster::default(), Instant::now());
        let names = |at| roster.present(at).into_iter().map(|(pulse, _)| pulse.worker).collect::<Vec<_>>();
        roster.heard(pulse("b"), now);
        roster.heard(pulse("a"), now + Duration::from_secs(6));
        assert_eq!(names(now + Duration::from_secs(12)), ["a", "b"]);
        assert_eq!(names(now + Duration::from_secs(13)), ["a"]);
        roster.heard(pulse("c"), now + Duration::from_secs(13));
        assert_eq!(roster.heard.lock().unwrap().len(), 2, "and forgotten");
        roster.heard(pulse("a"), now + Duration::from_secs(20));
        assert_eq!(names(now + Duration::from_secs(25)), ["a", "c"], "each is there once");
    }

    #[test]
    fn made_up_names_take_a_bounded_place() {
        let (roster, now) = (Roster::default(), Instant::now());
        let mut heard = roster.heard.lock().unwrap();
        for n in 0..MOST {
            heard.insert(n.to_string(), (pulse(&n.to_string()), now));
        }
        drop(heard);
        roster.heard(pulse("one more"), now);
        roster.heard(pulse("7"), now);
        assert_eq!(roster.present(now).len(), MOST);
    }
}
