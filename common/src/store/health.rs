//! What a database is like, for `podfleet doctor`.

use deadpool_postgres::Client;
use jiff::Timestamp;

use super::embedded;

/// The server, by its own word.
#[derive(Clone, Debug)]
pub struct Health {
    pub version: String,
    /// 150008 for 15.8.
    pub version_number: i32,
    pub in_recovery: bool,
    pub fsync: bool,
    pub full_page_writes: bool,
    /// As the server has it for sessions that ask for nothing.
    pub synchronous_commit: bool,
    pub data_checksums: bool,
    pub max_connections: i64,
    pub connections: i64,
    pub now: Timestamp,
}

pub async fn look(client: &Client) -> anyhow::Result<Health> {
    let row = client
        .query_one(
            "select current_setting('server_version'), current_setting('server_version_num')::int, pg_is_in_recovery(),
                    current_setting('fsync')::bool, current_setting('full_page_writes')::bool,
                    (select reset_val <> 'off' from pg_settings where name = 'synchronous_commit'),
                    current_setting('data_checksums')::bool, current_setting('max_connections')::bigint,
                    (select count(*) from pg_stat_activity where backend_type = 'client backend'), clock_timestamp()",
            &[],
        )
        .await?;
    Ok(Health {
        version: row.try_get(0)?,
        version_number: row.try_get(1)?,
        in_recovery: row.try_get(2)?,
        fsync: row.try_get(3)?,
        full_page_writes: row.try_get(4)?,
        synchronous_commit: row.try_get(5)?,
        data_checksums: row.try_get(6)?,
        max_connections: row.try_get(7)?,
        connections: row.try_get(8)?,
        now: row.try_get(9)?,
    })
}

/// Who uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// Migrations that this build has and the database has not.
    pub pending_migrations: i64,
    /// Processes that hold a lease to publish tickets.
    pub publishers: i64,
    pub workers: i64,
    pub keys: i64,
}

pub async fn fleet(client: &Client) -> anyhow::Result<Fleet> {
    let row = client
        .query_one(
            "select (select count(*) from publishers where lease_until > now()),
                    (select count(*) from workers where seen_at > now() - interval '1 minute'),
                    (select count(*) from api_keys where revoked_at is null and coalesce(expires_at > now(), true)),
                    (select count(*) from later_schema_history) + (select count(*) from refinery_schema_history)",
            &[],
        )
        .await?;
    let known = i64::try_from(embedded::migrations::runner().get_migrations().len())?;
    let applied: i64 = row.try_get(3)?;
    Ok(Fleet {
        pending_migrations: (known - applied).max(0),
        publishers: row.try_get(0)?,
        workers: row.try_get(1)?,
        keys: row.try_get(2)?,
    })
}

/// A transaction that writes to the journal and nowhere else.
pub async fn commit(client: &Client) -> anyhow::Result<()> {
    client
        .query_one("select pg_logical_emit_message(true, 'podfleet doctor', 'a commit')::text", &[])
        .await?;
    Ok(())
}
