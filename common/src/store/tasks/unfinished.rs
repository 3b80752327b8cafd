//! What was left to do when a deadline passed, as support is told.

use std::collections::BTreeMap;

use anyhow::Context;
use deadpool_postgres::Transaction;
use uuid::Uuid;

use crate::work::Kind;

/// What a podcast still had to do, by kind.
pub struct Unfinished {
    pub kind: Kind,
    pub tasks: i64,
    /// Why one of them failed last.
    pub last_error: Option<String>,
}

/// What these podcasts still have to do, in the order in which it is done.
pub async fn of_podcasts(
    tx: &Transaction<'_>,
    podcast_ids: &[Uuid],
) -> anyhow::Result<BTreeMap<Uuid, Vec<Unfinished>>> {
    let select = tx
        .prepare_cached(
            "select podcast_id, kind, count(*),
                    (array_agg(last_error order by dispatched_at desc nulls last) filter (where last_error is not null))[1]
             from tasks where podcast_id = any($1) and state in ('ready', 'scheduled', 'dispatched') group by 1, 2",
        )
        .await?;
    let mut unfinished: BTreeMap<Uuid, Vec<Unfinished>> = BTreeMap::new();
    for row in tx.query(&select, &[&podcast_ids]).await? {
        let kind = Kind::parse(row.get(1)).context("a kind of task")?;
        let of_kind = Unfinished { kind, tasks: row.get(2), last_error: row.get(3) };
        unfinished.entry(row.get(0)).or_default().push(of_kind);
    }
    for kinds in unfinished.values_mut() {
        kinds.sort_by_key(|of_kind| of_kind.kind);
    }
    Ok(unfinished)
}
