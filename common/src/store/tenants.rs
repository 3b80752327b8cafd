//! What tenants may ask for, and what they have asked for: rows of `tenants` and `tenant_days`.

use std::collections::{HashMap, HashSet};

use deadpool_postgres::{Client, Transaction};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_postgres::Row;

use super::audit::{self, NewAudit};
use crate::config::Limits;

/// The limits that differ for a tenant from the configured ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnLimits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub podcasts_in_flight: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub characters_per_day: Option<u64>,
}

impl OwnLimits {
    /// These where they are given, else the others.
    pub fn over(self, configured: Limits) -> Limits {
        Limits {
            requests_per_minute: self.requests_per_minute.unwrap_or(configured.requests_per_minute),
            podcasts_in_flight: self.podcasts_in_flight.unwrap_or(configured.podcasts_in_flight),
            characters_per_day: self.characters_per_day.unwrap_or(configured.characters_per_day),
        }
    }
}

/// Every tenant that has limits of its own.
pub async fn limits(client: &Client) -> anyhow::Result<HashMap<String, OwnLimits>> {
    let select = client
        .prepare_cached(
            "select tenant, requests_per_minute, podcasts_in_flight, characters_per_day from tenants",
        )
        .await?;
    client.query(&select, &[]).await?.iter().map(|row| Ok((row.try_get(0)?, read(row)?))).collect()
}

fn read(row: &Row) -> anyhow::Result<OwnLimits> {
    let number = |value: Option<i32>| value.map(|value| u32::try_from(value).unwrap_or(0));
    Ok(OwnLimits {
        requests_per_minute: number(row.try_get(1)?),
        podcasts_in_flight: number(row.try_get(2)?),
        characters_per_day: row.try_get::<_, Option<i64>>(3)?.map(|value| u64::try_from(value).unwrap_or(0)),
    })
}

/// Gives a tenant limits of its own; what is `None` is as configured again.
pub async fn set_limits(
    client: &mut Client,
    tenant: &str,
    limits: OwnLimits,
    by: &str,
) -> anyhow::Result<()> {
    let number = |value: Option<u32>| value.map(|value| i32::try_from(value).unwrap_or(i32::MAX));
    let tx = client.transaction().await?;
    let upsert = tx
        .prepare_cached(
            "insert into tenants (tenant, requests_per_minute, podcasts_in_flight, characters_per_day)
             values ($1, $2, $3, $4)
             on conflict (tenant) do update set requests_per_minute = $2, podcasts_in_flight = $3, characters_per_day = $4,
                                                updated_at = now()",
        )
        .await?;
    let characters = limits.characters_per_day.map(|value| i64::try_from(value).unwrap_or(i64::MAX));
    let (requests, podcasts) = (number(limits.requests_per_minute), number(limits.podcasts_in_flight));
    tx.execute(&upsert, &[&tenant, &requests, &podcasts, &characters]).await?;
    let entry = NewAudit {
        tenant,
        principal: by,
        action: "limits.set",
        subject: format!("tenant/{tenant}"),
        reason: None,
        before: None,
        after: Some(json!(limits)),
    };
    audit::insert(&tx, &entry).await?;
    Ok(tx.commit().await?)
}

/// What a tenant has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "LimitsUsed")]
pub struct Used {
    pub podcasts_in_flight: u32,
    /// Since midnight, UTC.
    pub characters: u64,
    #[serde(skip)]
    pub seconds_to_midnight: u32,
}

const TO_MIDNIGHT: &str = "extract(epoch from date_trunc('day', now()) + interval '1 day' - now())::float8";

/// Until the transaction ends nobody else accepts anything of this tenant, and what is told stays true: podcasts may end
/// meanwhile, but none is added. Of podcasts in flight no more than `most` are counted. The one lock that comes before a
/// podcast's; whoever takes several takes them by name.
pub async fn hold(tx: &Transaction<'_>, tenant: &str, most: u32) -> anyhow::Result<Used> {
    let upsert = tx
        .prepare_cached(&format!(
            "insert into tenant_days (tenant, day) values ($1, current_date)
             on conflict (tenant, day) do update set characters = tenant_days.characters
             returning characters, {TO_MIDNIGHT}"
        ))
        .await?;
    let row = tx.query_one(&upsert, &[&tenant]).await?;
    // A statement of its own, so that it sees what whoever held the row before has committed.
    let select = tx
        .prepare_cached(
            "select count(*) from (select from podcasts where tenant = $1 and state = 'running' limit $2) counted",
        )
        .await?;
    let running: i64 = tx.query_one(&select, &[&tenant, &i64::from(most)]).await?.get(0);
    Ok(used(running, row.try_get(0)?, row.try_get(1)?))
}

/// The same, without holding anything.
pub async fn used_by(client: &Client, tenant: &str) -> anyhow::Result<Used> {
    let select = client
        .prepare_cached(&format!(
            "select (select count(*) from podcasts where tenant = $1 and state = 'running'),
                    coalesce((select characters from tenant_days where tenant = $1 and day = current_date), 0), {TO_MIDNIGHT}"
        ))
        .await?;
    let row = client.query_one(&select, &[&tenant]).await?;
    Ok(used(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn used(running: i64, characters: i64, to_midnight: f64) -> Used {
    Used {
        podcasts_in_flight: u32::try_from(running).unwrap_or(u32::MAX),
        characters: u64::try_from(characters).unwrap_or(0),
        seconds_to_midnight: to_midnight.ceil().clamp(1.0, 86_400.0) as u32,
    }
}

/// Adds to what a tenant has asked for today, whose row is held.
pub async fn charge(tx: &Transaction<'_>, tenant: &str, characters: u64) -> anyhow::Result<()> {
    let update = tx
        .prepare_cached(
            "update tenant_days set characters = characters + $2 where tenant = $1 and day = current_date",
        )
        .await?;
    let characters = i64::try_from(characters).unwrap_or(i64::MAX / 2);
    tx.execute(&update, &[&tenant, &characters]).await?;
    Ok(())
}

/// Which of a tenant's idempotency keys stand for podcasts already.
pub async fn known_keys(
    tx: &Transaction<'_>,
    tenant: &str,
    keys: &[&str],
) -> anyhow::Result<HashSet<String>> {
    let select = tx
        .prepare_cached(
            "select idempotency_key from podcasts where tenant = $1 and idempotency_key = any($2)",
        )
        .await?;
    Ok(tx.query(&select, &[&tenant, &keys]).await?.iter().map(|row| row.get(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_own_limits_stand_before_the_configured_ones() {
        let configured = Limits { requests_per_minute: 60, podcasts_in_flight: 5, characters_per_day: 1_000 };
        assert_eq!(OwnLimits::default().over(configured), configured);
        let own =
            OwnLimits { podcasts_in_flight: Some(0), characters_per_day: Some(7), ..OwnLimits::default() };
        let expected = Limits { requests_per_minute: 60, podcasts_in_flight: 0, characters_per_day: 7 };
        assert_eq!(own.over(configured), expected);
    }
}
