//! Keeps web pages out. Where this machine is trusted without a key, a browser on it is, too, whatever page it shows: one whose
//! name resolves to 127.0.0.1 (DNS rebinding), or one that sends plain cross-site requests. A request that brings a key of its own
//! is no page's: browsers add none by themselves.

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

pub(super) async fn refuse_foreign_pages(trusts_loopback: bool, request: Request, next: Next) -> Response {
    match check(trusts_loopback, request.method(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(detail) => Problem::new(StatusCode::FORBIDDEN, "foreign-origin", detail).into_response(),
    }
}

/// Where this machine is trusted, the host must be this machine. Where a request changes something or opens a WebSocket, a
/// browser must show a page of ours.
fn check(trusts_loopback: bool, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), String> {
    if headers.contains_key(header::AUTHORIZATION) {
        return Ok(());
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        _ => "",
    };
    let named = uri.authority().map_or(host, Authority::as_str);
    if trusts_loopback && (!is_this_machine(host) || !is_this_machine(named)) {
        return Err("Without a key this server answers only to localhost, 127.0.0.1 and [::1], because it trusts this machine. \
             Send a key, or use one of these names"
            .into());
    }
    let reading = matches!(*method, Method::GET | Method::HEAD) && !headers.contains_key(header::UPGRADE);
    if reading {
        return Ok(());
    }
    let foreign =
        headers.get_all(header::ORIGIN).iter().any(|origin| !is_same_origin(origin.to_str().ok(), host));
    if foreign {
        let detail = "A web page of another origin asked for this. Send the request from a program, without an Origin header";
        return Err(detail.into());
    }
    Ok(())
}

fn is_this_machine(authority: &str) -> bool {
    let Ok(parsed) = authority.parse::<Authority>() else { return false };
    let host = parsed.host();
    !authority.contains('@')
        && (host.eq_ignore_ascii_case("localhost") || host == "127.0.0.1" || host == "[::1]")
}

/// The page's own address is ours, port included.
fn is_same_origin(origin: Option<&str>, host: &str) -> bool {
    let authority =
        origin.and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn allowed(method: Method, headers: &[(&str, &str)], expected: bool) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap());
        }
        let uri = Uri::from_static("/v1/podcasts");
        assert_eq!(check(true, &method, &uri, &map).is_ok(), expected, "{method} {headers:?}");
    }

    #[test]
    fn only_this_machine_is_a_host() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:80", "[::1]:9000", "[::1]"] {
            allowed(Method::GET, &[("host", host)], true);
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:8080",
            "10.0.0.1",
            "a@localhost",
        ] {
            allowed(Method::GET, &[("host", host)], false);
        }
        allowed(Method::GET, &[], false);
        allowed(Method::GET, &[("host", "localhost"), ("host", "evil.example")], false);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost".parse().unwrap());
        let elsewhere = Uri::from_static("http://evil.example/v1/podcasts");
        assert!(check(true, &Method::GET, &elsewhere, &headers).is_err());
    }

    #[test]
    fn pages_of_others_change_nothing() {
        let host = ("host", "localhost:8080");
        for method in [Method::POST, Method::DELETE] {
            allowed(method.clone(), &[host], true);
            allowed(method.clone(), &[host, ("origin", "http://localhost:8080")], true);
            for origin in [
                "http://evil.example",
                "null",
                "http://localhost:3000",
                "file://",
                "http://localhost:8080.evil.example",
            ] {
                allowed(method.clone(), &[host, ("origin", origin)], false);
            }
        }
        allowed(Method::GET, &[host, ("origin", "http://evil.example")], true);
        allowed(Method::GET, &[host, ("upgrade", "websocket"), ("origin", "http://evil.example")], false);
        allowed(Method::GET, &[host, ("upgrade", "websocket"), ("origin", "http://localhost:8080")], true);
    }
    #[test]
    fn with_keys_any_name_will_do_and_a_key_is_no_pages() {
        let check = |trusts: bool, pairs: &[(&'static str, &str)]| {
            let headers: HeaderMap = pairs
                .iter()
                .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            check(trusts, &Method::POST, &Uri::from_static("/v1/podcasts"), &headers).is_ok()
        };
        let (host, evil) = (("host", "podfleet.example"), ("origin", "https://evil.example"));
        assert!(check(false, &[host]) && !check(true, &[host]));
        assert!(!check(false, &[host, evil]), "a page of another origin");
        assert!(check(false, &[host, ("origin", "https://podfleet.example")]));
        for trusts in [false, true] {
            assert!(check(trusts, &[host, evil, ("authorization", "Bearer x")]));
        }
    }
}
