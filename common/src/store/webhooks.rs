//! Webhooks: rows of `webhooks`, with the secrets that sign them and the addresses that are gone.

use std::time::Duration;

use deadpool_postgres::{Client, Transaction};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::audit::{self, NewAudit};
use super::events::NewEvent;
use crate::webhook::{OVERLAP, message_id, new_secret};

/// Writes down that events are to be told at their podcasts' addresses, in the transaction that they belong to.
pub async fn owe(tx: &Transaction<'_>, events: &[&NewEvent]) -> anyhow::Result<()> {
    let insert = tx
        .prepare_cached(
            "insert into webhooks (id, podcast_id, tenant, principal, url, event, seq)
             select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])
             on conflict (podcast_id, seq) do nothing",
        )
        .await?;
    tx.execute(
        &insert,
        &[
            &events.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>(),
            &events.iter().map(|event| event.podcast_id).collect::<Vec<_>>(),
            &events.iter().map(|event| &event.tenant).collect::<Vec<_>>(),
            &events.iter().map(|event| &event.principal).collect::<Vec<_>>(),
            &events.iter().map(|event| event.callback_url.as_deref().unwrap_or_default()).collect::<Vec<_>>(),
            &events.iter().map(|event| event.event).collect::<Vec<_>>(),
            &events.iter().map(|event| event.seq).collect::<Vec<_>>(),
        ],
    )
    .await?;
    Ok(())
}

/// A webhook that is to be sent now.
#[derive(Clone, Debug)]
pub struct Due {
    pub id: Uuid,
    pub podcast: Uuid,
    pub tenant: String,
    pub url: String,
    pub event: String,
    pub seq: i64,
    /// The number of this attempt, from 1.
    pub attempt: i32,
    pub at: Timestamp,
    pub data: Value,
}

/// Takes webhooks whose time has come. Whoever dies with one in hand leaves it to others after `lease`; it may then be sent
/// twice, under the same id. What goes to an address that is gone is disabled instead.
pub async fn take_due(client: &Client, limit: i64, lease: Duration) -> anyhow::Result<Vec<Due>> {
    let update = client
        .prepare_cached(
            "with due as (
                 select id from webhooks where state = 'waiting' and next_at <= now() order by next_at limit $1
                 for update skip locked)
             update webhooks w
             set attempts = w.attempts + case when gone.url is null then 1 else 0 end,
                 state = case when gone.url is null then 'waiting' else 'disabled' end,
                 next_at = now() + make_interval(secs => $2)
             from due join webhooks d on d.id = due.id
                  join events e on e.podcast_id = d.podcast_id and e.seq = d.seq
                  left join webhook_addresses_gone gone on gone.tenant = d.tenant and gone.url = d.url
             where w.id = due.id
             returning w.id, w.podcast_id, w.tenant, w.url, w.event, w.seq, w.attempts, e.at, e.data, w.state",
        )
        .await?;
    let rows = client.query(&update, &[&limit, &lease.as_secs_f64()]).await?;
    let waiting = rows.iter().filter(|row| row.get::<_, &str>("state") == "waiting");
    waiting
        .map(|row| {
            Ok(Due {
                id: row.try_get(0)?,
                podcast: row.try_get(1)?,
                tenant: row.try_get(2)?,
                url: row.try_get(3)?,
                event: row.try_get(4)?,
                seq: row.try_get(5)?,
                attempt: row.try_get(6)?,
                at: row.try_get(7)?,
                data: row.try_get(8)?,
            })
        })
        .collect()
}

/// What came of an attempt.
#[derive(Clone, Debug)]
pub struct Outcome<'a> {
    pub state: &'static str,
    pub next_in: Duration,
    /// Told to whoever looks: `204`, `timed out`, …
    pub result: &'a str,
    pub took: Duration,
}

/// Writes down what came of an attempt, unless somebody has begun another one meanwhile.
pub async fn settle(client: &mut Client, due: &Due, outcome: &Outcome<'_>) -> anyhow::Result<()> {
    let tx = client.transaction().await?;
    let update = tx
        .prepare_cached(
            "update webhooks set state = $4, next_at = now() + make_interval(secs => $5),
                    delivered_at = case when $4 = 'delivered' then now() end,
                    history = history || jsonb_build_array(jsonb_build_object(
                        'attempt', $3::integer, 'at', now(), 'result', $6::text, 'took_ms', $7::bigint))
             where tenant = $1 and id = $2 and attempts = $3 and state = 'waiting'",
        )
        .await?;
    let took = i64::try_from(outcome.took.as_millis()).unwrap_or(i64::MAX);
    let next_in = outcome.next_in.as_secs_f64();
    tx.execute(
        &update,
        &[&due.tenant, &due.id, &due.attempt, &outcome.state, &next_in, &outcome.result, &took],
    )
    .await?;
    if outcome.state == "disabled" {
        let insert = tx
            .prepare_cached(
                "insert into webhook_addresses_gone (tenant, url) values ($1, $2) on conflict do nothing",
            )
            .await?;
        tx.execute(&insert, &[&due.tenant, &due.url]).await?;
    }
    Ok(tx.commit().await?)
}

