//! Engines: the programs and servers that write and speak. An engine is one file here and one line in [`build`].

mod breaker;
mod call;
pub mod espeak;
pub mod extractive;
mod health;
pub mod openai_chat;
pub(crate) mod openai_http;
pub mod openai_speech;
pub mod pace;
mod rate;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::cache::Cache;
use common::class::Class;
use common::config::{Config, Engine, EngineType};
use common::wire::Ticket;
use common::work::{Kind, OutlineInput, OutlineResult, ScriptInput, ScriptPart, SpeechInput};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::call::{Bill, Call, Draft};
use self::health::{Admission, Health};
use self::rate::Rate;
use crate::failure::Failure;

/// A recording as the engine answered it: any container, any rate; it is sniffed, decoded and measured, never believed.
#[derive(Clone, Debug)]
pub struct Recording {
    pub bytes: Bytes,
    /// What the engine counts (characters).
    pub units: u64,
}

/// Speaks one segment.
pub trait SpeechEngine: Send + Sync {
    fn speak<'a>(
        &'a self,
        input: &'a SpeechInput,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Recording, Failure>>;

    /// The text in pieces that the engine takes at once; each is spoken by itself, and they are joined.
    fn pieces(&self, text: &str, _language: &str) -> Vec<String> {
        vec![text.to_owned()]
    }

    /// Whether what the configuration says of it, its voices above all, is true. An engine that cannot be asked now passes.
    fn check(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        std::future::ready(Ok(())).boxed()
    }
}

/// Plans chapters and writes their turns. `source` is the text that `input` refers to, already fetched.
pub trait WritingEngine: Send + Sync {
    fn outline<'a>(
        &'a self,
        input: &'a OutlineInput,
        source: Option<&'a str>,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<OutlineResult, Failure>>;

    /// All turns, or, of an engine that [goes on](WritingEngine::goes_on), those that follow what `call.draft` holds and was
    /// given.
    fn script<'a>(
        &'a self,
        input: &'a ScriptInput,
        source: Option<&'a str>,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<ScriptPart, Failure>>;

    /// Whether it gives turns to the draft while it writes, and goes on after those of an earlier attempt. One that does
    /// not writes the same turns every time.
    fn goes_on(&self) -> bool {
        false
    }

    /// Whether what the configuration says of it is true. An engine that cannot be asked now passes.
    fn check(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        std::future::ready(Ok(())).boxed()
    }
}

/// An engine ready for use.
#[derive(Clone)]
pub enum Built {
    Writing(Arc<dyn WritingEngine>),
    Speech(Arc<dyn SpeechEngine>),
    /// Answered by the tasks themselves with fixtures.
    Noop,
}

/// Every engine that podfleet has. Fails with what to do about it when the engine cannot work on this machine.
fn build(name: &str, settings: &Engine, rate: &Arc<Rate>) -> anyhow::Result<Built> {
    Ok(match settings.r#type {
        EngineType::Extractive => Built::Writing(Arc::new(extractive::Extractive::new())),
        EngineType::Espeak => Built::Speech(Arc::new(espeak::Espeak::find(settings)?)),
        EngineType::OpenAi if settings.kinds.contains(&Kind::Tts) => {
            Built::Speech(Arc::new(openai_speech::OpenAiSpeech::new(name, settings)?.sharing(rate.clone())))
        }
        EngineType::OpenAi => {
            Built::Writing(Arc::new(openai_chat::OpenAiChat::new(name, settings)?.sharing(rate.clone())))
        }
        EngineType::Noop => Built::Noop,
    })
}

/// An engine by itself, for whoever tries it out.
pub(crate) fn build_alone(name: &str, settings: &Engine) -> anyhow::Result<Built> {
    build(name, settings, &Arc::new(Rate::new(name, settings, None)))
}

/// The engines of this worker, each with as many permits as it takes calls at a time.
pub(crate) struct Engines(BTreeMap<String, Limited>);

struct Limited {
    engine: Built,
    calls: Arc<Semaphore>,
    rate: Arc<Rate>,
    health: Arc<Health>,
}

