//! Tags of what is answered: whoever has it already is told so, and is sent nothing.

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Longer answers are streams, or rare; they are not tagged here.
const MOST: u64 = 4 * 1024 * 1024;

/// Tags JSON, and a feed, that is there as a whole by its hash. The tag is weak: the same answer may travel compressed.
pub(super) async fn tag(request: Request, next: Next) -> Response {
    // The answer to HEAD has no body any more from which it could be told.
    let reads = request.method() == Method::GET;
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let response = next.run(request).await;
    if !reads || !is_taggable(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, MOST as usize).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let hash = blake3::hash(&bytes).to_hex();
    let tag = format!("W/\"{}\"", &hash[..32]);
    if let Ok(value) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, value);
    }
    parts.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    if known.is_some_and(|known| names(&known, &tag)) {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

fn is_taggable(response: &Response) -> bool {
    let headers = response.headers();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    response.status() == StatusCode::OK
        && (kind.starts_with("application/json") || kind.starts_with("application/rss+xml"))
        && !headers.contains_key(header::ETAG)
        && response.body().size_hint().exact().is_some_and(|bytes| bytes <= MOST)
}

/// Whether the client has what bears this tag, by weak comparison (RFC 9110, section 13.1.2).
pub(super) fn is_known(request: &HeaderMap, tag: &str) -> bool {
    request.get_all(header::IF_NONE_MATCH).iter().any(|known| names(known, tag))
}

fn names(known: &HeaderValue, tag: &str) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let known = known.to_str().unwrap_or_default();
    known.split(',').map(str::trim).any(|one| one == "*" || opaque(one) == opaque(tag))
}

/// A strong tag stands for bytes, and these have been compressed.
pub(super) async fn weaken(mut response: Response) -> Response {
    if response.headers().contains_key(header::CONTENT_ENCODING)
        && let Some(tag) = response.headers().get(header::ETAG)
        && let Some(strong) = tag.to_str().ok().filter(|tag| tag.starts_with('"'))
        && let Ok(weak) = HeaderValue::from_str(&format!("W/{strong}"))
    {
        response.headers_mut().insert(header::ETAG, weak);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_by_weak_comparison() {
        let mut request = HeaderMap::new();
        for (known, expected) in [
            ("\"abc\"", true),
            ("W/\"abc\"", true),
            ("\"x\", W/\"abc\"", true),
            ("*", true),
            ("\"x\"", false),
            ("abc", false),
            ("", false),
        ] {
            request.insert(header::IF_NONE_MATCH, known.parse().unwrap());
            for tag in ["\"abc\"", "W/\"abc\""] {
                assert_eq!(is_known(&request, tag), expected, "{known} {tag}");
            }
        }
        assert!(!is_known(&HeaderMap::new(), "\"abc\""));
    }

    #[tokio::test]
    async fn what_was_compressed_bears_a_weak_tag() {
        let tag = async |headers: &[(header::HeaderName, &str)]| {
            let mut response = Response::new(Body::empty());
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            weaken(response).await.headers().get(header::ETAG).cloned()
        };
        let (plain, gzip) = ((header::ETAG, "\"a\""), (header::CONTENT_ENCODING, "gzip"));
        assert_eq!(tag(std::slice::from_ref(&plain)).await.unwrap(), "\"a\"");
        assert_eq!(tag(&[plain, gzip.clone()]).await.unwrap(), "W/\"a\"");
        assert_eq!(tag(&[(header::ETAG, "W/\"a\""), gzip]).await.unwrap(), "W/\"a\"");
    }
}
