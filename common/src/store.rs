//! PostgreSQL, which owns the truth. One file per table family, one named function per statement.
//!
//! Every transaction locks podcasts by id first, then tasks by id. Statements over many rows use `= ANY($1)` and generic
//! plans, so that their cost does not depend on what the planner believes of the day.

pub mod attempts;
pub mod audit;
pub mod chapters;
pub mod dead_letters;
pub mod durations;
pub mod erasing;
pub mod events;
pub mod feeds;
pub mod fleet;
pub mod generations;
pub mod health;
pub mod inspection;
pub mod keys;
pub mod lanes;
pub mod minutes;
pub mod overview;
pub mod pauses;
pub mod playing;
pub mod podcasts;
pub mod reading;
pub mod references;
pub mod replay;
pub mod sessions;
pub mod showing;
pub mod tasks;
pub mod tenants;
pub mod webhooks;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts,
};
use refinery::{Migration, Runner, Target};
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use crate::config::Database;

pub use deadpool_postgres::Transaction;
pub use tokio_postgres::types::Json;

mod embedded {
    refinery::embed_migrations!("../migrations");
}

/// Where the history that the first builds read ends. They do not start on a database whose history has a migration that they do
/// not know, and must be able to work, and to start again, beside a newer build: what came later is recorded elsewhere.
const LAST_OF_FIRST_BUILDS: i32 = 3;
const LATER_HISTORY: &str = "later_schema_history";

/// Server-side limits: a frozen process or a slow statement is out of the way of the others within seconds. Plans are made once,
/// maybe while a table is still empty: without sequential scans they are the right ones for a full table, too.
const SESSION: &str = "set idle_in_transaction_session_timeout = '5s'; set plan_cache_mode = force_generic_plan; \
     set enable_seqscan = off; \
     set synchronous_commit = on; set timezone = 'UTC'; set jit = off";

/// What the roles do all day names its rows by their keys. However few rows there were when a plan was made, a look for each key is right.
const BY_KEY: &str = "set enable_hashjoin = off; set enable_mergejoin = off";

/// What waits for a lock for longer ends.
const LOCK: Duration = Duration::from_secs(2);

/// A database that answers later than this is as good as gone.
const PING: Duration = Duration::from_secs(3);

/// A pool of connections to the database of the fleet.
#[derive(Clone, Debug)]
pub struct Store {
    pool: Pool,
    /// For all that is done over a connection before it is given back.
    whole: Duration,
}

/// How long the users of a pool may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// To get a connection.
    pub wait: Duration,
    /// For one statement: the server ends it then.
    pub statement: Duration,
    /// For all that is done over a connection before it is given back.
    pub whole: Duration,
}

impl Store {
    /// Does not connect yet.
    pub fn new(settings: &Database, role: &str, connections: usize) -> anyhow::Result<Store> {
        let wait = Duration::from_millis(settings.timeout_ms);
        // The server's own limit is 10 s a statement; a whole transaction gets a little more than that.
        let whole = wait.max(Duration::from_secs(12));
        let bounds = Bounds { wait, statement: Duration::from_secs(10), whole };
        Store::open(settings, role, connections, bounds, BY_KEY)
    }

    /// For users with less patience than others, or more.
    pub fn bounded(
        settings: &Database,
        role: &str,
        connections: usize,
        bounds: Bounds,
    ) -> anyhow::Result<Store> {
        Store::open(settings, role, connections, bounds, "")
    }

    fn open(
        settings: &Database,
        role: &str,
        connections: usize,
        bounds: Bounds,
        planning: &str,
    ) -> anyhow::Result<Store> {
        let timeout = Duration::from_millis(settings.timeout_ms).min(bounds.wait);
        let (statement, lock) = (bounds.statement, bounds.statement.min(LOCK));
        let session = Arc::new(format!(
            "set statement_timeout = {}; set lock_timeout = {}; {SESSION}; {planning}",
            statement.as_millis(),
            lock.as_millis()
        ));
        let mut postgres = tokio_postgres::Config::from_str(&settings.url).map_err(|_| {
            anyhow::anyhow!(
                "database.url is not a PostgreSQL address (postgres://user:password@host:port/database)"
            )
        })?;
        postgres
            .application_name(format!("podfleet {role}"))
            .connect_timeout(timeout)
            .keepalives_idle(Duration::from_secs(5))
            .tcp_user_timeout(Duration::from_secs(10));
        let manager =
            Manager::from_config(postgres, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let pool = Pool::builder(manager)
            .max_size(connections)
            .timeouts(Timeouts { wait: Some(timeout), create: Some(timeout), recycle: Some(timeout) })
            .runtime(Runtime::Tokio1)
            .post_create(Hook::async_fn(move |client, _| {
                let session = session.clone();
                Box::pin(async move { client.batch_execute(&session).await.map_err(HookError::Backend) })
            }))
            .build()?;
        Ok(Store { pool, whole: bounds.whole })
    }

    /// A connection of the pool.
    pub async fn client(&self) -> anyhow::Result<Object> {
        self.pool.get().await.context("PostgreSQL does not give a connection")
    }

    /// Gives up a connection that did not do what it should: it may be half-open, or still busy with a statement. Its idle
    /// neighbours are likely no better, and whoever got one of them would find out no sooner.
    pub fn discard(&self, client: Object) {
        drop(Object::take(client));
        self.pool.retain(|_, _| false);
    }

    /// Runs database work within a bound. After a timeout or an error the connection is dropped, not reused: the statement
    /// may still run on it, and a half-open connection would hang whoever gets it next.
    pub async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut Object) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut client = self.client().await?;
        let limit = self.whole;
        match tokio::time::timeout(limit, work(&mut client)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                if client.is_closed() || error.chain().any(|cause| cause.is::<std::io::Error>()) {
                    drop(Object::take(client));
                }
                Err(error)
            }
            Err(_) => {
                self.discard(client);
                bail!("PostgreSQL did not finish within {limit:?}")
            }
        }
    }

    /// Whether the database answers, soon enough to be of use.
    pub async fn ping(&self) -> anyhow::Result<()> {
        let client = self.client().await?;
        match tokio::time::timeout(PING, client.simple_query("select 1")).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                self.discard(client);
                Err(error.into())
            }
            Err(_) => {
                self.discard(client);
                bail!("PostgreSQL did not answer within {PING:?}")
            }
        }
    }
}

