//! Redis as a cache, and only that: slow, frozen or gone, it costs a task at most its budget and never a wrong result.

mod claim;
mod health;

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{AsyncCommands, IntoConnectionInfo};

use crate::config;
use crate::work::Kind;

pub use self::claim::{Claim, Claimed};
pub use self::health::{Health, health};

/// After this many timeouts or errors in a row the cache is left alone for [`REST`].
const FAILURES_BEFORE_REST: u32 = 3;
const REST: Duration = Duration::from_secs(5);
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);
/// Going through all that is cached.
const FORGETTING: Duration = Duration::from_secs(30);

tokio::task_local! {
    /// What the task that runs here may still spend on waiting for the cache.
    static LEFT: Cell<Duration>;
}

#[derive(Clone)]
pub struct Cache {
    shared: Option<Arc<Shared>>,
}

struct Shared {
    client: redis::Client,
    /// Connects when it is used first, and goes on with that however short the time is that one call waits for it.
    connection: OnceLock<ConnectionManager>,
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
        let address = settings.url.as_str().into_connection_info().and_then(|address| {
            // What a machine that is gone never acknowledges ends the connection, and another is made.
            redis::Client::open(
                address.set_tcp_settings(TcpSettings::default().set_user_timeout(UNACKNOWLEDGED)),
            )
        });
        let client = address.map_err(|error| {
            anyhow::anyhow!("cache.url is not a Redis address (redis://host:port/): {error}")
        })?;
        Ok(Cache {
            shared: Some(Arc::new(Shared {
                client,
                connection: OnceLock::new(),
                budget: Duration::from_millis(settings.budget_ms),
                failures: AtomicU32::new(0),
                rests_until: AtomicU64::new(0),
                born: Instant::now(),
            })),
        })
    }

    /// Everything that `task` asks of this cache takes the budget of one task, and no more: what is left unasked when it is spent
    /// counts as unknown.
    pub async fn within_budget<T>(&self, task: impl Future<Output = T>) -> T {
        let budget = self.shared.as_ref().map_or(Duration::ZERO, |shared| shared.budget);
        LEFT.scope(Cell::new(budget), task).await
    }

    /// What a script answers that Redis runs as one step: one round trip, whether Redis knew it before or not.
    pub async fn run<T: redis::FromRedisValue>(
        &self,
        script: &str,
        keys: &[&str],
        arguments: &[&str],
    ) -> Option<T> {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
        let shared = self.shared.as_ref()?;
        shared.try_within(async |mut connection| command.query_async::<T>(&mut connection).await).await
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

    /// Forgets what a tenant has had written: outlines and scripts bear texts, and nothing tells which podcast they are of. Takes as long as
    /// it takes, within [`FORGETTING`]; nobody waits for it. Whether all of it is forgotten.
    pub async fn forget_written(&self, tenant: &str) -> bool {
        let Some(shared) = &self.shared else { return true };
        let forget = async {
            let mut connection = shared.client.get_multiplexed_async_connection().await?;
            for kind in [Kind::Outline, Kind::Script] {
                let pattern = format!("podfleet:{tenant}:{kind}:*");
                let mut cursor = 0_u64;
                loop {
                    let mut scan = redis::cmd("SCAN");
                    scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(1_000);
                    let (next, keys): (u64, Vec<String>) = scan.query_async(&mut connection).await?;
                    if !keys.is_empty() {
                        connection.del::<_, ()>(keys).await?;
                    }
                    cursor = next;
                    if cursor == 0 {
                        break;
                    }
                }
            }
            redis::RedisResult::Ok(())
        };
        matches!(tokio::time::timeout(FORGETTING, forget).await, Ok(Ok(())))
    }

    /// Forgets a value that turned out to be wrong.
    pub async fn remove(&self, key: &str) {
        if let Some(shared) = &self.shared {
            shared.try_within(async |mut connection| connection.del::<_, ()>(key).await).await;
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
        let left = LEFT.try_with(Cell::get).unwrap_or(self.budget);
        if left.is_zero() {
            return None;
        }
        let began = Instant::now();
        let answer = self.ask(call, left).await;
        let _ = LEFT.try_with(|spent| spent.set(left.saturating_sub(began.elapsed())));
        answer
    }

    async fn ask<T>(
        &self,
        call: impl AsyncFnOnce(ConnectionManager) -> redis::RedisResult<T>,
        left: Duration,
    ) -> Option<T> {
        let attempt = async { call(self.connection()?).await };
        let asked = Instant::now();
        let answer = tokio::time::timeout((self.budget / 2).min(left), attempt).await;
        metrics::histogram!("podfleet_cache_wait_seconds").record(asked.elapsed());
        match answer {
            Ok(Ok(value)) => {
                self.failures.store(0, Ordering::Relaxed);
                Some(value)
            }
            Ok(Err(error)) => self.failed(&error.to_string()),
            Err(_) => self.failed("no answer in time"),
        }
    }

    fn connection(&self) -> redis::RedisResult<ConnectionManager> {
        if let Some(connection) = self.connection.get() {
            return Ok(connection.clone());
        }
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(self.budget))
            .set_number_of_retries(1);
        let new = ConnectionManager::new_lazy_with_config(self.client.clone(), settings)?;
        Ok(self.connection.get_or_init(|| new).clone())
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

    #[tokio::test]
    async fn a_task_waits_for_a_frozen_cache_no_longer_than_its_budget() {
        // It takes connections and answers nothing.
        let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}/", frozen.local_addr().unwrap());
        let cache = Cache::new(&config::Cache { url, budget_ms: 1_000 }).unwrap();
        let began = Instant::now();
        let task = async {
            for _ in 0..10 {
                assert_eq!(cache.get("k").await, None);
                cache.put("k", b"v", REST).await;
                assert_eq!(cache.run::<i64>("return 1", &[], &[]).await, None);
            }
        };
        cache.within_budget(task).await;
        let took = began.elapsed();
        // Without a budget it would be three times half of it until the cache is left alone.
        assert!(took >= Duration::from_secs(1) && took < Duration::from_millis(1_400), "{took:?}");
    }

    /// A real Redis that freezes when the cache is connected. The quickest of several tasks tells what the rules cost: on a busy machine
    /// the others wait for their turn to run as well.
    #[cfg(feature = "private-servers")]
    #[tokio::test]
    async fn a_frozen_redis_costs_a_task_its_budget_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let mut redis = crate::private::Redis::start(folder.path()).await.unwrap();
        let settings = config::Cache { url: redis.url(), ..config::Cache::default() };
        let mut costs = Vec::new();
        for _ in 0..10 {
            // Each has its own, because one that has failed three times would not be asked at all.
            let cache = Cache::new(&settings).unwrap();
            while cache.run::<i64>("return 1", &[], &[]).await.is_none() {}
            redis.pause();
            let began = Instant::now();
            // More than any task asks: its breaker, its rate, what is known already, the pace of voices, and all of them again.
            let task = async {
                for _ in 0..10 {
                    assert_eq!(cache.run::<i64>("return 1", &[], &[]).await, None);
                    assert_eq!(cache.get("k").await, None);
                    cache.put("k", b"v", REST).await;
                }
            };
            cache.within_budget(task).await;
            costs.push(began.elapsed());
            redis.resume();
        }
        redis.stop().await.unwrap();
        costs.sort_unstable();
        println!("a frozen Redis cost a task {:?}, the middle one of ten {:?}", costs[0], costs[5]);
        let budget = Duration::from_millis(settings.budget_ms);
        // Without a budget it would be three times half of it until the cache is left alone; what is promised is 50 ms.
        assert!(costs[0] >= budget && costs[0] < Duration::from_millis(50), "{costs:?}");
    }
}
