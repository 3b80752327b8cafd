//! Any server that speaks OpenAI's `POST /v1/chat/completions`. What it promises about the form of its answers is taken as
//! a hint: every answer is read, bounded and checked here.

mod answer;
mod checks;
mod events;
mod ladder;
mod material;
mod outline;
mod prompt;
mod queue;
mod request;
mod script;
mod turns;

use std::time::{Duration, Instant};

use common::config::Engine;
use common::work::{OutlineInput, OutlineResult, ScriptInput, ScriptPart};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;

use self::events::{Decoder, Event, Usage};
use self::prompt::Prompt;
use super::openai_http::answer as refusals;
use super::openai_http::pool::Quirks;
use super::openai_http::{Client, Question, Refused, Reply};
use super::{Call, WritingEngine};
use crate::failure::Failure;
use crate::text::Weight;

const PATH: &str = "/v1/chat/completions";
/// Most bytes of one answer as it travels: a token is some 300 of them.
const MAX_ANSWER: u64 = 32 * 1024 * 1024;
/// Wrong answers to one question before the attempt is given up.
const MAX_ASKS: u32 = 3;
/// How long the count of tokens may come after the answer, and with how much else in between.
const COUNT_WITHIN: Duration = Duration::from_secs(2);
const MAX_AFTER: usize = 1_000;
/// Weaker forms of asking are tried one after another.
const MAX_FORMS: u32 = 7;

/// A client of one engine's language model. It holds the key, so it has no `Debug`.
pub struct OpenAiChat {
    name: String,
    client: Client,
    settings: Engine,
}

/// Takes an answer as it comes.
trait Reader: Send {
    fn push(&mut self, text: &str) -> Flow;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Go,
    /// The answer is whole; only the server's count of tokens is still waited for, a moment.
    Whole,
    /// The rest is not read, and the server notices.
    Stop,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Stop,
    /// By the limit of tokens.
    Length,
    /// The reader had enough.
    Cut,
}

/// What was heard of an answer, for the bill.
#[derive(Default)]
struct Heard {
    content: usize,
    usage: Option<Usage>,
}

impl OpenAiChat {
    /// `name` is the engine's in the configuration: failures begin with it.
    pub fn new(name: &str, settings: &Engine) -> anyhow::Result<OpenAiChat> {
        Ok(OpenAiChat {
            name: name.to_owned(),
            client: Client::new(name, settings)?,
            settings: settings.clone(),
        })
    }

    /// Tokens of a model's context that its answer does not take.
    fn room(&self) -> usize {
        self.settings.context_tokens.saturating_sub(self.settings.max_output_tokens) as usize
    }

    /// Asks once. A server that refuses the form of asking is asked in weaker ones until it answers, and the one it
    /// understood is remembered. What it answers goes to `reader`; what it costs, on the call's bill.
    async fn converse(
        &self,
        prompt: &Prompt,
        call: &Call,
        ask: u32,
        reader: &mut dyn Reader,
    ) -> Result<Ended, Failure> {
        let payload = [prompt.system.as_str(), prompt.user.as_str()];
        let mut weaker: Option<Quirks> = None;
        let mut passing = true;
        for form in 0..MAX_FORMS {
            let key = format!("{}-{ask}.{form}", call.idempotency_key);
            let question = Question {
                path: PATH,
                idempotency_key: &key,
                units: (Weight::Tokens.of(&prompt.system) + Weight::Tokens.of(&prompt.user)) as u64
                    + u64::from(self.settings.max_output_tokens) / 4,
                until: self.client.until(call.time_left),
                most: MAX_ANSWER,
                payload: &payload,
            };
            let mut used = Quirks::default();
            let asked = self.client.ask(&question, |known| {
                used = weaker.map_or(known, |weaker| ladder::both(known, weaker));
                request::body(&self.settings, prompt, used)
            });
            let asked = asked.await;
            let (refused, heard) = match asked {
                Ok(mut reply) => {
                    let mut heard = Heard::default();
                    let ended = self.listen(&mut reply, reader, &mut heard, &payload).await;
                    self.charge(prompt, &question, &heard, call);
                    if weaker.is_some() && ended.is_ok() {
                        reply.lease.remember(used, passing.then(|| Instant::now() + ladder::PASSING));
                    }
                    match ended {
                        Ok(ended) => return Ok(ended),
                        Err(refused) => (refused, heard.content > 0),
                    }
                }
                Err(refused) => (refused, false),
            };
            let next = refused
                .status
                .filter(|_| !heard)
                .and_then(|status| ladder::weaker(used, status, &refused.failure.message));
            let Some(next) = next else { return Err(refused.failure) };
            // A 500 may have been about anything; 400 and 422 are about the request.
            passing &= refused.status.is_some_and(|status| status >= 500);
            tracing::info!(engine = self.name, status = refused.status, form = ?next, "asking in a weaker form");
            weaker = Some(next);
        }
        Err(Failure::permanent_config(format!("engine {} refuses every form of asking", self.name)))
    }

