//! What an answer without a recording means: pure functions from status, headers and body to a failure.

use std::time::Duration;

use common::class::Class;
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::failure::Failure;

/// The server's own words, as far as they are repeated.
const MAX_MESSAGE_CHARS: usize = 300;

/// No server may hold a task longer than this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The failure that a status other than 2xx stands for. Messages go on after the engine's name.
pub(crate) fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Failure {
    let problem = Problem::read(body);
    let class = told_otherwise(headers, class(status, &problem));
    let mut failure = Failure::new(class, message(status, &problem));
    failure.retry_after = retry_after(headers, now);
    failure
}

/// `x-should-retry` says more than the status does.
fn told_otherwise(headers: &HeaderMap, class: Class) -> Class {
    let word = headers.get("x-should-retry").and_then(|value| value.to_str().ok()).map(str::trim);
    match (word, class) {
        (Some("true"), Class::PermanentInput) => Class::Transient,
        (Some("false"), Class::Transient) => Class::PermanentInput,
        // Not this minute, and not because of this input: as exhausted credit.
        (Some("false"), Class::Throttled) => Class::PermanentConfig,
        _ => class,
    }
}

/// An error that arrives in the middle of an answer that began with 200: `{"error": …}`.
pub(crate) fn error_within(error: &Value) -> Failure {
    let problem = Problem::of(error);
    let words = problem.message.as_deref().unwrap_or("it did not say why");
    let status = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let status = status.and_then(|code| StatusCode::from_u16(code).ok());
    let class = class(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &problem);
    Failure::new(class, format!("broke off its answer with an error: {words}"))
}

/// HTML or XML, from a server or a proxy that is starting or broken.
pub(crate) fn is_page(body: &[u8]) -> bool {
    let text = body.trim_ascii_start();
    let begins =
        |prefix: &[u8]| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    begins(b"<!doctype") || begins(b"<html") || begins(b"<?xml")
}

/// A 200 that carries no recording: servers and proxies answer so when they are starting or broken.
pub(crate) fn no_recording(body: &[u8]) -> Option<Failure> {
    let text = body.trim_ascii_start();
    if body.is_empty() {
        Some(Failure::transient("answered 200 with nothing in it"))
    } else if is_page(body) {
        Some(Failure::transient("answered 200 with a web page in place of a recording"))
    } else if text.starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok() {
        let words = Problem::read(text).message.unwrap_or_default();
        Some(Failure::transient(
            format!("answered 200 with JSON in place of a recording. {words}").trim_end().to_owned(),
        ))
    } else {
        None
    }
}

/// At most 300 characters, on one line.
pub(crate) fn bounded(message: &str) -> String {
    let plain: String = message.chars().take(4_000).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn class(status: StatusCode, problem: &Problem) -> Class {
    let broke = problem.says(&[
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "quota_exceeded",
        "insufficient_balance",
        "credits_exhausted",
    ]);
    let no_model = problem.says(&["model_not_found", "invalid_model"]);
    match status.as_u16() {
        _ if broke || no_model => Class::PermanentConfig,
        429 => Class::Throttled,
        401..=403 | 405 | 407 => Class::PermanentConfig,
        // A voice that the server does not have is the request's; a missing route or model is the configuration's.
        404 if problem.is_about("voice") => Class::PermanentInput,
        404 | 410 => Class::PermanentConfig,
        408 | 409 | 425 => Class::Transient,
        400..=499 => Class::PermanentInput,
        // A redirect is not followed: the address is not the server's.
        300..=399 => Class::PermanentConfig,
        _ => Class::Transient,
    }
}

fn message(status: StatusCode, problem: &Problem) -> String {
    match &problem.message {
        Some(words) => format!("answered {}: {words}", status.as_u16()),
        None => format!("answered {status}"),
    }
}

/// `Retry-After` in seconds or as a date, or OpenAI's `retry-after-ms`; at most an hour.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let seconds = |text: &str, unit: f64| {
        let value = text.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0)?;
        Some(Duration::from_secs_f64((value * unit).min(MAX_RETRY_AFTER.as_secs_f64())))
    };
    if let Some(wait) = text("retry-after-ms").and_then(|text| seconds(text, 0.001)) {
        return Some(wait);
    }
    let value = text("retry-after")?;
    seconds(value, 1.0).or_else(|| {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
        let wait = Duration::try_from(date.duration_since(now)).unwrap_or_default();
        Some(wait.min(MAX_RETRY_AFTER))
    })
}

/// `{"error": {message, type, param, code}}`, or what other servers make of it.
#[derive(Debug, Default)]
struct Problem {
    message: Option<String>,
    code: String,
    kind: String,
    param: String,
}

impl Problem {
    fn read(body: &[u8]) -> Problem {
        serde_json::from_slice::<Value>(body).map_or_else(|_| Problem::default(), |body| Problem::of(&body))
    }

    fn of(body: &Value) -> Problem {
        let error = body.get("error").filter(|error| error.is_object()).unwrap_or(body);
        let text = |field: &str| error.get(field).and_then(Value::as_str).map(str::to_owned);
        let message = text("message").or_else(|| text("error")).or_else(|| detail(error));
        Problem {
            message: message.map(|message| bounded(&message)).filter(|message| !message.is_empty()),
            code: text("code").or_else(|| detail_status(error)).unwrap_or_default(),
            kind: text("type").unwrap_or_default(),
            param: text("param").unwrap_or_default(),
        }
    }

