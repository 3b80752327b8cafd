//! Sessions of the dashboard: a key, and for how long it was signed in with.

use anyhow::Context;
use blake3::Hash;
use deadpool_postgres::{Client, Transaction};
use jiff::Timestamp;
use uuid::Uuid;

/// Sessions of one key; the next one ends the oldest.
const MOST: i64 = 20;

/// A session that opens, as producers hold it in memory.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    pub hash: Hash,
    pub key: Uuid,
    pub expires_at: Timestamp,
}

/// Begins a session of `hours`, and forgets those that are over or too many.
pub async fn begin(tx: &Transaction<'_>, hash: &Hash, key: Uuid, hours: i32) -> anyhow::Result<()> {
    let delete = tx
        .prepare_cached(
            "delete from sessions where key_id = $1 and (expires_at < now() or hash in (
                 select hash from sessions where key_id = $1 order by created_at desc offset $2))",
        )
        .await?;
    tx.execute(&delete, &[&key, &(MOST - 1)]).await?;
    let insert = tx
        .prepare_cached(
            "insert into sessions (hash, key_id, expires_at) values ($1, $2, now() + make_interval(hours => $3))",
        )
        .await?;
    tx.execute(&insert, &[&hash.as_bytes().as_slice(), &key, &hours]).await?;
    Ok(())
}

pub async fn end(client: &Client, hash: &Hash) -> anyhow::Result<()> {
    let delete = client.prepare_cached("delete from sessions where hash = $1").await?;
    client.execute(&delete, &[&hash.as_bytes().as_slice()]).await?;
    Ok(())
}

/// Every session that opens now; whether its key does is another question.
pub async fn valid(client: &Client) -> anyhow::Result<Vec<Session>> {
    let select = client
        .prepare_cached("select hash, key_id, expires_at from sessions where expires_at > now()")
        .await?;
    let rows = client.query(&select, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Session {
                hash: Hash::from_slice(row.try_get(0)?).context("a session's hash has not 32 bytes")?,
                key: row.try_get(1)?,
                expires_at: row.try_get(2)?,
            })
        })
        .collect()
}
