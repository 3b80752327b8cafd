//! What a Redis is like, for `podfleet doctor`: tried out with what the fleet uses.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use redis::aio::MultiplexedConnection;

use crate::config;

/// Round trips that are timed.
const ROUND_TRIPS: usize = 20;
/// As a claim is taken and kept.
const TRIAL: &str = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return -1";

#[derive(Clone, Debug)]
pub struct Health {
    pub version: String,
    /// As the server writes it; `0` is without a bound.
    pub max_memory: String,
    pub eviction: String,
    pub round_trips: Vec<Duration>,
}

pub async fn health(settings: &config::Cache) -> anyhow::Result<Health> {
    let client = redis::Client::open(settings.url.as_str()).context("cache.url is not a Redis address")?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut round_trips = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let began = Instant::now();
        redis::cmd("PING").query_async::<()>(&mut connection).await?;
        round_trips.push(began.elapsed());
    }
    try_out(&mut connection).await?;
    let server: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
    let memory: String = redis::cmd("INFO").arg("memory").query_async(&mut connection).await?;
    let told = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or("unknown").trim().to_owned()
    };
    Ok(Health {
        version: told(&server, "redis_version"),
        max_memory: told(&memory, "maxmemory"),
        eviction: told(&memory, "maxmemory_policy"),
        round_trips,
    })
}

/// A key of the doctor's own, which ends by itself.
async fn try_out(connection: &mut MultiplexedConnection) -> anyhow::Result<()> {
    let key = format!("podfleet:doctor:{}", uuid::Uuid::new_v4().simple());
    let mut pipeline = redis::pipe();
    pipeline.cmd("SET").arg(&key).arg("held").arg("NX").arg("PX").arg(1_000);
    pipeline.get(&key);
    let (set, found): (Option<String>, Option<String>) = pipeline.query_async(connection).await?;
    ensure!(set.is_some() && found.as_deref() == Some("held"), "a value that was set is not there");
    let mut script = redis::cmd("EVAL");
    script.arg(TRIAL).arg(1).arg(&key).arg("held").arg(1_000);
    let kept: i64 = script.query_async(connection).await.context("running a script")?;
    ensure!(kept == 1, "a script did not keep the value");
    redis::cmd("DEL").arg(&key).query_async::<()>(connection).await?;
    Ok(())
}
