//! Redis as a cache, and only that: slow, frozen or gone, it costs a task at most its budget and never a wrong result.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::AsyncCommands;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::sync::OnceCell;

use crate::config;
use crate::work::Kind;

/// After this many timeouts or errors in a row the cache is left alone for [`REST`].
const FAILURES_BEFORE_REST: u32 = 3;
const REST: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Cache {
    shared: Option<Arc<Shared>>,
}

struct Shared {
    client: redis::Client,
    connection: OnceCell<ConnectionManager>,
    budget: Duration,
    failures: AtomicU32,
    /// Milliseconds since `born` until which the cache rests.
    rests_until: AtomicU64,
    born: Instant,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("enabled", &self.shared.is_some()).finish()
    }
}

/// How long a result of this kind stays cached; `None`: not at all.
pub fn time_to_live(kind: Kind) -> Option<Duration> {
    match kind {
        Kind::Outline => Some(Duration::from_secs(6 * 3600)),
        Kind::Script => Some(Duration::from_secs(3600)),
        Kind::Tts => Some(Duration::from_secs(24 * 3600)),
        Kind::Mix | Kind::Join => None,
    }
}

impl Cache {
    /// Does not connect yet: a missing Redis stops nobody from starting. An address that cannot be read does.
    pub fn new(settings: &config::Cache) -> anyhow::Result<Cache> {
        if settings.url.is_empty() {
            return Ok(Cache { shared: None });
        }
        let client = redis::Client::open(settings.url.as_str()).map_err(|error| {
            anyhow::anyhow!("cache.url is not a Redis address (redis://host:port/): {error}")
        })?;
        Ok(Cache {
            shared: Some(Arc::new(Shared {
                client,
                connection: OnceCell::new(),
                budget: Duration::from_millis(settings.budget_ms),
                failures: AtomicU32::new(0),
                rests_until: AtomicU64::new(0),
                born: Instant::now(),
            })),
        })
    }

    /// A value, if the cache has it and answers within half of its budget.
    pub async fn get(&self, key: &str) -> Option<Vec<u8>> {
        let shared = self.shared.as_ref()?;
        let found = shared
            .try_within(async |mut connection| connection.get::<_, Option<Vec<u8>>>(key).await)
            .await
            .flatten();
        metrics::counter!("podfleet_cache_total", "result" => if found.is_some() { "hit" } else { "miss" })
            .increment(1);
        found
    }

    /// Keeps a value for `time_to_live`, if that can be done within half of the budget.
    pub async fn put(&self, key: &str, value: &[u8], time_to_live: Duration) {
        if let Some(shared) = &self.shared {
            let seconds = time_to_live.as_secs().max(1);
            shared
                .try_within(async |mut connection| connection.set_ex::<_, _, ()>(key, value, seconds).await)
                .await;
        }
    }
}

impl Shared {
    async fn try_within<T>(
        &self,
        call: impl AsyncFnOnce(ConnectionManager) -> redis::RedisResult<T>,
    ) -> Option<T> {
        if self.elapsed_ms() < self.rests_until.load(Ordering::Relaxed) {
            return None;
        }
        let attempt = async {
            let connection = self.connection.get_or_try_init(|| self.connect()).await?;
            call(connection.clone()).await
        };
        match tokio::time::timeout(self.budget / 2, attempt).await {
            Ok(Ok(value)) => {
                self.failures.store(0, Ordering::Relaxed);
                Some(value)
            }
            Ok(Err(error)) => self.failed(&error.to_string()),
            Err(_) => self.failed("no answer in time"),
        }
    }

    async fn connect(&self) -> redis::RedisResult<ConnectionManager> {
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(self.budget))
            .set_number_of_retries(1);
        ConnectionManager::new_with_config(self.client.clone(), settings).await
    }

    fn failed<T>(&self, reason: &str) -> Option<T> {
        metrics::counter!("podfleet_cache_total", "result" => "error").increment(1);
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_BEFORE_REST {
            self.failures.store(0, Ordering::Relaxed);
            let until = self.elapsed_ms() + u64::try_from(REST.as_millis()).unwrap_or(5_000);
            self.rests_until.store(until, Ordering::Relaxed);
            tracing::warn!(reason, "the cache does not answer; going on without it for {REST:?}");
        }
        None
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cache_that_is_gone_is_skipped_after_three_failures() {
        let settings = config::Cache { url: "redis://127.0.0.1:1/".into(), budget_ms: 50 };
        let cache = Cache::new(&settings).unwrap();
        for _ in 0..3 {
            assert_eq!(cache.get("k").await, None);
        }
        let resting = Instant::now();
        for _ in 0..1000 {
            assert_eq!(cache.get("k").await, None);
        }
        assert!(resting.elapsed() < Duration::from_secs(1), "a resting cache is not asked");
    }
}
