//! Requests a minute of a tenant and of a key. Each producer counts for itself, in memory: it costs nothing, and it is as exact
//! as protection has to be.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

const MINUTE: Duration = Duration::from_secs(60);
/// From so many on, whoever has all of his minute again is forgotten.
const MANY: usize = 1_024;

/// Whose requests are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    Tenant(String),
    Key(Uuid),
}

#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// When each would have all of its minute again.
    full_at: Mutex<HashMap<Subject, Instant>>,
}

/// How it stands after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) per_minute: u32,
    pub(crate) left: u32,
    /// Until all of the minute is there again.
    pub(crate) full_in: Duration,
    /// Refused: until the next one is taken.
    pub(crate) wait: Option<Duration>,
}

impl Rates {
    /// Counts a request, if there is room for it.
    pub(crate) fn take(&self, subject: Subject, per_minute: u32, now: Instant) -> Rate {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= MANY {
            full_at.retain(|_, at| *at > now);
        }
        let before = full_at.get(&subject).copied().unwrap_or(now);
        let (after, rate) = count(before, per_minute.max(1), now);
        full_at.insert(subject, after);
        rate
    }
}

/// The generic cell rate algorithm (ITU-T I.371), with a bucket of one minute: all of a minute's requests may come at once, and
/// each comes back evenly over the minute.
fn count(full_at: Instant, per_minute: u32, now: Instant) -> (Instant, Rate) {
    let each = MINUTE / per_minute;
    let full_in = full_at.saturating_duration_since(now);
    let after = full_in + each;
    if after > MINUTE {
        return (full_at, Rate { per_minute, left: 0, full_in, wait: Some(after - MINUTE) });
    }
    let left = ((MINUTE - after).as_nanos() / each.as_nanos()) as u32;
    (now + after, Rate { per_minute, left, full_in: after, wait: None })
}

impl Rate {
    /// `RateLimit-Policy` and `RateLimit`, as draft-ietf-httpapi-ratelimit-headers writes them.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let Rate { per_minute, left, full_in, .. } = self;
        let fields = [
            ("ratelimit-policy", format!("\"requests\";q={per_minute};w=60")),
            ("ratelimit", format!("\"requests\";r={left};t={}", seconds(*full_in))),
        ];
        for (name, text) in fields {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}

/// Whole seconds, and never too few.
pub(crate) fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_requests_may_come_at_once_and_come_back_evenly() {
        let (rates, now) = (Rates::default(), Instant::now());
        let take =
            |after: u64| rates.take(Subject::Tenant("acme".into()), 4, now + Duration::from_secs(after));
        assert_eq!([0, 0, 0, 0].map(|at| take(at).left), [3, 2, 1, 0]);
        let refused = take(0);
        assert_eq!((refused.wait, refused.full_in), (Some(Duration::from_secs(15)), MINUTE));
        assert!(take(14).wait.is_some() && take(15).wait.is_none() && take(15).wait.is_some());
        assert_eq!(take(15 + 60).left, 3, "after a quiet minute all of it is there");
        let other = rates.take(Subject::Key(Uuid::nil()), 4, now);
        assert_eq!(other.left, 3, "others are not concerned");
    }

    #[test]
    fn whoever_is_quiet_is_forgotten() {
        let (rates, now) = (Rates::default(), Instant::now());
        for n in 0..MANY as u128 {
            rates.take(Subject::Key(Uuid::from_u128(n)), 60, now);
        }
        rates.take(Subject::Key(Uuid::max()), 60, now + MINUTE);
        assert_eq!(rates.full_at.lock().unwrap().len(), 1);
    }

    #[test]
    fn headers_tell_how_it_stands() {
        let mut headers = HeaderMap::new();
        let full_in = Duration::from_millis(1_500);
        Rate { per_minute: 60, left: 58, full_in, wait: None }.tell(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"requests\";q=60;w=60");
        assert_eq!(headers["ratelimit"], "\"requests\";r=58;t=2");
    }
}
