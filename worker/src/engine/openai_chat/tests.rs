use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Response;
use axum::routing::post;
use common::class::Class;
use common::config::Pauses;
use common::wire::Said;
use common::work::{self, Brief, ChapterPlan, ChapterRequest, Format as Form, Pause, Speaker, TextRef, Turn};
use serde_json::json;

use super::*;
use crate::engine::Draft;
use crate::engine::pace::Pace;
use crate::text::speakable_units;

mod length;
mod outlines;
mod wrong;

/// Bodies and idempotency keys as the server saw them.
type Seen = Arc<Mutex<Vec<(Value, String)>>>;

/// A server on a free port that answers each call, counted from 0, with what `answer` makes of it.
async fn server(
    answer: impl Fn(usize, &Value) -> Response<Body> + Clone + Send + Sync + 'static,
) -> (String, Seen) {
    let seen = Seen::default();
    let record = seen.clone();
    let handler = move |headers: axum::http::HeaderMap, axum::Json(body): axum::Json<Value>| {
        let number = {
            let mut seen = record.lock().unwrap();
            seen.push((body.clone(), headers["idempotency-key"].to_str().unwrap().to_owned()));
            seen.len() - 1
        };
        std::future::ready(answer(number, &body))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, Router::new().route(PATH, post(handler))).into_future());
    (url, seen)
}

fn engine(url: &str) -> OpenAiChat {
    let settings = serde_json::json!({
        "type": "openai", "kinds": "outline,script", "url": url, "model": "m", "timeout_ms": 20_000, "idle_timeout_ms": 500,
        "price_input": 1.0, "price_cached": 0.5, "price_output": 2.0,
    });
    OpenAiChat::new("writer", &serde_json::from_value(settings).unwrap()).unwrap()
}

fn call() -> Call {
    Call::new("key", Duration::from_secs(60))
}

