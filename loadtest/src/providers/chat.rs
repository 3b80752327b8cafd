//! `POST /v1/chat/completions`: writes what the schema of the request asks for, without understanding a word.

mod prompt;
mod prose;
mod request;
mod schema;
mod tokens;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::call::{Call, idempotency_key};
use super::faults::{self, Filling, invalid};
use super::ledger::{Arrival, Tokens};
use super::plan::Plan;
use super::rules::{Asked, Endpoint, Misbehaviour};
use super::settings::{Chat, Language};
use super::socket::Switch;
use super::{Shared, locked};
use prompt::Shape;
use prose::Prose;
use request::Request;
pub(super) use tokens::Prefixes;
use wire::{Answer, Pace};

/// Of an answer that repeats itself, when the request sets no limit.
const MOST_TOKENS: u64 = 1_000_000;
/// The same for an answer in one piece, which has to be held.
const MOST_HELD_TOKENS: u64 = 16_384;

pub(super) async fn complete(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(switch): ConnectInfo<Switch>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let (request, unreadable) = match serde_json::from_slice::<Request>(&body) {
        Ok(request) => (request, None),
        Err(error) => (Request::default(), Some(format!("the request cannot be read: {error}"))),
    };
    let prompt = request.prompt();
    let asked = Asked { endpoint: Endpoint::Chat, text: &prompt, schema: request.schema_name(), voice: "" };
    let arrival = Arrival {
        endpoint: Endpoint::Chat,
        input: &prompt,
        voice: "",
        idempotency_key: idempotency_key(&headers),
        bytes_in: body.len() as u64,
    };
    let mut call = Call::begin(shared.clone(), switch, &asked, &arrival);
    let wrong = unreadable.map(|reason| invalid("body", &reason)).or_else(|| request.check());
    if let Some(wrong) = wrong.or_else(|| format_refusal(&request, &call)) {
        return call.answer(wrong);
    }
    if let Err(refused) = call.enter(&shared.chat_gate).await {
        return call.answer(refused);
    }
    let (plan, wait) = plan(&shared, &request, &prompt, &call);
    call.wait(wait).await;
    call.answer(plan)
}

/// Servers that do not know a format say so in many ways.
fn format_refusal(request: &Request, call: &Call) -> Option<Plan> {
    let refused = match call.misbehaviour()? {
        Misbehaviour::SchemaRefused => request.named().is_some(),
        Misbehaviour::FormatRefused => request.wants_json(),
        _ => false,
    };
    let message = "this server does not support that response_format";
    let kind = "invalid_request_error";
    refused.then(|| {
        faults::problem(call.rule_status().unwrap_or(400), kind, None, Some("response_format"), message)
    })
}

/// What to send, and after how long.
fn plan(shared: &Shared, request: &Request, prompt: &str, call: &Call) -> (Plan, Duration) {
    let chat = &shared.settings.chat;
    let cached = locked(&shared.prefixes)
        .look_up(&format!("{}\n{prompt}", request.model), chat.prompt_cache.min_tokens);
    let wrong = call.misbehaviour();
    let (content, finish) = content(shared, request, prompt, wrong);
    let tokens = Tokens {
        prompt: tokens::count(prompt),
        cached: cached.min(tokens::count(prompt)),
        completion: tokens::count(&content),
    };
    call.pay(tokens, price(chat, tokens));
    let first_token = call.draw(chat.first_token);
    let whole = call.rule_latency().or(chat.whole).map(|whole| call.draw(whole));
    let pace = pace(chat, tokens, first_token, whole);
    let answer = Answer {
        id: call.id(),
        model: request.model.clone(),
        content,
        finish,
        tokens,
        created: Timestamp::now().as_second(),
    };
    let include_usage = request.stream_options.as_ref().is_some_and(|options| options.include_usage);
    let plan = match (request.stream, wrong) {
        (true, Some(Misbehaviour::Repetition)) => {
            let most = request.max_tokens().unwrap_or(MOST_TOKENS);
            wire::repeating(opened(answer), REPEATED.into(), pace, most)
        }
        (true, _) => wire::streamed(&answer, pace, include_usage),
        (false, _) => wire::whole(&answer),
    };
    let wait = if request.stream { pace.first_token } else { pace.whole(tokens.completion) };
    let plan = match wrong {
        None => plan,
        // A weaker form than the one that is refused is answered as it should be.
        Some(Misbehaviour::SchemaRefused | Misbehaviour::FormatRefused) => plan,
        Some(wrong) => {
            let filling = if request.stream { STREAMED } else { HELD };
            faults::spoil(plan.misbehaved(), wrong, Filling { start: filling, filler: b' ' })
        }
    };
    (plan, wait)
}

const HELD: &[u8] =
    br#"{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":""#;
const STREAMED: &[u8] =
    br#"data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":""#;
const REPEATED: &str = " And the tide comes in again.";

