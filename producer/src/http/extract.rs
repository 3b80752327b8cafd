//! What handlers take from a request, refused as problems.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::problem::Problem;

/// The podcast that a path names.
#[derive(Clone, Copy, Debug)]
pub(super) struct PodcastId(pub(super) Uuid);

/// The dead letter that a path names.
#[derive(Clone, Copy, Debug)]
pub(super) struct LetterId(pub(super) Uuid);

/// The replay of many letters that a path names.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplayId(pub(super) Uuid);

/// The webhook that a path names.
#[derive(Clone, Copy, Debug)]
pub(super) struct WebhookId(pub(super) Uuid);

/// The key that a path names.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyId(pub(super) Uuid);

/// The pause that a path names.
#[derive(Clone, Copy, Debug)]
pub(super) struct PauseId(pub(super) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for PodcastId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<PodcastId, Problem> {
        let remedy = "Use the `id` of the answer to your request, a UUID";
        id_in_path(parts, state, "it is not the id of a podcast", remedy).await.map(PodcastId)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for LetterId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<LetterId, Problem> {
        let remedy = "Use an `id` that GET /v1/dead-letters lists, a UUID";
        id_in_path(parts, state, "it is not the id of a dead letter", remedy).await.map(LetterId)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ReplayId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<ReplayId, Problem> {
        let remedy = "Use an `id` that GET /v1/replays lists, a UUID";
        id_in_path(parts, state, "it is not the id of a replay", remedy).await.map(ReplayId)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WebhookId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<WebhookId, Problem> {
        let remedy = "Use an `id` that GET /v1/podcasts/{id}/webhooks lists, a UUID";
        id_in_path(parts, state, "it is not the id of a webhook", remedy).await.map(WebhookId)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for KeyId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<KeyId, Problem> {
        let remedy = "Use an `id` that GET /v1/keys lists, a UUID";
        id_in_path(parts, state, "it is not the id of a key", remedy).await.map(KeyId)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PauseId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<PauseId, Problem> {
        let remedy = "Use an `id` that GET /v1/pauses lists, a UUID";
        id_in_path(parts, state, "it is not the id of a pause", remedy).await.map(PauseId)
    }
}

async fn id_in_path<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    reason: &str,
    remedy: &str,
) -> Result<Uuid, Problem> {
    let malformed = || Problem::bad_request("id", reason, remedy);
    let Ok(Path(text)) = Path::<String>::from_request_parts(parts, state).await else {
        return Err(malformed());
    };
    text.parse().map_err(|_| malformed())
}

/// There is no such podcast, or it is another tenant's: the answer is the same.
pub(super) fn unknown(id: Uuid) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", format!("There is no podcast {id}"))
}

/// The query string; unknown names are refused, so that a misspelt filter is not taken for none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Params<T>, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Params(params)),
            Err(rejection) => {
                let text = rejection.body_text();
                let reason = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                Err(Problem::bad_request("query", reason, "Compare it with the API's description"))
            }
        }
    }
}
