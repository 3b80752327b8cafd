//! Keys to the API: rows of `api_keys`. Only hashes are kept.

use std::time::Duration;

use anyhow::Context;
use blake3::Hash;
use deadpool_postgres::{Client, Transaction};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_postgres::Row;
use uuid::Uuid;

use super::audit::{self, NewAudit};
use crate::access::{self, FreshKey, Role};
use crate::request::Fault;

/// Longest life of a key that has an end.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// A key that somebody wants to have.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub tenant: &'a str,
    /// What it does is done by this principal. Without one it is called after its label.
    pub name: Option<&'a str>,
    pub role: Role,
    /// `None`: it does not expire.
    pub expires_in: Option<Duration>,
    /// `None`: as its tenant.
    pub requests_per_minute: Option<i32>,
}

impl Wanted<'_> {
    pub fn check(&self) -> Result<(), Vec<Fault>> {
        let mut faults = Vec::new();
        let mut refuse = |field: &str, reason: String, remedy: String| {
            faults.push(Fault { field: field.into(), reason, remedy });
        };
        for (field, name) in [("tenant", Some(self.tenant)), ("name", self.name)] {
            if let Some(name) = name
                && !access::is_name(name)
            {
                refuse(field, format!("{name:?} cannot be one"), format!("Use {}", access::NAME_RULE));
            }
        }
        if self.expires_in.is_some_and(|life| life.is_zero() || life > LONGEST) {
            let remedy = "Give a time from 1 second to 10 years, or none: the key then does not expire";
            refuse("expires", "it is too short or too long".into(), remedy.into());
        }
        if let Some(rate) = self.requests_per_minute
            && rate < 1
        {
            let remedy = "Give 1 or more, or none: the key then has its tenant's limit";
            refuse("requests_per_minute", format!("it is {rate}"), remedy.into());
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// A key that was just made. Nobody can show its text again.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FreshKey")]
pub struct Made {
    pub key: String,
    #[serde(flatten)]
    pub listed: Listed,
}

/// Makes a key; `by` is who wants it.
pub async fn create(client: &mut Client, wanted: &Wanted<'_>, by: &str) -> anyhow::Result<Made> {
    let fresh = FreshKey::make()?;
    let (id, label) = (Uuid::now_v7(), fresh.prefix.replace('_', "-"));
    let name = wanted.name.unwrap_or(&label);
    let tx = client.transaction().await?;
    insert(&tx, id, wanted, name, &fresh).await?;
    let after = json!({"name": name, "role": wanted.role, "prefix": fresh.prefix});
    audit::insert(&tx, &entry(wanted.tenant, by, "key.create", id, after)).await?;
    let listed = find(&tx, Some(wanted.tenant), id).await?.context("a key that was just made is gone")?;
    tx.commit().await?;
    Ok(Made { key: fresh.text, listed })
}

/// Revokes a key of a tenant, or anybody's. `None`: there is no such key. Whether it was revoked before makes no difference.
pub async fn revoke(
    client: &mut Client,
    tenant: Option<&str>,
    id: Uuid,
    by: &str,
) -> anyhow::Result<Option<Listed>> {
    let tx = client.transaction().await?;
    let Some(found) = find(&tx, tenant, id).await? else { return Ok(None) };
    if end(&tx, &found.tenant, id).await? {
        let after = json!({"name": found.name, "revoked": true});
        audit::insert(&tx, &entry(&found.tenant, by, "key.revoke", id, after)).await?;
    }
    tx.commit().await?;
    Ok(Some(found))
}

fn entry<'a>(tenant: &'a str, by: &'a str, action: &'static str, id: Uuid, after: Value) -> NewAudit<'a> {
    let subject = format!("key/{id}");
    NewAudit { tenant, principal: by, action, subject, reason: None, before: None, after: Some(after) }
}

async fn insert(
    tx: &Transaction<'_>,
    id: Uuid,
    wanted: &Wanted<'_>,
    name: &str,
    fresh: &FreshKey,
) -> anyhow::Result<()> {
    let insert = tx
        .prepare_cached(
            "insert into api_keys (id, tenant, principal, role, prefix, hash, requests_per_minute, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $8))",
        )
        .await?;
    let seconds = wanted.expires_in.map(|life| life.as_secs_f64());
    tx.execute(
        &insert,
        &[
            &id,
            &wanted.tenant,
            &name,
            &wanted.role.as_str(),
            &fresh.prefix,
            &fresh.hash.as_bytes().as_slice(),
            &wanted.requests_per_minute,
            &seconds,
        ],
    )
    .await?;
    Ok(())
}

/// A key as it is listed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Key")]
pub struct Listed {
    pub id: Uuid,
    pub tenant: String,
    pub name: String,
    pub role: String,
    pub prefix: String,
    pub created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// To the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<i32>,
}

