//! What support reads of dead letters: always by tenant.

use deadpool_postgres::Client;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// A dead letter without its payload.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetter")]
pub struct Letter {
    pub id: Uuid,
    /// The plain sentence.
    pub cause: String,
    pub class: String,
    pub source: String,
    pub state: String,
    pub kind: Option<String>,
    pub engine: Option<String>,
    pub podcast: Option<Uuid>,
    pub task: Option<Uuid>,
    pub fingerprint: String,
    pub version: String,
    pub created_at: Timestamp,
    /// When this cause was first and last seen, and how often.
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    pub seen: i64,
    /// Of messages: what it was meant to be, and its idempotency key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
}

/// What was decided about a letter.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Settled {
    /// `replayed` or `discarded`.
    pub state: String,
    pub at: Timestamp,
    pub by: String,
    pub reason: String,
    /// The replay of many that replayed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<Uuid>,
    /// The podcast that a request became.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub became: Option<Uuid>,
}

/// A letter in full.
#[derive(Clone, Debug)]
pub struct Whole {
    pub letter: Letter,
    /// Whom a message came from, as far as the broker vouches for it.
    pub principal: String,
    pub chain: Value,
    pub history: Value,
    pub payload: Option<Vec<u8>>,
    /// Its whole length; what is kept may be less.
    pub payload_bytes: Option<i32>,
    pub difference: Option<Value>,
}

/// Which letters are meant. What is not given does not narrow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DeadLetterFilter")]
pub struct Filter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub podcast: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// `open`, `replayed` or `discarded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A [`Filter`] as a condition on `dead_letters d`, with its parameters from `$1` on. Only what is given stands in it, so that
/// an index can serve it.
pub struct Condition<'a> {
    pub sql: String,
    pub parameters: Vec<&'a (dyn ToSql + Sync)>,
}

impl Condition<'_> {
    /// The number of the parameter that is `after` places behind those of the condition, from 1.
    pub fn next(&self, after: usize) -> usize {
        self.parameters.len() + after
    }
}

impl Filter {
    pub fn condition<'a>(&'a self, tenant: &'a &'a str) -> Condition<'a> {
        let mut condition = Condition { sql: "d.tenant = $1".into(), parameters: vec![tenant] };
        let mut add = |test: &str, parameter: Option<&'a (dyn ToSql + Sync)>| {
            if let Some(parameter) = parameter {
                condition.parameters.push(parameter);
                condition.sql.push_str(&format!(" and d.{test} ${}", condition.parameters.len()));
            }
        };
        let text = |value: &'a Option<String>| value.as_ref().map(|text| text as &(dyn ToSql + Sync));
        add("source =", text(&self.source));
        add("kind =", text(&self.kind));
        add("class =", text(&self.class));
        add("engine =", text(&self.engine));
        add("podcast_id =", self.podcast.as_ref().map(|id| id as &(dyn ToSql + Sync)));
        add("fingerprint =", text(&self.fingerprint));
        add("created_at >=", self.since.as_ref().map(|time| time as &(dyn ToSql + Sync)));
        add("created_at <", self.until.as_ref().map(|time| time as &(dyn ToSql + Sync)));
        match self.state.as_deref() {
            None => {}
            // Written out, so that the index of open letters serves it.
            Some("open") => condition.sql.push_str(" and d.state = 'open'"),
            Some(_) => add("state =", text(&self.state)),
        }
        condition
    }
}

const COLUMNS: &str = "d.id, d.message, d.class, d.source, d.state, d.kind, d.engine, d.podcast_id, d.task_id, d.fingerprint, d.version,
     d.created_at, d.origin, d.message_id, d.settled_at, d.settled_by, d.settled_reason, d.replay_id, d.became,
     coalesce(f.first_seen, d.created_at) as first_seen, coalesce(f.last_seen, d.created_at) as last_seen,
     coalesce(f.seen, 1) as seen";
const FROM: &str =
    "from dead_letters d left join fingerprints f on f.tenant = d.tenant and f.fingerprint = d.fingerprint";

/// Newest first, older than `before`.
pub async fn letters(
    client: &Client,
    tenant: &str,
    filter: &Filter,
    before: Option<Uuid>,
    limit: i64,
) -> anyhow::Result<Vec<Letter>> {
    let Condition { sql, mut parameters } = filter.condition(&tenant);
    let before = before.unwrap_or(Uuid::max());
    parameters.extend([&before as &(dyn ToSql + Sync), &limit]);
    let (last, first) = (parameters.len(), parameters.len() - 1);
    let select = client
        .prepare_cached(&format!(
            "select {COLUMNS} {FROM} where {sql} and d.id < ${first} order by d.id desc limit ${last}"
        ))
        .await?;
    client.query(&select, &parameters).await?.iter().map(read).collect()
}

pub async fn letter(client: &Client, tenant: &str, id: Uuid) -> anyhow::Result<Option<Whole>> {
    let select = client
        .prepare_cached(&format!(
            "select {COLUMNS}, d.principal, d.chain, d.history, d.payload, d.payload_bytes, d.difference {FROM}
             where d.tenant = $1 and d.id = $2"
        ))
        .await?;
    let Some(row) = client.query_opt(&select, &[&tenant, &id]).await? else { return Ok(None) };
    Ok(Some(Whole {
        letter: read(&row)?,
        principal: row.try_get("principal")?,
        chain: row.try_get("chain")?,
        history: row.try_get("history")?,
        payload: row.try_get("payload")?,
        payload_bytes: row.try_get("payload_bytes")?,
        difference: row.try_get("difference")?,
    }))
}