    fn says(&self, codes: &[&str]) -> bool {
        codes.contains(&self.code.as_str()) || codes.contains(&self.kind.as_str())
    }

    fn is_about(&self, word: &str) -> bool {
        let message = self.message.as_deref().unwrap_or_default().to_lowercase();
        self.param == word || self.code.contains(word) || message.contains(word)
    }
}

/// ElevenLabs' `detail.status`.
fn detail_status(error: &Value) -> Option<String> {
    error.get("detail")?.get("status")?.as_str().map(str::to_owned)
}

/// FastAPI's `detail`: text, or a list whose entries also hold the input, which is not repeated.
fn detail(error: &Value) -> Option<String> {
    match error.get("detail")? {
        Value::String(text) => Some(text.clone()),
        Value::Array(entries) => entries.first()?.get("msg")?.as_str().map(str::to_owned),
        Value::Object(fields) => fields.get("message")?.as_str().map(str::to_owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "1994-11-06T08:49:37Z".parse().unwrap()
    }

    #[test]
    fn statuses_have_classes() {
        let check = |status: u16, body: &str, class: Class, words: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            let failure = refusal(status, &HeaderMap::new(), body.as_bytes(), now());
            assert_eq!(failure.class, class, "{status} {body}");
            assert!(failure.message.contains(words), "{failure}");
        };
        check(400, r#"{"error":{"message":"too long"}}"#, Class::PermanentInput, "answered 400: too long");
        check(400, r#"{"error":{"message":"no","code":"model_not_found"}}"#, Class::PermanentConfig, "no");
        check(
            422,
            r#"{"detail":[{"msg":"bad speed","input":"secret"}]}"#,
            Class::PermanentInput,
            "answered 422: bad speed",
        );
        check(404, r#"{"detail":"Not Found"}"#, Class::PermanentConfig, "Not Found");
        check(404, r#"{"error":{"message":"Voice x not found"}}"#, Class::PermanentInput, "Voice x");
        for status in [401, 402, 403, 405, 302] {
            check(status, "", Class::PermanentConfig, "answered");
        }
        for status in [408, 409, 500, 502, 503, 504, 529] {
            check(status, "<html>", Class::Transient, "answered");
        }
        check(429, "", Class::Throttled, "429");
        check(
            429,
            r#"{"error":{"message":"pay","code":"insufficient_quota"}}"#,
            Class::PermanentConfig,
            "pay",
        );
        check(
            429,
            r#"{"error":{"message":"pay","type":"insufficient_quota"}}"#,
            Class::PermanentConfig,
            "pay",
        );
        check(500, r#"{"error":"out of memory"}"#, Class::Transient, "out of memory");
        let busy = r#"{"detail":{"status":"too_many_concurrent_requests","message":"wait"}}"#;
        check(429, busy, Class::Throttled, "wait");
        let spent = r#"{"detail":{"status":"quota_exceeded","message":"no credit"}}"#;
        check(429, spent, Class::PermanentConfig, "no credit");
    }

    #[test]
    fn a_server_may_say_whether_to_ask_again() {
        let check = |status: u16, word: &'static str, expected: Class| {
            let headers = HeaderMap::from_iter([("x-should-retry".parse().unwrap(), word.parse().unwrap())]);
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(refusal(status, &headers, b"", now()).class, expected, "{status} {word}");
        };
        check(400, "true", Class::Transient);
        check(500, "false", Class::PermanentInput);
        check(429, "false", Class::PermanentConfig);
        check(429, "true", Class::Throttled);
        check(401, "true", Class::PermanentConfig);
    }

    #[test]
    fn waits_are_read_and_bounded() {
        let check = |name: &'static str, value: &str, expected: Option<f64>| {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now()).map(|wait| wait.as_secs_f64()), expected, "{value}");
        };
        check("retry-after", "7", Some(7.0));
        check("retry-after", "1.5", Some(1.5));
        check("retry-after-ms", "250", Some(0.25));
        check("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT", Some(60.0));
        check("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT", Some(0.0));
        check("retry-after", "999999999", Some(3600.0));
        check("retry-after", "Mon, 06 Nov 2034 08:49:37 GMT", Some(3600.0));
        check("retry-after", "-3", None);
        check("retry-after", "NaN", None);
        check("retry-after", "soon", None);
    }

    #[test]
    fn recordings_are_told_from_excuses() {
        let check = |body: &[u8], excuse: Option<&str>| {
            let failure = no_recording(body);
            assert_eq!(failure.is_some(), excuse.is_some(), "{body:?}");
            if let (Some(failure), Some(excuse)) = (failure, excuse) {
                assert_eq!(failure.class, Class::Transient);
                assert!(failure.message.contains(excuse), "{failure}");
            }
        };
        check(b"RIFF....WAVE", None);
        check(b"{\x00\x01 no json", None);
        check(b"", Some("nothing"));
        check(b" {\"error\":{\"message\":\"loading\"}}", Some("loading"));
        check(b"<!DOCTYPE html><html>", Some("web page"));
        check(b"<HTML>", Some("web page"));
    }

    #[test]
    fn messages_are_bounded() {
        assert_eq!(bounded("a\n b\u{1b}[31m"), "a b [31m");
        assert_eq!(bounded(&"한".repeat(500)).chars().count(), 301);
    }
}
