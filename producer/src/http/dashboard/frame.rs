//! What stands around every page: cookies, the check of forms, security headers, and problems as pages.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request};
use axum::http::header::{HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use common::access;
use common::request::Fault;
use maud::{Markup, html};
use serde::Deserialize;

use super::super::problem::Problem;
use super::super::{App, submit};
use super::layout::{Here, Page};
use super::words::Language;
use crate::Caller;

/// Holds what a form's token is made of until somebody signs in.
const VISIT: &str = "podfleet_visit";
/// Holds the secret of a session.
const SESSION: &str = "podfleet_session";
/// What a person chose: `en` or `ko`.
pub(super) const LANGUAGE: &str = "podfleet_language";
/// Longest problem that is shown as a page.
const MAX_PROBLEM: usize = 256 * 1024;

/// No script, style, picture or sound but ours, and none that is written into a page; nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Who looks at a page, and how.
#[derive(Clone, Debug)]
pub(in crate::http) struct Visit {
    /// Nobody yet, on the page where one signs in.
    pub(super) caller: Option<Caller>,
    pub(super) language: Language,
    /// What every form must bring along: no page of another origin can know it.
    pub(super) csrf: String,
    /// The page's own address, with its query.
    pub(super) path: String,
    /// Asked for by htmx: only a part of the page is wanted.
    pub(super) partial: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Visit, Problem> {
        let visit = parts.extensions.get::<Visit>().cloned().ok_or_else(|| {
            Problem::unexpected(&anyhow::anyhow!("the page {} has no frame; this is a bug", parts.uri.path()))
        })?;
        Ok(Visit { caller: parts.extensions.get().cloned(), ..visit })
    }
}

/// The outermost layer of a page.
pub(in crate::http) async fn frame(mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    let has_key = headers.contains_key(header::AUTHORIZATION);
    if is_link_from_elsewhere(request.method(), headers) && cookie(headers, SESSION).is_none() {
        return knock(request.uri().path_and_query().map_or("/", |path| path.as_str()));
    }
    let secure = !is_plain_loopback(headers);
    let known =
        [SESSION, VISIT].iter().find_map(|name| cookie(headers, name)).filter(|text| access::is_secret(text));
    let (secret, fresh) = match known.map(str::to_owned) {
        Some(secret) => (secret, false),
        None => match access::secret() {
            Ok(secret) => (secret, true),
            Err(error) => return Problem::unexpected(&error).into_response(),
        },
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let visit = Visit {
        caller: None,
        language: Language::of(headers),
        // A request with a key proves itself, and nothing of its page may depend on chance.
        csrf: if has_key { String::new() } else { token(&secret) },
        path,
        partial: headers.contains_key("hx-request"),
    };
    let (getting, streaming) = (request.method() == Method::GET, accepts(headers, "text/event-stream"));
    request.extensions_mut().insert(visit.clone());
    let mut response = next.run(request).await;
    if response.status() == StatusCode::UNAUTHORIZED && !has_key && !streaming {
        response = to_sign_in(&visit, getting);
    } else if is_problem(&response) && !streaming {
        let caller = response.extensions_mut().remove();
        response = as_page(response, Visit { caller, ..visit }).await;
    }
    if fresh && !has_key && !response.headers().contains_key(header::SET_COOKIE) {
        set_cookie(&mut response, VISIT, &secret, None, secure);
    }
    secured(response)
}

/// A form must bring the token of its page; a request with a key is no browser's. Bodies are held in memory within the bound
/// of all bodies.
pub(in crate::http) async fn check_form(app: App, request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::POST) {
        return next.run(request).await;
    }
    match checked(&app, request).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

async fn checked(app: &App, request: Request) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let _memory = submit::memory(app, &parts.headers).map_err(|(_, problem)| problem)?;
    let bytes = submit::read(body, submit::announced(&parts.headers)).await?;
    let expected = parts.extensions.get::<Visit>().map(|visit| visit.csrf.clone());
    let sent = parts.headers.get("x-csrf-token").map(HeaderValue::as_bytes).or_else(|| in_form(&bytes));
    let matches = expected.zip(sent).is_some_and(|(expected, sent)| is_same(&expected, sent));
    if !matches && !parts.headers.contains_key(header::AUTHORIZATION) {
        let detail = "The page was too old, or the form was not ours. Nothing was done; open the page again and send it once more";
        return Err(Problem::new(StatusCode::FORBIDDEN, "stale-form", detail));
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// A token is made of digits, so it stands in a form as it is.
fn in_form(bytes: &[u8]) -> Option<&[u8]> {
    bytes.split(|byte| *byte == b'&').find_map(|field| field.strip_prefix(b"csrf="))
}

/// Takes the same time wherever they differ.
fn is_same(expected: &str, sent: &[u8]) -> bool {
    let hash = |text: &[u8]| blake3::Hash::from_hex(text).ok();
    hash(expected.as_bytes()).zip(hash(sent)).is_some_and(|(expected, sent)| expected == sent)
}

fn token(secret: &str) -> String {
    let key = blake3::derive_key("podfleet 2026 token of forms", secret.as_bytes());
    blake3::Hash::from_bytes(key).to_hex().to_string()
}

/// The session that a request shows.
pub(in crate::http) fn session(headers: &HeaderMap) -> Option<&str> {
    cookie(headers, SESSION)
}

pub(super) fn sign_in(response: &mut Response, headers: &HeaderMap, secret: &str, seconds: i64) {
    set_cookie(response, SESSION, secret, Some(seconds), !is_plain_loopback(headers));
}

pub(super) fn sign_out(response: &mut Response, headers: &HeaderMap) {
    set_cookie(response, SESSION, "", Some(0), !is_plain_loopback(headers));
}

pub(super) fn remember_language(response: &mut Response, headers: &HeaderMap, language: Language) {
    let year = 366 * 24 * 3600;
    set_cookie(response, LANGUAGE, language.code(), Some(year), !is_plain_loopback(headers));
}

pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    pairs.flat_map(|text| text.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

fn set_cookie(response: &mut Response, name: &str, value: &str, seconds: Option<i64>, secure: bool) {
    let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{age}{secure}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// Plain HTTP to this machine, where cookies that are for TLS alone would be lost.
fn is_plain_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
    });
    let forwarded = ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-real-ip"];
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
        && !forwarded.iter().any(|name| headers.contains_key(*name))
}

/// Somebody followed a link on another site: the browser keeps our strict cookies back.
fn is_link_from_elsewhere(method: &Method, headers: &HeaderMap) -> bool {
    let is = |name: &str, expected: &str| headers.get(name).is_some_and(|value| value == expected);
    *method == Method::GET && is("sec-fetch-site", "cross-site") && is("sec-fetch-mode", "navigate")
}

/// A page that asks for the same address again, now from ourselves: with the cookies.
fn knock(path: &str) -> Response {
    let page = html! {
        (maud::DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { "Podfleet" } meta http-equiv="refresh" content=(format!("0; url={path}")); }
            body { p { a href=(path) { "Podfleet" } } }
        }
    };
    secured(axum::response::Html(page.into_string()).into_response())
}

fn to_sign_in(visit: &Visit, getting: bool) -> Response {
    let next =
        if getting && visit.path != "/" { format!("?next={}", encoded(&visit.path)) } else { String::new() };
    let place = format!("/login{next}");
    if visit.partial {
        let value = HeaderValue::from_str(&place).unwrap_or(HeaderValue::from_static("/login"));
        return (StatusCode::OK, [(HeaderName::from_static("hx-redirect"), value)]).into_response();
    }
    Redirect::to(&place).into_response()
}

/// For a value in a query.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn accepts(headers: &HeaderMap, what: &str) -> bool {
    headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|text| text.contains(what))
}

