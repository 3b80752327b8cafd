//! Calls and units a minute that an engine takes from the whole fleet. What has been taken lies in Redis; while Redis does not
//! answer, each worker keeps to its share, which is the rate over the workers that the last ticket told of.

mod limiter;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::cache::Cache;
use common::config::Engine;

use self::limiter::{BURST, Limiter, cost};
use super::health::account;

/// The generic cell rate algorithm (ITU-T I.371), as in [`limiter`], for all limits of an engine at once: takes from all of them,
/// or from none if one would have to be waited for longer than the second argument. Times are microseconds.
const TAKE: &str = "
    local time = redis.call('TIME')
    local now = time[1] * 1000000 + time[2]
    local burst, most = tonumber(ARGV[1]), tonumber(ARGV[2])
    local wait, paid = 0, {}
    for i, key in ipairs(KEYS) do
        local cost = tonumber(ARGV[i + 2])
        local owed = math.max(0, (tonumber(redis.call('GET', key) or '0')) - now)
        wait = math.max(wait, owed + math.min(cost, burst) - burst)
        paid[i] = owed + cost
    end
    if wait > most then return {0, math.ceil(wait)} end
    for i, key in ipairs(KEYS) do
        redis.call('SET', key, string.format('%.0f', now + paid[i]), 'PX', string.format('%.0f', paid[i] / 1000 + 1))
    end
    return {1, math.ceil(wait)}";

/// What was taken turned out to be more or less.
const CORRECT: &str = "
    local time = redis.call('TIME')
    local now = time[1] * 1000000 + time[2]
    local paid = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0')) + tonumber(ARGV[1])
    if paid <= now then return redis.call('DEL', KEYS[1]) end
    redis.call('SET', KEYS[1], string.format('%.0f', paid), 'PX', string.format('%.0f', (paid - now) / 1000 + 1))
    return 1";

/// The limits of one engine.
pub(crate) struct Rate {
    limits: Vec<Limit>,
    cache: Option<Cache>,
    workers: AtomicU32,
}

struct Limit {
    what: What,
    key: String,
    per_minute: u32,
    local: Limiter,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Requests,
    Units,
}

impl Limit {
    fn amount(&self, units: u64) -> u64 {
        if self.what == What::Units { units } else { 1 }
    }
}

impl Rate {
    /// With a cache, what others take counts, too.
    pub(crate) fn new(name: &str, settings: &Engine, cache: Option<Cache>) -> Rate {
        let account = account(name, settings);
        let limit = |what, per_minute, unit: &str| Limit {
            what,
            per_minute,
            key: format!("podfleet:engine:{account}:{unit}"),
            local: Limiter::default(),
        };
        let mut limits = vec![
            limit(What::Requests, settings.requests_per_minute, "requests"),
            limit(What::Units, settings.units_per_minute, "units"),
        ];
        limits.retain(|limit| limit.per_minute > 0);
        Rate { limits, cache, workers: AtomicU32::new(1) }
    }

    /// So many workers have the engine.
    pub(crate) fn shared_by(&self, workers: u32) {
        self.workers.store(workers.max(1), Ordering::Relaxed);
    }

    /// Takes one call of `units`, and says how long to wait before it; `Err` with the wait when that is longer than `most`, and
    /// nothing is taken.
    pub(crate) async fn take(&self, units: u64, most: Duration) -> Result<Duration, Duration> {
        if self.limits.is_empty() {
            return Ok(Duration::ZERO);
        }
        match self.take_of_fleet(units, most).await {
            Some(taken) => taken,
            None => self.take_of_share(units, Instant::now(), most),
        }
    }

