//! The audit trail: who did what to what, when and why, and what that changed. Rows are only ever added.

use deadpool_postgres::{Client, Transaction};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

#[derive(Clone, Debug)]
pub struct NewAudit<'a> {
    pub tenant: &'a str,
    pub principal: &'a str,
    /// `dead_letter.replay`, …
    pub action: &'static str,
    /// `dead_letter/ID`, …
    pub subject: String,
    pub reason: Option<&'a str>,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

pub async fn insert(tx: &Transaction<'_>, new: &NewAudit<'_>) -> anyhow::Result<()> {
    let insert = tx
        .prepare_cached(
            "insert into audit (id, tenant, principal, action, subject, reason, before, after)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .await?;
    tx.execute(
        &insert,
        &[
            &Uuid::now_v7(),
            &new.tenant,
            &new.principal,
            &new.action,
            &new.subject,
            &new.reason,
            &new.before,
            &new.after,
        ],
    )
    .await?;
    Ok(())
}

/// One line of the trail.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
pub struct Entry {
    pub at: Timestamp,
    pub by: String,
    pub action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// What was done to a subject, in order.
pub async fn of_subject(client: &Client, tenant: &str, subject: &str) -> anyhow::Result<Vec<Entry>> {
    let select = client
        .prepare_cached(
            "select at, principal, action, reason, before, after from audit where tenant = $1 and subject = $2
             order by id desc limit 100",
        )
        .await?;
    let rows = client.query(&select, &[&tenant, &subject]).await?;
    rows.iter()
        .rev()
        .map(|row| {
            Ok(Entry {
                at: row.try_get(0)?,
                by: row.try_get(1)?,
                action: row.try_get(2)?,
                reason: row.try_get(3)?,
                before: row.try_get(4)?,
                after: row.try_get(5)?,
            })
        })
        .collect()
}
