//! The kinds of task: one file each, one line each in [`run`].

mod join;
mod mix;
mod noop;
mod outline;
mod script;
mod tts;

use std::time::Duration;

use common::publisher::fetch_input;
use common::wire::Ticket;
use common::work::{Kind, TextRef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::Env;
use crate::engine::Call;
use crate::failure::Failure;

/// How numbers and marks are said: a part of the name of recorded speech.
fn text_revision() -> String {
    format!("text {}", crate::text::normalise::VERSION)
}

/// Which rules read a source and write from it: a part of the name of every outline and script.
fn writing_revision() -> String {
    format!("{} writer {}", text_revision(), crate::engine::extractive::VERSION)
}

/// What a task came to.
#[derive(Debug)]
pub(crate) struct Done {
    /// At least one; only scripts have more.
    pub(crate) parts: Vec<Box<RawValue>>,
    /// What the engine counts.
    pub(crate) units: u64,
    /// Found in the cache or the blob store: nothing was paid.
    pub(crate) cached: bool,
}

impl Done {
    fn new<T: Serialize>(result: &T, units: u64) -> Result<Done, Failure> {
        Ok(Done { parts: vec![to_json(result)?], units, cached: false })
    }

    fn from_cache<T: Serialize>(result: &T) -> Result<Done, Failure> {
        Ok(Done { cached: true, ..Done::new(result, 0)? })
    }
}

/// Does a ticket's task.
pub(crate) async fn run(env: &Env, ticket: &Ticket, time_left: Duration) -> Result<Done, Failure> {
    if ticket.engine == "noop" {
        return noop::run(ticket).await;
    }
    let call = Call { idempotency_key: format!("{}-{}", ticket.task, ticket.generation), time_left };
    match ticket.kind {
        Kind::Outline => outline::run(env, ticket, &call).await,
        Kind::Script => script::run(env, ticket, &call).await,
        Kind::Tts => tts::run(env, ticket, &call).await,
        Kind::Mix => mix::run(env, ticket).await,
        Kind::Join => join::run(env, ticket).await,
    }
}

/// The ticket's input, wherever it lies.
async fn input<T: DeserializeOwned>(env: &Env, ticket: &Ticket) -> Result<T, Failure> {
    let json = fetch_input(&ticket.input, &env.blobs).await?;
    serde_json::from_str(json.get())
        .map_err(|error| Failure::permanent_input("the task's input cannot be read").because(error))
}

/// The text that a reference stands for.
async fn text(env: &Env, reference: Option<&TextRef>) -> Result<Option<String>, Failure> {
    Ok(match reference {
        None => None,
        Some(TextRef::Inline(text)) => Some(text.clone()),
        Some(TextRef::Blob(key)) => {
            let bytes = env.blobs.get(key).await?;
            let text = String::from_utf8(bytes.to_vec())
                .map_err(|error| Failure::permanent_input("the source is not UTF-8").because(error))?;
            Some(text)
        }
    })
}

fn to_json<T: Serialize>(result: &T) -> Result<Box<RawValue>, Failure> {
    serde_json::value::to_raw_value(result)
        .map_err(|error| Failure::transient("the result cannot be written as JSON").because(error))
}

/// Names a result by everything that makes it: the input's hash, which holds the engine, and what this worker adds.
fn result_hash(ticket: &Ticket, revision: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(ticket.input_hash.as_bytes()).update(b"\0").update(revision.as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// A result in the cache. Keys begin with the tenant: nothing is shared between tenants.
async fn cached<T: DeserializeOwned>(env: &Env, ticket: &Ticket, hash: &str) -> Option<T> {
    let bytes = env.cache.get(&cache_key(ticket, hash)).await?;
    serde_json::from_slice(&bytes).ok()
}

async fn remember<T: Serialize>(env: &Env, ticket: &Ticket, hash: &str, result: &T) {
    if let (Some(time_to_live), Ok(json)) =
        (common::cache::time_to_live(ticket.kind), serde_json::to_vec(result))
    {
        env.cache.put(&cache_key(ticket, hash), &json, time_to_live).await;
    }
}

fn cache_key(ticket: &Ticket, hash: &str) -> String {
    format!("podfleet:{}:{}:{hash}", ticket.tenant, ticket.kind)
}
