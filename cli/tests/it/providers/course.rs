//! What the retry policy makes of a task that fails the same way every time: reckoned with the policy itself.

use std::time::Duration;

use common::class::Class;
use common::config::Policy;
use common::policy::{self, Budgets, Failed, Verdict};
use jiff::Timestamp;

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
    /// As the table says it.
    pub(super) fn attempts(self) -> String {
        match self {
            Course::Single => "1".into(),
            Course::GivenUp { attempts, .. } => attempts.to_string(),
            Course::UntilDeadline { shortest, longest } => {
                format!("one every {} to {} s", whole(shortest), whole(longest))
            }
        }
    }

    /// As the table says it, when each attempt makes so many calls.
    pub(super) fn time(self, calls: usize) -> String {
        match self {
            Course::Single if calls == 1 => "1 call".into(),
            Course::Single => format!("{calls} calls"),
            Course::GivenUp { attempts, waits } => {
                format!("{} calls + up to {}", attempts * calls as i64, spoken(waits))
            }
            Course::UntilDeadline { .. } => "at the deadline".into(),
        }
    }

    /// As the table says it, when the work may be done at any attempt.
    pub(super) fn overcome(self) -> String {
        match self {
            Course::GivenUp { waits, .. } => format!("several calls + up to {}", spoken(waits)),
            other => other.time(1),
        }
    }

    /// As the table says it, when each attempt ends by a time-out.
    pub(super) fn time_outs(self, each: Duration) -> String {
        match self {
            Course::GivenUp { attempts, waits } => {
                format!("{attempts} × {} s + up to {}", whole(each), spoken(waits))
            }
            other => other.time(1),
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
