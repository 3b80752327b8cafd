//! The descriptions of the API, for programs and for people. They tell nothing of any tenant, and need no network.

use std::sync::LazyLock;

use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use common::request::PodcastRequest;
use common::store::events::Event;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

use super::{asyncapi, openapi};

static OPENAPI: LazyLock<String> = LazyLock::new(|| openapi::document().to_string());
static ASYNCAPI: LazyLock<String> = LazyLock::new(|| asyncapi::document().to_string());
static PAGE: LazyLock<String> = LazyLock::new(|| openapi::page::page(&openapi::document()));

static REQUEST: LazyLock<String> =
    LazyLock::new(|| schema::<PodcastRequest>(SchemaSettings::draft2020_12().for_deserialize()));
static EVENT: LazyLock<String> =
    LazyLock::new(|| schema::<Event>(SchemaSettings::draft2020_12().for_serialize()));

const JSON: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];
const SCHEMA: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/schema+json")];

pub(super) async fn openapi() -> impl IntoResponse {
    (JSON, OPENAPI.as_str())
}

pub(super) async fn asyncapi() -> impl IntoResponse {
    (JSON, ASYNCAPI.as_str())
}

/// What may be asked for, over HTTP and AMQP.
pub(super) async fn request_schema() -> impl IntoResponse {
    (SCHEMA, REQUEST.as_str())
}

/// What watchers are told, as server-sent events and over a WebSocket.
pub(super) async fn event_schema() -> impl IntoResponse {
    (SCHEMA, EVENT.as_str())
}

/// One type with all that it refers to.
fn schema<T: JsonSchema>(settings: SchemaSettings) -> String {
    settings.into_generator().into_root_schema_for::<T>().to_value().to_string()
}

pub(super) async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, PAGE.as_str())
}

pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], openapi::page::STYLE)
}