/// A webhook as its tenant sees it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Webhook")]
pub struct Shown {
    pub id: Uuid,
    /// The header `webhook-id`.
    pub message_id: String,
    pub event: String,
    pub url: String,
    pub state: String,
    pub attempts: i32,
    pub created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
    pub history: Value,
}

/// The webhooks of a tenant's podcast, newest first.
pub async fn of_podcast(client: &Client, tenant: &str, podcast: Uuid) -> anyhow::Result<Vec<Shown>> {
    let select = client
        .prepare_cached(
            "select id, event, url, state, attempts, created_at, case when state = 'waiting' then next_at end, delivered_at, history
             from webhooks where tenant = $1 and podcast_id = $2 order by seq desc limit 50",
        )
        .await?;
    let rows = client.query(&select, &[&tenant, &podcast]).await?;
    rows.iter()
        .map(|row| {
            let id = row.try_get(0)?;
            Ok(Shown {
                id,
                message_id: message_id(id),
                event: row.try_get(1)?,
                url: row.try_get(2)?,
                state: row.try_get(3)?,
                attempts: row.try_get(4)?,
                created_at: row.try_get(5)?,
                next_attempt_at: row.try_get(6)?,
                delivered_at: row.try_get(7)?,
                history: row.try_get(8)?,
            })
        })
        .collect()
}

/// Sends a tenant's webhook again, whatever became of it, and its address counts as there again. `None`: there is no such one.
pub async fn replay(client: &mut Client, tenant: &str, id: Uuid, by: &str) -> anyhow::Result<Option<Uuid>> {
    let tx = client.transaction().await?;
    let update = tx
        .prepare_cached(
            "update webhooks set state = 'waiting', attempts = 0, next_at = now(), delivered_at = null
             where tenant = $1 and id = $2 returning podcast_id, url",
        )
        .await?;
    let Some(row) = tx.query_opt(&update, &[&tenant, &id]).await? else { return Ok(None) };
    let (podcast, url): (Uuid, String) = (row.try_get(0)?, row.try_get(1)?);
    let delete =
        tx.prepare_cached("delete from webhook_addresses_gone where tenant = $1 and url = $2").await?;
    tx.execute(&delete, &[&tenant, &url]).await?;
    let entry = NewAudit {
        tenant,
        principal: by,
        action: "webhook.replay",
        subject: format!("webhook/{id}"),
        reason: None,
        before: None,
        after: Some(json!({"webhook": "waiting"})),
    };
    audit::insert(&tx, &entry).await?;
    tx.commit().await?;
    Ok(Some(podcast))
}

/// A tenant's secrets, newest first, each of which signs. The first time it is asked for, one is made.
pub async fn secrets(client: &mut Client, tenant: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let found = active(client, tenant).await?;
    if !found.is_empty() {
        return Ok(found);
    }
    let tx = client.transaction().await?;
    lock_secrets(&tx, tenant).await?;
    let insert = tx
        .prepare_cached(
            "insert into webhook_secrets (id, tenant, secret)
             select $1, $2, $3 where not exists (select from webhook_secrets where tenant = $2 and retires_at is null)",
        )
        .await?;
    tx.execute(&insert, &[&Uuid::now_v7(), &tenant, &new_secret()?]).await?;
    tx.commit().await?;
    active(client, tenant).await
}

async fn active(client: &Client, tenant: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let select = client
        .prepare_cached(
            "select secret from webhook_secrets where tenant = $1 and (retires_at is null or retires_at > now())
             order by id desc limit 5",
        )
        .await?;
    Ok(client.query(&select, &[&tenant]).await?.iter().map(|row| row.get(0)).collect())
}

/// Makes a tenant's next secret. Those before it sign beside it for a day.
pub async fn rotate_secret(client: &mut Client, tenant: &str, by: &str) -> anyhow::Result<()> {
    let tx = client.transaction().await?;
    lock_secrets(&tx, tenant).await?;
    let update = tx
        .prepare_cached(
            "update webhook_secrets set retires_at = now() + make_interval(secs => $2)
             where tenant = $1 and retires_at is null",
        )
        .await?;
    tx.execute(&update, &[&tenant, &OVERLAP.as_secs_f64()]).await?;
    let insert =
        tx.prepare_cached("insert into webhook_secrets (id, tenant, secret) values ($1, $2, $3)").await?;
    tx.execute(&insert, &[&Uuid::now_v7(), &tenant, &new_secret()?]).await?;
    let entry = NewAudit {
        tenant,
        principal: by,
        action: "webhook_secret.rotate",
        subject: format!("tenant/{tenant}"),
        reason: None,
        before: None,
        after: None,
    };
    audit::insert(&tx, &entry).await?;
    Ok(tx.commit().await?)
}

/// One at a time makes secrets of a tenant.
async fn lock_secrets(tx: &Transaction<'_>, tenant: &str) -> anyhow::Result<()> {
    let lock = tx.prepare_cached("select pg_advisory_xact_lock(7047002, hashtext($1))").await?;
    tx.execute(&lock, &[&tenant]).await?;
    Ok(())
}
