//! Calls and units a minute, of this process.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Spaces out what is taken, after a burst of up to [`BURST`] worth of it. This is the generic cell rate algorithm (ITU-T
/// I.371): one moment says it all, the one at which everything taken so far is paid for.
#[derive(Debug)]
pub(crate) struct Limiter {
    per_minute: u32,
    paid_at: Mutex<Option<Instant>>,
}

const BURST: Duration = Duration::from_secs(6);

impl Limiter {
    /// `per_minute` 0 is no limit.
    pub(crate) fn new(per_minute: u32) -> Limiter {
        Limiter { per_minute, paid_at: Mutex::default() }
    }

    /// Takes `amount`, and says how long to wait before using it; `Err` with the wait when that is longer than `most`, and
    /// nothing is taken. An amount larger than a burst is taken when nothing else is owed.
    pub(crate) fn take(&self, amount: u64, now: Instant, most: Duration) -> Result<Duration, Duration> {
        if self.per_minute == 0 {
            return Ok(Duration::ZERO);
        }
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let owed = paid_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let cost = self.cost(amount);
        let wait = (owed + cost.min(BURST)).saturating_sub(BURST);
        if wait > most {
            return Err(wait);
        }
        *paid_at = now.checked_add(owed + cost);
        Ok(wait)
    }

    /// What was taken turned out to be more or less.
    pub(crate) fn correct(&self, taken: u64, used: u64) {
        if self.per_minute == 0 {
            return;
        }
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        *paid_at = paid_at.and_then(|at| match used.checked_sub(taken) {
            Some(more) => at.checked_add(self.cost(more)),
            None => at.checked_sub(self.cost(taken - used)),
        });
    }

    fn cost(&self, amount: u64) -> Duration {
        let seconds = amount as f64 * 60.0 / f64::from(self.per_minute.max(1));
        Duration::from_secs_f64(seconds.min(24.0 * 3600.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(3600);

    #[test]
    fn a_burst_passes_and_the_rest_is_spaced_out() {
        let (limiter, now) = (Limiter::new(60), Instant::now());
        let waits: Vec<u64> = (0..9).map(|_| limiter.take(1, now, MOST).unwrap().as_secs()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 1, 2, 3]);
        let later = now + Duration::from_secs(60);
        assert_eq!(limiter.take(1, later, MOST), Ok(Duration::ZERO));
    }

    #[test]
    fn what_would_wait_too_long_is_refused_and_not_taken() {
        let (limiter, now) = (Limiter::new(60), Instant::now());
        limiter.take(10, now, MOST).unwrap();
        let short = Duration::from_secs(1);
        for _ in 0..3 {
            assert_eq!(limiter.take(1, now, short), Err(Duration::from_secs(5)));
        }
    }

    #[test]
    fn estimates_are_corrected() {
        let (limiter, now) = (Limiter::new(60), Instant::now());
        limiter.take(30, now, MOST).unwrap();
        limiter.correct(30, 6);
        assert_eq!(limiter.take(1, now, MOST).unwrap(), Duration::from_secs(1));
        limiter.correct(1, 11);
        assert_eq!(limiter.take(1, now, MOST).unwrap(), Duration::from_secs(12));
    }

    #[test]
    fn no_limit_is_no_wait() {
        let limiter = Limiter::new(0);
        assert_eq!(limiter.take(u64::MAX, Instant::now(), Duration::ZERO), Ok(Duration::ZERO));
    }

    #[test]
    fn what_is_larger_than_a_burst_still_passes() {
        let (limiter, now) = (Limiter::new(60), Instant::now());
        assert_eq!(limiter.take(600, now, MOST), Ok(Duration::ZERO));
    }
}
