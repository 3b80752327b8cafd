//! The line and the headers of a request, for the crate `fuzz`.

use std::ops::Range;

use axum::extract::Query;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use common::store::dead_letters::reading::Filter as Letters;
use common::store::reading::Filter as Podcasts;

use super::dead_letters::filter;
use super::range::{self, Asked};
use super::{podcasts, submit, watch};

/// The bytes that a `Range` header asks for; nothing if there are none such.
pub fn range(header: &str, size: u64) -> Option<Range<u64>> {
    match range::parse(Some(header), size) {
        Asked::Whole => Some(0..size),
        Asked::Part(part) => Some(part),
        Asked::Unsatisfiable => None,
    }
}

/// The podcasts that a query string means.
pub fn podcasts(query: &str) -> Option<Podcasts> {
    let Query(wanted) = Query::try_from_uri(&uri(query)?).ok()?;
    podcasts::filter(wanted).ok()
}

/// The dead letters that a query string means, and how many of them.
pub fn letters(query: &str) -> Option<(Letters, i64)> {
    let Query(wanted) = Query::<filter::Wanted>::try_from_uri(&uri(query)?).ok()?;
    wanted.before().ok()?;
    Some((wanted.filter().ok()?, wanted.limit().ok()?))
}

/// After which event a watcher goes on.
pub fn after(query: &str, last_event_id: &[u8]) -> Option<i64> {
    let Query(from) = Query::try_from_uri(&uri(query)?).ok()?;
    watch::after(from, &headers("last-event-id", last_event_id)).ok()
}

/// The key of a request over HTTP.
pub fn idempotency_key(value: &[u8]) -> Option<String> {
    submit::idempotency_key(&headers("idempotency-key", value)).ok().flatten()
}

fn uri(query: &str) -> Option<Uri> {
    format!("/?{query}").parse().ok()
}

/// A value that HTTP does not allow is left out, as the server's own parser would have refused it.
fn headers(name: &'static str, value: &[u8]) -> HeaderMap {
    let value = HeaderValue::from_bytes(value).ok();
    HeaderMap::from_iter(value.map(|value| (HeaderName::from_static(name), value)))
}