fn is_problem(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == "application/problem+json")
}

/// A problem as the API words it.
#[derive(Debug, Deserialize)]
pub(super) struct Told {
    #[serde(rename = "type")]
    kind: String,
    status: u16,
    detail: String,
    #[serde(default)]
    pub(super) errors: Vec<Fault>,
}

impl Told {
    /// What is wrong with a form, found before the API was asked.
    pub(super) fn of_form(errors: Vec<Fault>) -> Told {
        let detail = errors.first().map(Fault::to_string).unwrap_or_default();
        Told { kind: format!("{PROBLEM}invalid-request"), status: 422, detail, errors }
    }

    /// What cannot be done to a podcast as it is.
    pub(super) fn of_state(kind: &str, detail: String) -> Told {
        Told { kind: format!("{PROBLEM}{kind}"), status: 409, detail, errors: Vec::new() }
    }

    /// In the language of the page as far as that is known there; the API's own words, which are English, tell the rest.
    pub(super) fn notice(&self, language: Language) -> Markup {
        let own = language.problem(self.kind.strip_prefix(PROBLEM).unwrap_or_default());
        let words = own.map(|_| Language::English.code());
        html! {
            div.notice.bad role="alert" {
                @if let Some(own) = own { p { (own) } }
                @if self.errors.len() > 1 {
                    ul lang=[words] { @for fault in &self.errors { li { (fault.to_string()) } } }
                } @else {
                    p lang=[words] { (self.detail) }
                }
            }
        }
    }
}

