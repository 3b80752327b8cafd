//! Erasing a podcast: its rows go at once, in one transaction. What lies elsewhere, blobs and cached results, goes soon after: which
//! blobs these are is written down before the rows are gone, so that a crash forgets none. A blob that another row names stays.

use deadpool_postgres::{Client, Transaction};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::audit::{self, NewAudit};
use super::podcasts::{self, State};
use super::references;
use super::replay::Impossible;
use crate::blobs;
use crate::wire::INLINE_BYTES;

/// Erasures that are shown, and that are worked on in one look.
const LISTED: i64 = 50;

/// The wish to erase a podcast.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    pub tenant: &'a str,
    pub principal: &'a str,
    pub reason: &'a str,
    pub podcast: Uuid,
}

/// What goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ErasureExtent")]
pub struct Extent {
    pub segments: u64,
    pub tasks: u64,
    pub events: u64,
    pub dead_letters: u64,
    /// Recordings, mixed chapters, episodes, sources and inputs, as far as they are known to be stored.
    pub blobs: usize,
    /// Of these, what other podcasts need: that stays.
    pub shared_blobs: usize,
}

/// What became of the wish.
#[derive(Debug)]
pub enum Answer {
    /// The rows are gone once the caller commits; the erasure is what goes on after that.
    Erased {
        erasure: Uuid,
        extent: Extent,
    },
    /// There is no such podcast, or it is another tenant's.
    Unknown,
    Impossible(Impossible),
}

/// Erases a podcast that has ended. The caller commits when the answer is [`Answer::Erased`]; without that, it was a trial.
pub async fn erase(tx: &Transaction<'_>, order: &Order<'_>) -> anyhow::Result<Answer> {
    let Some(podcast) = podcasts::lock_of(tx, order.tenant, order.podcast).await? else {
        return Ok(Answer::Unknown);
    };
    let impossible = |reason: &str, remedy: &str| {
        Ok(Answer::Impossible(Impossible { reason: reason.into(), remedy: remedy.into() }))
    };
    if podcast.state == State::Running {
        return impossible("it is being made", "Cancel it first");
    }
    if is_under_way(tx, podcast.id).await? {
        // Whatever comes of it would be stored after everything else is gone.
        return impossible("some of its work is under way still", "Try again in a moment");
    }
    let keys = keys(tx, podcast.id, &podcast.tenant).await?;
    let mut extent = remove(tx, podcast.id).await?;
    extent.blobs = keys.len();
    extent.shared_blobs = references::needed(tx, &keys).await?.len();
    let erasure = Uuid::now_v7();
    let insert = tx
        .prepare_cached(
            "insert into erasures (id, podcast_id, tenant, principal, reason, blobs) values ($1, $2, $3, $4, $5, $6)",
        )
        .await?;
    tx.execute(&insert, &[&erasure, &podcast.id, &order.tenant, &order.principal, &order.reason, &keys])
        .await?;
    let entry = NewAudit {
        tenant: order.tenant,
        principal: order.principal,
        action: "podcast.erase",
        subject: podcasts::subject(podcast.id),
        reason: Some(order.reason),
        before: Some(json!({"state": podcast.state.as_str(), "generation": podcast.generation})),
        after: Some(json!(extent)),
    };
    audit::insert(tx, &entry).await?;
    Ok(Answer::Erased { erasure, extent })
}

async fn is_under_way(tx: &Transaction<'_>, podcast: Uuid) -> anyhow::Result<bool> {
    let select = tx
        .prepare_cached("select exists (select from tasks where podcast_id = $1 and state = 'dispatched')")
        .await?;
    Ok(tx.query_one(&select, &[&podcast]).await?.get(0))
}

