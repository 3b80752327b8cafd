//! What is not a call: the key, the ledger, the rules.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};

use super::ledger::Ledger;
use super::rules::Rule;
use super::{Shared, locked};

/// Calls in one answer of the ledger.
const PAGE: usize = 1000;
const LARGEST_PAGE: usize = 10_000;

/// Without the key nobody does anything. Compared by hash, which takes as long for a near miss as for any other.
pub(super) async fn authorise(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let Some(key) = &shared.settings.key else { return next.run(request).await };
    let given = bearer(request.headers()).unwrap_or_default();
    if blake3::hash(given.as_bytes()) == blake3::hash(key.as_bytes()) {
        return next.run(request).await;
    }
    problem(StatusCode::UNAUTHORIZED, "invalid_api_key", "give the key as a bearer token")
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn problem(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let error =
        json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": code}});
    (status, Json(error)).into_response()
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Page {
    /// Only calls after the one with this id.
    after: u64,
    /// At most so many calls, the oldest first.
    limit: usize,
}

impl Default for Page {
    fn default() -> Self {
        Page { after: 0, limit: PAGE }
    }
}

pub(super) async fn ledger(State(shared): State<Arc<Shared>>, Query(page): Query<Page>) -> Json<Ledger> {
    Json(locked(&shared.ledger).page(page.after, page.limit.min(LARGEST_PAGE)))
}

pub(super) async fn models() -> Json<Value> {
    let model = |id: &str| json!({"id": id, "object": "model", "created": 0, "owned_by": "podfleet"});
    Json(json!({"object": "list", "data": [model("simulated"), model("tones")]}))
}

pub(super) async fn rules(State(shared): State<Arc<Shared>>) -> Json<Vec<Rule>> {
    Json(locked(&shared.rules).list())
}

/// One rule or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Added {
    List(Vec<Value>),
    One(Value),
}

pub(super) async fn add_rules(State(shared): State<Arc<Shared>>, body: Bytes) -> Response<Body> {
    match read(&body).and_then(|rules| locked(&shared.rules).add(rules)) {
        Ok(()) => rules(State(shared)).await.into_response(),
        Err(reason) => problem(StatusCode::BAD_REQUEST, "invalid_rule", &reason),
    }
}

fn read(body: &[u8]) -> Result<Vec<Rule>, String> {
    let added = serde_json::from_slice::<Added>(body).map_err(|error| error.to_string())?;
    let values = match added {
        Added::List(values) => values,
        Added::One(value) => vec![value],
    };
    let read = |(place, value)| {
        serde_json::from_value(value).map_err(|error| format!("rule {}: {error}", place + 1))
    };
    values.into_iter().enumerate().map(read).collect()
}

pub(super) async fn clear_rules(State(shared): State<Arc<Shared>>) -> StatusCode {
    locked(&shared.rules).clear();
    StatusCode::NO_CONTENT
}