    async fn take_of_fleet(&self, units: u64, most: Duration) -> Option<Result<Duration, Duration>> {
        let cache = self.cache.as_ref()?;
        let keys: Vec<&str> = self.limits.iter().map(|limit| limit.key.as_str()).collect();
        let costs = self.limits.iter().map(|limit| cost(limit.amount(units), f64::from(limit.per_minute)));
        let arguments: Vec<String> = [BURST, most].into_iter().chain(costs).map(micros).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (taken, wait): (i64, i64) = cache.run(TAKE, &keys, &arguments).await?;
        let wait = Duration::from_micros(u64::try_from(wait).unwrap_or(0));
        Some(if taken == 1 { Ok(wait) } else { Err(wait) })
    }

    fn take_of_share(&self, units: u64, now: Instant, most: Duration) -> Result<Duration, Duration> {
        let mut longest = Duration::ZERO;
        for (place, limit) in self.limits.iter().enumerate() {
            match limit.local.take(limit.amount(units), self.share(limit), now, most) {
                Ok(wait) => longest = longest.max(wait),
                Err(wait) => {
                    for taken in &self.limits[..place] {
                        taken.local.correct(taken.amount(units), 0, self.share(taken));
                    }
                    return Err(wait);
                }
            }
        }
        Ok(longest)
    }

    /// Units a minute for this worker alone.
    fn share(&self, limit: &Limit) -> f64 {
        f64::from(limit.per_minute) / f64::from(self.workers.load(Ordering::Relaxed))
    }

    /// The units of a call turned out to be more or less than were taken.
    pub(crate) async fn correct(&self, taken: u64, used: u64) {
        let Some(limit) = self.limits.iter().find(|limit| limit.what == What::Units) else { return };
        let (more, less) = (used.saturating_sub(taken), taken.saturating_sub(used));
        let per_minute = f64::from(limit.per_minute);
        let micros = if more > 0 {
            micros(cost(more, per_minute))
        } else {
            format!("-{}", micros(cost(less, per_minute)))
        };
        let corrected: Option<i64> = match &self.cache {
            Some(cache) => cache.run(CORRECT, &[&limit.key], &[&micros]).await,
            None => None,
        };
        if corrected.is_none() {
            limit.local.correct(taken, used, self.share(limit));
        }
    }
}

fn micros(duration: Duration) -> String {
    duration.as_micros().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(requests: u32, units: u32) -> Rate {
        let settings = serde_json::json!({"type": "openai", "kinds": "tts", "url": "http://a",
                                          "requests_per_minute": requests, "units_per_minute": units});
        Rate::new("x", &serde_json::from_value(settings).unwrap(), None)
    }

    #[tokio::test]
    async fn no_limit_is_no_wait() {
        assert_eq!(rate(0, 0).take(u64::MAX, Duration::ZERO).await, Ok(Duration::ZERO));
    }

    #[test]
    fn the_longer_wait_counts_and_a_refusal_takes_from_neither() {
        let (rate, now, most) = (rate(60, 600), Instant::now(), Duration::from_secs(5));
        assert_eq!(rate.take_of_share(60, now, most), Ok(Duration::ZERO));
        assert_eq!(rate.take_of_share(30, now, most), Ok(Duration::from_secs(3)));
        for _ in 0..10 {
            assert_eq!(rate.take_of_share(60, now, most), Err(Duration::from_secs(9)));
        }
        // Two calls have been taken of the six that may come at once.
        assert_eq!(rate.take_of_share(0, now, most), Ok(Duration::from_secs(3)), "units are still owed");
        let calls = &rate.limits[0].local;
        assert_eq!(calls.take(3, 60.0, now, most), Ok(Duration::ZERO));
        assert_eq!(calls.take(1, 60.0, now, most), Ok(Duration::from_secs(1)));
    }

    #[test]
    fn a_share_is_the_rate_over_the_workers() {
        let (rate, now, most) = (rate(60, 0), Instant::now(), Duration::from_secs(3600));
        rate.shared_by(4);
        let waits: Vec<u64> = (0..4).map(|_| rate.take_of_share(1, now, most).unwrap().as_secs()).collect();
        assert_eq!(waits, [0, 2, 6, 10]);
    }
}