/// The blobs that rows of a podcast name, of every generation, each by the key that a row would name it by.
async fn keys(tx: &Transaction<'_>, podcast: Uuid, tenant: &str) -> anyhow::Result<Vec<String>> {
    let select = tx
        .prepare_cached(
            "select key from (
                 select result ->> 'audio' from tasks where podcast_id = $1 and kind in ('tts', 'join') and result is not null
                 union select mix ->> 'audio' from chapters where podcast_id = $1 and mix is not null
                 union select episode ->> 'audio' from podcasts where id = $1 and episode is not null
                 union select coalesce(input #>> '{source,blob}', input #>> '{plan,source,blob}') from tasks
                       where podcast_id = $1 and kind in ('outline', 'script')
             ) named (key) where key <> ''",
        )
        .await?;
    let mut keys: Vec<String> = tx.query(&select, &[&podcast]).await?.iter().map(|row| row.get(0)).collect();
    // Inputs that were too large for a message lie under their hashes.
    let select = tx
        .prepare_cached(
            "select distinct input_hash from tasks where podcast_id = $1 and octet_length(input::text) > $2",
        )
        .await?;
    // The database writes JSON with more blanks than we do: a few that were small enough may be among them, and are not there.
    let inline = i32::try_from(INLINE_BYTES).unwrap_or(i32::MAX);
    for row in tx.query(&select, &[&podcast, &inline]).await? {
        keys.push(blobs::key(tenant, "input", row.get(0), "json"));
    }
    keys.sort_unstable();
    Ok(keys)
}

/// Everything that is known of a podcast. Its letters are those about it, and the message that it was made of.
async fn remove(tx: &Transaction<'_>, podcast: Uuid) -> anyhow::Result<Extent> {
    let delete = async |sql: &str| -> anyhow::Result<u64> {
        let delete = tx.prepare_cached(sql).await?;
        Ok(tx.execute(&delete, &[&podcast]).await?)
    };
    let extent = Extent {
        dead_letters: delete("delete from dead_letters where podcast_id = $1 or became = $1").await?,
        events: delete("delete from events where podcast_id = $1").await?,
        segments: delete("delete from segments where podcast_id = $1").await?,
        tasks: delete("delete from tasks where podcast_id = $1").await?,
        ..Extent::default()
    };
    for sql in [
        "delete from attempts where podcast_id = $1",
        "delete from chapters where podcast_id = $1",
        "delete from podcasts where id = $1",
    ] {
        delete(sql).await?;
    }
    Ok(extent)
}

/// An erasure, as people see it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Erasure {
    pub id: Uuid,
    pub podcast: Uuid,
    pub by: String,
    pub reason: String,
    pub at: Timestamp,
    /// Blobs that are still to go, or to be found needed by others.
    pub blobs_left: i64,
    /// Everything is gone since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_at: Option<Timestamp>,
}

/// The latest erasures of a tenant, newest first.
pub async fn list(client: &Client, tenant: &str) -> anyhow::Result<Vec<Erasure>> {
    let select = client
        .prepare_cached(
            "select id, podcast_id, principal, reason, created_at, cardinality(blobs)::bigint, done_at from erasures
             where tenant = $1 order by id desc limit $2",
        )
        .await?;
    let rows = client.query(&select, &[&tenant, &LISTED]).await?;
    rows.iter()
        .map(|row| {
            Ok(Erasure {
                id: row.try_get(0)?,
                podcast: row.try_get(1)?,
                by: row.try_get(2)?,
                reason: row.try_get(3)?,
                at: row.try_get(4)?,
                blobs_left: row.try_get(5)?,
                done_at: row.try_get(6)?,
            })
        })
        .collect()
}

/// What is left to do of an erasure.
#[derive(Clone, Debug)]
pub struct Unfinished {
    pub id: Uuid,
    pub tenant: String,
    pub blobs: Vec<String>,
    /// Cached results of the tenant are not forgotten yet.
    pub cached: bool,
}

pub async fn unfinished(client: &Client) -> anyhow::Result<Vec<Unfinished>> {
    let select = client
        .prepare_cached(
            "select id, tenant, blobs, cached from erasures where done_at is null order by id limit $1",
        )
        .await?;
    let rows = client.query(&select, &[&LISTED]).await?;
    rows.iter()
        .map(|row| {
            Ok(Unfinished {
                id: row.try_get(0)?,
                tenant: row.try_get(1)?,
                blobs: row.try_get(2)?,
                cached: row.try_get(3)?,
            })
        })
        .collect()
}

/// Records what is left; with nothing left, the erasure is done. Several may work on the same one: what each finds gone is gone.
pub async fn progress(client: &Client, left: &Unfinished) -> anyhow::Result<()> {
    let update = client
        .prepare_cached(
            "update erasures set blobs = $2, cached = $3,
                    done_at = case when cardinality($2::text[]) = 0 and not $3 then now() end
             where id = $1 and done_at is null",
        )
        .await?;
    client.execute(&update, &[&left.id, &left.blobs, &left.cached]).await?;
    Ok(())
}

/// What a trial tells.
pub fn trial(extent: &Extent) -> Value {
    json!({"dry_run": true, "would_erase": extent})
}
