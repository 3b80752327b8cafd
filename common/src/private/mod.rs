//! A RabbitMQ, a PostgreSQL and a Redis of our own, for `dev`, `demo`, tests and chaos: started from the programs that are
//! installed, on free ports of 127.0.0.1, with their data and random passwords in one folder, and gone when we are gone.
//! [`FaultProxy`] stands in front of any of them, or of anything else, and makes its network bad.
//!
//! A second start on the same folder finds the data of the first. A folder belongs to one podfleet at a time.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};

mod census;
mod lock;
pub mod ports;
mod postgres;
mod postgres_home;
mod process;
mod proxy;
mod rabbitmq;
mod rabbitmq_admin;
mod redis;

pub use census::serving;
pub use lock::DataLock;
pub use postgres::Postgres;
pub use proxy::{Fault, FaultProxy};
pub use rabbitmq::RabbitMq;
pub use rabbitmq_admin::QueueInfo;
pub use redis::Redis;

/// The three servers of one data folder. Dropping them kills them; [`PrivateServers::stop`] is the polite way.
#[derive(Debug)]
pub struct PrivateServers {
    pub rabbitmq: RabbitMq,
    pub postgres: Postgres,
    pub redis: Redis,
    /// Last, because fields are dropped in order: the folder is free only after the servers are gone.
    lock: DataLock,
}

impl PrivateServers {
    /// Starts all three at once and returns when each has proven that it works. Makes the folder, and takes its lock.
    pub async fn start(data: &Path) -> anyhow::Result<Self> {
        check_programs()?;
        fs::create_dir_all(data).with_context(|| format!("cannot make the folder {}", data.display()))?;
        let data = fs::canonicalize(data)?;
        let lock = DataLock::take(&data)?;
        census::end_leftovers(&data, postgres_home::Home::elsewhere(&data).as_deref()).await?;
        let (rabbitmq, postgres, redis) = tokio::try_join!(
            timed("RabbitMQ", RabbitMq::start(&data)),
            timed("PostgreSQL", Postgres::start(&data)),
            timed("Redis", Redis::start(&data)),
        )?;
        Ok(PrivateServers { rabbitmq, postgres, redis, lock })
    }

    /// Stops all three at once and returns when none of their processes is left.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let (rabbitmq, postgres, redis) =
            tokio::join!(self.rabbitmq.stop(), self.postgres.stop(), self.redis.stop());
        drop(self.lock);
        rabbitmq.and(postgres).and(redis)
    }
}

async fn timed<S>(name: &str, start: impl Future<Output = anyhow::Result<S>>) -> anyhow::Result<S> {
    let begun = Instant::now();
    let server = start.await?;
    tracing::debug!(server = name, elapsed_ms = begun.elapsed().as_millis(), "private server is ready");
    Ok(server)
}

/// Programs that have to be on this machine and are not.
#[derive(Debug, thiserror::Error)]
#[error("{}; run `make setup`", not_found(.0))]
pub struct MissingPrograms(pub Vec<&'static str>);

fn not_found(programs: &[&str]) -> String {
    let verb = if programs.len() == 1 { "was" } else { "were" };
    format!("{} {verb} not found", programs.join(" and "))
}

/// Names everything that is missing at once.
fn check_programs() -> Result<(), MissingPrograms> {
    let programs = [
        ("rabbitmq-server", RabbitMq::programs().is_some()),
        ("PostgreSQL's initdb", postgres_home::Home::programs().is_some()),
        ("redis-server", Redis::program().is_some()),
    ];
    let missing: Vec<&'static str> =
        programs.iter().filter(|(_, found)| !found).map(|(name, _)| *name).collect();
    if missing.is_empty() { Ok(()) } else { Err(MissingPrograms(missing)) }
}

/// The server's own folder in the data folder.
fn folder(data: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let folder = data.join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    Ok(fs::canonicalize(folder)?)
}

/// The password kept in a server's folder, made at the first start. Hexadecimal, so it needs no quoting anywhere.
fn password(folder: &Path) -> anyhow::Result<String> {
    let path = folder.join("password");
    if let Ok(password) = fs::read_to_string(&path)
        && !password.is_empty()
    {
        return Ok(password);
    }
    let password = uuid::Uuid::new_v4().simple().to_string();
    write_private(&path, &password)?;
    Ok(password)
}

/// Writes a file that only its owner can read.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || {
        // A file that exists keeps its mode, and may belong to somebody else.
        let _ = fs::remove_file(path);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn must_be_down(name: &str, pid: Option<u32>) -> anyhow::Result<()> {
    match pid {
        Some(pid) => bail!("{name} (pid {pid}) is running; stop it before its data is removed"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
