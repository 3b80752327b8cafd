//! Webhooks: those of a podcast, sending one again, and the secret that signs them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::store::reading;
use common::store::webhooks::{self, Shown};
use common::webhook::written;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::App;
use super::extract::{PodcastId, WebhookId, unknown};
use super::problem::Problem;
use crate::Caller;

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WebhookList")]
pub(super) struct List {
    webhooks: Vec<Shown>,
}

pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    PodcastId(id): PodcastId,
) -> Result<Json<List>, Problem> {
    let tenant = &caller.tenant;
    let found = app
        .read(async |client| match reading::podcast(client, tenant, id).await? {
            Some(_) => Ok(Some(webhooks::of_podcast(client, tenant, id).await?)),
            None => Ok(None),
        })
        .await?;
    found.map(|webhooks| Json(List { webhooks })).ok_or_else(|| unknown(id))
}

/// The answer to a replay.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WebhookReplayed")]
pub(super) struct Replayed {
    id: Uuid,
    state: &'static str,
    podcast: Uuid,
}

pub(super) async fn replay(
    State(app): State<App>,
    caller: Caller,
    WebhookId(id): WebhookId,
) -> Result<Json<Replayed>, Problem> {
    let found = app
        .read(async |client| webhooks::replay(client, &caller.tenant, id, &caller.principal).await)
        .await?;
    let missing = || Problem::new(StatusCode::NOT_FOUND, "not-found", format!("There is no webhook {id}"));
    let podcast = found.ok_or_else(missing)?;
    Ok(Json(Replayed { id, state: "waiting", podcast }))
}

/// What signs, newest first. A receiver that knows the first of them, or any, can check every webhook.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WebhookSecrets")]
pub(super) struct Secrets {
    secrets: Vec<String>,
}

pub(super) async fn secret(State(app): State<App>, caller: Caller) -> Result<Json<Secrets>, Problem> {
    let found = app.read(async |client| webhooks::secrets(client, &caller.tenant).await).await?;
    Ok(Json(Secrets { secrets: found.iter().map(|secret| written(secret)).collect() }))
}

/// The one before signs beside the new one for a day.
pub(super) async fn rotate(State(app): State<App>, caller: Caller) -> Result<Json<Secrets>, Problem> {
    let (tenant, by) = (&caller.tenant, &caller.principal);
    app.read(async |client| webhooks::rotate_secret(client, tenant, by).await).await?;
    tracing::info!(tenant, by, "the secret of webhooks was exchanged");
    secret(State(app), caller).await
}
