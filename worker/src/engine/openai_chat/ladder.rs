//! How to ask a server that refuses the form of a question: each step asks for less.

use std::time::{Duration, Instant};

use crate::engine::openai_http::Refused;
use crate::engine::openai_http::pool::Quirks;
use crate::failure::Failure;

/// How long a weaker format stands when the refusal may have been a passing fault (a 5xx).
const PASSING: Duration = Duration::from_secs(600);

/// The way down of one question, at the server that refused it first.
#[derive(Debug, Default)]
pub(super) struct Steps {
    weaker: Option<Quirks>,
    pub(super) server: Option<String>,
    /// Something was refused as a fault of the request, which a 5xx may not be about.
    certain: bool,
}

impl Steps {
    /// How to ask now a server of which this much is known.
    pub(super) fn form(&self, known: Quirks) -> Quirks {
        self.weaker.map_or(known, |weaker| both(known, weaker))
    }

    /// Takes the next step down; an error if there is none.
    pub(super) fn refused(&mut self, engine: &str, used: Quirks, refused: Refused) -> Result<(), Failure> {
        let next = refused.status.and_then(|status| weaker(used, status, &refused.failure.message));
        let Some(next) = next else { return Err(refused.failure) };
        self.certain |= refused.status.is_some_and(|status| status < 500);
        tracing::info!(engine, status = refused.status, form = ?next, "asking in a weaker form");
        self.weaker = Some(next);
        self.server = refused.server;
        Ok(())
    }

    /// After an answer: whether to remember its form, and until when if it may have been a passing fault.
    pub(super) fn learned(&self, now: Instant) -> Option<Option<Instant>> {
        self.weaker.map(|_| if self.certain { None } else { now.checked_add(PASSING) })
    }
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
}
