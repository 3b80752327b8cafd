//! Backoff between reconnections inside a process: exponential with jitter, by the `backon` crate (`backoff` itself is
//! unmaintained, RUSTSEC-2025-0012). Retries of tasks are rows in PostgreSQL and follow [`crate::policy`] instead.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Delays between attempts to reach a server: 100 ms doubling to 2 s, each with up to its own length of jitter, without end.
#[derive(Debug)]
pub struct Reconnect(ExponentialBackoff);

impl Default for Reconnect {
    fn default() -> Self {
        Reconnect(builder().build())
    }
}

impl Reconnect {
    /// How long to wait before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        self.0.next().unwrap_or(Duration::from_secs(2))
    }

    /// Starts again from the shortest delay: call it once the connection has worked.
    pub fn reset(&mut self) {
        *self = Reconnect::default();
    }
}

fn builder() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_stay_bounded() {
        let mut reconnect = Reconnect::default();
        let delays: Vec<Duration> = (0..40).map(|_| reconnect.next_delay()).collect();
        assert!(delays[0] < Duration::from_millis(250));
        assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(5)));
        assert!(delays[39] >= Duration::from_secs(2));
    }
}
