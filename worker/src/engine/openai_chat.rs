//! Any server that speaks OpenAI's `POST /v1/chat/completions`. What it promises about the form of its answers is taken as
//! a hint: every answer is read, bounded and checked here.

mod answer;
mod checks;
mod events;
pub mod fuzzing;
mod ladder;
mod material;
mod outline;
pub(crate) mod prompt;
mod queue;
mod request;
mod script;
mod turns;
mod words;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::config::Engine;
use common::work::{OutlineInput, OutlineResult, ScriptInput, ScriptPart};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;

use self::events::{Decoder, Event, Usage};
use self::ladder::{Step, Steps};
use self::prompt::Prompt;
use self::words::Words;
use super::openai_http::answer as refusals;
use super::openai_http::pool::Quirks;
use super::openai_http::{Client, Question, Refused, Reply};
use super::rate::Rate;
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
/// Weaker forms of asking are tried one after another, the first perhaps twice.
const MAX_FORMS: u32 = 8;
/// After a fault that may pass, before the same form is tried again.
const BREATH: Duration = Duration::from_millis(500);

/// A client of one engine's language model. It holds the key, so it has no `Debug`.
pub struct OpenAiChat {
    name: String,
    client: Client,
    settings: Engine,
    words: Words,
}

/// Takes an answer as it comes.
trait Reader: Send {
    fn push(&mut self, text: &str) -> Flow;
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Flow {
    #[default]
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

/// How far the reading of an answer has come.
#[derive(Default)]
struct Listening {
    flow: Flow,
    finish: Option<String>,
    /// The answer is whole: until when its count of tokens is waited for.
    count_until: Option<Instant>,
    /// Bytes that came after it.
    after: usize,
    done: bool,
}

impl Listening {
    /// An error is the server's own, in the middle of its answer.
    fn take(&mut self, event: Event, reader: &mut dyn Reader, heard: &mut Heard) -> Result<(), Value> {
        match event {
            Event::Content(text) => {
                heard.content += Weight::Tokens.of(&text);
                if self.flow == Flow::Go {
                    self.flow = reader.push(&text);
                    self.count_until = (self.flow == Flow::Whole).then(|| Instant::now() + COUNT_WITHIN);
                } else {
                    self.after += text.len();
                }
                self.done |= self.flow == Flow::Stop || self.after > MAX_AFTER;
            }
            Event::Finish(reason) => self.finish = Some(reason),
            Event::Usage(usage) => heard.usage = Some(usage),
            Event::Done => self.done = true,
            Event::Error(error) => return Err(error),
        }
        Ok(())
    }
}

impl OpenAiChat {
    /// `name` is the engine's in the configuration: failures begin with it.
    pub fn new(name: &str, settings: &Engine) -> anyhow::Result<OpenAiChat> {
        Ok(OpenAiChat {
            name: name.to_owned(),
            client: Client::new(name, settings)?,
            settings: settings.clone(),
            words: Words::default(),
        })
    }

    /// Its rate counts what other workers take, too.
    pub(super) fn sharing(self, rate: Arc<Rate>) -> OpenAiChat {
        OpenAiChat { client: self.client.sharing(rate), ..self }
    }

    /// Tokens of a model's context that its answer does not take.
    fn room(&self) -> usize {
        self.settings.context_tokens.saturating_sub(self.settings.max_output_tokens) as usize
    }

    /// Asks once. A server that refuses the form of asking is asked in weaker ones until it answers, and the one it
    /// understood is remembered; a fault that may pass is first met by asking again. What it answers goes to `reader`; what it costs, on the call's bill.
    async fn converse(
        &self,
        prompt: &Prompt,
        call: &Call,
        ask: u32,
        reader: &mut dyn Reader,
    ) -> Result<Ended, Failure> {
        let payload = [prompt.system.as_str(), prompt.user.as_str()];
        let mut steps = Steps::default();
        for form in 0..MAX_FORMS {
            let key = format!("{}-{ask}.{form}", call.idempotency_key);
            let server = steps.server.clone();
            let question = Question {
                path: PATH,
                idempotency_key: &key,
                units: prompt.tokens() + u64::from(self.settings.max_output_tokens) / 4,
                time_left: call.time_left,
                server: server.as_deref(),
                most: MAX_ANSWER,
                payload: &payload,
            };
            let mut used = Quirks::default();
            let asked = self.client.ask(&question, |known| {
                used = steps.form(known);
                request::body(&self.settings, prompt, used)
            });
            let mut reply = match asked.await {
                Ok(reply) => reply,
                Err(refused) => {
                    if steps.refused(&self.name, used, refused)? == Step::Again {
                        tokio::time::sleep(BREATH).await;
                    }
                    continue;
                }
            };
            let mut heard = Heard::default();
            let ended = self.listen(&mut reply, reader, &mut heard, &payload).await;
            self.charge(prompt, &question, &heard, call).await;
            match ended {
                Ok(ended) => {
                    steps.learned(&reply.lease, used, Instant::now());
                    return Ok(ended);
                }
                // Too late for another form: a part of the answer has been heard. Servers that enforce a schema also fail so.
                Err(refused) if heard.content > 0 => {
                    if let (Some(500), Some(format)) = (refused.status, used.format.weaker()) {
                        reply.lease.suspect(Quirks { format, ..used }, Instant::now());
                    }
                    return Err(refused.failure);
                }
                Err(refused) => {
                    drop(reply);
                    if steps.refused(&self.name, used, refused)? == Step::Again {
                        tokio::time::sleep(BREATH).await;
                    }
                }
            }
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
        let told = |failure| Refused::of(self.client.told(failure, payload));
        let mut decoder = Decoder::default();
        let mut course = Listening::default();
        while !course.done {
            let chunk = match course.count_until {
                None => reply.chunk().await.map_err(Refused::of)?,
                Some(until) => match tokio::time::timeout_at(until.into(), reply.chunk()).await {
                    Ok(Ok(chunk)) => chunk,
                    // The answer is there; what it cost is estimated.
                    Ok(Err(_)) | Err(_) => break,
                },
            };
            let events = match &chunk {
                Some(bytes) => decoder.push(bytes),
                None => std::mem::take(&mut decoder).finish(),
            };
            for event in events.map_err(told)? {
                if let Err(error) = course.take(event, reader, heard) {
                    let code = error.get("code").and_then(Value::as_u64);
                    let status = code.and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
                    let failure = self.client.told(refusals::error_within(&error), payload);
                    let server = Some(reply.lease.base.clone());
                    return Err(Refused { status: Some(status), server, failure });
                }
            }
            course.done |= chunk.is_none();
        }
        match (course.flow, course.finish.as_deref()) {
            (Flow::Whole | Flow::Stop, _) => Ok(Ended::Cut),
            (Flow::Go, Some("length" | "max_tokens")) => Ok(Ended::Length),
            (Flow::Go, None) if heard.content == 0 => {
                Err(told(Failure::transient("answered 200 with no completion in it")))
            }
            // Also a stream that ended without a word about why: what came is judged by itself.
            (Flow::Go, _) => Ok(Ended::Stop),
        }
    }

    /// By the server's own count, or estimated when an answer broke off before it.
    async fn charge(&self, prompt: &Prompt, question: &Question<'_>, heard: &Heard, call: &Call) {
        let estimate = || Usage { prompt: prompt.tokens(), completion: heard.content as u64, cached: 0 };
        let usage = heard.usage.filter(|usage| usage.prompt + usage.completion > 0);
        if usage.is_none() && heard.content == 0 {
            return;
        }
        let usage = usage.unwrap_or_else(estimate);
        let units = usage.prompt.saturating_add(usage.completion);
        call.bill.add(units, self.settings.cost_micros(usage.prompt, usage.cached, usage.completion));
        self.client.correct(question, units).await;
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

/// A model that does not answer as it was asked to: another attempt may be luckier, more of them hardly.
fn wrong(engine: &str, reason: &str) -> Failure {
    let message = format!(
        "engine {engine} answered {MAX_ASKS} times, and not once as it was asked to. The last answer: {}",
        refusals::bounded(reason)
    );
    Failure { wrong_answer: true, ..Failure::transient(message) }
}

#[cfg(test)]
mod tests;