fn events(pieces: &[String], finish: &str) -> Vec<String> {
    let mut events: Vec<String> = pieces
        .iter()
        .map(|text| {
            format!("data: {}\n\n", json!({"choices": [{"delta": {"content": text}, "finish_reason": null}]}))
        })
        .collect();
    events.push(format!("data: {}\n\n", json!({"choices": [{"delta": {}, "finish_reason": finish}]})));
    let usage = json!({"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 40}});
    events.push(format!("data: {}\n\n", json!({"choices": [], "usage": usage})));
    events.push("data: [DONE]\n\n".to_owned());
    events
}

/// The text as server-sent events of a few letters each.
fn streamed(text: &str, finish: &str) -> Response<Body> {
    let chars: Vec<char> = text.chars().collect();
    let pieces: Vec<String> = chars.chunks(7).map(|chunk| chunk.iter().collect()).collect();
    let chunks = events(&pieces, finish).into_iter().map(Ok::<_, std::io::Error>);
    Response::new(Body::from_stream(futures_util::stream::iter(chunks)))
}

/// The beginning of an answer, and then a broken connection.
fn broken(text: &str) -> Response<Body> {
    let first = events(&[text.to_owned()], "stop").remove(0);
    let gone = async {
        // What came before is sent while this waits.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("gone"))
    };
    let parts = futures_util::StreamExt::chain(
        futures_util::stream::iter([Ok(first)]),
        futures_util::stream::once(gone),
    );
    Response::new(Body::from_stream(parts))
}

fn refused(status: u16, message: &str) -> Response<Body> {
    let body = json!({"error": {"message": message}}).to_string();
    Response::builder().status(status).body(Body::from(body)).unwrap()
}

fn brief(language: &str) -> Brief {
    let speaker = |name: &str| Speaker { name: name.into(), voice: "v".into(), role: None };
    Brief {
        title: Some("Tides".into()),
        topic: Some("tides".into()),
        language: language.into(),
        format: Form::Dialogue,
        target_minutes: None,
        speakers: vec![speaker("Mina"), speaker("Ben")],
        pace: work::Pace {
            engine: None,
            per_minute: 190,
            pauses: Pauses { turn_ms: 0, ..Pauses::default() },
        },
    }
}

fn chapter(budget: u32) -> ScriptInput {
    ScriptInput {
        brief: brief("en"),
        chapter: 1,
        chapters: 3,
        plan: ChapterPlan { title: "The Moon".into(), brief: "How it pulls.".into(), source: None, budget },
        previous_title: Some("The sea".into()),
        next_title: Some("The Sun".into()),
    }
}

/// A sentence of ten words of usual length that differs from any other number's.
fn sentence(number: usize) -> String {
    format!("The tide number {number} rises because the Moon pulls together.")
}

fn turns(numbers: std::ops::Range<usize>) -> String {
    let turn = |number: usize| {
        let speaker = if number.is_multiple_of(2) { "Mina" } else { "Ben" };
        json!({"speaker": speaker, "text": sentence(number)})
    };
    json!({"turns": numbers.map(turn).collect::<Vec<_>>()}).to_string()
}

/// All turns of a script, those given on first.
async fn write(url: &str, input: &ScriptInput) -> (Result<Vec<Turn>, Failure>, Call) {
    let call = call();
    let rest = engine(url).script(input, None, &call).await;
    let all = rest.map(|rest| [call.draft.given(), rest.turns].concat());
    (all, call)
}

fn numbers(turns: &[Turn]) -> Vec<usize> {
    let number = |turn: &Turn| turn.text.split(' ').find_map(|word| word.parse().ok()).unwrap();
    turns.iter().map(number).collect()
}

#[tokio::test]
async fn a_streamed_script_becomes_turns_and_is_paid_for() {
    let (url, seen) = server(|_, _| streamed(&turns(0..6), "stop")).await;
    let (found, call) = write(&url, &chapter(0)).await;
    let found = found.unwrap();
    assert_eq!(numbers(&found), [0, 1, 2, 3, 4, 5]);
    assert_eq!(found.iter().map(|turn| turn.speaker).collect::<Vec<_>>(), [0, 1, 0, 1, 0, 1]);
    assert_eq!((found[0].pause, found[5].pause), (Pause::Turn, Pause::Chapter));
    // 60 fresh tokens at 1, 40 cached ones at a half, 20 of the answer at 2.
    assert_eq!(call.bill.sum(), (120, 120));
    let (body, key) = seen.lock().unwrap()[0].clone();
    assert_eq!((body["model"].as_str(), body["stream"].as_bool()), (Some("m"), Some(true)));
    assert_eq!(body["response_format"]["type"], "json_schema");
    assert_eq!(body["response_format"]["json_schema"]["strict"], true);
    assert!(key.starts_with("key-"), "{key}");
}

#[tokio::test]
async fn turns_are_given_on_while_the_answer_is_still_coming() {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<String>();
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    let answer = move |_: usize, _: &Value| {
        let receiver = receiver.lock().unwrap().take().unwrap();
        let chunks = futures_util::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|chunk| (Ok::<_, std::io::Error>(chunk), receiver))
        });
        Response::new(Body::from_stream(chunks))
    };
    let (url, _) = server(answer).await;
    let (draft, mut given) = Draft::after(Vec::new());
    let call = Call { draft, ..call() };
    let input = chapter(0);
    let engine = engine(&url);
    let writing = engine.script(&input, None, &call);
    tokio::pin!(writing);
    let text = turns(0..8);
    let cut = text.len() * 7 / 8;
    let mut all = events(&[text[..cut].to_owned(), text[cut..].to_owned()], "stop");
    sender.send(all.remove(0)).unwrap();
    let mut heard = Vec::new();
    while heard.len() < 5 {
        tokio::select! {
            turn = given.recv() => heard.push(turn.unwrap()),
            _ = &mut writing => panic!("the answer is not complete"),
        }
    }
    assert_eq!(numbers(&heard), [0, 1, 2, 3, 4]);
    all.into_iter().for_each(|event| sender.send(event).unwrap());
    drop(sender);
    let rest = writing.await.unwrap().turns;
    assert_eq!(numbers(&[call.draft.given(), rest].concat()), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn a_stream_that_breaks_keeps_its_turns_and_the_next_attempt_goes_on() {
    let half = turns(0..6);
    let cut = half.find("number 4").unwrap();
    let first = half[..cut].to_owned();
    let answer = move |number: usize, _: &Value| {
        if number == 0 { broken(&first) } else { streamed(&turns(4..6), "stop") }
    };
    let (url, seen) = server(answer).await;
    let (failed, call) = write(&url, &chapter(0)).await;
    assert_eq!(failed.unwrap_err().class, Class::Transient);
    let given = call.draft.given();
    assert_eq!(numbers(&given), [0, 1, 2, 3]);
    assert!(call.bill.sum().0 > 0, "what came of the answer is paid");
    let said = |turn: &Turn| Said {
        speaker: ["Mina", "Ben"][usize::from(turn.speaker)].into(),
        text: turn.text.clone(),
    };
    let (draft, _receiver) = Draft::after(given.iter().map(said).collect());
    let call = Call { draft, ..self::call() };
    let input = chapter(0);
    let rest = engine(&url).script(&input, None, &call).await.unwrap();
    assert_eq!(numbers(&[call.draft.given(), rest.turns].concat()), [4, 5]);
    let (body, _) = seen.lock().unwrap()[1].clone();
    let prompt = body["messages"][1]["content"].as_str().unwrap();
    assert!(
        prompt.contains(&format!("Ben: {}", sentence(3))) && prompt.contains("Go on directly after it"),
        "{prompt}"
    );
}

#[tokio::test]
async fn a_server_that_refuses_a_format_is_asked_for_less_and_remembered() {
    for status in [400, 422, 500] {
        let answer = move |_: usize, body: &Value| match body["response_format"]["type"].as_str() {
            Some(_) => refused(status, "response_format is not for me"),
            None => streamed(&turns(0..4), "stop"),
        };
        let (url, seen) = server(answer).await;
        let engine = engine(&url);
        let input = chapter(0);
        engine.script(&input, None, &call()).await.unwrap();
        assert_eq!(seen.lock().unwrap().len(), 3, "{status}: schema, object, prompt alone");
        engine.script(&input, None, &call()).await.unwrap();
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 4, "{status}: what it understands is remembered");
        let prompt = seen[3].0["messages"][1]["content"].as_str().unwrap();
        assert!(prompt.contains("fits this schema") && prompt.contains("\"turns\""), "{prompt}");
        let keys: std::collections::HashSet<&str> =
            seen.iter().take(3).map(|(_, key)| key.as_str()).collect();
        assert_eq!(keys.len(), 3, "another question, another key");
    }
}

