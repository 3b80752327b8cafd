//! Which work others wait for, because theirs is equal to it. A hint and no more: whoever is not sent for when the work is done
//! comes to look by himself, seconds later.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use common::class::Class;
use common::wire::Outcome;

/// Nobody waits longer without having come to look, which is noted here again.
const KEPT: Duration = Duration::from_secs(30);
/// Beyond this many, whoever waits comes by himself.
const MOST: usize = 10_000;

/// Hashes of inputs, and until when somebody is believed to wait for them.
#[derive(Debug, Default)]
pub(crate) struct Awaited(HashMap<String, Instant>);

impl Awaited {
    /// Notes who waits, and returns the awaited work that has ended with these outcomes, well or not.
    pub(crate) fn note(&mut self, outcomes: &[Outcome], now: Instant) -> Vec<String> {
        let mut ended = Vec::new();
        for outcome in outcomes.iter().filter(|outcome| outcome.last) {
            if waits(outcome) {
                if self.0.len() < MOST {
                    self.0.insert(outcome.input_hash.clone(), now + KEPT);
                }
            } else if outcome.class != Class::Returned && self.0.contains_key(&outcome.input_hash) {
                ended.push(outcome.input_hash.clone());
            }
        }
        ended.sort_unstable();
        ended.dedup();
        ended
    }

    /// Call it now and then.
    pub(crate) fn forget_old(&mut self, now: Instant) {
        self.0.retain(|_, until| *until > now);
    }
}

/// A ticket that came back unstarted because of others says when it will look again; one for which there was no time does not.
fn waits(outcome: &Outcome) -> bool {
    outcome.class == Class::Returned
        && outcome.error.as_ref().is_some_and(|error| error.retry_after_ms.is_some())
}

#[cfg(test)]
mod tests {
    use common::wire::{ErrorReport, VERSION};
    use common::work::{Kind, Price};
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn outcome(hash: &str, class: Class, retry_after_ms: Option<u64>) -> Outcome {
        let (now, error) = (Timestamp::UNIX_EPOCH, ErrorReport { retry_after_ms, ..ErrorReport::default() });
        Outcome {
            v: VERSION,
            podcast: Uuid::nil(),
            task: Uuid::nil(),
            tenant: "t".into(),
            kind: Kind::Tts,
            attempt: 1,
            generation: 1,
            input_hash: hash.into(),
            class,
            part: 0,
            last: true,
            worker: "w".into(),
            started_at: now,
            finished_at: now,
            units: 0,
            cost_micros: 0,
            cached: false,
            saved: Price::default(),
            measure: None,
            result: None,
            error: Some(error),
        }
    }

    #[test]
    fn awaited_work_is_told_when_it_ends_well_or_not() {
        let (mut awaited, now) = (Awaited::default(), Instant::now());
        let wait = outcome("a", Class::Returned, Some(3_000));
        assert!(awaited.note(&[wait.clone(), outcome("b", Class::Returned, None)], now).is_empty());
        let ends = [outcome("b", Class::Success, None), outcome("a", Class::Transient, Some(100)), wait];
        assert_eq!(awaited.note(&ends, now), ["a"]);
        assert_eq!(awaited.note(&[outcome("a", Class::Success, None)], now), ["a"], "they may wait again");
        awaited.forget_old(now + KEPT);
        assert!(awaited.note(&ends[1..2], now).is_empty());
        let part = Outcome { last: false, ..outcome("a", Class::Success, None) };
        awaited.note(&ends[2..], now);
        assert!(awaited.note(&[part], now).is_empty(), "a part is not the end");
    }
}
