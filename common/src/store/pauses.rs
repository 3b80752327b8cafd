//! Pauses in force, and the tasks that they hold back. A lane that stands still as a whole is passed over by the dispatcher. Of a lane
//! that others use, what a pause covers is put aside when the dispatcher meets it: scheduled for a time that never comes, which
//! older builds respect as well. What was put aside becomes `ready` again, a thousand tasks a look, once its pause has ended.

use std::collections::BTreeMap;

use anyhow::Context;
use deadpool_postgres::{Client, Transaction};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use tokio_postgres::Row;
use uuid::Uuid;

use super::audit::{self, NewAudit};
use crate::pause::Scope;
use crate::topology::Lane;
use crate::work::Kind;

/// Tasks that are put aside or released in one statement.
const AT_ONCE: i64 = 1_000;

/// From this time on a task does not wait for a time, but for the end of a pause.
pub(super) const HELD_FROM: &str = "timestamptz '9000-01-01 00:00:00+00'";

/// A pause, as people see it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Pause {
    pub id: Uuid,
    #[serde(flatten)]
    pub scope: Scope,
    pub by: String,
    pub reason: String,
    pub since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed_by: Option<String>,
}

/// A pause, as a dispatcher knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    pub number: i32,
    pub scope: Scope,
}

/// Who pauses or resumes, and why.
#[derive(Clone, Copy, Debug)]
pub struct Act<'a> {
    /// Of whoever does it: where the audit trail tells of it.
    pub tenant: &'a str,
    pub principal: &'a str,
    pub reason: &'a str,
}

const COLUMNS: &str = "id, tenant, kind, lane, engine, principal, reason, created_at, resumed_at, resumed_by";

/// Begins a pause. `false`: it was in force already, by whom and why the row tells.
pub async fn pause(tx: &Transaction<'_>, scope: &Scope, act: &Act<'_>) -> anyhow::Result<(Pause, bool)> {
    let insert = tx
        .prepare_cached(&format!(
            "insert into pauses (id, tenant, kind, lane, engine, principal, reason) values ($1, $2, $3, $4, $5, $6, $7)
             on conflict do nothing returning {COLUMNS}"
        ))
        .await?;
    let (kind, lane) = (scope.kind.map(Kind::as_str), scope.lane.map(Lane::as_str));
    let row = tx
        .query_opt(
            &insert,
            &[&Uuid::now_v7(), &scope.tenant, &kind, &lane, &scope.engine, &act.principal, &act.reason],
        )
        .await?;
    if let Some(row) = row {
        let pause = read(&row)?;
        let entry = NewAudit {
            tenant: act.tenant,
            principal: act.principal,
            action: "pause",
            subject: subject(pause.id),
            reason: Some(act.reason),
            before: None,
            after: Some(json!(scope)),
        };
        audit::insert(tx, &entry).await?;
        return Ok((pause, true));
    }
    let select = tx
        .prepare_cached(&format!(
            "select {COLUMNS} from pauses where resumed_at is null and tenant is not distinct from $1
                    and kind is not distinct from $2 and lane is not distinct from $3 and engine is not distinct from $4"
        ))
        .await?;
    let found = tx.query_opt(&select, &[&scope.tenant, &kind, &lane, &scope.engine]).await?;
    Ok((read(&found.context("it was resumed at the same moment")?)?, false))
}

/// Ends a pause. `None`: there is none with this id; `false`: it had ended. `of` limits it to the pauses of a tenant.
pub async fn resume(
    tx: &Transaction<'_>,
    of: Option<&str>,
    id: Uuid,
    act: &Act<'_>,
) -> anyhow::Result<Option<(Pause, bool)>> {
    let update = tx
        .prepare_cached(&format!(
            "update pauses set resumed_at = now(), resumed_by = $3
             where id = $1 and ($2::text is null or tenant = $2) and resumed_at is null returning {COLUMNS}"
        ))
        .await?;
    if let Some(row) = tx.query_opt(&update, &[&id, &of, &act.principal]).await? {
        let pause = read(&row)?;
        let entry = NewAudit {
            tenant: act.tenant,
            principal: act.principal,
            action: "resume",
            subject: subject(id),
            reason: Some(act.reason),
            before: Some(json!(pause.scope)),
            after: None,
        };
        audit::insert(tx, &entry).await?;
        return Ok(Some((pause, true)));
    }
    let select = tx
        .prepare_cached(&format!(
            "select {COLUMNS} from pauses where id = $1 and ($2::text is null or tenant = $2)"
        ))
        .await?;
    let row = tx.query_opt(&select, &[&id, &of]).await?;
    row.as_ref().map(|row| Ok((read(row)?, false))).transpose()
}

/// What the audit trail calls a pause.
pub fn subject(id: Uuid) -> String {
    format!("pause/{id}")
}

/// The pauses that a tenant meets, its own and those for everybody; without a tenant, all. Newest first.
pub async fn list(client: &Client, tenant: Option<&str>) -> anyhow::Result<Vec<Pause>> {
    let select = client
        .prepare_cached(&format!(
            "select {COLUMNS} from pauses
             where not released and resumed_at is null and ($1::text is null or tenant is null or tenant = $1) order by id desc"
        ))
        .await?;
    client.query(&select, &[&tenant]).await?.iter().map(read).collect()
}

