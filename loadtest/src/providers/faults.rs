//! What goes wrong the same way at both endpoints.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::json;

use super::gzip;
use super::plan::{Bytes, End, Pieces, Plan};
use super::rules::{Misbehaviour, Rule};

const TEN_GIGABYTES: u64 = 10_000_000_000;
const PIECE: usize = 64 * 1024;

/// The first thing that clients of a busy server see.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);

/// An error in OpenAI's shape.
pub(super) fn problem(
    status: u16,
    kind: &str,
    code: Option<&str>,
    param: Option<&str>,
    message: &str,
) -> Plan {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let error = json!({"error": {"message": message, "type": kind, "param": param, "code": code}});
    Plan::whole(status, "application/json", error.to_string())
}

/// A request that makes no sense.
pub(super) fn invalid(param: &str, message: &str) -> Plan {
    problem(400, "invalid_request_error", None, Some(param), message)
}

/// 429 with `Retry-After` in whole seconds, rounded up.
pub(super) fn throttled(wait: Duration, message: &str) -> Plan {
    problem(429, "rate_limit_exceeded", Some("rate_limit_exceeded"), None, message)
        .with_retry_after(whole_seconds(wait).to_string())
}

/// Misbehaviours that answer no call at all: they take no place, no time and no money.
pub(super) fn refusal(rule: &Rule) -> Option<Plan> {
    let wait = |default| rule.retry_after_ms.map(Duration::from_millis).or(default);
    Some(match rule.misbehaviour? {
        Misbehaviour::Throttled => {
            throttled(wait(Some(DEFAULT_WAIT)).unwrap_or_default(), "too many requests, on demand")
        }
        Misbehaviour::ThrottledDate => {
            let date = http_date(Timestamp::now(), wait(Some(DEFAULT_WAIT)).unwrap_or_default());
            throttled(Duration::ZERO, "too many requests, on demand").with_retry_after(date)
        }
        Misbehaviour::NoCredit => {
            let kind = "insufficient_quota";
            problem(429, kind, Some(kind), None, "the account has no credit left, on demand")
        }
        Misbehaviour::WrongKey => problem(
            401,
            "invalid_request_error",
            Some("invalid_api_key"),
            None,
            "the key is wrong, on demand",
        ),
        Misbehaviour::ServerError => {
            let status = rule.status.unwrap_or(500);
            let kind = if status == 429 { "rate_limit_exceeded" } else { "server_error" };
            let plan = problem(status, kind, None, None, "a fault on demand");
            match wait(None) {
                Some(wait) => plan.with_retry_after(whole_seconds(wait).to_string()),
                None => plan,
            }
        }
        _ => return None,
    })
}

/// What an endless or packed body begins with, and goes on with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filling<'a> {
    pub(super) start: &'a [u8],
    pub(super) filler: u8,
}

/// Changes a good answer. `filling` is a plausible start of one.
pub(super) fn spoil(good: Plan, misbehaviour: Misbehaviour, filling: Filling<'_>) -> Plan {
    match misbehaviour {
        Misbehaviour::StallMiddle => good.broken(End::Stall),
        Misbehaviour::ResetMiddle => good.broken(End::Reset),
        Misbehaviour::CloseMiddle => good.broken(End::Close),
        Misbehaviour::Empty => {
            Plan { length: Some(0), pieces: Box::new(std::iter::empty()), ..good.misbehaved() }
        }
        Misbehaviour::Html => {
            let page =
                "<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body>It works!</body></html>\n";
            Plan::whole(StatusCode::OK, "text/html; charset=utf-8", page).misbehaved()
        }
        Misbehaviour::EndlessBody => good.with_pieces(endless(filling)),
        Misbehaviour::GzipBomb => {
            let pieces = gzip::bomb(filling.start, filling.filler, TEN_GIGABYTES);
            let mut plan = good.with_pieces(Box::new(pieces.map(|piece| (Duration::ZERO, piece))));
            plan.headers.push((header::CONTENT_ENCODING, HeaderValue::from_static("gzip")));
            plan
        }
        _ => good,
    }
}

/// Never held: the same 64 KiB again and again.
fn endless(filling: Filling<'_>) -> Pieces {
    let start = (Duration::ZERO, Bytes::copy_from_slice(filling.start));
    let piece = (Duration::ZERO, Bytes::from(vec![filling.filler; PIECE]));
    let times = usize::try_from(TEN_GIGABYTES / PIECE as u64).unwrap_or(usize::MAX);
    Box::new(std::iter::once(start).chain(std::iter::repeat_n(piece, times)))
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.saturating_add(Duration::from_nanos(999_999_999)).as_secs()
}

/// The date after `wait`, never before (RFC 9110, 5.6.7: dates have whole seconds).
fn http_date(now: Timestamp, wait: Duration) -> String {
    let date = now.saturating_add(wait).unwrap_or(Timestamp::MAX);
    let seconds = date.as_second() + i64::from(date.subsec_nanosecond() > 0);
    let date = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
    printer.timestamp_to_rfc9110_string(&date).unwrap_or_default()
}

impl Plan {
    fn with_retry_after(mut self, value: String) -> Plan {
        self.headers.retain(|(name, _)| name != header::RETRY_AFTER);
        if let Ok(value) = HeaderValue::from_str(&value) {
            self.headers.push((header::RETRY_AFTER, value));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_never_too_early() {
        let now: Timestamp = "1994-11-06T08:49:37.2Z".parse().unwrap();
        assert_eq!(http_date(now, Duration::from_secs(2)), "Sun, 06 Nov 1994 08:49:40 GMT");
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
    }

    #[test]
    fn ten_gigabytes_are_not_held() {
        let filling = Filling { start: b"RIFF", filler: 0 };
        let mut pieces = endless(filling);
        let (first, second) = (pieces.next().unwrap().1, pieces.next().unwrap().1);
        assert_eq!((&first[..], second.len()), (&b"RIFF"[..], PIECE));
        // Every piece is the same memory.
        assert_eq!(pieces.next().unwrap().1.as_ptr(), second.as_ptr());
        assert!((1.0 - pieces.count() as f64 * PIECE as f64 / TEN_GIGABYTES as f64).abs() < 0.01);
    }
}