/// The forms in which the calls so far were asked.
fn forms(seen: &Seen) -> Vec<String> {
    let seen = seen.lock().unwrap();
    let form = |body: &Value| body["response_format"]["type"].as_str().unwrap_or("prompt").to_owned();
    seen.iter().map(|(body, _)| form(body)).collect()
}

#[tokio::test]
async fn a_fault_that_passes_changes_nothing_about_the_format() {
    let answer = |number: usize, _: &Value| {
        if number == 0 { refused(500, "oops") } else { streamed(&turns(0..4), "stop") }
    };
    let (url, seen) = server(answer).await;
    let engine = engine(&url);
    engine.script(&chapter(0), None, &call()).await.unwrap();
    engine.script(&chapter(0), None, &call()).await.unwrap();
    assert_eq!(forms(&seen), ["json_schema"; 3]);
}

#[tokio::test]
async fn a_fault_that_lasts_for_two_calls_weakens_one_question_alone() {
    let answer = |number: usize, _: &Value| {
        if number < 2 { refused(500, "oops") } else { streamed(&turns(0..4), "stop") }
    };
    let (url, seen) = server(answer).await;
    let engine = engine(&url);
    for _ in 0..3 {
        engine.script(&chapter(0), None, &call()).await.unwrap();
    }
    assert_eq!(forms(&seen), ["json_schema", "json_schema", "json_object", "json_schema", "json_schema"]);
}

#[tokio::test]
async fn a_server_that_refuses_a_format_without_a_word_is_found_out() {
    let answer = |_: usize, body: &Value| match body["response_format"]["type"].as_str() {
        Some("json_schema") => refused(500, "Internal Server Error"),
        _ => streamed(&turns(0..4), "stop"),
    };
    let (url, seen) = server(answer).await;
    let engine = engine(&url);
    for _ in 0..4 {
        engine.script(&chapter(0), None, &call()).await.unwrap();
    }
    let (strict, object) = ("json_schema", "json_object");
    assert_eq!(forms(&seen), [strict, strict, object, strict, strict, object, object, object]);
}