/// A permit to call an engine once. Whoever has it tells with [`Permit::settle`] how that went.
pub(crate) struct Permit {
    call: Option<OwnedSemaphorePermit>,
    health: Arc<Health>,
    admission: Admission,
}

impl Permit {
    /// The engine is not needed any more: another task may call it.
    pub(crate) fn free(&mut self) {
        self.call = None;
    }

    /// Tells the fleet what the result says of the engine.
    pub(crate) async fn settle<T>(mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        self.free();
        self.health.settle(self.admission, &result).await;
        result
    }
}

impl Engines {
    /// Builds what the kinds of this worker need; who plans episodes also hears how fast voices speak. An engine that nobody asked
    /// for by default may be missing here.
    pub(crate) fn build(config: &Config, kinds: &[Kind], cache: &Cache) -> anyhow::Result<Engines> {
        let mut engines = BTreeMap::new();
        for (name, settings) in config.engines.iter() {
            let heard = kinds.contains(&Kind::Outline) && settings.kinds.contains(&Kind::Tts);
            if !heard && !settings.kinds.iter().any(|kind| kinds.contains(kind)) {
                continue;
            }
            let wanted = kinds.iter().any(|kind| config.defaults.engine(*kind) == name);
            let rate = Arc::new(Rate::new(name, settings, Some(cache.clone())));
            match build(name, settings, &rate) {
                Ok(engine) => {
                    let calls = Arc::new(Semaphore::new(usize::from(settings.concurrency)));
                    let longest = Duration::from_millis(config.policy_of(name).max_retry_after_ms);
                    let health = Arc::new(Health::new(name, settings, longest, cache));
                    engines.insert(name.to_owned(), Limited { engine, calls, rate, health });
                }
                Err(error) if wanted => return Err(error),
                Err(error) => {
                    tracing::info!(engine = name, error = format!("{error:#}"), "an engine is not used here")
                }
            }
        }
        Ok(Engines(engines))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Compares the configuration with what engines say of themselves. What is wrong with an engine that new podcasts get
    /// by default is an error, with any other a warning.
    pub(crate) async fn check(&self, config: &Config) -> anyhow::Result<()> {
        let checks = self.0.iter().map(|(name, limited)| async move {
            let checked = match &limited.engine {
                Built::Writing(engine) => engine.check().await,
                Built::Speech(engine) => engine.check().await,
                Built::Noop => Ok(()),
            };
            (name, checked)
        });
        for (name, checked) in futures_util::future::join_all(checks).await {
            let Err(error) = checked else { continue };
            // A server that does not answer yet may do so when the first task comes.
            let passing = error.downcast_ref::<Failure>().is_some();
            if config.defaults.tts == *name && !passing {
                return Err(error.context(format!("engines.{name}.voices is not what the engine has")));
            }
            tracing::warn!(
                engine = name,
                error = format!("{error:#}"),
                "an engine could not be checked, or is not as configured"
            );
        }
        Ok(())
    }

    /// What a ticket tells of the fleet.
    pub(crate) fn heard(&self, ticket: &Ticket) {
        if let Some(limited) = self.0.get(&ticket.engine).filter(|_| ticket.workers > 0) {
            limited.rate.shared_by(ticket.workers);
        }
    }

    /// The engine, with a permit to call it once; a parked failure while it is left alone.
    pub(crate) async fn acquire(&self, name: &str, ticket: &Ticket) -> Result<(Built, Permit), Failure> {
        let Some(limited) = self.0.get(name) else {
            return Err(Failure::new(Class::Unsupported, format!("this worker has no engine \"{name}\"")));
        };
        let call = limited.calls.clone().acquire_owned().await;
        let call =
            call.map_err(|closed| Failure::transient("the engine is being shut down").because(closed))?;
        // Only now: it may have begun to fail while this task waited for its turn.
        let admission = limited.health.admit(ticket).await?;
        let permit = Permit { call: Some(call), health: limited.health.clone(), admission };
        Ok((limited.engine.clone(), permit))
    }
}
