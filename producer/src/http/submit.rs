//! `POST /v1/podcasts`: the request becomes a podcast, or is told what is wrong with it.

use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use common::request::{self, Fault, MAX_BODY_BYTES};
use common::store::reading::{self, Queued};
use futures_util::StreamExt;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use super::podcasts::{Links, path};
use super::problem::Problem;
use super::{App, checks};
use crate::Caller;
use crate::accept::{Refusal, Submission};

/// What is read past the limit, and dropped, so that the client has sent its body and reads why it was refused.
const MAX_DRAINED: usize = 8 * MAX_BODY_BYTES;

/// For a whole body; within the time that a request has in all.
const ARRIVING: Duration = Duration::from_secs(8);

/// The answer to an accepted request.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Receipt {
    pub(super) id: Uuid,
    state: String,
    links: Links,
    /// The podcast was there before this request.
    replayed: bool,
    /// Its place among those that wait for their turn; absent when it begins at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    queued: Option<Queued>,
}

pub(super) async fn submit(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let started = Instant::now();
    let (result, response) = match accept(&app, caller, &headers, body).await {
        Ok(receipt) => {
            let result = if receipt.replayed { "replayed" } else { "accepted" };
            let location = [(header::LOCATION, path(receipt.id))];
            (result, (StatusCode::ACCEPTED, location, Json(receipt)).into_response())
        }
        Err((result, problem)) => (result, problem.into_response()),
    };
    metrics::counter!("podfleet_requests_total", "via" => "http", "result" => result).increment(1);
    metrics::histogram!("podfleet_accept_duration_seconds", "via" => "http")
        .record(started.elapsed().as_secs_f64());
    response
}

/// With an error comes its word for the metrics.
async fn accept(
    app: &App,
    caller: Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<Receipt, (&'static str, Problem)> {
    let refused = |problem| ("refused", problem);
    check_content_type(headers).map_err(refused)?;
    let idempotency_key = idempotency_key(headers).map_err(refused)?;
    let _memory = memory(app, headers)?;
    let body = read(body, announced(headers)).await.map_err(refused)?;
    let traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok());
    let traceparent = traceparent.filter(|text| checks::is_traceparent(text)).map(str::to_owned);
    take(app, caller, idempotency_key, traceparent, &body).await
}

/// Judges a request and has it accepted.
pub(super) async fn take(
    app: &App,
    caller: Caller,
    idempotency_key: Option<String>,
    traceparent: Option<String>,
    body: &[u8],
) -> Result<Receipt, (&'static str, Problem)> {
    let now = Timestamp::now();
    let accepted = request::accept(body, &app.env.config, now, now)
        .map_err(|faults| ("refused", faulty(body, faults)))?;
    let submission = Submission { accepted, caller: caller.clone(), idempotency_key, traceparent };
    let receipt = app.intake.try_submit(submission).await.map_err(|refusal| problem(&refusal))?;
    let id = receipt.podcast;
    let state = if receipt.replayed {
        let found = app.read(async |client| reading::podcast(client, &caller.tenant, id).await).await;
        found.map_err(|problem| ("unavailable", problem))?.map(|podcast| podcast.state)
    } else {
        None
    };
    let state = state.unwrap_or_else(|| "running".into());
    let queued = match receipt.waits {
        Some((lane, rank)) => app.env.line.place(&app.env.store, lane, rank).await,
        None => None,
    };
    Ok(Receipt { id, state, links: Links::of(id), replayed: receipt.replayed, queued })
}

pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let found = if given.is_empty() {
        "The request names no Content-Type".into()
    } else {
        format!("The body is {given:?}")
    };
    let detail = format!("{found}. Send JSON, with the header Content-Type: application/json");
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail))
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all("idempotency-key").iter();
    match (given.next(), given.next()) {
        (None, _) => Ok(None),
        (Some(key), None) if key.to_str().is_ok_and(checks::is_idempotency_key) => {
            Ok(key.to_str().ok().map(str::to_owned))
        }
        (Some(_), more) => {
            let reason = if more.is_some() { "there are several" } else { "it is not usable as a key" };
            Err(Problem::bad_request(
                "Idempotency-Key",
                reason,
                "Give one, of 1 to 255 visible ASCII characters",
            ))
        }
    }
}

