use serde_json::{Value, json};

use super::*;
use crate::providers::tests::{client, post_json};
use crate::providers::{Latency, Outcome, Provider, Rule, Settings};

const PATH: &str = "/v1/chat/completions";

fn script_schema() -> Value {
    json!({
        "type": "object", "additionalProperties": false, "required": ["turns"],
        "properties": {"turns": {"type": "array", "items": {
            "type": "object", "additionalProperties": false, "required": ["speaker", "text"],
            "properties": {"speaker": {"enum": ["Mina", "Jun"]}, "text": {"type": "string"}},
        }}},
    })
}

fn body(content: &str, more: Value) -> Value {
    let mut body = json!({
        "model": "m",
        "messages": [{"role": "system", "content": "Answer in JSON."}, {"role": "user", "content": content}],
        "response_format": {"type": "json_schema", "json_schema": {
            "name": "script", "strict": true, "schema": script_schema()}},
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn ask(provider: &Provider, body: &Value) -> Value {
    let answer = post_json(provider, PATH, body).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

fn content(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}

/// What a provider that misbehaves like this writes, and why it ended.
async fn spoilt(misbehaviour: Misbehaviour) -> (String, String) {
    let provider = Provider::start(Settings::default().rule(Rule::new(misbehaviour))).await.unwrap();
    let answer = ask(&provider, &body("Write about 100 words.", json!({}))).await;
    let finish = answer["choices"][0]["finish_reason"].as_str().unwrap().to_owned();
    (content(&answer).to_owned(), finish)
}

#[tokio::test]
async fn scripts_fit_the_schema_and_the_wish() {
    let provider = Provider::start(Settings::default()).await.unwrap();
    let request = body("Write a script of 10 turns and about 300 words in Korean.", json!({}));
    let answer = ask(&provider, &request).await;
    let script: Value = serde_json::from_str(content(&answer)).unwrap();
    let turns = script["turns"].as_array().unwrap();
    assert_eq!(turns.len(), 10);
    let text: Vec<&str> = turns.iter().map(|turn| turn["text"].as_str().unwrap()).collect();
    let words = text.join(" ").split_whitespace().count();
    assert!((270..=330).contains(&words), "{words}");
    assert!(text.iter().all(|text| text.contains("니다")), "{text:?}");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    // The same again, word by word.
    assert_eq!(content(&ask(&provider, &request).await), content(&answer));
    let ledger = provider.stop().await;
    assert_eq!(ledger.duplicates().len(), 1);
    let call = &ledger.calls[0];
    assert_eq!(call.tokens.completion, answer["usage"]["completion_tokens"].as_u64().unwrap());
    let price = call.tokens.prompt as f64 * 2.5 + call.tokens.completion as f64 * 10.0;
    assert_eq!(call.price_micros, price.round() as u64);
}

#[tokio::test]
async fn a_shape_in_the_prompt_is_enough() {
    let provider = Provider::start(Settings::default()).await.unwrap();
    for format in [json!(null), json!({"type": "json_object"})] {
        let prompt = format!("Answer with JSON that fits {}", script_schema());
        let answer = ask(&provider, &body(&prompt, json!({"response_format": format}))).await;
        let script: Value = serde_json::from_str(content(&answer)).unwrap();
        assert_eq!(script["turns"].as_array().map(Vec::len), Some(6));
    }
    let answer = ask(&provider, &body("Say something.", json!({"response_format": null}))).await;
    assert!(serde_json::from_str::<Value>(content(&answer)).is_err() && content(&answer).ends_with('.'));
}

#[tokio::test]
async fn streams_come_token_by_token() {
    let mut settings = Settings::default();
    settings.chat.first_token = Latency::fixed_ms(100);
    settings.chat.tokens_per_second = 400.0;
    let provider = Provider::start(settings).await.unwrap();
    let more = json!({"stream": true, "stream_options": {"include_usage": true}});
    let started = std::time::Instant::now();
    let answer = post_json(&provider, PATH, &body("Write 60 words.", more)).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(100));
    assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
    let text = answer.text().await.unwrap();
    let took = started.elapsed();
    let events: Vec<&str> = text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    assert_eq!(events.last(), Some(&"[DONE]"));
    let chunks: Vec<Value> =
        events[..events.len() - 1].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let whole: String =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert!(serde_json::from_str::<Value>(&whole).is_ok(), "{whole}");
    let usage = &chunks.last().unwrap()["usage"];
    let tokens = usage["completion_tokens"].as_u64().unwrap();
    assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "stop");
    // 2.5 ms a token after the first.
    assert!(took >= Duration::from_millis(100 + (tokens - 8) * 5 / 2), "{took:?} for {tokens} tokens");
}

#[test]
fn what_is_cached_saves_its_share_of_the_time() {
    let mut chat = Chat::default();
    let ms = Duration::from_millis;
    let tokens = |cached| Tokens { prompt: 2000, cached, completion: 101 };
    let check = |chat: &Chat, cached, whole, first: u64, last: u64| {
        let pace = pace(chat, tokens(cached), ms(1000), whole);
        assert_eq!((pace.first_token, pace.whole(101)), (ms(first), ms(last)));
    };
    check(&chat, 0, Some(ms(10_000)), 1000, 10_000);
    check(&chat, 2000, Some(ms(10_000)), 700, 7000);
    check(&chat, 1000, Some(ms(10_000)), 850, 8500);
    // A whole that is shorter than its first token is the first token's time.
    check(&chat, 0, Some(ms(500)), 500, 500);
    check(&chat, 0, None, 1000, 1000);
    chat.tokens_per_second = 50.0;
    check(&chat, 2000, None, 700, 2700);
}

#[tokio::test]
async fn whole_latencies_are_kept_and_prompts_remembered() {
    let mut settings = Settings::default();
    settings.chat.whole = Some(Latency::fixed_ms(400));
    let provider = Provider::start(settings).await.unwrap();
    let article = "The tide comes in and goes out again. ".repeat(300);
    let timed = async |content: String| {
        let started = std::time::Instant::now();
        let answer = ask(&provider, &body(&content, json!({}))).await;
        (started.elapsed(), answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap())
    };
    let (first, cached) = timed(format!("{article} Chapter 1.")).await;
    assert!(first >= Duration::from_millis(400) && cached == 0, "{first:?} {cached}");
    let (second, cached) = timed(format!("{article} Chapter 2.")).await;
    assert!(second >= Duration::from_millis(280) && cached > 2000, "{second:?} {cached}");
    assert_eq!(provider.ledger().calls[1].tokens.cached, cached);
}

#[tokio::test]
async fn a_rule_gives_one_schema_its_own_latency() {
    let mut settings = Settings::default();
    // Longer than the client waits.
    settings.chat.whole = Some(Latency::fixed_ms(60_000));
    let outline = Rule { schema: Some("outline".into()), latency: Some(Latency::NONE), ..Rule::default() };
    let provider = Provider::start(settings.rule(outline)).await.unwrap();
    let mut outline = body("Chapters, please.", json!({}));
    outline["response_format"]["json_schema"]["name"] = json!("outline");
    ask(&provider, &outline).await;
}

#[tokio::test]
async fn answers_are_spoilt_as_models_spoil_them() {
    let is_json = |text: &str| serde_json::from_str::<Value>(text).is_ok();
    let (text, finish) = spoilt(Misbehaviour::CutJson).await;
    assert!(text.starts_with("{\"turns\"") && !is_json(&text) && finish == "stop", "{text}");
    let (text, finish) = spoilt(Misbehaviour::LengthCut).await;
    assert!(!is_json(&text) && finish == "length");
    let (text, _) = spoilt(Misbehaviour::ThinkNoise).await;
    assert!(text.starts_with("<think>") && is_json(text.rsplit("</think>").next().unwrap()));
    let (text, _) = spoilt(Misbehaviour::ProseAround).await;
    assert!(text.starts_with("Sure!") && text.contains("```json\n{\"turns\""));
    let (text, _) = spoilt(Misbehaviour::SchemaIgnored).await;
    assert!(is_json(&text) && !text.contains("turns"));
    let (text, _) = spoilt(Misbehaviour::WrongLanguage).await;
    assert!(is_json(&text) && text.contains("니다"));
    let (text, finish) = spoilt(Misbehaviour::Repetition).await;
    assert!(text.matches(REPEATED).count() > 1000 && finish == "length");
}

#[tokio::test]
async fn formats_are_refused_in_turn() {
    let check = async |rule: Rule, statuses: [u16; 3]| {
        let provider = Provider::start(Settings::default().rule(rule)).await.unwrap();
        let schema = body("JSON please", json!({}));
        let object = body("JSON please", json!({"response_format": {"type": "json_object"}}));
        let free = body("JSON please", json!({"response_format": null}));
        for (request, status) in [schema, object, free].iter().zip(statuses) {
            assert_eq!(post_json(&provider, PATH, request).await.unwrap().status(), status);
        }
    };
    check(Rule::new(Misbehaviour::SchemaRefused), [400, 200, 200]).await;
    check(Rule { status: Some(500), ..Rule::new(Misbehaviour::SchemaRefused) }, [500, 200, 200]).await;
    check(Rule { status: Some(422), ..Rule::new(Misbehaviour::FormatRefused) }, [422, 422, 200]).await;
}

#[tokio::test]
async fn limits_of_tokens_cut_the_answer() {
    let provider = Provider::start(Settings::default()).await.unwrap();
    let answer = ask(&provider, &body("Write 300 words.", json!({"max_completion_tokens": 50}))).await;
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 50);
}

#[tokio::test]
async fn repetition_streams_until_the_limit() {
    let rule = Rule::new(Misbehaviour::Repetition);
    let provider = Provider::start(Settings::default().rule(rule)).await.unwrap();
    let more = json!({"stream": true, "max_tokens": 5000});
    let text = post_json(&provider, PATH, &body("Write.", more)).await.unwrap().text().await.unwrap();
    let count = text.matches(REPEATED.trim()).count();
    assert!((500..700).contains(&count), "{count}");
    assert!(text.contains("\"finish_reason\":\"length\"") && text.ends_with("[DONE]\n\n"));
    let calls = provider.stop().await.calls;
    assert_eq!(calls[0].outcome, Outcome::Misbehaved);
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let provider = Provider::start(Settings::default()).await.unwrap();
    let broken = client().post(format!("{}{PATH}", provider.url())).body("{").send().await.unwrap();
    assert_eq!(broken.status(), 400);
    let mut loose = body("Hi", json!({}));
    loose["response_format"]["json_schema"]["schema"]["required"] = json!([]);
    let refusal = post_json(&provider, PATH, &loose).await.unwrap();
    assert_eq!(refusal.status(), 400);
    assert!(refusal.text().await.unwrap().contains("turns"));
}