/// All pauses that are in force.
pub async fn in_force(tx: &Transaction<'_>) -> anyhow::Result<Vec<InForce>> {
    let select = tx
        .prepare_cached(
            "select number, tenant, kind, lane, engine from pauses where not released and resumed_at is null order by number",
        )
        .await?;
    let rows = tx.query(&select, &[]).await?;
    rows.iter().map(|row| Ok(InForce { number: row.try_get("number")?, scope: scope(row)? })).collect()
}

/// Puts aside what is paused at the head of a lane, and locks nothing else. Returns whether all that was looked at is: then more may
/// follow it.
pub async fn put_aside(
    tx: &Transaction<'_>,
    kind: Kind,
    lane: Lane,
    pauses: &[InForce],
) -> anyhow::Result<bool> {
    let select = tx
        .prepare_cached(
            "select id, tenant, engine from tasks where state = 'ready' and kind = $1 and lane = $2 order by rank limit $3",
        )
        .await?;
    let rows = tx.query(&select, &[&kind.as_str(), &lane.as_str(), &AT_ONCE]).await?;
    let mut held: BTreeMap<i32, Vec<Uuid>> = BTreeMap::new();
    for row in &rows {
        let (tenant, engine): (&str, &str) = (row.try_get("tenant")?, row.try_get("engine")?);
        if let Some(pause) = pauses.iter().find(|pause| pause.scope.covers(tenant, kind, lane, engine)) {
            held.entry(pause.number).or_default().push(row.try_get("id")?);
        }
    }
    let update = tx
        .prepare_cached(&format!(
            "with held as (select id from tasks where id = any($1) and state = 'ready' for update skip locked)
             update tasks set state = 'scheduled', run_at = {HELD_FROM} + make_interval(secs => $2)
             where id = any(array(select id from held)) and state = 'ready'"
        ))
        .await?;
    for (number, ids) in &held {
        tx.execute(&update, &[ids, &f64::from(*number)]).await?;
    }
    let all = held.values().map(Vec::len).sum::<usize>() == rows.len();
    Ok(all && !rows.is_empty())
}

/// Makes tasks ready that were held under pauses which have ended. A dispatcher that has not heard of the end may still put one aside:
/// for a while after it, nobody says that nothing is left.
pub async fn release(tx: &Transaction<'_>) -> anyhow::Result<u64> {
    let select = tx
        .prepare_cached(
            "select number, resumed_at < now() - interval '30 seconds' from pauses where not released and resumed_at is not null",
        )
        .await?;
    let ended = tx.query(&select, &[]).await?;
    if ended.is_empty() {
        return Ok(0);
    }
    let update = tx
        .prepare_cached(&format!(
            "with held as (select id from tasks where state = 'scheduled' and run_at = {HELD_FROM} + make_interval(secs => $1)
                           limit $2 for update skip locked)
             update tasks set state = 'ready', run_at = null
             where id = any(array(select id from held)) and state = 'scheduled'"
        ))
        .await?;
    let mut released = 0;
    for row in ended {
        let (number, long_ago): (i32, bool) = (row.try_get(0)?, row.try_get(1)?);
        let now = tx.execute(&update, &[&f64::from(number), &AT_ONCE]).await?;
        if now == 0 && long_ago {
            close(tx, number).await?;
        }
        released += now;
    }
    Ok(released)
}

/// Nothing is held under a number any more, also nothing that was passed over because somebody had it locked.
async fn close(tx: &Transaction<'_>, number: i32) -> anyhow::Result<()> {
    let update = tx
        .prepare_cached(&format!(
            "update pauses set released = true where number = $1
                    and not exists (select from tasks where state = 'scheduled'
                                           and run_at = {HELD_FROM} + make_interval(secs => $2))"
        ))
        .await?;
    tx.execute(&update, &[&number, &f64::from(number)]).await?;
    Ok(())
}

fn read(row: &Row) -> anyhow::Result<Pause> {
    Ok(Pause {
        id: row.try_get("id")?,
        scope: scope(row)?,
        by: row.try_get("principal")?,
        reason: row.try_get("reason")?,
        since: row.try_get("created_at")?,
        resumed_at: row.try_get("resumed_at")?,
        resumed_by: row.try_get("resumed_by")?,
    })
}

fn scope(row: &Row) -> anyhow::Result<Scope> {
    let (kind, lane): (Option<&str>, Option<&str>) = (row.try_get("kind")?, row.try_get("lane")?);
    let unknown = |what: &str| format!("a pause of the unknown {what}");
    Ok(Scope {
        tenant: row.try_get("tenant")?,
        kind: kind.map(|name| Kind::parse(name).with_context(|| unknown(name))).transpose()?,
        lane: lane.map(|name| Lane::parse(name).with_context(|| unknown(name))).transpose()?,
        engine: row.try_get("engine")?,
    })
}
