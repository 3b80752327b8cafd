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
    /// Given up, or done, after so many attempts, with at most so much time between them in all.
    GivenUp { attempts: i64, waits: Duration },
    /// Tried again until the podcast's deadline, with waits from the shorter to the longer.
    UntilDeadline { shortest: Duration, longest: Duration },
}

/// `class` is that of every attempt, and so is whether it ended with a wrong answer.
pub(super) fn course(
    policy: &Policy,
    class: Class,
    wrong_answer: bool,
    retry_after: Option<Duration>,
) -> Course {
    let failed = Failed { retry_after, wrong_answer, ..Failed::new(class) };
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

/// The course of a task that `attempts` take further each time, until it is done.
pub(super) fn overcome(policy: &Policy, attempts: usize) -> Course {
    let failed = Failed { advanced: true, ..Failed::new(Class::Transient) };
    let now = Timestamp::UNIX_EPOCH;
    let verdict = policy::decide(policy, failed, Budgets::default(), now, Timestamp::MAX, NEARLY_ONE);
    let wait = match verdict {
        Verdict::Retry { run_at, .. } => run_at.duration_since(now).unsigned_abs(),
        Verdict::Dead { .. } => Duration::ZERO,
    };
    let between = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    Course::GivenUp { attempts: attempts as i64, waits: wait * between }
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

    /// As the table says it, when at most so many calls are made in all.
    pub(super) fn time_up_to(self, calls: usize) -> String {
        match self {
            Course::GivenUp { waits, .. } => format!("up to {calls} calls + up to {}", spoken(waits)),
            Course::Single | Course::UntilDeadline { .. } => format!("up to {calls} calls"),
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