/// How long the body is going to be; `None` when its sender does not say.
pub(super) fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Room in memory for the body, held until the request is answered. A body of unknown length counts as the longest.
pub(super) fn memory(
    app: &App,
    headers: &HeaderMap,
) -> Result<OwnedSemaphorePermit, (&'static str, Problem)> {
    let kib = announced(headers).unwrap_or(MAX_BODY_BYTES).min(MAX_BODY_BYTES) / 1024 + 1;
    let kib = u32::try_from(kib).unwrap_or(u32::MAX);
    app.memory.clone().try_acquire_many_owned(kib).map_err(|_| problem(&Refusal::Overloaded))
}

/// The whole body, within its time: nobody holds a place by sending it byte by byte.
pub(super) async fn read(body: Body, announced: Option<usize>) -> Result<Bytes, Problem> {
    match tokio::time::timeout(ARRIVING, collect(body, announced)).await {
        Ok(read) => read,
        Err(_) => {
            let detail =
                format!("The body was not there within {ARRIVING:?}. Nothing was stored; send it again");
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", detail))
        }
    }
}

async fn collect(body: Body, announced: Option<usize>) -> Result<Bytes, Problem> {
    let mut stream = body.into_data_stream();
    let mut kept = BytesMut::with_capacity(announced.unwrap_or(0).min(MAX_BODY_BYTES));
    let mut total = 0;
    while let Some(chunk) = stream.next().await {
        let chunk =
            chunk.map_err(|_| Problem::bad_request("body", "it broke off", "Send it again, whole"))?;
        total += chunk.len();
        if total > MAX_DRAINED {
            break;
        }
        if total <= MAX_BODY_BYTES {
            kept.extend_from_slice(&chunk);
        }
    }
    if total <= MAX_BODY_BYTES {
        return Ok(kept.freeze());
    }
    let detail = format!(
        "The body has more than {MAX_BODY_BYTES} bytes. Send a shorter text, or split it into several podcasts"
    );
    Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).with("limit", MAX_BODY_BYTES))
}

/// What is not JSON is a bad request; what is JSON but not a podcast cannot be processed.
fn faulty(body: &[u8], faults: Vec<Fault>) -> Problem {
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    let status = if is_json { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
    Problem::faulty(status, faults)
}

fn problem(refusal: &Refusal) -> (&'static str, Problem) {
    match refusal {
        Refusal::Conflict { podcast } => {
            let detail = format!(
                "The Idempotency-Key stands for another request, podcast {podcast}. Use a new key for a new request"
            );
            let problem = Problem::new(StatusCode::CONFLICT, "idempotency-conflict", detail);
            ("conflict", problem.with("podcast", podcast.to_string()))
        }
        Refusal::Limited(limited) => ("limited", Problem::limited(limited)),
        Refusal::Overloaded => {
            let detail =
                "Too many requests are being accepted at once. Nothing was stored; try again in a moment";
            ("overloaded", Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_after(1))
        }
        Refusal::Backlog => {
            let detail = "Many accepted podcasts are waiting, and none is being begun: the broker is away or has an alarm, or no \
                          collector runs. Nothing was stored; try again in a while";
            ("backlog", Problem::new(StatusCode::SERVICE_UNAVAILABLE, "backlog", detail).retry_after(10))
        }
        Refusal::DiskFull(whose) => ("disk_full", Problem::disk_full(whose)),
        Refusal::Unavailable => {
            let detail = "The database cannot be reached now, and the request may not have been stored. Send it again with \
                          the same Idempotency-Key, and it is one podcast";
            (
                "unavailable",
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(2),
            )
        }
        Refusal::Unstorable => ("unstorable", Problem::internal()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn only_json_is_read() {
        for good in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
            assert!(check_content_type(&headers(&[("content-type", good)])).is_ok(), "{good}");
        }
        for bad in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
            assert!(check_content_type(&headers(&[("content-type", bad)])).is_err(), "{bad}");
        }
        assert!(check_content_type(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_key_is_given_once_or_not_at_all() {
        assert_eq!(idempotency_key(&HeaderMap::new()).unwrap(), None);
        assert_eq!(idempotency_key(&headers(&[("idempotency-key", "k1")])).unwrap().as_deref(), Some("k1"));
        assert!(idempotency_key(&headers(&[("idempotency-key", "a b")])).is_err());
        let mut twice = headers(&[("idempotency-key", "a")]);
        twice.append("idempotency-key", "a".parse().unwrap());
        assert!(idempotency_key(&twice).is_err());
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_with_the_limit() {
        let body = |bytes: usize| Body::from(vec![b' '; bytes]);
        assert_eq!(read(body(MAX_BODY_BYTES), None).await.unwrap().len(), MAX_BODY_BYTES);
        let response = read(body(MAX_BODY_BYTES + 1), None).await.unwrap_err().into_response();
        assert_eq!(response.status(), 413);
    }
}
