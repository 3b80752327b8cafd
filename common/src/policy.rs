//! The retry policy: one pure function of the class, the budgets, the time and the jitter.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::class::Class;
use crate::config::Policy;

/// What a task has used up so far. Attempts are numbered elsewhere and never reset; these are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budgets {
    /// Transient failures and timeouts.
    pub failures: u16,
    /// Times the engine asked to wait.
    pub throttles: u16,
    /// Deliveries whose end nobody saw.
    pub interruptions: u16,
}

/// A failed attempt, as far as the policy looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    /// Never `Class::Success`.
    pub class: Class,
    pub retry_after: Option<Duration>,
    /// The task already ran alone, on `<kind>.alone`.
    pub alone: bool,
    /// The engine worked, and answered each time otherwise than it was asked to.
    pub wrong_answer: bool,
    /// The attempt brought the task further: turns that it wrote were accepted.
    pub advanced: bool,
}

impl Failed {
    pub fn new(class: Class) -> Failed {
        Failed { class, retry_after: None, alone: false, wrong_answer: false, advanced: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again at `run_at`; on the alone lane when `alone` is set.
    Retry { run_at: Timestamp, alone: bool, budgets: Budgets },
    /// A person has to look at it.
    Dead { budgets: Budgets },
}

/// An input is suspected of killing its worker after this many interruptions, and runs alone from then on.
const INTERRUPTIONS_BEFORE_ALONE: u16 = 2;
/// Alone, it may be interrupted this many more times: the third proves that it was the input.
const INTERRUPTIONS_ALONE: u16 = 3;
/// An engine that cannot work is asked again after this long, or when it says; the input is innocent, so nothing is counted.
const CONFIG_WAIT: Duration = Duration::from_secs(30);
/// A ticket that was handed back unstarted is dispatched again after at most this long.
const RETURNED_WAIT: Duration = Duration::from_millis(200);

/// Decides what follows from a failed attempt. `jitter` is uniform in `[0, 1)`. Nothing is scheduled past `deadline`.
pub fn decide(
    policy: &Policy,
    failed: Failed,
    budgets: Budgets,
    now: Timestamp,
    deadline: Timestamp,
    jitter: f64,
) -> Verdict {
    let mut budgets = budgets;
    let wait = match failed.class {
        // Not counted: the next attempt begins further on, and what there is to do has an end.
        Class::Transient | Class::Timeout if failed.advanced => {
            Some(at_least(failed.retry_after, full_jitter(policy, 1, jitter), policy))
        }
        Class::Transient | Class::Timeout => {
            budgets.failures += if failed.wrong_answer { wrong_answer_costs(policy) } else { 1 };
            (budgets.failures < policy.max_failures)
                .then(|| at_least(failed.retry_after, full_jitter(policy, budgets.failures, jitter), policy))
        }
        Class::Throttled => {
            budgets.throttles += 1;
            (budgets.throttles < policy.max_throttles)
                .then(|| at_least(failed.retry_after, full_jitter(policy, budgets.throttles, jitter), policy))
        }
        Class::Interrupted => {
            budgets.interruptions += 1;
            let limit = INTERRUPTIONS_BEFORE_ALONE + INTERRUPTIONS_ALONE;
            (!failed.alone || budgets.interruptions < limit)
                .then(|| interrupted_wait(policy, budgets.interruptions, jitter))
        }
        Class::PermanentConfig | Class::Parked => {
            let longest = Duration::from_millis(policy.max_retry_after_ms);
            Some(failed.retry_after.unwrap_or(CONFIG_WAIT).min(longest).mul_f64(1.0 + jitter))
        }
        // Whoever waits for somebody else's work says for how long.
        Class::Returned => Some(at_least(failed.retry_after, RETURNED_WAIT.mul_f64(jitter), policy)),
        Class::Unsupported => Some(Duration::from_secs(1).mul_f64(1.0 + jitter)),
        Class::PermanentInput | Class::Expired | Class::Success => None,
    };
    match wait.map(|wait| now.saturating_add(wait).unwrap_or(Timestamp::MAX)) {
        Some(run_at) if run_at < deadline => {
            Verdict::Retry { run_at, alone: budgets.interruptions >= INTERRUPTIONS_BEFORE_ALONE, budgets }
        }
        _ => Verdict::Dead { budgets },
    }
}

/// Half of the budget: each such attempt has asked several times already, and paid for all the answers. The second one is the last.
fn wrong_answer_costs(policy: &Policy) -> u16 {
    policy.max_failures.div_ceil(2)
}

/// Exponential backoff with full jitter: uniform between nothing and `base × 2^(n-1)`, capped
/// (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
fn full_jitter(policy: &Policy, count: u16, jitter: f64) -> Duration {
    let doubled = policy.base_ms.saturating_mul(1 << u32::from(count.saturating_sub(1)).min(30));
    Duration::from_millis(doubled.min(policy.cap_ms)).mul_f64(jitter)
}

/// What the engine asked for, up to a bound, and the backoff on top, so that those who were told the same time do not come together.
fn at_least(retry_after: Option<Duration>, backoff: Duration, policy: &Policy) -> Duration {
    let asked = retry_after.unwrap_or_default().min(Duration::from_millis(policy.max_retry_after_ms));
    asked + backoff
}

/// 2-10 s at first, growing with each interruption: a worker that is alive but lost its connection finishes meanwhile and wins.
fn interrupted_wait(policy: &Policy, count: u16, jitter: f64) -> Duration {
    let shortest = policy.interrupted_ms.saturating_mul(u64::from(count.max(1)));
    Duration::from_millis(shortest.min(policy.cap_ms)).mul_f64(1.0 + 4.0 * jitter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failed(class: Class) -> Failed {
        Failed::new(class)
    }

    fn decide_now(failed: Failed, budgets: Budgets, jitter: f64) -> Verdict {
        let now = Timestamp::UNIX_EPOCH;
        decide(&Policy::default(), failed, budgets, now, now + Duration::from_secs(86_400), jitter)
    }

    fn wait(verdict: Verdict) -> Duration {
        match verdict {
            Verdict::Retry { run_at, .. } => run_at.duration_since(Timestamp::UNIX_EPOCH).unsigned_abs(),
            Verdict::Dead { .. } => panic!("dead"),
        }
    }

    #[test]
    fn a_permanent_input_is_never_tried_again() {
        assert!(matches!(
            decide_now(failed(Class::PermanentInput), Budgets::default(), 0.5),
            Verdict::Dead { .. }
        ));
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let policy = Policy {
            base_ms: 1_000,
            cap_ms: 10_000,
            max_failures: 99,
            max_throttles: 99,
            ..Policy::default()
        };
        let waits = |class, used: fn(u16) -> Budgets| -> Vec<u128> {
            let decide = |count| {
                wait(decide(&policy, failed(class), used(count), Timestamp::UNIX_EPOCH, Timestamp::MAX, 0.5))
            };
            (0..6).map(|count| decide(count).as_millis()).collect()
        };
        let failures = |failures| Budgets { failures, ..Budgets::default() };
        assert_eq!(waits(Class::Transient, failures), [500, 1_000, 2_000, 4_000, 5_000, 5_000]);
        let throttles = |throttles| Budgets { throttles, ..Budgets::default() };
        assert_eq!(waits(Class::Throttled, throttles), [500, 1_000, 2_000, 4_000, 5_000, 5_000]);
    }

    #[test]
    fn retry_after_is_honoured_up_to_its_bound() {
        let asked =
            |seconds| Failed { retry_after: Some(Duration::from_secs(seconds)), ..failed(Class::Throttled) };
        assert_eq!(wait(decide_now(asked(7), Budgets::default(), 0.0)), Duration::from_secs(7));
        assert_eq!(wait(decide_now(asked(86_399), Budgets::default(), 0.0)), Duration::from_secs(600));
    }

    #[test]
    fn a_second_attempt_of_wrong_answers_is_the_last() {
        let wrong = Failed { wrong_answer: true, ..failed(Class::Transient) };
        for max_failures in 2..=9 {
            let policy = Policy { max_failures, ..Policy::default() };
            let decide =
                |budgets| decide(&policy, wrong, budgets, Timestamp::UNIX_EPOCH, Timestamp::MAX, 0.5);
            let Verdict::Retry { budgets, .. } = decide(Budgets::default()) else {
                panic!("dead at the first of {max_failures}")
            };
            assert!(matches!(decide(budgets), Verdict::Dead { .. }), "{max_failures}: {budgets:?}");
        }
    }

    #[test]
    fn an_attempt_that_brought_the_task_further_is_not_counted() {
        let spent = Budgets { failures: 4, ..Budgets::default() };
        for class in [Class::Transient, Class::Timeout] {
            for wrong_answer in [false, true] {
                let advanced = Failed { advanced: true, wrong_answer, ..failed(class) };
                let Verdict::Retry { budgets, run_at, .. } = decide_now(advanced, spent, 0.999) else {
                    panic!("{class} died")
                };
                assert_eq!(budgets, spent);
                assert!(run_at < Timestamp::UNIX_EPOCH + Duration::from_secs(1), "{run_at}");
                assert!(matches!(decide_now(failed(class), spent, 0.5), Verdict::Dead { .. }));
            }
        }
    }

    #[test]
    fn two_interruptions_send_a_task_to_run_alone_and_only_there_it_dies() {
        let mut budgets = Budgets::default();
        let mut alone = false;
        for round in 1.. {
            match decide_now(Failed { alone, ..failed(Class::Interrupted) }, budgets, 0.5) {
                Verdict::Retry { alone: next, budgets: used, .. } => {
                    assert_eq!(next, round >= 2, "round {round}");
                    (alone, budgets) = (next, used);
                }
                Verdict::Dead { budgets } => {
                    assert_eq!((round, budgets.interruptions), (5, 5));
                    break;
                }
            }
        }
    }

    #[test]
    fn the_first_wait_after_an_interruption_is_two_to_ten_seconds() {
        assert_eq!(
            wait(decide_now(failed(Class::Interrupted), Budgets::default(), 0.0)),
            Duration::from_secs(2)
        );
        assert!(
            wait(decide_now(failed(Class::Interrupted), Budgets::default(), 0.999)) < Duration::from_secs(10)
        );
    }

    #[test]
    fn what_waits_for_equal_work_comes_back_when_it_said() {
        let waiting = Failed { retry_after: Some(Duration::from_secs(3)), ..failed(Class::Returned) };
        let verdict = decide_now(waiting, Budgets::default(), 0.5);
        assert_eq!(wait(verdict), Duration::from_millis(3_100));
        assert!(matches!(verdict, Verdict::Retry { budgets, .. } if budgets == Budgets::default()));
    }

    #[test]
    fn uncounted_classes_use_no_budget() {
        for class in [Class::Returned, Class::Unsupported, Class::PermanentConfig, Class::Parked] {
            let Verdict::Retry { budgets, alone, .. } = decide_now(failed(class), Budgets::default(), 0.3)
            else {
                panic!("{class} died")
            };
            assert_eq!((budgets, alone), (Budgets::default(), false), "{class}");
        }
    }

    #[test]
    fn parked_work_comes_again_when_it_was_told_to_and_not_all_at_once() {
        let parked = Failed { retry_after: Some(Duration::from_secs(5)), ..failed(Class::Parked) };
        assert_eq!(wait(decide_now(parked, Budgets::default(), 0.0)), Duration::from_secs(5));
        assert_eq!(wait(decide_now(parked, Budgets::default(), 0.5)), Duration::from_millis(7_500));
    }

    proptest! {
        /// For any class, budgets, time and jitter: it ends by the deadline or by a budget, a budget counts its own class alone, and
        /// no wait is longer than the longest that the policy knows.
        #[test]
        fn every_verdict_is_within_its_bounds(
            class in proptest::sample::select(&Class::ALL[1..]),
            (failures, throttles, interruptions) in (0u16..200, 0u16..200, 0u16..200),
            asked in proptest::option::of(0u64..100_000),
            (alone, jitter, left) in (any::<bool>(), 0.0..1.0f64, 0u64..100_000),
        ) {
            let policy = Policy::default();
            let now = Timestamp::UNIX_EPOCH;
            let (deadline, retry_after) = (now + Duration::from_secs(left), asked.map(Duration::from_secs));
            let before = Budgets { failures, throttles, interruptions };
            let verdict = decide(&policy, Failed { retry_after, alone, ..Failed::new(class) }, before, now, deadline, jitter);
            let (Verdict::Retry { budgets, .. } | Verdict::Dead { budgets }) = verdict;
            let used = |count: u16, classes: &[Class]| count + u16::from(classes.contains(&class));
            prop_assert_eq!(budgets, Budgets {
                failures: used(failures, &[Class::Transient, Class::Timeout]),
                throttles: used(throttles, &[Class::Throttled]),
                interruptions: used(interruptions, &[Class::Interrupted]),
            });
            if let Verdict::Retry { run_at, alone, .. } = verdict {
                prop_assert!(run_at >= now && run_at < deadline);
                let longest = policy.max_retry_after_ms * 2 + policy.cap_ms * 5;
                prop_assert!(run_at <= now + Duration::from_millis(longest));
                prop_assert_eq!(alone, budgets.interruptions >= INTERRUPTIONS_BEFORE_ALONE);
                prop_assert!(class != Class::PermanentInput && class != Class::Expired);
            }
        }

        #[test]
        fn failures_end_within_their_budget_and_waits_within_their_cap(
            jitters in proptest::collection::vec(0.0..1.0f64, 5),
            timeout in any::<bool>(),
        ) {
            let class = if timeout { Class::Timeout } else { Class::Transient };
            let mut budgets = Budgets::default();
            let mut attempts = 0;
            for jitter in jitters {
                attempts += 1;
                match decide_now(failed(class), budgets, jitter) {
                    Verdict::Retry { run_at, budgets: used, .. } => {
                        prop_assert!(run_at <= Timestamp::UNIX_EPOCH + Duration::from_millis(300_000));
                        prop_assert_eq!(used.failures, budgets.failures + 1);
                        budgets = used;
                    }
                    Verdict::Dead { .. } => break,
                }
            }
            prop_assert_eq!(attempts, 5);
        }

        #[test]
        fn nothing_is_scheduled_past_the_deadline(seconds in 0u64..100, jitter in 0.0..1.0f64, asked in 0u64..200) {
            let now = Timestamp::UNIX_EPOCH;
            let deadline = now + Duration::from_secs(seconds);
            let failed = Failed { retry_after: Some(Duration::from_secs(asked)), ..failed(Class::Throttled) };
            if let Verdict::Retry { run_at, .. } =
                decide(&Policy::default(), failed, Budgets::default(), now, deadline, jitter)
            {
                prop_assert!(run_at < deadline);
            }
        }
    }
}
