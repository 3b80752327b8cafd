//! What comes with a request besides its body.

use producer::fuzzing::{self, http};

use crate::{choice, text, world};

pub(crate) fn headers(bytes: &[u8]) {
    let Some((choice, rest)) = choice(bytes) else { return };
    match choice % 6 {
        0 => range(rest),
        1 => podcasts(&text(rest)),
        2 => letters(&text(rest)),
        3 => after(rest),
        4 => key(rest),
        _ => properties(rest),
    }
}

fn range(bytes: &[u8]) {
    let (size, header) = bytes.split_at(bytes.len().min(8));
    let size = size.iter().fold(0, |size: u64, byte| size << 8 | u64::from(*byte));
    if let Some(range) = http::range(&text(header), size) {
        assert!(range.start <= range.end && range.end <= size, "{range:?} of {size}");
    }
}

fn podcasts(query: &str) {
    if let Some(filter) = http::podcasts(query) {
        assert!((1..=100).contains(&filter.limit));
        assert!(filter.state.is_none_or(|state| !state.contains('\0')));
    }
}

fn letters(query: &str) {
    let Some((filter, limit)) = http::letters(query) else { return };
    assert!((1..=100).contains(&limit));
    for text in [&filter.engine, &filter.fingerprint, &filter.kind, &filter.class, &filter.source] {
        assert!(text.as_ref().is_none_or(|text| !text.contains('\0') && text.len() <= 100), "{text:?}");
    }
    for time in [filter.since, filter.until].into_iter().flatten() {
        // PostgreSQL's calendar begins in 4714 BC.
        assert!(time.as_second() > -210_000_000_000, "{time}");
    }
}

fn after(bytes: &[u8]) {
    let (query, header) = parted(bytes);
    if let Some(seq) = http::after(&text(query), header) {
        assert!(seq >= 0);
    }
}

fn key(bytes: &[u8]) {
    if let Some(key) = http::idempotency_key(bytes) {
        assert!((1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()), "{key:?}");
    }
}

fn properties(bytes: &[u8]) {
    let (id, rest) = parted(bytes);
    let (user, rest) = parted(rest);
    let (time, traceparent) = rest.split_at(rest.len().min(8));
    let time = time.iter().fold(0, |time: u64, byte| time << 8 | u64::from(*byte));
    let short = |bytes: &[u8]| text(bytes).chars().take(63).collect::<String>();
    let now = world::now();
    let sender = fuzzing::sender(&short(id), &short(user), time, &text(traceparent), now);
    assert!(sender.since <= now);
    assert!(sender.key.is_err_and(|fault| !fault.remedy.is_empty()) || short(id).is_ascii());
    for name in [sender.tenant, sender.principal] {
        assert!((1..=64).contains(&name.len()) && !name.contains(['/', '\0']) && name != "..", "{name:?}");
    }
    assert!(sender.traceparent.is_none_or(|trace| trace.len() == 55 && trace.is_ascii()));
    let text = text(bytes);
    let reason = fuzzing::reason(&text);
    assert!(text.starts_with(reason) && reason.len() <= fuzzing::MAX_REASON);
}

/// What stands before the first line feed, and after it.
fn parted(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    (&bytes[..at], bytes.get(at + 1..).unwrap_or_default())
}
