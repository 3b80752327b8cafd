//! What is decided about a letter: once, by whoever commits first.

use deadpool_postgres::Transaction;
use serde_json::Value;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::reading::{self, Settled};

/// The decision.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    pub tenant: &'a str,
    pub principal: &'a str,
    pub reason: &'a str,
    /// The replay of many that this belongs to.
    pub replay: Option<Uuid>,
}

/// Marks an open letter as replayed, or as discarded. `false`: it was settled before.
pub async fn settle(
    tx: &Transaction<'_>,
    id: Uuid,
    state: &str,
    decision: &Decision<'_>,
    became: Option<Uuid>,
    difference: Option<&Value>,
) -> anyhow::Result<bool> {
    let update = tx
        .prepare_cached(
            "update dead_letters set state = $3, settled_at = now(), settled_by = $4, settled_reason = $5, replay_id = $6,
                    became = $7, difference = $8
             where tenant = $1 and id = $2 and state = 'open'",
        )
        .await?;
    let difference = difference.map(Json);
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 8] = [
        &decision.tenant,
        &id,
        &state,
        &decision.principal,
        &decision.reason,
        &decision.replay,
        &became,
        &difference,
    ];
    Ok(tx.execute(&update, &parameters).await? == 1)
}

/// Who settled a letter, when and why. `None` while it is open.
pub async fn settled(tx: &Transaction<'_>, tenant: &str, id: Uuid) -> anyhow::Result<Option<Settled>> {
    let select = tx
        .prepare_cached(
            "select state, settled_at, settled_by, settled_reason, replay_id, became from dead_letters
             where tenant = $1 and id = $2",
        )
        .await?;
    match tx.query_opt(&select, &[&tenant, &id]).await? {
        Some(row) => reading::settled(&row),
        None => Ok(None),
    }
}

/// Other open letters of a podcast are settled with the one that brings it back: they stand for tasks that run again too.
pub async fn settle_others(
    tx: &Transaction<'_>,
    podcast: Uuid,
    decision: &Decision<'_>,
) -> anyhow::Result<Vec<Uuid>> {
    let update = tx
        .prepare_cached(
            "update dead_letters set state = 'replayed', settled_at = now(), settled_by = $3, settled_reason = $4, replay_id = $5
             where tenant = $1 and podcast_id = $2 and state = 'open' returning id",
        )
        .await?;
    let rows = tx
        .query(
            &update,
            &[&decision.tenant, &podcast, &decision.principal, &decision.reason, &decision.replay],
        )
        .await?;
    Ok(rows.into_iter().map(|row| row.get(0)).collect())
}