/// The open letters of a podcast: what keeps it from its end.
pub async fn open_of_podcast(client: &Client, tenant: &str, podcast: Uuid) -> anyhow::Result<Vec<Uuid>> {
    let select = client
        .prepare_cached(
            "select id from dead_letters where podcast_id = $2 and tenant = $1 and state = 'open' order by id desc limit 10",
        )
        .await?;
    Ok(client.query(&select, &[&tenant, &podcast]).await?.iter().map(|row| row.get(0)).collect())
}

/// Letters of one cause.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterGroup")]
pub struct Group {
    pub fingerprint: String,
    /// Of its newest letter.
    pub cause: String,
    pub class: String,
    pub source: String,
    pub kind: Option<String>,
    pub engine: Option<String>,
    /// Letters that match, and how many of them are open.
    pub letters: i64,
    pub open: i64,
    pub podcasts: i64,
    /// Of this cause at all, also of letters that do not match.
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    pub seen: i64,
    pub first_version: String,
    /// The newest letter that matches.
    pub example: Uuid,
}

/// By cause, the one with most open letters first.
pub async fn groups(
    client: &Client,
    tenant: &str,
    filter: &Filter,
    limit: i64,
) -> anyhow::Result<Vec<Group>> {
    let condition = filter.condition(&tenant);
    let (sql, limit_at) = (&condition.sql, condition.next(1));
    let select = client
        .prepare_cached(&format!(
            "with g as (
                 select d.fingerprint, count(*) as letters, count(*) filter (where d.state = 'open') as open,
                        count(distinct d.podcast_id) as podcasts, min(d.created_at) as first_seen, max(d.created_at) as last_seen,
                        (array_agg(d.id order by d.id desc))[1] as example
                 from dead_letters d where {sql} group by d.fingerprint
                 order by open desc, last_seen desc limit ${limit_at})
             select g.fingerprint, e.message, e.class, e.source, e.kind, e.engine, g.letters, g.open, g.podcasts,
                    coalesce(f.first_seen, g.first_seen) as first_seen, coalesce(f.last_seen, g.last_seen) as last_seen,
                    coalesce(f.seen, g.letters) as seen, coalesce(f.first_version, e.version) as first_version, g.example
             from g join dead_letters e on e.id = g.example
             left join fingerprints f on f.tenant = $1 and f.fingerprint = g.fingerprint
             order by g.open desc, g.last_seen desc"
        ))
        .await?;
    let mut parameters = condition.parameters;
    parameters.push(&limit);
    let rows = client.query(&select, &parameters).await?;
    rows.iter()
        .map(|row| {
            Ok(Group {
                fingerprint: row.try_get("fingerprint")?,
                cause: row.try_get("message")?,
                class: row.try_get("class")?,
                source: row.try_get("source")?,
                kind: row.try_get("kind")?,
                engine: row.try_get("engine")?,
                letters: row.try_get("letters")?,
                open: row.try_get("open")?,
                podcasts: row.try_get("podcasts")?,
                first_seen: row.try_get("first_seen")?,
                last_seen: row.try_get("last_seen")?,
                seen: row.try_get("seen")?,
                first_version: row.try_get("first_version")?,
                example: row.try_get("example")?,
            })
        })
        .collect()
}

fn read(row: &Row) -> anyhow::Result<Letter> {
    Ok(Letter {
        id: row.try_get("id")?,
        cause: row.try_get("message")?,
        class: row.try_get("class")?,
        source: row.try_get("source")?,
        state: row.try_get("state")?,
        kind: row.try_get("kind")?,
        engine: row.try_get("engine")?,
        podcast: row.try_get("podcast_id")?,
        task: row.try_get("task_id")?,
        fingerprint: row.try_get("fingerprint")?,
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        first_seen: row.try_get("first_seen")?,
        last_seen: row.try_get("last_seen")?,
        seen: row.try_get("seen")?,
        origin: row.try_get("origin")?,
        message_id: row.try_get("message_id")?,
        settled: settled(row)?,
    })
}

pub(super) fn settled(row: &Row) -> anyhow::Result<Option<Settled>> {
    let Some(at) = row.try_get("settled_at")? else { return Ok(None) };
    Ok(Some(Settled {
        state: row.try_get("state")?,
        at,
        by: row.try_get::<_, Option<String>>("settled_by")?.unwrap_or_default(),
        reason: row.try_get::<_, Option<String>>("settled_reason")?.unwrap_or_default(),
        replay: row.try_get("replay_id")?,
        became: row.try_get("became")?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_holds_only_what_is_given() {
        let tenant = "t";
        let check = |filter: &Filter, sql: &str, parameters: usize| {
            let condition = filter.condition(&tenant);
            assert_eq!((condition.sql.as_str(), condition.parameters.len()), (sql, parameters));
        };
        check(&Filter::default(), "d.tenant = $1", 1);
        let open = Filter { state: Some("open".into()), kind: Some("tts".into()), ..Filter::default() };
        check(&open, "d.tenant = $1 and d.kind = $2 and d.state = 'open'", 2);
        let closed = Filter {
            state: Some("discarded".into()),
            fingerprint: Some("f".into()),
            until: Some(Timestamp::UNIX_EPOCH),
            ..Filter::default()
        };
        check(&closed, "d.tenant = $1 and d.fingerprint = $2 and d.created_at < $3 and d.state = $4", 4);
    }
}
