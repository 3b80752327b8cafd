//! What a provider lets in: so many calls at a time, so many a minute.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::locked;

/// Limits of an endpoint. Nothing given: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Calls that are answered at a time.
    pub concurrency: Option<usize>,
    /// Calls that may wait for others to end; more are refused with 429. Default 0.
    pub queue: usize,
    /// Calls a minute; more are refused with 429 and told when to come back. A minute's worth may come at once.
    pub requests_per_minute: Option<u32>,
}

/// Who is in, and who waits.
#[derive(Debug)]
pub(super) struct Gate {
    limits: Limits,
    places: Option<Arc<Semaphore>>,
    waiting: AtomicUsize,
    bucket: Mutex<Bucket>,
}

/// A place inside; leaves when dropped.
#[derive(Debug)]
pub(super) struct Place(#[allow(dead_code, reason = "held, not read")] Option<OwnedSemaphorePermit>);

/// Refused: come back after this long.
#[derive(Debug, PartialEq)]
pub(super) struct Refused {
    pub(super) retry_after: Duration,
}

impl Gate {
    pub(super) fn new(limits: Limits) -> Gate {
        let bucket =
            Bucket { tokens: f64::from(limits.requests_per_minute.unwrap_or(0)), filled: Instant::now() };
        Gate {
            limits,
            places: limits
                .concurrency
                .map(|calls| Arc::new(Semaphore::new(calls.min(Semaphore::MAX_PERMITS)))),
            waiting: AtomicUsize::new(0),
            bucket: Mutex::new(bucket),
        }
    }

    pub(super) async fn enter(&self) -> Result<Place, Refused> {
        if let Some(rate) = self.limits.requests_per_minute {
            locked(&self.bucket).take(rate, Instant::now())?;
        }
        let Some(places) = &self.places else { return Ok(Place(None)) };
        if let Ok(permit) = places.clone().try_acquire_owned() {
            return Ok(Place(Some(permit)));
        }
        let full = Refused { retry_after: Duration::from_secs(1) };
        let waiting = Waiting::begin(&self.waiting, self.limits.queue).ok_or(full)?;
        // Nobody closes the semaphore.
        let permit = places.clone().acquire_owned().await.ok();
        drop(waiting);
        Ok(Place(permit))
    }
}

/// One who waits, until dropped: callers go away while they do.
struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn begin(count: &AtomicUsize, most: usize) -> Option<Waiting<'_>> {
        let waiting = Waiting(count);
        (count.fetch_add(1, Ordering::Relaxed) < most).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A token bucket that holds a minute's worth.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn take(&mut self, per_minute: u32, now: Instant) -> Result<(), Refused> {
        let rate = f64::from(per_minute) / 60.0;
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() * rate;
        self.tokens = (self.tokens + gained).min(f64::from(per_minute));
        self.filled = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let seconds = if rate > 0.0 { (1.0 - self.tokens) / rate } else { 3600.0 };
        Err(Refused { retry_after: Duration::from_secs_f64(seconds) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_again() {
        let start = Instant::now();
        let mut bucket = Bucket { tokens: 2.0, filled: start };
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!([bucket.take(2, start).is_ok(), bucket.take(2, start).is_ok()], [true, true]);
        assert_eq!(bucket.take(2, at(10)).unwrap_err().retry_after.as_secs_f64().round(), 20.0);
        assert!(bucket.take(2, at(30)).is_ok() && bucket.take(2, at(31)).is_err());
        // An hour fills it to a minute's worth, not more.
        let after: Vec<bool> = (0..3).map(|_| bucket.take(2, at(3600)).is_ok()).collect();
        assert_eq!(after, [true, true, false]);
    }

    #[tokio::test]
    async fn who_finds_no_place_waits_or_is_refused() {
        let gate = Gate::new(Limits { concurrency: Some(1), queue: 1, requests_per_minute: None });
        let inside = gate.enter().await.unwrap();
        let mut waiting = Box::pin(gate.enter());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(gate.enter().await.unwrap_err(), Refused { retry_after: Duration::from_secs(1) });
        drop(inside);
        drop(waiting.await.unwrap());
        // One who gave up waiting leaves room for another.
        let inside = gate.enter().await.unwrap();
        let mut gone = Box::pin(gate.enter());
        assert!(futures_util::poll!(&mut gone).is_pending());
        drop(gone);
        let mut next = Box::pin(gate.enter());
        assert!(futures_util::poll!(&mut next).is_pending());
        drop(inside);
        assert!(next.await.is_ok());
    }
}
