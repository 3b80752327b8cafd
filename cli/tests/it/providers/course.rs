//! What the retry policy makes of a task that fails the same way every time: reckoned with the policy itself.

use std::time::Duration;

use common::class::Class;
use common::config::Policy;
use common::policy::{self, Budgets, Failed, Verdict};
use jiff::Timestamp;

/// A call's time-out as it is shipped: `…__TIMEOUT_MS`.
const SHIPPED_TIMEOUT_S: u64 = 60;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Course {
    /// Nothing failed, or nothing is tried again.
    Single,
    /// Given up after so many attempts, with at most so much time between them in all.
    GivenUp { attempts: i64, waits: Duration },
    /// Tried again until the podcast's deadline, with waits from the shorter to the longer.
    UntilDeadline { shortest: Duration, longest: Duration },
}

/// `class` is that of every attempt.
pub(super) fn course(policy: &Policy, class: Class, retry_after: Option<Duration>) -> Course {
    let failed = Failed { class, retry_after, alone: false };
    let now = Timestamp::UNIX_EPOCH;
    let decide = |budgets, jitter| policy::decide(policy, failed, budgets, now, Timestamp::MAX, jitter);
    let mut budgets = Budgets::default();
    let mut waits = Duration::ZERO;
    for attempts in 1.. {
        let Verdict::Retry { run_at, budgets: used, .. } = decide(budgets, NEARLY_ONE) else {
            return if attempts == 1 { Course::Single } else { Course::GivenUp { attempts, waits } };
        };
        let longest = run_at.duration_since(now).unsigned_abs();
        if used == budgets {
            let shortest = match decide(budgets, 0.0) {
                Verdict::Retry { run_at, .. } => run_at.duration_since(now).unsigned_abs(),
                Verdict::Dead { .. } => longest,
            };
            return Course::UntilDeadline { shortest, longest };
        }
        budgets = used;
        waits += longest;
    }
    Course::Single
}

/// Jitter is below 1.
const NEARLY_ONE: f64 = 0.999_999_9;

impl Course {
    pub(super) fn attempts_cell(self) -> String {
        match self {
            Course::Single => "1".into(),
            Course::GivenUp { attempts, .. } => attempts.to_string(),
            Course::UntilDeadline { shortest, longest } => {
                format!("one every {} to {} s", whole(shortest), whole(longest))
            }
        }
    }

    pub(super) fn time_cell(self, class: Class) -> String {
        match self {
            Course::Single => "1 call".into(),
            Course::GivenUp { attempts, waits } if class == Class::Timeout => {
                format!("{attempts} × {SHIPPED_TIMEOUT_S} s + up to {}", spoken(waits))
            }
            Course::GivenUp { attempts, waits } => format!("{attempts} calls + up to {}", spoken(waits)),
            Course::UntilDeadline { .. } => "at the deadline".into(),
        }
    }
}

fn whole(duration: Duration) -> u64 {
    duration.as_secs_f64().round() as u64
}

fn spoken(duration: Duration) -> String {
    match whole(duration) {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}
