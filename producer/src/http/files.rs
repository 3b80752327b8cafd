//! Blobs as responses: ranges, conditions, and a name to save them under.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use common::blobs::Blobs;

use super::etag::is_known;
use super::problem::Problem;
use super::range::{self, Asked};

/// Longest name for a file, in characters, without its ending.
const MAX_NAME: usize = 100;

/// A blob as it is offered to a client.
pub(super) struct File<'a> {
    pub(super) key: &'a str,
    pub(super) content_type: &'static str,
    pub(super) title: Option<&'a str>,
    pub(super) ending: &'static str,
}

/// Streams a blob, or the part of it that is asked for.
pub(super) async fn serve(blobs: &Blobs, file: File<'_>, request: &HeaderMap) -> Result<Response, Problem> {
    let size = match blobs.size(file.key).await {
        Ok(Some(size)) => size,
        Ok(None) => {
            return Err(Problem::unexpected(&anyhow::anyhow!(
                "the blob {} of a finished podcast is missing",
                file.key
            )));
        }
        Err(error) => return Err(Problem::unexpected(&error)),
    };
    let etag = etag(file.key);
    if is_known(request, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, common_headers(&file, &etag)).into_response());
    }
    let asked = match text(request, header::IF_RANGE) {
        Some(condition) if condition != etag => Asked::Whole,
        _ => range::parse(text(request, header::RANGE), size),
    };
    let (status, part) = match asked {
        Asked::Whole => (StatusCode::OK, 0..size),
        Asked::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Asked::Unsatisfiable => return Err(unsatisfiable(size)),
    };
    let mut headers = common_headers(&file, &etag);
    headers.insert(header::CONTENT_LENGTH, (part.end - part.start).into());
    if status == StatusCode::PARTIAL_CONTENT {
        let place = format!("bytes {}-{}/{size}", part.start, part.end - 1);
        headers.extend(HeaderValue::from_str(&place).ok().map(|value| (header::CONTENT_RANGE, value)));
    }
    // The object store refuses an empty range.
    let body = if part.is_empty() {
        Body::empty()
    } else {
        Body::from_stream(blobs.stream(file.key, part).await.map_err(|error| Problem::unexpected(&error))?)
    };
    Ok((status, headers, body).into_response())
}

fn common_headers(file: &File<'_>, etag: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // The bytes behind an address change when a podcast is edited: a client asks again, and is told that they did not.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    let texts = [
        (header::ETAG, etag.to_owned()),
        (header::CONTENT_DISPOSITION, disposition(file.title, file.ending)),
    ];
    headers.extend(
        texts.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::from_str(&text).ok()?))),
    );
    headers
}

/// A blob is named by the hash of what made it, so its name is its tag.
fn etag(key: &str) -> String {
    let name = key.rsplit('/').next().unwrap_or(key);
    let safe: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')).collect();
    format!("\"{safe}\"")
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn unsatisfiable(size: u64) -> Problem {
    let problem = Problem::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "range-not-satisfiable",
        format!("The range asked for lies outside the {size} bytes there are"),
    );
    match HeaderValue::from_str(&format!("bytes */{size}")) {
        Ok(value) => problem.header(header::CONTENT_RANGE, value),
        Err(_) => problem,
    }
}

/// `Content-Disposition` with a plain name for old clients and the real one for all others (RFC 6266, RFC 8187).
fn disposition(title: Option<&str>, ending: &str) -> String {
    let harmless = |c: char| if c.is_control() || r#"/\:*?"<>|"#.contains(c) { ' ' } else { c };
    let name = single_spaced(title.unwrap_or_default().chars().map(harmless).take(MAX_NAME));
    let plain = single_spaced(name.chars().map(|c| if is_plain(c) { c } else { ' ' }));
    let plain = if plain.chars().any(|c| c.is_ascii_alphanumeric()) { plain } else { "podcast".into() };
    let name = if name.is_empty() { "podcast".into() } else { name };
    format!(r#"inline; filename="{plain}.{ending}"; filename*=UTF-8''{}.{ending}"#, percent_encoded(&name))
}

/// Neither a hidden file nor one that ends in a dot.
fn single_spaced(characters: impl Iterator<Item = char>) -> String {
    let text: String = characters.collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ").trim_matches(['.', ' ']).to_owned()
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | '-' | '_')
}

/// All but the letters, digits and signs that RFC 8187 lets stand.
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn named(title: &str, plain: &str, real: &str) {
        let expected = format!(r#"inline; filename="{plain}.mp3"; filename*=UTF-8''{real}.mp3"#);
        assert_eq!(disposition(Some(title), "mp3"), expected);
        assert!(HeaderValue::from_str(&expected).is_ok());
    }

    #[test]
    fn names_are_safe_and_keep_their_letters() {
        named("The tides", "The tides", "The%20tides");
        named("조수의 비밀", "podcast", "%EC%A1%B0%EC%88%98%EC%9D%98%20%EB%B9%84%EB%B0%80");
        named("a\"b\r\nSet-Cookie: x", "a b Set-Cookie x", "a%20b%20Set-Cookie%20x");
        named("../../etc/passwd", "etc passwd", "etc%20passwd");
        named("Café; 50%", "Caf 50", "Caf%C3%A9%3B%2050%25");
        named("...", "podcast", "podcast");
        assert!(disposition(None, "vtt").contains(r#"filename="podcast.vtt""#));
        assert!(disposition(Some(&"x".repeat(5_000)), "mp3").len() < 300);
    }

    #[test]
    fn the_tag_is_the_blobs_name() {
        assert_eq!(etag("t/join/abc.mp3"), "\"abc.mp3\"");
    }
}
