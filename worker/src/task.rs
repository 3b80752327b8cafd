//! The kinds of task: one file each, one line each in [`run`].

mod hearing;
mod join;
mod mix;
mod noop;
mod once;
mod outline;
pub(crate) mod parts;
mod room;
mod script;
mod speaking;
mod tts;

use std::time::{Duration, Instant};

use common::class::Class;
use common::publisher::fetch_input;
use common::wire::Ticket;
use common::work::{Brief, Kind, Measure, Price, TextRef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::Env;
use crate::engine::extractive;
use crate::engine::openai_chat::prompt;
use crate::engine::pace::{Pace, VoiceName, planned};
use crate::engine::{Bill, Call};
use crate::failure::Failure;
use crate::source;
use crate::task::once::Remembered;
use crate::task::parts::PartSink;
use crate::task::room::Patience;
use crate::text::normalise;
pub(crate) use hearing::sample_sentence;

/// Which rules read a source and write from it, and which prompts ask for it: a part of the name of every outline and script.
fn writing_revision() -> String {
    writing_revision_of(normalise::VERSION, extractive::VERSION, prompt::VERSION)
}

fn writing_revision_of(text: u32, writer: u32, prompt: u32) -> String {
    format!("text {text} writer {writer} prompt {prompt}")
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
    /// What it had cost to make what was found.
    pub(crate) saved: Price,
    /// What the time of what was done depends on.
    pub(crate) measure: Option<Measure>,
}

impl Done {
    fn new<T: Serialize>(result: &T, units: u64) -> Result<Done, Failure> {
        Ok(Done {
            parts: vec![to_json(result)?],
            units,
            cached: false,
            saved: Price::default(),
            measure: None,
        })
    }

    /// It was really done, and its time says something of work of this size.
    fn measured(self, voice: &str, chars: usize) -> Done {
        let chars = i64::try_from(chars).unwrap_or(i64::MAX);
        Done { measure: Some(Measure { voice: voice.to_owned(), chars }), ..self }
    }

    fn from_cache<T: Serialize>(result: &T) -> Result<Done, Failure> {
        Ok(Done { cached: true, ..Done::new(result, 0)? })
    }

    fn remembered<T: Serialize>(known: &Remembered<T>) -> Result<Done, Failure> {
        Ok(Done { saved: known.paid, ..Done::from_cache(&known.result)? })
    }
}

/// Does a ticket's task. What is paid is put on `bill`, whatever it comes to; finished parts go to `parts` as they come.
pub(crate) async fn run(
    env: &Env,
    ticket: &Ticket,
    time_left: Duration,
    bill: &Bill,
    parts: &impl PartSink,
) -> Result<Done, Failure> {
    if ticket.engine == "noop" {
        return noop::run(ticket).await;
    }
    let call = Call { bill: bill.clone(), ..Call::new(idempotency_key(ticket), time_left) };
    match ticket.kind {
        Kind::Outline => outline::run(env, ticket, &call).await,
        Kind::Script => script::run(env, ticket, call, parts).await,
        Kind::Tts => tts::run(env, ticket, &call).await,
        Kind::Mix | Kind::Join => put_together(env, ticket).await,
    }
}

/// Mixes or joins; again when there was no room for what it writes.
async fn put_together(env: &Env, ticket: &Ticket) -> Result<Done, Failure> {
    let mut patience = Patience::new(env);
    loop {
        let done = match ticket.kind {
            Kind::Join => join::run(env, ticket).await,
            _ => mix::run(env, ticket).await,
        };
        match done {
            Err(failure) => patience.wait(failure).await?,
            done => return done,
        }
    }
}

/// The same for every attempt at the same input until one definitely failed: a provider that honours it answers again what
/// was paid for already. What was accepted of a script is a part of the input.
fn idempotency_key(ticket: &Ticket) -> String {
    let input = ticket.input_hash.get(..16).unwrap_or(&ticket.input_hash);
    format!("{}-{}-{input}-{}-{}", ticket.task, ticket.generation, ticket.committed_turns, ticket.failures)
}

/// The one that was fixed when the podcast was accepted.
fn speech_engine<'a>(env: &'a Env, brief: &'a Brief) -> &'a str {
    brief.pace.engine.as_deref().unwrap_or(&env.config.defaults.tts)
}

/// How fast the speakers of a podcast speak.
fn pace(env: &Env, brief: &Brief) -> Pace {
    let engine = speech_engine(env, brief);
    let voice = |voice: &str| VoiceName::new(&env.config, engine, voice, &brief.language);
    let voices = brief.speakers.iter().map(|speaker| voice(&speaker.voice)).collect();
    Pace::of(env.measured.clone(), voices, brief.pace.pauses.turn_ms)
}

/// Near paces are taken for the same: a result that was made for one does for the other. `steps` are those of a doubling.
async fn pace_step(pace: &Pace, brief: &Brief, steps: f64) -> String {
    let factor = pace.factor(planned(brief)).await.unwrap_or(1.0);
    format!("pace {:.0}", factor.log2() * steps)
}

/// Whether what the engine `name` makes is what was asked for: the ticket's own engine, or another account of the same model.
fn as_asked(env: &Env, ticket: &Ticket, name: &str) -> bool {
    let identity = |name: &str| env.config.engines.get(name).map(|engine| engine.identity());
    name == ticket.engine || identity(name) == identity(&ticket.engine)
}

/// The ticket's engine, and then its fallbacks in order, until one succeeds. Only what another engine may do better is
/// tried there; what the first one said is reported, with what became of the others.
struct Chain<'a> {
    names: std::vec::IntoIter<&'a str>,
    started: Instant,
    first: Option<Failure>,
}

impl<'a> Chain<'a> {
    fn of(env: &'a Env, ticket: &'a Ticket) -> Chain<'a> {
        let names = env.config.engines.order(&ticket.engine, ticket.kind);
        Chain { names: names.into_iter(), started: Instant::now(), first: None }
    }

    /// The engine to try now, and the call with the time that is left; after the last one, why all failed.
    fn next(&mut self, call: &Call) -> Result<(&'a str, Call), Failure> {
        let Some(name) = self.names.next() else {
            let none = || Failure::new(Class::Unsupported, "no engine was asked");
            return Err(self.first.take().unwrap_or_else(none));
        };
        let time_left = call.time_left.saturating_sub(self.started.elapsed());
        Ok((name, Call { time_left, ..call.clone() }))
    }

    /// `name` failed; an error if no other engine could do better.
    fn failed(&mut self, name: &str, failure: Failure) -> Result<(), Failure> {
        let elsewhere = matches!(
            failure.class,
            Class::Transient
                | Class::Timeout
                | Class::Throttled
                | Class::PermanentConfig
                | Class::Parked
                | Class::Unsupported
        );
        match &mut self.first {
            None if elsewhere => {
                // A parked task is told of when its engine opens.
                if failure.class != Class::Parked {
                    tracing::info!(engine = name, class = %failure.class, error = %failure, "an engine failed; its fallbacks are next");
                }
                self.first = Some(failure);
            }
            None => return Err(failure),
            Some(first) if failure.class != Class::Unsupported => {
                first.message = format!("{}; then {}", first.message, failure.message);
            }
            Some(_) => {}
        }
        Ok(())
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
        Some(TextRef::Url(url)) => Some(source::fetch(&env.outbound, &env.config.outbound, url).await?),
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

#[cfg(test)]
mod tests;
