//! The wire format between the roles, version 1: every message is a JSON list. Unknown fields are kept out of the way, not
//! refused, so that an older process reads a newer message; an element it cannot read is told apart from a broken message.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::class::Class;
use crate::pause::Scope;
use crate::work::{Kind, Measure, Price};

pub const VERSION: u16 = 1;

/// Inputs up to this size travel in the ticket, larger ones as a blob.
pub const INLINE_BYTES: usize = 16 * 1024;

/// No message of ours is longer; longer ones are set aside unread.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Nor has one more elements: none of ours is shorter than 256 bytes, but a list of zeros would take a hundred times its length once
/// each has its reason why it cannot be read.
pub const MAX_ELEMENTS: usize = MAX_MESSAGE_BYTES / 256;

/// The order to attempt one task once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ticket {
    pub v: u16,
    pub podcast: Uuid,
    pub task: Uuid,
    pub tenant: String,
    pub kind: Kind,
    pub chapter: i32,
    pub segment: i32,
    pub attempt: i32,
    pub generation: i32,
    /// Hash of the input: an outcome counts only while the task still has it.
    pub input_hash: String,
    pub engine: String,
    pub deadline: Timestamp,
    /// The task runs on the alone lane.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// Parts that earlier attempts had accepted, and the turns in them: a retry goes on after those.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub committed_parts: i32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub committed_turns: i32,
    /// What those turns say, in order, for engines that go on writing after them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub written: Vec<Said>,
    /// Attempts that definitely failed: the provider's idempotency key changes with it, and with nothing else.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: i32,
    /// Workers that have the engine, as far as the dispatcher knows: they share its rate while Redis does not answer. 0: unknown.
    #[serde(default, skip_serializing_if = "is_nought")]
    pub workers: u32,
    /// W3C trace context of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    pub input: Input,
}

/// A turn of a script that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The speaker's name.
    pub speaker: String,
    pub text: String,
}

fn is_nought(number: &u32) -> bool {
    *number == 0
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// A task's input: inline up to [`INLINE_BYTES`], else the key of a blob that holds the same JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    Inline(Box<RawValue>),
    Blob(String),
}

/// How one attempt (or one part of it) ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub v: u16,
    pub podcast: Uuid,
    pub task: Uuid,
    pub tenant: String,
    pub kind: Kind,
    pub attempt: i32,
    pub generation: i32,
    pub input_hash: String,
    pub class: Class,
    /// Number of this part, from 0; only scripts have more than one.
    #[serde(default)]
    pub part: i32,
    /// The last part. A task is done when its final part is accepted.
    #[serde(rename = "final")]
    pub last: bool,
    /// Id of the process that ran it.
    pub worker: String,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    /// What the engine counts: characters, tokens.
    #[serde(default)]
    pub units: i64,
    #[serde(default)]
    pub cost_micros: i64,
    /// The result came from the cache or the blob store; nothing was paid.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// Of a cached result: what it had cost to make.
    #[serde(default, skip_serializing_if = "Price::is_nothing")]
    pub saved: Price,
    /// Of work that was done: what its time depends on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measure: Option<Measure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReport>,
}

impl Outcome {
    /// The class that counts. Collectors of earlier builds know no parked work: to them it is an engine that cannot work, which
    /// they do not count either.
    pub fn class(&self) -> Class {
        let parked = self.error.as_ref().is_some_and(|error| error.parked);
        if parked && self.class == Class::PermanentConfig { Class::Parked } else { self.class }
    }
}

/// Why an attempt failed: the plain sentence first, then the chain of causes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorReport {
    pub message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Segments whose audio a mix could not read: they are spoken again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_segments: Vec<i32>,
    /// Chapters whose mix a join could not read: they are mixed again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_chapters: Vec<i32>,
    /// The engine works, and answered each time otherwise than it was asked to: asking often is of little use.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wrong_answer: bool,
    /// Parts of the result were sent before it failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub advanced: bool,
    /// The engine was not asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parked: bool,
}

impl ErrorReport {
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after_ms.map(Duration::from_millis)
    }
}

/// What processes tell each other every few seconds over the heartbeats exchange; kept in memory only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "pulse", rename_all = "snake_case")]
pub enum Pulse {
    Worker(WorkerPulse),
    Room(RoomPulse),
}

/// A process that runs tasks is alive.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerPulse {
    pub v: u16,
    pub worker: String,
    pub version: String,
    pub host: String,
    pub pid: u32,
    /// How many tasks of each kind it does at a time. The lanes it takes from follow from the kinds.
    pub permits: BTreeMap<Kind, u32>,
    pub engines: Vec<String>,
    /// Tasks it holds: running, or waiting for a permit.
    pub holding: Vec<Uuid>,
    /// The process is about to leave and takes nothing new.
    #[serde(default)]
    pub draining: bool,
}

/// A dispatcher's word on how many more first tickets each lane takes at once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RoomPulse {
    pub v: u16,
    /// Room by lane of `outline`.
    pub room: BTreeMap<String, u32>,
    /// What is not to be published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paused: Vec<Scope>,
}

