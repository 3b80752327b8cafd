//! Problems: errors as `application/problem+json` (RFC 9457).

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use common::request::Fault;
use common::store;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio_postgres::error::SqlState;

use crate::accept::Limited;

/// One error as its reader sees it. `type` is `urn:podfleet:problem:` and a word that programs may branch on.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    more: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, kind, detail: detail.into(), more: Map::new(), headers: Vec::new() }
    }

    /// Something of ours is wrong; the log has the cause.
    pub(crate) fn internal() -> Problem {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong on the server. Its log tells more, under the time and the x-request-id of this answer",
        )
    }

    /// Logs the cause, once, and tells nothing of it.
    pub(crate) fn unexpected(error: &anyhow::Error) -> Problem {
        tracing::error!(error = format!("{error:#}"), "a request failed");
        Problem::internal()
    }

    /// A database that is away comes back; one that refuses a statement does not change its mind.
    #[allow(clippy::needless_pass_by_value)]
    pub(crate) fn database(error: anyhow::Error) -> Problem {
        match store::code(&error) {
            Some(code) if *code == SqlState::DISK_FULL => {
                tracing::error!(error = format!("{error:#}"), "the disk of the database is full");
                Problem::disk_full("database")
            }
            Some(code) if [SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE].contains(code) => {
                tracing::warn!(error = format!("{error:#}"), "the database was too slow");
                Problem::too_slow()
            }
            Some(code) if ["22", "23", "42", "XX"].iter().any(|class| code.code().starts_with(class)) => {
                Problem::unexpected(&error)
            }
            _ => {
                tracing::warn!(error = format!("{error:#}"), "the database could not be read");
                Problem::unavailable()
            }
        }
    }

    /// Of the database or of the blobs.
    pub(crate) fn disk_full(whose: &str) -> Problem {
        let detail = format!(
            "The disk of the {whose} is full. Nothing was stored; try again when there is room on it"
        );
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "disk-full", detail).retry_after(30)
    }

    pub(crate) fn unavailable() -> Problem {
        let detail = "The database cannot be reached now. Nothing is lost; try again in a moment";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(2)
    }

    fn too_slow() -> Problem {
        let detail = "The database did not answer in time. Nothing is lost; try again in a moment";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(2)
    }

    /// It would be too much for its tenant.
    pub(crate) fn limited(limited: &Limited) -> Problem {
        let fault = limited.fault();
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "limit-exceeded", fault.to_string())
            .with("errors", json!([fault]))
            .with("limit", json!({"name": limited.limit, "most": limited.most}))
            .retry_after(limited.retry_after_seconds)
    }

    /// One thing is wrong with the request.
    pub(crate) fn bad_request(field: &str, reason: impl Into<String>, remedy: impl Into<String>) -> Problem {
        let fault = Fault { field: field.into(), reason: reason.into(), remedy: remedy.into() };
        Problem::faulty(StatusCode::BAD_REQUEST, vec![fault])
    }

    /// Everything that is wrong with the request.
    pub(crate) fn faulty(status: StatusCode, errors: Vec<Fault>) -> Problem {
        let detail = errors.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ");
        Problem::new(status, "invalid-request", detail).with("errors", json!(errors))
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Problem {
        self.more.insert(key.into(), value.into());
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn retry_after(self, seconds: u32) -> Problem {
        self.header(header::RETRY_AFTER, seconds.into())
    }

    fn json(&self) -> String {
        let body = Body {
            kind: format!("urn:podfleet:problem:{}", self.kind),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            more: &self.more,
        };
        serde_json::to_string(&body).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(flatten)]
    more: &'a Map<String, Value>,
}

/// What is said of every problem; members of its own may come with it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct Described {
    /// `urn:podfleet:problem:` and a word that programs may branch on.
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    /// What happened, why, and what to do next.
    detail: String,
    /// Each thing that is wrong with the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<Fault>>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.json()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_every_fault_and_keeps_internals_to_itself() {
        let fault = Fault { field: "title".into(), reason: "it is empty".into(), remedy: "Give one".into() };
        let problem = Problem::faulty(StatusCode::UNPROCESSABLE_ENTITY, vec![fault]).with("limit", 7);
        let body: Value = serde_json::from_str(&problem.json()).unwrap();
        assert_eq!(body["type"], "urn:podfleet:problem:invalid-request");
        assert_eq!((&body["status"], &body["limit"]), (&json!(422), &json!(7)));
        assert_eq!(
            body["errors"][0],
            json!({"field": "title", "reason": "it is empty", "remedy": "Give one"})
        );
        assert_eq!(body["detail"], "title: it is empty. Give one");
        let secret = anyhow::anyhow!("password=1234");
        assert!(!Problem::unexpected(&secret).json().contains("1234"));
    }

    #[test]
    fn the_response_is_problem_json_with_its_headers() {
        let response = Problem::unavailable().into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
}