const LISTED: &str = "select id, tenant, principal, role, prefix, created_at, expires_at, revoked_at, last_used_at, requests_per_minute
     from api_keys";

/// Keys of a tenant, or of all tenants, newest first; revoked ones included.
pub async fn list(
    client: &Client,
    tenant: Option<&str>,
    before: Option<Uuid>,
    limit: i64,
) -> anyhow::Result<Vec<Listed>> {
    let select = client
        .prepare_cached(&format!(
            "{LISTED} where ($1::text is null or tenant = $1) and ($2::uuid is null or id < $2) order by id desc limit $3"
        ))
        .await?;
    client.query(&select, &[&tenant, &before, &limit]).await?.iter().map(read_listed).collect()
}

async fn find(tx: &Transaction<'_>, tenant: Option<&str>, id: Uuid) -> anyhow::Result<Option<Listed>> {
    let select =
        tx.prepare_cached(&format!("{LISTED} where id = $2 and ($1::text is null or tenant = $1)")).await?;
    tx.query_opt(&select, &[&tenant, &id]).await?.as_ref().map(read_listed).transpose()
}

fn read_listed(row: &Row) -> anyhow::Result<Listed> {
    Ok(Listed {
        id: row.try_get(0)?,
        tenant: row.try_get(1)?,
        name: row.try_get(2)?,
        role: row.try_get(3)?,
        prefix: row.try_get(4)?,
        created_at: row.try_get(5)?,
        expires_at: row.try_get(6)?,
        revoked_at: row.try_get(7)?,
        last_used_at: row.try_get(8)?,
        requests_per_minute: row.try_get(9)?,
    })
}

/// Whether it was this call that ended it.
async fn end(tx: &Transaction<'_>, tenant: &str, id: Uuid) -> anyhow::Result<bool> {
    let update = tx
        .prepare_cached(
            "update api_keys set revoked_at = now() where tenant = $1 and id = $2 and revoked_at is null",
        )
        .await?;
    Ok(tx.execute(&update, &[&tenant, &id]).await? == 1)
}

/// A key that opens, as producers hold it in memory.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: Uuid,
    pub hash: Hash,
    pub tenant: String,
    pub principal: String,
    pub role: Role,
    pub expires_at: Option<Timestamp>,
    pub requests_per_minute: Option<i32>,
}

/// Every key that opens now, of all tenants.
pub async fn valid(client: &Client) -> anyhow::Result<Vec<Key>> {
    let select = client
        .prepare_cached(
            "select id, hash, tenant, principal, role, expires_at, requests_per_minute from api_keys
             where revoked_at is null and (expires_at is null or expires_at > now())",
        )
        .await?;
    client.query(&select, &[]).await?.iter().map(read_key).collect()
}

fn read_key(row: &Row) -> anyhow::Result<Key> {
    let (hash, role): (&[u8], &str) = (row.try_get("hash")?, row.try_get("role")?);
    Ok(Key {
        id: row.try_get("id")?,
        hash: Hash::from_slice(hash).context("a key's hash has not 32 bytes")?,
        tenant: row.try_get("tenant")?,
        principal: row.try_get("principal")?,
        role: Role::parse(role).with_context(|| format!("unknown role {role}"))?,
        expires_at: row.try_get("expires_at")?,
        requests_per_minute: row.try_get("requests_per_minute")?,
    })
}

/// Notes that keys were used; at most once a minute each, whichever producer says so.
pub async fn touch(client: &Client, ids: &[Uuid]) -> anyhow::Result<()> {
    let update = client
        .prepare_cached(
            "update api_keys set last_used_at = now()
             where id = any($1) and (last_used_at is null or last_used_at < now() - interval '1 minute')",
        )
        .await?;
    client.execute(&update, &[&ids]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_key_is_refused_by_field() {
        let good = Wanted {
            tenant: "acme",
            name: Some("ci"),
            role: Role::Submit,
            expires_in: Some(Duration::from_secs(1)),
            requests_per_minute: Some(1),
        };
        assert!(good.check().is_ok());
        let check = |wanted: Wanted<'_>, field: &str| {
            assert_eq!(wanted.check().unwrap_err()[0].field, field, "{wanted:?}");
        };
        check(Wanted { tenant: "a/b", ..good }, "tenant");
        check(Wanted { name: Some(""), ..good }, "name");
        check(Wanted { expires_in: Some(Duration::ZERO), ..good }, "expires");
        check(Wanted { expires_in: Some(Duration::MAX), ..good }, "expires");
        check(Wanted { requests_per_minute: Some(0), ..good }, "requests_per_minute");
    }
}