    /// Reads an answer to its end, or as far as the reader wants it.
    async fn listen(
        &self,
        reply: &mut Reply<'_>,
        reader: &mut dyn Reader,
        heard: &mut Heard,
        payload: &[&str],
    ) -> Result<Ended, Refused> {
        let other = |failure| Refused { status: None, failure: self.client.told(failure, payload) };
        let mut decoder = Decoder::default();
        let mut finish: Option<String> = None;
        let mut flow = Flow::Go;
        let mut after = 0;
        let mut done = false;
        while !done {
            let chunk = match flow {
                Flow::Go => reply.chunk().await.map_err(|failure| Refused { status: None, failure })?,
                Flow::Whole if after < MAX_AFTER => {
                    match tokio::time::timeout(COUNT_WITHIN, reply.chunk()).await {
                        Ok(Ok(chunk)) => chunk,
                        // The answer is there; its count is estimated.
                        Ok(Err(_)) | Err(_) => break,
                    }
                }
                Flow::Whole | Flow::Stop => break,
            };
            let events = match &chunk {
                Some(bytes) => decoder.push(bytes),
                None => std::mem::take(&mut decoder).finish(),
            };
            for event in events.map_err(other)? {
                match event {
                    Event::Content(text) => {
                        heard.content += Weight::Tokens.of(&text);
                        match flow {
                            Flow::Go => flow = reader.push(&text),
                            Flow::Whole | Flow::Stop => after += text.len(),
                        }
                    }
                    Event::Finish(reason) => finish = Some(reason),
                    Event::Usage(usage) => heard.usage = Some(usage),
                    Event::Done => done = true,
                    Event::Error(error) => {
                        let status = error
                            .get("code")
                            .and_then(Value::as_u64)
                            .and_then(|code| u16::try_from(code).ok());
                        let failure = self.client.told(refusals::error_within(&error), payload);
                        return Err(Refused { status: Some(status.unwrap_or(500)), failure });
                    }
                }
            }
            done |= chunk.is_none();
        }
        if flow != Flow::Go {
            return Ok(Ended::Cut);
        }
        match finish.as_deref() {
            Some("length" | "max_tokens") => Ok(Ended::Length),
            Some(_) => Ok(Ended::Stop),
            None if heard.content == 0 => {
                Err(other(Failure::transient("answered 200 with no completion in it")))
            }
            // The stream ended without a word about why: what came is judged by itself.
            None => Ok(Ended::Stop),
        }
    }

    /// By the server's own count, or estimated when an answer broke off before it.
    fn charge(&self, prompt: &Prompt, question: &Question<'_>, heard: &Heard, call: &Call) {
        let estimate = || Usage {
            prompt: (Weight::Tokens.of(&prompt.system) + Weight::Tokens.of(&prompt.user)) as u64,
            completion: heard.content as u64,
            cached: 0,
        };
        let usage = heard.usage.filter(|usage| usage.prompt + usage.completion > 0);
        if usage.is_none() && heard.content == 0 {
            return;
        }
        let usage = usage.unwrap_or_else(estimate);
        let units = usage.prompt.saturating_add(usage.completion);
        call.bill.add(units, self.settings.cost_micros(usage.prompt, usage.cached, usage.completion));
        self.client.correct(question, units);
        for (kind, count) in
            [("prompt", usage.prompt), ("completion", usage.completion), ("cached", usage.cached)]
        {
            metrics::counter!("podfleet_engine_tokens_total", "engine" => self.name.clone(), "kind" => kind)
                .increment(count);
        }
    }
}

impl WritingEngine for OpenAiChat {
    fn outline<'a>(
        &'a self,
        input: &'a OutlineInput,
        source: Option<&'a str>,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<OutlineResult, Failure>> {
        outline::plan(self, input, source, call).boxed()
    }

    fn script<'a>(
        &'a self,
        input: &'a ScriptInput,
        source: Option<&'a str>,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<ScriptPart, Failure>> {
        script::write(self, input, source, call).boxed()
    }

    fn goes_on(&self) -> bool {
        true
    }

    fn check(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        async move {
            let list = self.client.list("/v1/models").await?;
            let Some(models) = list.as_ref().and_then(|list| list.get("data")).and_then(Value::as_array)
            else {
                return Ok(());
            };
            let model = self.settings.model.as_deref().unwrap_or_default();
            let has = models.iter().filter_map(|entry| entry.get("id")?.as_str()).any(|id| {
                // Ollama lists `llama3:latest` and answers to `llama3`.
                id == model || id.strip_suffix(":latest") == Some(model)
            });
            anyhow::ensure!(has || models.is_empty(), "its server lists no model \"{model}\"");
            Ok(())
        }
        .boxed()
    }
}

/// A model that does not answer as it was asked to: another attempt may be luckier.
fn wrong(engine: &str, reason: &str) -> Failure {
    Failure::transient(format!(
        "engine {engine} answered {MAX_ASKS} times, and not once as it was asked to. The last answer: {}",
        refusals::bounded(reason)
    ))
}

#[cfg(test)]
mod tests;
