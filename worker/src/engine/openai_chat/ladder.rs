//! How to ask a server that refuses the form of a question: each step asks for less.

use std::time::Instant;

use crate::engine::openai_http::Refused;
use crate::engine::openai_http::pool::{Lease, PASSING, Quirks};
use crate::failure::Failure;

/// The way down of one question, at the server that refused it first.
#[derive(Debug, Default)]
pub(super) struct Steps {
    weaker: Option<Quirks>,
    pub(super) server: Option<String>,
    /// A 500 that does not say what it is about was met by asking in the same form once more.
    repeated: bool,
    /// A step down is a guess: the server never said that it refuses the form.
    guessed: bool,
    /// A step down was after a fault of the server.
    faulty: bool,
}

/// What to do about a refusal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It may have passed: the same again, a moment later.
    Again,
    /// In the weaker form, at once.
    Weaker,
}

impl Steps {
    /// How to ask now a server of which this much is known.
    pub(super) fn form(&self, known: Quirks) -> Quirks {
        self.weaker.map_or(known, |weaker| both(known, weaker))
    }

    /// Takes the next step; an error if there is none.
    pub(super) fn refused(&mut self, engine: &str, used: Quirks, refused: Refused) -> Result<Step, Failure> {
        let Some(status) = refused.status else { return Err(refused.failure) };
        let Some(next) = weaker(used, status, &refused.failure.message) else { return Err(refused.failure) };
        self.server = refused.server;
        let guess =
            status == 500 && next.format != used.format && !names_the_format(&refused.failure.message);
        if guess && !self.repeated {
            self.repeated = true;
            return Ok(Step::Again);
        }
        self.guessed |= guess;
        self.faulty |= status >= 500;
        tracing::info!(engine, status, form = ?next, "asking in a weaker form");
        self.weaker = Some(next);
        Ok(Step::Weaker)
    }

    /// After an answer in the form `used`: what the server remembers of it.
    pub(super) fn learned(&self, lease: &Lease<'_>, used: Quirks, now: Instant) {
        match self.weaker {
            None => lease.understood(used.format),
            Some(_) if self.guessed => lease.suspect(used, now),
            Some(_) => lease.remember(used, now.checked_add(PASSING).filter(|_| self.faulty)),
        }
    }
}

/// Whether a fault of the server tells that it is about the form of the answer.
fn names_the_format(message: &str) -> bool {
    let message = message.to_lowercase();
    ["response_format", "json_schema", "json_object", "schema", "grammar"]
        .iter()
        .any(|word| message.contains(word))
}

/// The next form of asking after a refusal, or nothing when no form would help. Servers refuse a format with 400, 422 or 500,
/// and seldom say what they refuse; where they do name another field, that one goes first.
fn weaker(used: Quirks, status: u16, message: &str) -> Option<Quirks> {
    if !matches!(status, 400 | 415 | 422 | 500 | 501) {
        return None;
    }
    let message = message.to_lowercase();
    let about = |word: &str| message.contains(word);
    if ["context length", "context_length", "context window", "too many tokens", "maximum context"]
        .into_iter()
        .any(about)
    {
        return None;
    }
    if about("max_completion_tokens") && !used.completion_tokens {
        return Some(Quirks { completion_tokens: true, ..used });
    }
    if about("stream_options") && !used.no_stream_options {
        return Some(Quirks { no_stream_options: true, ..used });
    }
    if about("temperature") && !used.no_temperature {
        return Some(Quirks { no_temperature: true, ..used });
    }
    match used.format.weaker() {
        Some(format) => Some(Quirks { format, ..used }),
        // Refused without any format: an old server may know nothing of `stream_options`, and not say so.
        None if !used.no_stream_options && status < 500 => Some(Quirks { no_stream_options: true, ..used }),
        None => None,
    }
}

/// The weaker of two forms in each respect.
fn both(one: Quirks, other: Quirks) -> Quirks {
    Quirks {
        format: one.format.max(other.format),
        completion_tokens: one.completion_tokens || other.completion_tokens,
        no_stream_options: one.no_stream_options || other.no_stream_options,
        no_temperature: one.no_temperature || other.no_temperature,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::openai_http::pool::Format;

    #[test]
    fn each_refusal_asks_for_less() {
        let strict = Quirks::default();
        let object = Quirks { format: Format::JsonObject, ..strict };
        let plain = Quirks { format: Format::Prompt, ..strict };
        let bare = Quirks { no_stream_options: true, ..plain };
        let check = |used: Quirks, status: u16, message: &str, expected: Option<Quirks>| {
            assert_eq!(weaker(used, status, message), expected, "{used:?} {status} {message}");
        };
        for status in [400, 422, 500] {
            check(strict, status, "response_format is not supported", Some(object));
            check(object, status, "", Some(plain));
        }
        check(plain, 422, "extra fields not permitted", Some(bare));
        check(plain, 500, "", None);
        check(bare, 400, "", None);
        check(strict, 429, "", None);
        check(strict, 401, "", None);
        check(strict, 503, "", None);
        check(strict, 400, "maximum context length is 8192 tokens", None);
        let renamed = Quirks { completion_tokens: true, ..strict };
        check(strict, 400, "use 'max_completion_tokens' instead", Some(renamed));
        check(
            strict,
            400,
            "Unknown field stream_options",
            Some(Quirks { no_stream_options: true, ..strict }),
        );
        check(
            strict,
            400,
            "unsupported value: 'temperature'",
            Some(Quirks { no_temperature: true, ..strict }),
        );
        assert_eq!(both(object, renamed), Quirks { completion_tokens: true, ..object });
    }

    #[test]
    fn a_500_is_met_by_the_same_form_first() {
        let refused = |status: u16, message: &str| Refused {
            status: Some(status),
            server: Some("s".into()),
            failure: Failure::transient(message),
        };
        let strict = Quirks::default();
        let mut steps = Steps::default();
        assert_eq!(steps.refused("e", strict, refused(500, "a fault")).unwrap(), Step::Again);
        assert_eq!((steps.form(strict), steps.server.as_deref()), (strict, Some("s")));
        assert_eq!(steps.refused("e", strict, refused(500, "a fault")).unwrap(), Step::Weaker);
        assert_eq!(steps.form(strict).format, Format::JsonObject);
        assert_eq!(steps.refused("e", steps.form(strict), refused(500, "a fault")).unwrap(), Step::Weaker);
        assert!(steps.guessed);
        // One that says what it is about, and one that is the request's, need no second look.
        for (status, message) in [(500, "failed to parse grammar"), (400, ""), (422, ""), (501, "")] {
            let mut steps = Steps::default();
            assert_eq!(
                steps.refused("e", strict, refused(status, message)).unwrap(),
                Step::Weaker,
                "{status}"
            );
            assert!(!steps.guessed, "{status}");
        }
        assert!(Steps::default().refused("e", strict, refused(503, "busy")).is_err());
    }
}