/// A progress message on the events exchange: a hint that `events` has grown.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Hint {
    pub podcast: Uuid,
    pub tenant: String,
    pub seq: i64,
    pub event: String,
    #[schemars(with = "crate::store::events::Told<'static>")]
    pub data: serde_json::Value,
}

pub fn encode<T: Serialize>(items: &[T]) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(items)
}

/// The elements of a message, each read by itself.
pub struct Decoded<T> {
    pub items: Vec<T>,
    /// Elements that are JSON but not a `T` of a version we know, with the reason.
    pub unreadable: Vec<(Box<RawValue>, String)>,
}

/// Reads a list. An `Err` means that the message as a whole is not one of ours.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<Decoded<T>, String> {
    if body.len() > MAX_MESSAGE_BYTES {
        return Err(format!("the message has {} bytes; at most {MAX_MESSAGE_BYTES} are read", body.len()));
    }
    let raw: Vec<&RawValue> = serde_json::from_slice(body)
        .map_err(|error| format!("the message is not a JSON list: {}", fault(&error)))?;
    if raw.len() > MAX_ELEMENTS {
        return Err(format!("the message has {} elements; at most {MAX_ELEMENTS} are read", raw.len()));
    }
    let mut decoded = Decoded { items: Vec::with_capacity(raw.len()), unreadable: Vec::new() };
    for element in raw {
        match serde_json::from_str(element.get()) {
            Ok(item) => decoded.items.push(item),
            Err(error) => {
                decoded.unreadable.push((element.to_owned(), fault(&error)));
            }
        }
    }
    Ok(decoded)
}

/// What is wrong with JSON, and where, without a word of what it says: that is a payload, and this ends up in logs.
pub fn fault(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // `invalid type: string "…", expected u16 at line 1 column 9`, and ``unknown variant `…`, expected one of …``.
    match text.rsplit_once(", expected ") {
        Some((found, expected)) if error.is_data() => {
            let what = found.split([':', '`']).next().unwrap_or_default().trim();
            format!("{what}, expected {expected}")
        }
        _ => text,
    }
}

/// What can be said of any ticket, of any version: enough to hand it back.
#[derive(Clone, Debug, Deserialize)]
pub struct TicketStub {
    pub v: u16,
    pub podcast: Uuid,
    pub task: Uuid,
    pub tenant: String,
    pub kind: Kind,
    pub attempt: i32,
    pub generation: i32,
    pub input_hash: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_another_version_do_not_spoil_their_neighbours() {
        let pulse = serde_json::json!({"podcast": Uuid::nil(), "tenant": "t", "seq": 1, "event": "e", "data": 1, "new": 1});
        let body = serde_json::to_vec(&vec![pulse, serde_json::json!({"podcast": 7})]).unwrap();
        let decoded = decode::<Hint>(&body).unwrap();
        assert_eq!((decoded.items.len(), decoded.unreadable.len()), (1, 1));
    }

    #[test]
    fn a_fault_says_what_and_where_and_nothing_of_the_content() {
        let of = |json: &str| fault(&serde_json::from_str::<TicketStub>(json).unwrap_err());
        assert_eq!(of(r#"{"v": "my, expected secret"}"#), "invalid type, expected u16 at line 1 column 27");
        let kind = r#"{"v":1,"podcast":"00000000-0000-0000-0000-000000000000","task":"00000000-0000-0000-0000-000000000000",
            "tenant":"t","kind":"a secret"}"#;
        assert!(of(kind).starts_with("unknown variant, expected one of `outline`"), "{}", of(kind));
        assert!(of(r#"{"v": 1}"#).starts_with("missing field `podcast`"));
        assert!(of("{").starts_with("EOF while parsing"));
    }

    #[test]
    fn parked_work_is_an_engine_that_cannot_work_to_older_collectors() {
        let outcome = serde_json::json!({
            "v": 1, "podcast": Uuid::nil(), "task": Uuid::nil(), "tenant": "t", "kind": "tts", "attempt": 1, "generation": 1,
            "input_hash": "h", "class": "permanent_config", "final": true, "worker": "w", "started_at": "2026-01-01T00:00:00Z",
            "finished_at": "2026-01-01T00:00:00Z", "error": {"message": "left alone", "retry_after_ms": 5000, "parked": true}
        });
        let mut outcome: Outcome = serde_json::from_value(outcome).unwrap();
        assert_eq!((outcome.class, outcome.class()), (Class::PermanentConfig, Class::Parked));
        outcome.error = None;
        assert_eq!(outcome.class(), Class::PermanentConfig);
    }

    #[test]
    fn garbage_is_an_error_not_a_panic() {
        for body in [&b""[..], b"{", b"\xff\xfe", b"{}", b"null", b"[1,"] {
            assert!(decode::<Ticket>(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn a_message_has_a_bounded_number_of_elements() {
        let zeros = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        let decoded = decode::<Ticket>(zeros(MAX_ELEMENTS).as_bytes()).unwrap();
        assert_eq!(decoded.unreadable.len(), MAX_ELEMENTS);
        let refused = decode::<Ticket>(zeros(MAX_ELEMENTS + 1).as_bytes()).err().unwrap();
        assert!(refused.contains("16385 elements"), "{refused}");
    }
}
