//! How many calls a server takes at a time, found out instead of guessed. Pure: the caller hands the time in.
//!
//! A refusal (429, 503) says that the calls in flight were too many: the limit goes below them, and higher ones are tried again
//! only after a while, which doubles each time they are refused. Without refusals the latency tells, as in Netflix's
//! Gradient2 limiter (concurrency-limits): calls that begin to take much longer than they used to wait somewhere. Otherwise
//! the limit grows by one for each round of calls that used it up, as in TCP's congestion avoidance.

use std::time::{Duration, Instant};

/// Recent calls may take this many times as long as they used to before the limit goes down: texts differ in length.
const TOLERANCE: f64 = 2.0;
/// The most that latency takes off at a time, and how much of it counts.
const STEEPEST: f64 = 0.5;
const SMOOTHING: f64 = 0.2;
/// Weight of a call in the recent and in the usual latency.
const RECENT: f64 = 0.1;
const USUAL: f64 = 0.005;
/// Calls before the latency says anything.
const WARM: u32 = 20;
/// How long a number that was refused is left alone, at first and at most.
const LEFT_ALONE: Duration = Duration::from_secs(10);
const LONGEST_ALONE: Duration = Duration::from_secs(300);

/// What a server takes, between 1 and what is configured.
#[derive(Clone, Debug)]
pub(super) struct Limit {
    limit: f64,
    most: f64,
    refused: Option<Refused>,
    lowered_at: Option<Instant>,
    calls: u32,
    recent: f64,
    usual: f64,
}

/// The calls in flight when there were too many.
#[derive(Clone, Copy, Debug)]
struct Refused {
    in_flight: f64,
    until: Instant,
    left_alone: Duration,
}

/// A call to the server, when its fate is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) began: Instant,
    pub(super) now: Instant,
    /// Calls in flight when it began, itself included.
    pub(super) in_flight: usize,
    pub(super) refused: bool,
}

impl Limit {
    /// Begins with `most`: a server that takes it is not slowed down.
    pub(super) fn new(most: usize) -> Limit {
        let most = (most.max(1)) as f64;
        Limit { limit: most, most, refused: None, lowered_at: None, calls: 0, recent: 0.0, usual: 0.0 }
    }

    /// Calls at a time, at least 1.
    pub(super) fn calls(&self) -> usize {
        self.limit as usize
    }

    pub(super) fn see(&mut self, seen: Seen) {
        if seen.refused {
            self.lower(seen);
        } else {
            self.learn(seen.now.saturating_duration_since(seen.began));
            let gradient = self.gradient();
            if gradient < 1.0 {
                let lower = self.limit * gradient + self.limit.sqrt();
                self.set(self.limit + (lower - self.limit).min(0.0) * SMOOTHING);
            } else if seen.in_flight as f64 + 1.0 > self.limit.floor() {
                self.raise(seen.now);
            }
        }
    }

    /// Refusals of calls that began before the last one was heeded say nothing new.
    fn lower(&mut self, seen: Seen) {
        if self.lowered_at.is_some_and(|at| seen.began <= at) {
            return;
        }
        let in_flight = (seen.in_flight as f64).min(self.limit);
        let left_alone = match self.refused {
            // It was tried again, and is still too much.
            Some(known) if in_flight <= known.in_flight + 0.5 => (known.left_alone * 2).min(LONGEST_ALONE),
            _ => LEFT_ALONE,
        };
        let until = seen.now.checked_add(left_alone).unwrap_or(seen.now);
        self.refused = Some(Refused { in_flight: in_flight.max(2.0), until, left_alone });
        self.lowered_at = Some(seen.now);
        self.set((in_flight * 0.9).min(in_flight - 1.0));
    }

    fn raise(&mut self, now: Instant) {
        let higher = self.limit + 1.0 / self.limit;
        let ceiling = match self.refused {
            Some(refused) if now < refused.until => refused.in_flight - 0.01,
            _ => self.most,
        };
        self.set(higher.min(ceiling.max(self.limit)));
    }

    fn learn(&mut self, latency: Duration) {
        let seconds = latency.as_secs_f64();
        self.calls = self.calls.saturating_add(1);
        if self.calls == 1 {
            (self.recent, self.usual) = (seconds, seconds);
        }
        // The first calls make what is usual, each as much as the others.
        let usual = USUAL.max(1.0 / f64::from(self.calls));
        self.recent += (seconds - self.recent) * RECENT;
        self.usual += (seconds - self.usual) * usual;
        // A server that became fast: what was usual is forgotten sooner.
        if self.usual > self.recent * TOLERANCE {
            self.usual *= 0.95;
        }
    }

