//! Replays of many letters: a row each, and a row for each of their letters. Any process may take the next letter; whichever
//! does holds a claim for a few seconds, and what a crash leaves behind another one finds.

use deadpool_postgres::{Client, Transaction};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::steps::{self, Look};
use crate::store::dead_letters::reading::Filter;
use crate::store::dead_letters::settling::Decision;

/// Letters of one replay; more wait for the next.
pub const MOST_LETTERS: i64 = 10_000;

/// Which letters `d` can be replayed at all.
pub const REPLAYABLE: &str = "(d.source <> 'message' or coalesce(d.origin, '') = 'request')";

/// After this many attempts that ended in an error of ours, a letter is left out.
pub const MOST_TRIES: i16 = 3;

/// Begins a replay of the open letters that match. Returns how many they are.
pub async fn start(
    tx: &Transaction<'_>,
    id: Uuid,
    decision: &Decision<'_>,
    filter: &Filter,
    rate_per_minute: i32,
) -> anyhow::Result<i64> {
    let insert = tx
        .prepare_cached(
            "insert into replays (id, tenant, principal, filter, reason, rate_per_minute, total)
             values ($1, $2, $3, $4, $5, $6, 0)",
        )
        .await?;
    tx.execute(
        &insert,
        &[&id, &decision.tenant, &decision.principal, &Json(filter), &decision.reason, &rate_per_minute],
    )
    .await?;
    let tenant = decision.tenant;
    let condition = filter.condition(&tenant);
    let (sql, id_at, limit_at) = (&condition.sql, condition.next(1), condition.next(2));
    let items = tx
        .prepare_cached(&format!(
            "insert into replay_items (replay_id, letter_id)
             select ${id_at}, d.id from dead_letters d where {sql} and d.state = 'open' and {REPLAYABLE} order by d.id limit ${limit_at}"
        ))
        .await?;
    let mut parameters = condition.parameters;
    parameters.extend([&id as &(dyn ToSql + Sync), &MOST_LETTERS]);
    let total = i64::try_from(tx.execute(&items, &parameters).await?)?;
    let update = tx.prepare_cached("update replays set total = $2 where id = $1").await?;
    tx.execute(&update, &[&id, &i32::try_from(total)?]).await?;
    Ok(total)
}

/// A replay as support sees it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Replay")]
pub struct Progress {
    pub id: Uuid,
    /// `running`, `completed`, `stopped` or `cancelled`.
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    pub reason: String,
    pub by: String,
    pub filter: Value,
    pub total: i32,
    pub replayed: i64,
    pub skipped: i64,
    pub failed: i64,
    pub waiting: i64,
    /// From 1; its size is how many letters it replays.
    pub step: i32,
    pub step_size: u32,
    pub rate_per_minute: i32,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

const PROGRESS: &str = "select r.id, r.state, r.remark, r.reason, r.principal, r.filter, r.total, r.step, r.rate_per_minute, r.created_at,
            r.finished_at, count(i.*) filter (where i.state = 'replayed') as replayed,
            count(i.*) filter (where i.state = 'skipped') as skipped, count(i.*) filter (where i.state = 'failed') as failed,
            count(i.*) filter (where i.state = 'waiting') as waiting
     from replays r left join replay_items i on i.replay_id = r.id";

pub async fn progress(client: &Client, tenant: &str, id: Uuid) -> anyhow::Result<Option<Progress>> {
    let select =
        client.prepare_cached(&format!("{PROGRESS} where r.tenant = $1 and r.id = $2 group by r.id")).await?;
    client.query_opt(&select, &[&tenant, &id]).await?.as_ref().map(read).transpose()
}

/// The latest replays, newest first.
pub async fn latest(
    client: &Client,
    tenant: &str,
    before: Option<Uuid>,
    limit: i64,
) -> anyhow::Result<Vec<Progress>> {
    let select = client
        .prepare_cached(&format!(
            "{PROGRESS} where r.id in (select id from replays where tenant = $1 and ($2::uuid is null or id < $2)
                                        order by id desc limit $3)
             group by r.id order by r.id desc"
        ))
        .await?;
    client.query(&select, &[&tenant, &before, &limit]).await?.iter().map(read).collect()
}

