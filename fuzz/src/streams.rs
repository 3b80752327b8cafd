//! Answers of servers, as bytes: streams of events, and refusals.

use std::time::Duration;

use common::store::dead_letters::fingerprint;
use worker::fuzzing::{self, chat};

use crate::sse::Parser;
use crate::{choice, text, world};

/// Server-sent events, as a worker reads them of a language model and the command line of the producer.
pub(crate) fn stream(bytes: &[u8]) {
    let Some((step, rest)) = choice(bytes) else { return };
    let whole = chat::heard(rest, rest.len().max(1));
    let in_pieces = chat::heard(rest, step % 16 + 1);
    match (&whole, &in_pieces) {
        (Ok(whole), Ok(in_pieces)) => assert!(whole == in_pieces, "{whole:?} or {in_pieces:?}"),
        (Err(whole), Err(in_pieces)) => assert!(whole.message == in_pieces.message),
        _ => panic!("{whole:?} or {in_pieces:?}"),
    }
    if let Ok(heard) = whole {
        assert!(heard.content.iter().map(String::len).sum::<usize>() <= 3 * rest.len());
        for error in &heard.errors {
            assert!(fuzzing::error_within(error).message.chars().count() <= 400);
        }
    }
    let events = |step: usize| {
        let mut parser = Parser::default();
        let events: Result<Vec<_>, _> = rest.chunks(step).map(|piece| parser.feed(piece)).collect();
        events.map(|events| events.concat()).map_err(|error| error.to_string())
    };
    assert!(events(rest.len().max(1)) == events(step % 16 + 1));
}

/// What a server says instead of an answer: status, a header, a body.
pub(crate) fn refusal(bytes: &[u8]) {
    let Some((first, rest)) = choice(bytes) else { return };
    let Some((second, rest)) = choice(rest) else { return };
    let status = 100 + ((first << 8 | second) % 500) as u16;
    let names = ["retry-after", "retry-after-ms", "x-should-retry"];
    let at = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (value, body) = (&rest[..at], rest.get(at + 1..).unwrap_or_default());
    let failure = fuzzing::refusal(status, (names[first % names.len()], value), body, world::now());
    let (excuse, _) = fuzzing::recording(body);
    for failure in failure.into_iter().chain(excuse) {
        assert!(failure.retry_after.is_none_or(|wait| wait <= Duration::from_secs(3_600)), "{failure:?}");
        assert!(failure.message.chars().count() <= 400 && !failure.message.contains('\n'), "{failure:?}");
    }
    let normal = fingerprint::normal(&text(body));
    assert!(fingerprint::normal(&normal) == normal, "{normal:?}");
    assert!(!normal.bytes().any(|byte| byte.is_ascii_digit()), "{normal:?}");
}