/// What the database says is wrong, if it was the database that said so.
pub fn code(error: &anyhow::Error) -> Option<&SqlState> {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<tokio_postgres::Error>())
        .and_then(|error| error.code())
}

/// Whether the database refuses what it was given, rather than being out of reach: a data exception (class 22), a broken constraint
/// (23), a row beyond a limit (54). It will not change its mind.
pub fn is_refused(error: &anyhow::Error) -> bool {
    code(error).is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.code().starts_with(class)))
}

/// Whether somebody else holds a row that is needed, for longer than one waits.
pub fn is_locked(error: &anyhow::Error) -> bool {
    code(error) == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

/// Whether the database has no room on its disk.
pub fn is_disk_full(error: &anyhow::Error) -> bool {
    code(error) == Some(&SqlState::DISK_FULL)
}

/// Brings the schema up to date; safe to call from several processes at once. Returns how many migrations were new to it.
pub async fn migrate(settings: &Database) -> anyhow::Result<usize> {
    let (mut client, connection) = tokio_postgres::Config::from_str(&settings.url)
        .map_err(|_| anyhow::anyhow!("database.url is not a PostgreSQL address"))?
        .connect_timeout(Duration::from_millis(settings.timeout_ms))
        .keepalives_idle(Duration::from_secs(5))
        .tcp_user_timeout(Duration::from_secs(10))
        .connect(NoTls)
        .await
        .context("connecting to PostgreSQL")?;
    let connection = tokio::spawn(connection);
    // One migration at a time: the lock is the session's and ends with it.
    client.batch_execute("select pg_advisory_lock(7047000)").await?;
    let applied = apply_all(&mut client).await.context("migrating the database")?;
    fleet::make_partitions(&client).await?;
    drop(client);
    connection.await?.context("talking to PostgreSQL")?;
    tracing::info!(applied, "the schema is up to date");
    Ok(applied)
}

/// Returns how many migrations were new to the database.
async fn apply_all(client: &mut tokio_postgres::Client) -> anyhow::Result<usize> {
    let all = embedded::migrations::runner();
    let later: Vec<Migration> = all
        .get_migrations()
        .iter()
        .filter(|migration| migration.version() > LAST_OF_FIRST_BUILDS)
        .cloned()
        .collect();
    let first = all.set_target(Target::Version(LAST_OF_FIRST_BUILDS)).run_async(client).await?;
    // A newer build may have been here. Schemas only grow, so what it added is no concern of this one.
    let mut runner = Runner::new(&later).set_abort_missing(false);
    let runner = runner.set_migration_table_name(LATER_HISTORY);
    let applied = runner.run_async(client).await?;
    let history = runner.get_applied_migrations_async(client).await?;
    if let Some(skipped) = skipped(&later, &history) {
        bail!(
            "the migration {skipped} is older than what this database has, so it was not applied; it needs a higher number"
        );
    }
    Ok(first.applied_migrations().len() + applied.applied_migrations().len())
}

/// A migration that came into this build after one with a higher number had been applied to the database.
fn skipped<'a>(known: &'a [Migration], applied: &[Migration]) -> Option<&'a Migration> {
    known.iter().find(|known| applied.iter().all(|applied| applied.version() != known.version()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_that_comes_after_a_later_one_is_told() {
        let migration = |name: &str| Migration::unapplied(name, "select 1").unwrap();
        let known = [migration("V4__a"), migration("V6__b"), migration("V7__c")];
        let of = |numbers: &[usize]| -> Vec<Migration> {
            numbers.iter().map(|number| known[*number].clone()).collect()
        };
        assert_eq!(skipped(&known, &of(&[0, 2])).map(Migration::version), Some(6));
        assert!(skipped(&known, &of(&[0, 1, 2])).is_none());
        // A newer build has been here.
        assert!(skipped(&known[..2], &of(&[0, 1, 2])).is_none());
    }
}
