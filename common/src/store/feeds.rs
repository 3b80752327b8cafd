//! Feeds of tenants: how each is called, and the token that players of podcasts show instead of a key.

use blake3::Hash;
use deadpool_postgres::Client;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::audit::{self, NewAudit};
use crate::work::Episode;

/// What a feed says of itself. What is left out is said in general words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "FeedSettings")]
pub struct Settings {
    pub title: Option<String>,
    pub description: Option<String>,
    pub author: Option<String>,
    /// Of the owner; directories write there.
    pub email: Option<String>,
    /// The site that belongs to it.
    pub link: Option<String>,
    /// BCP 47.
    pub language: Option<String>,
    /// One of Apple's categories, such as `Education`.
    pub category: Option<String>,
    pub explicit: bool,
    /// Its cover: JPEG or PNG, square, 1400 to 3000 pixels wide.
    pub image_url: Option<String>,
}

pub async fn settings(client: &Client, tenant: &str) -> anyhow::Result<Settings> {
    let select = client.prepare_cached("select settings from feeds where tenant = $1").await?;
    let row = client.query_opt(&select, &[&tenant]).await?;
    Ok(row.map(|row| row.try_get::<_, Json<Settings>>(0)).transpose()?.map(|json| json.0).unwrap_or_default())
}

/// Takes the place of what was set before.
pub async fn set(client: &mut Client, tenant: &str, settings: &Settings, by: &str) -> anyhow::Result<()> {
    let tx = client.transaction().await?;
    let upsert = tx
        .prepare_cached(
            "insert into feeds (tenant, settings) values ($1, $2)
             on conflict (tenant) do update set settings = $2, updated_at = now()",
        )
        .await?;
    tx.execute(&upsert, &[&tenant, &Json(settings)]).await?;
    audit::insert(&tx, &entry(tenant, by, "feed.set", Some(json!(settings)))).await?;
    Ok(tx.commit().await?)
}

/// Exchanges the token, of which only the hash is kept; `None`: from now on there is none.
pub async fn set_token(
    client: &mut Client,
    tenant: &str,
    token: Option<Hash>,
    by: &str,
) -> anyhow::Result<()> {
    let tx = client.transaction().await?;
    let upsert = tx
        .prepare_cached(
            "insert into feeds (tenant, token_hash) values ($1, $2)
             on conflict (tenant) do update set token_hash = $2, updated_at = now()",
        )
        .await?;
    tx.execute(&upsert, &[&tenant, &token.as_ref().map(|hash| hash.as_bytes().as_slice())]).await?;
    let action = if token.is_some() { "feed.new_token" } else { "feed.no_token" };
    audit::insert(&tx, &entry(tenant, by, action, None)).await?;
    Ok(tx.commit().await?)
}

fn entry<'a>(
    tenant: &'a str,
    by: &'a str,
    action: &'static str,
    after: Option<serde_json::Value>,
) -> NewAudit<'a> {
    let subject = format!("feed/{tenant}");
    NewAudit { tenant, principal: by, action, subject, reason: None, before: None, after }
}

/// The tenant whose feed a token opens.
pub async fn by_token(client: &Client, token: &Hash) -> anyhow::Result<Option<String>> {
    let select = client.prepare_cached("select tenant from feeds where token_hash = $1").await?;
    let row = client.query_opt(&select, &[&token.as_bytes().as_slice()]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// A finished podcast, as a feed tells of it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: Uuid,
    pub title: Option<String>,
    pub language: String,
    pub finished_at: Timestamp,
    pub episode: Episode,
    pub chapters: Vec<String>,
    pub cover_url: Option<String>,
}

/// The newest finished podcasts of a tenant. One that is being edited keeps its last episode meanwhile.
pub async fn entries(client: &Client, tenant: &str, limit: i64) -> anyhow::Result<Vec<Entry>> {
    let select = client
        .prepare_cached(
            "select id, title, brief ->> 'language', coalesce(finished_at, created_at), episode, request ->> 'cover_url',
                    array(select c.title from chapters c where c.podcast_id = p.id and c.generation = p.generation order by c.chapter)
             from podcasts p
             where tenant = $1 and episode is not null and state <> 'cancelled'
             order by id desc limit $2",
        )
        .await?;
    let rows = client.query(&select, &[&tenant, &limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(Entry {
                id: row.try_get(0)?,
                title: row.try_get(1)?,
                language: row.try_get(2)?,
                finished_at: row.try_get(3)?,
                episode: row.try_get::<_, Json<Episode>>(4)?.0,
                cover_url: row.try_get(5)?,
                chapters: row.try_get(6)?,
            })
        })
        .collect()
}