    /// Below 1 when calls take too long.
    fn gradient(&self) -> f64 {
        if self.calls < WARM || self.recent <= 0.0 {
            return 1.0;
        }
        (TOLERANCE * self.usual / self.recent).clamp(STEEPEST, 1.0)
    }

    fn set(&mut self, limit: f64) {
        self.limit = limit.clamp(1.0, self.most);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A server that takes `real` calls at a time, refuses more or lets them wait, and is asked as often as the limit allows,
    /// in rounds. Returns, of the last half of `rounds`, the mean of calls answered in a round and of calls refused.
    fn play(limit: &mut Limit, real: usize, refuses: bool, rounds: u32) -> (f64, f64) {
        let mut now = Instant::now();
        let (mut answered, mut refused) = (0, 0);
        for round in 0..rounds {
            let calls = limit.calls();
            let began = now;
            // Those beyond wait for a second round of the server, or are turned away at once.
            let longest = if refuses { 1 } else { calls.div_ceil(real) };
            now += Duration::from_secs(longest as u64);
            for call in 1..=calls {
                let turned_away = refuses && call > real;
                let took = if refuses { 1 } else { call.div_ceil(real) };
                let ended = if turned_away { began } else { began + Duration::from_secs(took as u64) };
                limit.see(Seen { began, now: ended, in_flight: call, refused: turned_away });
                if round >= rounds / 2 {
                    answered += u32::from(!turned_away);
                    refused += u32::from(turned_away);
                }
            }
        }
        let counted = f64::from(rounds - rounds / 2);
        (f64::from(answered) / counted, f64::from(refused) / counted)
    }

    #[test]
    fn a_server_that_takes_everything_is_given_everything() {
        let mut limit = Limit::new(16);
        assert_eq!(play(&mut limit, 100, true, 100), (16.0, 0.0));
        assert_eq!(limit.calls(), 16);
    }

    #[test]
    fn refusals_find_the_limit_and_are_rare_afterwards() {
        for real in [1, 2, 3, 5, 8, 15] {
            let mut limit = Limit::new(16);
            let (answered, refused) = play(&mut limit, real, true, 1_000);
            assert!(answered >= 0.9 * real as f64, "{real}: {answered} a round");
            assert!(refused <= 0.05, "{real}: {refused} refused a round");
        }
    }

    #[test]
    fn a_server_that_recovers_is_given_more_again() {
        let mut limit = Limit::new(16);
        play(&mut limit, 2, true, 50);
        assert!(limit.calls() <= 2);
        play(&mut limit, 100, true, 1_000);
        assert_eq!(limit.calls(), 16);
    }

    #[test]
    fn one_burst_of_refusals_lowers_the_limit_once() {
        let mut limit = Limit::new(16);
        let began = Instant::now();
        for call in 1..=16 {
            let now = began + Duration::from_millis(10);
            limit.see(Seen { began, now, in_flight: call, refused: call > 8 });
        }
        assert_eq!(limit.calls(), 8);
    }

    #[test]
    fn growing_latency_lowers_the_limit() {
        let mut limit = Limit::new(32);
        let mut now = Instant::now();
        let mut take = |limit: &mut Limit, count: usize, ms: u64| {
            for _ in 0..count {
                let began = now;
                now += Duration::from_millis(ms);
                limit.see(Seen { began, now, in_flight: limit.calls(), refused: false });
            }
        };
        take(&mut limit, 200, 500);
        assert_eq!(limit.calls(), 32);
        take(&mut limit, 60, 3_000);
        assert!(limit.calls() < 20, "{}", limit.calls());
        take(&mut limit, 600, 500);
        assert_eq!(limit.calls(), 32);
    }

    proptest! {
        #[test]
        fn the_limit_stays_within_its_bounds(
            most in 0usize..200,
            calls in proptest::collection::vec((0u64..100_000, 0usize..400, any::<bool>(), 0u64..5_000), 0..300),
        ) {
            let mut limit = Limit::new(most);
            let mut now = Instant::now();
            for (latency, in_flight, refused, gap) in calls {
                let began = now;
                now += Duration::from_millis(gap);
                limit.see(Seen { began, now: began + Duration::from_millis(latency), in_flight, refused });
                prop_assert!((1..=most.max(1)).contains(&limit.calls()), "{limit:?}");
            }
        }

        #[test]
        fn a_refusal_never_raises_and_an_answer_never_lowers_below_a_fast_server(
            most in 2usize..64, real in 1usize..64,
        ) {
            let mut limit = Limit::new(most);
            play(&mut limit, real.min(most), true, 200);
            let before = limit.calls();
            let now = Instant::now() + Duration::from_secs(100_000);
            limit.see(Seen { began: now, now, in_flight: before, refused: true });
            prop_assert!(limit.calls() <= before);
        }
    }
}