fn read(row: &Row) -> anyhow::Result<Progress> {
    let step: i32 = row.try_get("step")?;
    Ok(Progress {
        id: row.try_get("id")?,
        state: row.try_get("state")?,
        remark: row.try_get("remark")?,
        reason: row.try_get("reason")?,
        by: row.try_get("principal")?,
        filter: row.try_get("filter")?,
        total: row.try_get("total")?,
        replayed: row.try_get("replayed")?,
        skipped: row.try_get("skipped")?,
        failed: row.try_get("failed")?,
        waiting: row.try_get("waiting")?,
        step: step + 1,
        step_size: steps::size(u32::try_from(step).unwrap_or_default()),
        rate_per_minute: row.try_get("rate_per_minute")?,
        created_at: row.try_get("created_at")?,
        finished_at: row.try_get("finished_at")?,
    })
}

/// A letter that was passed over, and why.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReplayPassedOver")]
pub struct PassedOver {
    pub letter: Uuid,
    pub state: String,
    pub detail: Option<String>,
}

pub async fn passed_over(
    client: &Client,
    tenant: &str,
    id: Uuid,
    limit: i64,
) -> anyhow::Result<Vec<PassedOver>> {
    let select = client
        .prepare_cached(
            "select i.letter_id, i.state, i.detail from replay_items i join replays r on r.id = i.replay_id
             where r.tenant = $1 and r.id = $2 and i.state in ('skipped', 'failed') order by i.letter_id limit $3",
        )
        .await?;
    let rows = client.query(&select, &[&tenant, &id, &limit]).await?;
    Ok(rows
        .iter()
        .map(|row| PassedOver { letter: row.get(0), state: row.get(1), detail: row.get(2) })
        .collect())
}

/// Ends a running replay. `false`: it had ended.
pub async fn end(
    tx: &Transaction<'_>,
    tenant: &str,
    id: Uuid,
    state: &str,
    remark: Option<&str>,
) -> anyhow::Result<bool> {
    let update = tx
        .prepare_cached(
            "update replays set state = $3, remark = $4, finished_at = now() where tenant = $1 and id = $2 and state = 'running'",
        )
        .await?;
    Ok(tx.execute(&update, &[&tenant, &id, &state, &remark]).await? == 1)
}

/// A running replay that this process takes forward for the next seconds.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub id: Uuid,
    pub tenant: String,
    pub principal: String,
    pub reason: String,
}

/// Claims the running replay that was left alone the longest, unless another process has it.
pub async fn claim(client: &Client) -> anyhow::Result<Option<Claimed>> {
    let update = client
        .prepare_cached(
            "update replays set claimed_until = now() + interval '20 seconds'
             where id = (select id from replays where state = 'running' and claimed_until <= now()
                         order by claimed_until limit 1 for update skip locked)
             returning id, tenant, principal, reason",
        )
        .await?;
    let row = client.query_opt(&update, &[]).await?;
    Ok(row.map(|row| Claimed {
        id: row.get(0),
        tenant: row.get(1),
        principal: row.get(2),
        reason: row.get(3),
    }))
}

/// Lets a replay go, for whoever looks half a second later.
pub async fn let_go(client: &Client, id: Uuid) -> anyhow::Result<()> {
    let update = client
        .prepare_cached(
            "update replays set claimed_until = now() + interval '500 milliseconds' where id = $1",
        )
        .await?;
    client.execute(&update, &[&id]).await?;
    Ok(())
}