/// What the type of every problem begins with.
const PROBLEM: &str = "urn:podfleet:problem:";

pub(super) async fn told(response: Response) -> Option<Told> {
    let bytes = to_bytes(response.into_body(), MAX_PROBLEM).await.ok()?;
    serde_json::from_slice(&bytes).ok()
}

async fn as_page(response: Response, visit: Visit) -> Response {
    let (parts, body) = response.into_parts();
    let status = parts.status;
    // What a program needs stays: how to show a key, when to come back.
    let mut kept = parts.headers.clone();
    kept.remove(header::CONTENT_TYPE);
    kept.remove(header::CONTENT_LENGTH);
    let Some(told) = told(Response::from_parts(parts, body)).await else { return status.into_response() };
    let language = visit.language;
    let notice = told.notice(language);
    if visit.partial {
        return (status, kept, axum::response::Html(notice.into_string())).into_response();
    }
    let title = match told.status {
        404 => language.t("Not found"),
        403 => language.t("Not allowed"),
        409 => language.t("Not possible any more"),
        500.. => language.t("Something went wrong"),
        _ => language.t("That did not work"),
    };
    let body = html! {
        h1 { (title) }
        (notice)
        p { a href="/podcasts" { (language.t("Back to the podcasts")) } }
    };
    (kept, Page::new(visit, title, Here::Elsewhere, body).with_status(status)).into_response()
}

fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs.map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let sent = headers(&[("cookie", "xpodfleet_session=1; podfleet_session=2; podfleet_session_x=3")]);
        assert_eq!(cookie(&sent, SESSION), Some("2"));
        assert_eq!(cookie(&sent, VISIT), None);
    }

    #[test]
    fn only_the_pages_own_token_will_do() {
        let (ours, other) = (token("a"), token("b"));
        assert!(is_same(&ours, ours.as_bytes()) && !is_same(&ours, other.as_bytes()) && !is_same(&ours, b""));
        assert_eq!(in_form(format!("reason=csrf%3D1&csrf={ours}").as_bytes()), Some(ours.as_bytes()));
        assert_eq!(in_form(b"reason=x"), None);
    }

    #[test]
    fn cookies_are_for_tls_alone_but_on_this_machine() {
        let plain = |host: &str| is_plain_loopback(&headers(&[("host", host)]));
        for here in ["localhost", "localhost:8080", "127.0.0.1:80", "[::1]:8080", "[::1]"] {
            assert!(plain(here), "{here}");
        }
        for elsewhere in ["podfleet.example", "localhost.example:80", "", "127.0.0.1.example"] {
            assert!(!plain(elsewhere), "{elsewhere}");
        }
        let proxied = headers(&[("host", "127.0.0.1:8080"), ("x-forwarded-proto", "https")]);
        assert!(!is_plain_loopback(&proxied));
    }

    #[test]
    fn a_place_to_go_on_to_fits_into_a_query() {
        assert_eq!(encoded("/podcasts?state=failed&x=가"), "/podcasts%3Fstate%3Dfailed%26x%3D%EA%B0%80");
    }
}
