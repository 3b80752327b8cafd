//! Answers on the wire: one object, or server-sent events token by token.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::tokens;
use crate::providers::ledger::{Outcome, Tokens};
use crate::providers::plan::{Bytes, End, Plan};

/// Tokens in a chunk: what a fast server has made by the time a packet is sent.
const CHUNK_TOKENS: usize = 4;

/// An answer before it is on the wire.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) id: u64,
    pub(super) model: String,
    pub(super) content: String,
    /// `stop` or `length`.
    pub(super) finish: &'static str,
    pub(super) tokens: Tokens,
    /// Seconds since 1970.
    pub(super) created: i64,
}

/// When tokens are sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) first_token: Duration,
    pub(super) per_token: Duration,
}

impl Pace {
    pub(super) fn whole(&self, tokens: u64) -> Duration {
        self.first_token + self.per_token * u32::try_from(tokens.saturating_sub(1)).unwrap_or(u32::MAX)
    }
}

pub(super) fn usage(tokens: Tokens) -> Value {
    json!({
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "prompt_tokens_details": {"cached_tokens": tokens.cached},
    })
}

/// `chat.completion`
pub(super) fn whole(answer: &Answer) -> Plan {
    let body = json!({
        "id": format!("chatcmpl-{}", answer.id),
        "object": "chat.completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": answer.content, "refusal": null},
            "logprobs": null,
            "finish_reason": answer.finish,
        }],
        "usage": usage(answer.tokens),
    });
    Plan::whole(StatusCode::OK, "application/json", body.to_string())
}

/// `chat.completion.chunk`s, the usage if it was asked for, and `[DONE]`. The first token has been waited for already.
pub(super) fn streamed(answer: &Answer, pace: Pace, include_usage: bool) -> Plan {
    let mut events = vec![(Duration::ZERO, chunk(answer, json!({"role": "assistant", "content": ""}), None))];
    for (place, piece) in tokens::pieces(&answer.content, CHUNK_TOKENS).enumerate() {
        let wait = if place == 0 { Duration::ZERO } else { pace.per_token * CHUNK_TOKENS as u32 };
        events.push((wait, chunk(answer, json!({"content": piece}), None)));
    }
    events.push((Duration::ZERO, chunk(answer, json!({}), Some(answer.finish))));
    if include_usage {
        let mut last = frame(answer);
        last["choices"] = json!([]);
        last["usage"] = usage(answer.tokens);
        events.push((Duration::ZERO, event(&last)));
    }
    events.push((Duration::ZERO, Bytes::from_static(b"data: [DONE]\n\n")));
    Plan {
        status: StatusCode::OK,
        headers: vec![(
            axum::http::header::CONTENT_TYPE,
            axum::http::HeaderValue::from_static("text/event-stream; charset=utf-8"),
        )],
        length: None,
        pieces: Box::new(events.into_iter()),
        end: End::Done,
        outcome: Outcome::Answered,
    }
}

/// The answer so far, then `sentence` again and again until `most` tokens were sent.
pub(super) fn repeating(answer: Answer, sentence: String, pace: Pace, most: u64) -> Plan {
    let mut plan = streamed(&answer, pace, false);
    let pieces: Vec<_> = std::mem::replace(&mut plan.pieces, Box::new(std::iter::empty())).collect();
    // Without its end: the last chunk with its reason and `[DONE]`.
    let kept = pieces.len().saturating_sub(2);
    let each = tokens::count(&sentence).max(1);
    let wait = pace.per_token * u32::try_from(each).unwrap_or(u32::MAX);
    let again = (wait, chunk(&answer, json!({"content": sentence}), None));
    let times = usize::try_from(most.saturating_sub(tokens::count(&answer.content)) / each).unwrap_or(0);
    let end = [
        (Duration::ZERO, chunk(&answer, json!({}), Some("length"))),
        (Duration::ZERO, Bytes::from_static(b"data: [DONE]\n\n")),
    ];
    let pieces = pieces.into_iter().take(kept).chain(std::iter::repeat_n(again, times)).chain(end);
    Plan { pieces: Box::new(pieces), ..plan.misbehaved() }
}

fn frame(answer: &Answer) -> Value {
    json!({
        "id": format!("chatcmpl-{}", answer.id),
        "object": "chat.completion.chunk",
        "created": answer.created,
        "model": answer.model,
    })
}

fn chunk(answer: &Answer, delta: Value, finish: Option<&str>) -> Bytes {
    let mut chunk = frame(answer);
    chunk["choices"] = json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
    event(&chunk)
}

fn event(value: &Value) -> Bytes {
    Bytes::from(format!("data: {value}\n\n"))
}