fn price(chat: &Chat, tokens: Tokens) -> f64 {
    let [prompt, cached, completion] = chat.prices_per_million;
    (tokens.prompt - tokens.cached) as f64 * prompt
        + tokens.cached as f64 * cached
        + tokens.completion as f64 * completion
}

/// When tokens are sent, from what was drawn: until the first, and until the last when that is given.
fn pace(chat: &Chat, tokens: Tokens, first_token: Duration, whole: Option<Duration>) -> Pace {
    let uncached = 1.0 - chat.prompt_cache.saves * tokens.cached as f64 / tokens.prompt.max(1) as f64;
    let first_token = first_token.mul_f64(uncached);
    if let Some(whole) = whole {
        let whole = whole.mul_f64(uncached);
        let first_token = first_token.min(whole);
        let others = tokens.completion.saturating_sub(1).max(1) as f64;
        return Pace { first_token, per_token: (whole - first_token).div_f64(others) };
    }
    let per_token = if chat.tokens_per_second > 0.0 { 1.0 / chat.tokens_per_second } else { 0.0 };
    Pace { first_token, per_token: Duration::from_secs_f64(per_token) }
}

/// The text of the answer, and why it ended.
fn content(
    shared: &Shared,
    request: &Request,
    prompt: &str,
    wrong: Option<Misbehaviour>,
) -> (String, &'static str) {
    let mut wish = prompt::wish(prompt, &shared.settings.chat.writing);
    if wrong == Some(Misbehaviour::WrongLanguage) {
        wish.language = if wish.language == Language::Ko { Language::En } else { Language::Ko };
    }
    let seed = blake3::hash(prompt.as_bytes())
        .as_bytes()
        .iter()
        .take(8)
        .fold(shared.settings.seed, |seed, byte| seed.rotate_left(8) ^ u64::from(*byte));
    let mut prose = Prose::new(wish.language, seed);
    let named = request.named().and_then(|named| named.schema.as_ref());
    let shape = named.cloned().map(Shape::Schema).or_else(|| prompt::shape(prompt));
    let good = match shape {
        _ if wrong == Some(Misbehaviour::SchemaIgnored) => ignored(&mut prose).to_string(),
        Some(Shape::Schema(schema)) => schema::fill(&schema, &wish, &mut prose).to_string(),
        Some(Shape::Example(example)) => schema::follow(&example, &wish, &mut prose).to_string(),
        None if request.wants_json() => ignored(&mut prose).to_string(),
        None => prose.passage(wish.length.0, wish.length.1),
    };
    let (spoilt, finish) = match wrong {
        Some(Misbehaviour::CutJson) => (cut(&good).to_owned(), "stop"),
        Some(Misbehaviour::LengthCut) => (cut(&good).to_owned(), "length"),
        Some(Misbehaviour::ThinkNoise) => {
            let thought = prose.sentence();
            (
                format!(
                    "<think>\nThe user wants JSON. {{\"draft\": \"{thought}\"}} Is that right?\n</think>\n\n{good}"
                ),
                "stop",
            )
        }
        Some(Misbehaviour::ProseAround) => (
            format!("Sure! Here is what you asked for:\n\n```json\n{good}\n```\n\nLet me know if it fits."),
            "stop",
        ),
        Some(Misbehaviour::Repetition) if !request.stream => {
            let most = request.max_tokens().unwrap_or(MOST_HELD_TOKENS).min(MOST_HELD_TOKENS);
            (
                format!("{}{}", cut(&good), REPEATED.repeat((most / tokens::count(REPEATED)) as usize)),
                "length",
            )
        }
        _ => (good, "stop"),
    };
    limited(spoilt, finish, request.max_tokens())
}

/// What `max_tokens` leaves of it.
fn limited(content: String, finish: &'static str, most: Option<u64>) -> (String, &'static str) {
    match most {
        Some(most) if tokens::count(&content) > most => {
            let kept =
                tokens::pieces(&content, 1).take(usize::try_from(most).unwrap_or(usize::MAX)).collect();
            (kept, "length")
        }
        _ => (content, finish),
    }
}

/// JSON of a shape that nobody asked for.
fn ignored(prose: &mut Prose) -> Value {
    json!({"answer": prose.sentence(), "confidence": 0.9, "notes": [prose.sentence(), prose.sentence()]})
}

/// About half of it, within a string if there is one.
fn cut(text: &str) -> &str {
    let middle =
        (text.len() / 2..text.len()).find(|place| text.is_char_boundary(*place)).unwrap_or(text.len());
    let end = text[middle..].find(' ').map_or(middle, |space| middle + space);
    &text[..end]
}

/// The answer up to its middle: there it starts to repeat itself.
fn opened(answer: Answer) -> Answer {
    Answer { content: cut(&answer.content).to_owned(), ..answer }
}

#[cfg(test)]
mod tests;
