//! Units a minute, of this process.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Spaces out what is taken, after a burst of up to [`BURST`] worth of it. This is the generic cell rate algorithm (ITU-T
/// I.371): one moment says it all, the one at which everything taken so far is paid for.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    paid_at: Mutex<Option<Instant>>,
}

pub(super) const BURST: Duration = Duration::from_secs(6);

impl Limiter {
    /// Takes `amount`, and says how long to wait before using it; `Err` with the wait when that is longer than `most`, and
    /// nothing is taken. An amount larger than a burst is taken when nothing else is owed.
    pub(super) fn take(
        &self,
        amount: u64,
        per_minute: f64,
        now: Instant,
        most: Duration,
    ) -> Result<Duration, Duration> {
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let owed = paid_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let cost = cost(amount, per_minute);
        let wait = (owed + cost.min(BURST)).saturating_sub(BURST);
        if wait > most {
            return Err(wait);
        }
        *paid_at = now.checked_add(owed + cost);
        Ok(wait)
    }

    /// What was taken turned out to be more or less.
    pub(super) fn correct(&self, taken: u64, used: u64, per_minute: f64) {
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        *paid_at = paid_at.and_then(|at| match used.checked_sub(taken) {
            Some(more) => at.checked_add(cost(more, per_minute)),
            None => at.checked_sub(cost(taken - used, per_minute)),
        });
    }
}

/// The time in which `amount` becomes free again; at most a day.
pub(super) fn cost(amount: u64, per_minute: f64) -> Duration {
    Duration::from_secs_f64((amount as f64 * 60.0 / per_minute).min(24.0 * 3600.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(3600);

    #[test]
    fn a_burst_passes_and_the_rest_is_spaced_out() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        let waits: Vec<u64> = (0..9).map(|_| limiter.take(1, 60.0, now, MOST).unwrap().as_secs()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 1, 2, 3]);
        let later = now + Duration::from_secs(60);
        assert_eq!(limiter.take(1, 60.0, later, MOST), Ok(Duration::ZERO));
    }

    #[test]
    fn what_would_wait_too_long_is_refused_and_not_taken() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        limiter.take(10, 60.0, now, MOST).unwrap();
        let short = Duration::from_secs(1);
        for _ in 0..3 {
            assert_eq!(limiter.take(1, 60.0, now, short), Err(Duration::from_secs(5)));
        }
    }

    #[test]
    fn estimates_are_corrected() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        limiter.take(30, 60.0, now, MOST).unwrap();
        limiter.correct(30, 6, 60.0);
        assert_eq!(limiter.take(1, 60.0, now, MOST).unwrap(), Duration::from_secs(1));
        limiter.correct(1, 11, 60.0);
        assert_eq!(limiter.take(1, 60.0, now, MOST).unwrap(), Duration::from_secs(12));
    }

    #[test]
    fn what_is_larger_than_a_burst_still_passes() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        assert_eq!(limiter.take(600, 60.0, now, MOST), Ok(Duration::ZERO));
    }
}
