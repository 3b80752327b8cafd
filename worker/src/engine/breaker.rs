//! When an engine is left alone: a circuit breaker (Nygard, "Release It!", 2nd ed., 5.2), as a pure state machine. The whole
//! fleet shares one state for each engine; where it is kept is [`super::health`]'s business.
//!
//! * **Closed**: everybody asks. It opens at once on an error of configuration, and on failures in a row of several tasks: one
//!   input that always fails is not the engine's fault.
//! * **Open**: nobody asks until the next try is due. Then one is let through, the probe; if it fails the time doubles, if it
//!   succeeds the breaker closes. A probe that outlasts its lease is superseded: another one is let through, and of the first
//!   only a success still counts. Whoever would have no time left for another attempt asks all the same, so that a breaker
//!   fails no podcast that would have been completed without it.

use std::time::Duration;

use common::config;
use serde::{Deserialize, Serialize};

/// Failures in a row open the breaker only if so many tasks had them.
const TASKS: usize = 3;
/// A failure more than this after the one before begins a new row.
const ROW: Duration = Duration::from_secs(60);
/// So many tasks are remembered for having opened the breaker although others succeeded.
const SUSPECTS: usize = 8;
/// Nobody is sent away for less.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// Nor for more because a probe is under way: it may end at any moment.
const LONGEST_WAIT_FOR_PROBE_MS: i64 = 15_000;

/// What is known of an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Breaker {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) open: Option<Open>,
    /// How often it has opened: a call that was let through by an earlier opening says nothing of this one.
    #[serde(default)]
    openings: u32,
    /// Failures in a row while it is closed.
    #[serde(default)]
    failures: u16,
    /// Some of the tasks that had them.
    #[serde(default)]
    tasks: Vec<u64>,
    #[serde(default)]
    last_failure_ms: i64,
    /// Tasks whose errors of configuration opened it, and that have not succeeded since. Alone they do not open it again: a text
    /// that a provider refuses with 403 must not stop its neighbours again and again.
    #[serde(default)]
    suspects: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Open {
    /// Milliseconds since 1970, as all times here, by the clock of wherever the state is kept.
    pub(crate) since_ms: i64,
    /// The next try.
    pub(crate) until_ms: i64,
    /// The time between the last try and the next one.
    wait_ms: i64,
    /// The lease of the probe that is under way; if it is not heard of until then, another one may be made. 0: none is.
    probe_until_ms: i64,
    /// What was answered last.
    pub(crate) cause: String,
}

/// How a task was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    Closed,
    /// The try of this opening that has the lease until then.
    Probe {
        opening: u32,
        until_ms: i64,
    },
    /// There is no time to wait for the next try.
    LastChance {
        opening: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Ask(Pass),
    /// Come again after this time at the earliest, and twice as much at the latest.
    Wait(Duration),
}

/// What a call says of its engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It works.
    Well,
    /// It may be ill: no answer, a 5xx, 429. With the time it asked for.
    Badly { cause: String, asked: Option<Duration> },
    /// It cannot work as configured.
    Misconfigured { cause: String, asked: Option<Duration> },
    /// Nothing: it was not asked, or the input was refused.
    Silently,
}

/// Settings of one engine's breaker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) settings: config::Breaker,
    /// How long a probe keeps others from coming.
    pub(crate) probe: Duration,
    /// The longest wait that an engine may ask for.
    pub(crate) longest_asked: Duration,
}

impl Breaker {
    /// May a task ask the engine that has `left` until its podcast's deadline? With the state that follows, if it changes.
    pub(crate) fn ask(&self, rules: &Rules, left: Duration, now_ms: i64) -> (Answer, Option<Breaker>) {
        let Some(open) = &self.open else { return (Answer::Ask(Pass::Closed), None) };
        // Clocks may have been set: no wait is longer than the one that was meant.
        let due = (open.until_ms - now_ms).min(open.wait_ms);
        let probe =
            if open.probe_until_ms > now_ms { (open.wait_ms / 2).min(LONGEST_WAIT_FOR_PROBE_MS) } else { 0 };
        let wait = millis(due.max(probe));
        if wait.is_zero() {
            let until_ms = now_ms + to_ms(rules.probe);
            let pass = Pass::Probe { opening: self.openings, until_ms };
            return (Answer::Ask(pass), Some(self.with(Open { probe_until_ms: until_ms, ..open.clone() })));
        }
        let wait = wait.max(SHORTEST_WAIT);
        if left < wait * 2 + rules.probe {
            return (Answer::Ask(Pass::LastChance { opening: self.openings }), None);
        }
        (Answer::Wait(wait), None)
    }