/// Where a replay stands. A letter is settled when its task is done, its podcast has ended, or a new letter has come of it;
/// since a replay settles every letter of its podcast, an open one is newer.
pub async fn look(client: &Client, id: Uuid) -> anyhow::Result<Look> {
    let select = client
        .prepare_cached(
            "with turned as (
                 select i.step, d.fingerprint,
                        array(select n.fingerprint from dead_letters n
                              where n.podcast_id = d.podcast_id and n.id <> d.id and (n.state = 'open' or n.created_at > i.at)) as died,
                        d.podcast_id is null
                        or not exists (select from podcasts p where p.id = d.podcast_id and p.state = 'running')
                        or exists (select from tasks t where t.podcast_id = d.podcast_id and t.id = d.task_id and t.state = 'done')
                            as settled
                 from replay_items i join dead_letters d on d.id = i.letter_id
                 where i.replay_id = $1 and i.state = 'replayed')
             select r.step,
                    (select count(*) from replay_items i where i.replay_id = r.id and i.state = 'waiting') as waiting,
                    count(t.*) filter (where t.step = r.step) as replayed,
                    count(t.*) filter (where t.step = r.step and not t.settled and died = '{}') as unsettled,
                    count(t.*) filter (where t.step = r.step and died <> '{}') as died,
                    count(t.*) filter (where t.fingerprint = any(t.died)) as returned
             from replays r left join turned t on true where r.id = $1 group by r.id",
        )
        .await?;
    let row = client.query_one(&select, &[&id]).await?;
    let count = |name| row.try_get::<_, i64>(name).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    Ok(Look {
        step: u32::try_from(row.try_get::<_, i32>("step")?).unwrap_or_default(),
        waiting: count("waiting")?,
        replayed: count("replayed")?,
        unsettled: count("unsettled")?,
        died: count("died")?,
        returned: count("returned")?,
    })
}

/// Takes the place of one letter in the rate, if it is time. Time that was not used is not saved up beyond a second's worth.
pub async fn take_turn(client: &Client, id: Uuid) -> anyhow::Result<bool> {
    let update = client
        .prepare_cached(
            "update replays set next_at = greatest(next_at, now() - interval '1 second') + interval '1 minute' / rate_per_minute
             where id = $1 and state = 'running' and next_at <= now()",
        )
        .await?;
    Ok(client.execute(&update, &[&id]).await? == 1)
}

/// The next letter, and how often it was tried, this time included.
pub async fn next_letter(client: &Client, id: Uuid) -> anyhow::Result<Option<(Uuid, i16)>> {
    let update = client
        .prepare_cached(
            "update replay_items set tries = tries + 1
             where replay_id = $1 and letter_id = (select letter_id from replay_items where replay_id = $1 and state = 'waiting'
                                                   order by letter_id limit 1)
             returning letter_id, tries",
        )
        .await?;
    Ok(client.query_opt(&update, &[&id]).await?.map(|row| (row.get(0), row.get(1))))
}

/// In the transaction that replays the letter: both happen, or neither does.
pub async fn mark_replayed(tx: &Transaction<'_>, id: Uuid, letter: Uuid) -> anyhow::Result<()> {
    let update = tx
        .prepare_cached(
            "update replay_items set state = 'replayed', at = now(), step = (select step from replays where id = $1)
             where replay_id = $1 and letter_id = $2 and state = 'waiting'",
        )
        .await?;
    tx.execute(&update, &[&id, &letter]).await?;
    Ok(())
}

/// The letter is passed over: `skipped` when it cannot be replayed, `failed` when we could not.
pub async fn pass_over(
    client: &Client,
    id: Uuid,
    letter: Uuid,
    state: &str,
    detail: &str,
) -> anyhow::Result<()> {
    let update = client
        .prepare_cached(
            "update replay_items set state = $3, detail = $4, at = now()
             where replay_id = $1 and letter_id = $2 and state = 'waiting'",
        )
        .await?;
    client.execute(&update, &[&id, &letter, &state, &detail]).await?;
    Ok(())
}

/// Begins the step after `step`.
pub async fn advance(client: &Client, id: Uuid, step: u32) -> anyhow::Result<()> {
    let update =
        client.prepare_cached("update replays set step = step + 1 where id = $1 and step = $2").await?;
    client.execute(&update, &[&id, &i32::try_from(step)?]).await?;
    Ok(())
}