#[tokio::test]
async fn a_server_that_fails_at_a_format_in_the_middle_is_found_out_by_the_next_attempts() {
    let answer = |_: usize, body: &Value| match body["response_format"]["type"].as_str() {
        Some("json_schema") => {
            let begun = events(&["{\"turns\": [".to_owned()], "stop").remove(0);
            let fault = "data: {\"error\":{\"code\":500,\"message\":\"it broke\"}}\n\n";
            Response::new(Body::from(format!("{begun}{fault}")))
        }
        _ => streamed(&turns(0..4), "stop"),
    };
    let (url, seen) = server(answer).await;
    let engine = engine(&url);
    for _ in 0..2 {
        let failure = engine.script(&chapter(0), None, &call()).await.unwrap_err();
        assert_eq!(failure.class, Class::Transient);
    }
    engine.script(&chapter(0), None, &call()).await.unwrap();
    assert_eq!(forms(&seen), ["json_schema", "json_schema", "json_object"]);
}

#[tokio::test]
async fn a_refusal_in_the_stream_is_a_refusal() {
    let answer = |_: usize, body: &Value| {
        if body["response_format"]["type"] == "json_schema" {
            Response::new(Body::from(
                "data: {\"error\":{\"code\":400,\"message\":\"failed to parse grammar\"}}\n\n",
            ))
        } else {
            streamed(&turns(0..4), "stop")
        }
    };
    let (url, seen) = server(answer).await;
    write(&url, &chapter(0)).await.0.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_refused_in_every_form_is_the_inputs_fault() {
    let (url, seen) = server(|_, _| refused(400, "no")).await;
    let failure = write(&url, &chapter(0)).await.0.unwrap_err();
    assert_eq!(failure.class, Class::PermanentInput);
    assert_eq!(seen.lock().unwrap().len(), 4);
    let (url, seen) = server(|_, _| refused(401, "who are you")).await;
    let failure = write(&url, &chapter(0)).await.0.unwrap_err();
    assert_eq!(failure.class, Class::PermanentConfig);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn answers_are_found_behind_thinking_prose_and_fences() {
    let bare = turns(0..4);
    for text in [
        format!("<think>Let me write {{\"turns\": [{{\"speaker\": \"Zoe\"}}]}}</think>\n{bare}"),
        format!("Sure! Here is the script:\n```json\n{bare}\n```\nShall I go on?"),
        format!("I should begin with [1] and {{so}}.</think>{bare}"),
        format!("<think>never closed, but {bare}"),
        format!("```\n{bare}\n```"),
    ] {
        let sent = text.clone();
        let (url, seen) = server(move |_, _| streamed(&sent, "stop")).await;
        let found = write(&url, &chapter(0)).await.0.unwrap();
        assert_eq!(numbers(&found), [0, 1, 2, 3], "{text}");
        assert_eq!(seen.lock().unwrap().len(), 1, "{text}");
    }
}

#[tokio::test]
async fn a_server_that_ignores_stream_is_understood() {
    let answer = |_: usize, _: &Value| {
        let body = json!({"choices": [{"message": {"content": turns(0..4)}, "finish_reason": "stop"}]});
        Response::new(Body::from(body.to_string()))
    };
    let (url, _) = server(answer).await;
    let (found, call) = write(&url, &chapter(0)).await;
    assert_eq!(numbers(&found.unwrap()), [0, 1, 2, 3]);
    assert!(call.bill.sum().0 > 0, "without a count it is estimated");
}

#[tokio::test]
async fn what_was_sent_is_not_quoted_back() {
    let source = "A very secret report about tides that nobody but the customer may ever read in full.";
    let (url, _) =
        server(move |_, _| refused(400, &format!("maximum context length exceeded by: {source}"))).await;
    let input = chapter(0);
    let failure = engine(&url).script(&input, Some(source), &call()).await.unwrap_err();
    assert!(!format!("{failure:?}").contains("secret report"), "{failure:?}");
}

#[tokio::test]
async fn a_model_that_the_server_lacks_is_noticed() {
    let routes = Router::new()
        .route("/v1/models", axum::routing::get(|| std::future::ready(r#"{"data": [{"id": "m:latest"}]}"#)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, routes).into_future());
    engine(&url).check().await.unwrap();
    let settings = serde_json::json!({"type": "openai", "kinds": "script", "url": url, "model": "other"});
    let other = OpenAiChat::new("writer", &serde_json::from_value(settings).unwrap()).unwrap();
    assert!(other.check().await.unwrap_err().to_string().contains("no model \"other\""));
}
