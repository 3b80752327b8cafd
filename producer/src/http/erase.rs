//! Erasing a podcast, with everything that is known of it. DELETE only cancels.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use common::request::Fault;
use common::store::erasing::{self, Answer, Erasure, Extent, Order};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::App;
use super::acts::impossible;
use super::dead_letters::{body, settle::reason};
use super::extract::{PodcastId, unknown};
use super::problem::Problem;
use crate::Caller;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EraseRequest")]
pub(super) struct Asked {
    reason: Option<String>,
    /// Tells what would go; nothing happens.
    #[serde(default)]
    dry_run: bool,
}

/// The podcast is gone; its blobs follow.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Erased")]
pub(super) struct Begun {
    id: Uuid,
    state: &'static str,
    erasure: Uuid,
    #[serde(flatten)]
    extent: Extent,
}

pub(super) async fn erase(
    State(app): State<App>,
    caller: Caller,
    PodcastId(id): PodcastId,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Problem> {
    let asked: Asked = body(&app, &headers, sent).await?;
    let reason = reason(asked.reason)?;
    let order = Order { tenant: &caller.tenant, principal: &caller.principal, reason: &reason, podcast: id };
    let answer = app
        .read(async |client| {
            let tx = client.transaction().await?;
            let answer = erasing::erase(&tx, &order).await?;
            if matches!(answer, Answer::Erased { .. }) && !asked.dry_run {
                tx.commit().await?;
            }
            Ok(answer)
        })
        .await?;
    match answer {
        Answer::Erased { extent, .. } if asked.dry_run => Ok(Json(erasing::trial(&extent)).into_response()),
        Answer::Erased { erasure, extent } => {
            tracing::info!(podcast.id = %id, by = caller.principal, "a podcast was erased");
            Ok((StatusCode::ACCEPTED, Json(Begun { id, state: "erased", erasure, extent })).into_response())
        }
        Answer::Unknown => Err(unknown(id)),
        Answer::Impossible(why) => {
            let fault = Fault { field: "podcast".into(), reason: why.reason, remedy: why.remedy };
            Err(impossible("not-erasable", "The podcast cannot be erased", fault))
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ErasureList")]
pub(super) struct List {
    erasures: Vec<Erasure>,
}

/// The latest ones, and whether all of each is gone.
pub(super) async fn list(State(app): State<App>, caller: Caller) -> Result<Json<List>, Problem> {
    let erasures = app.read(async |client| erasing::list(client, &caller.tenant).await).await?;
    Ok(Json(List { erasures }))
}