    /// The state after the call of a task has ended, if it changes. `task` stands for the task.
    pub(crate) fn told(
        &self,
        rules: &Rules,
        task: u64,
        pass: Pass,
        ended: &Ended,
        now_ms: i64,
    ) -> Option<Breaker> {
        match (&self.open, ended, pass) {
            (None, Ended::Silently, _) => None,
            (None, Ended::Well, _) => self.well(task),
            (None, Ended::Badly { cause, asked }, _) => Some(self.badly(rules, task, cause, *asked, now_ms)),
            (None, Ended::Misconfigured { cause, asked }, _) => {
                Some(self.misconfigured(rules, task, cause, *asked, now_ms))
            }
            (Some(open), _, _) => self.tried(rules, task, open, pass, ended, now_ms),
        }
    }

    /// The state after a call while it is open.
    fn tried(
        &self,
        rules: &Rules,
        task: u64,
        open: &Open,
        pass: Pass,
        ended: &Ended,
        now_ms: i64,
    ) -> Option<Breaker> {
        let (opening, lease) = match pass {
            Pass::Closed => return None,
            Pass::Probe { opening, until_ms } => (opening, Some(until_ms)),
            Pass::LastChance { opening } => (opening, None),
        };
        // What was asked before it opened says nothing of now.
        if opening != self.openings {
            return None;
        }
        match ended {
            Ended::Well => {
                let closed = Breaker { open: None, ..self.clone() };
                Some(closed.well(task).unwrap_or(closed))
            }
            // The next try is another one's business.
            _ if lease != Some(open.probe_until_ms) => None,
            Ended::Silently => Some(self.with(Open { probe_until_ms: 0, until_ms: now_ms, ..open.clone() })),
            Ended::Badly { cause, asked } | Ended::Misconfigured { cause, asked } => {
                let longest = millis_of(rules.settings.open_cap_ms);
                let wait = match ended {
                    Ended::Misconfigured { .. } => longest,
                    _ => (millis(open.wait_ms) * 2).min(longest),
                };
                let next = opened(rules, wait, cause, *asked, now_ms);
                Some(self.with(Open { since_ms: open.since_ms, ..next }))
            }
        }
    }

    fn with(&self, open: Open) -> Breaker {
        Breaker { open: Some(open), ..self.clone() }
    }

    fn well(&self, task: u64) -> Option<Breaker> {
        let suspects: Vec<u64> = self.suspects.iter().copied().filter(|suspect| *suspect != task).collect();
        let next = Breaker { suspects, openings: self.openings, ..Breaker::default() };
        (next != *self).then_some(next)
    }

    fn badly(&self, rules: &Rules, task: u64, cause: &str, asked: Option<Duration>, now_ms: i64) -> Breaker {
        let mut next = self.clone();
        if now_ms - next.last_failure_ms > to_ms(ROW) {
            (next.failures, next.tasks) = (0, Vec::new());
        }
        next.failures = next.failures.saturating_add(1);
        next.last_failure_ms = now_ms;
        if next.tasks.len() < TASKS && !next.tasks.contains(&task) {
            next.tasks.push(task);
        }
        if next.failures >= rules.settings.failures && next.tasks.len() >= TASKS {
            let wait = millis_of(rules.settings.open_ms);
            let open = opened(rules, wait, cause, asked, now_ms);
            return self.opening(open, next.suspects);
        }
        next
    }

    fn misconfigured(
        &self,
        rules: &Rules,
        task: u64,
        cause: &str,
        asked: Option<Duration>,
        now_ms: i64,
    ) -> Breaker {
        if self.suspects.contains(&task) {
            return self.badly(rules, task, cause, asked, now_ms);
        }
        let mut suspects = self.suspects.clone();
        if suspects.len() == SUSPECTS {
            suspects.remove(0);
        }
        suspects.push(task);
        let open = opened(rules, millis_of(rules.settings.open_cap_ms), cause, asked, now_ms);
        self.opening(open, suspects)
    }

    fn opening(&self, open: Open, suspects: Vec<u64>) -> Breaker {
        let openings = self.openings.wrapping_add(1);
        Breaker { open: Some(open), openings, suspects, ..Breaker::default() }
    }
}

fn opened(rules: &Rules, wait: Duration, cause: &str, asked: Option<Duration>, now_ms: i64) -> Open {
    let wait = wait.max(asked.unwrap_or_default().min(rules.longest_asked));
    Open {
        since_ms: now_ms,
        until_ms: now_ms + to_ms(wait),
        wait_ms: to_ms(wait),
        probe_until_ms: 0,
        cause: cause.to_owned(),
    }
}

fn to_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn millis_of(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[cfg(test)]
mod tests;
