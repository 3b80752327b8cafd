use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Response};
use axum::routing::post;
use common::class::Class;
use common::config::Engines;

use super::*;

const KEY: &str = "sk-very-secret";

/// Requests as the server saw them.
type Seen = Arc<Mutex<Vec<(HeaderMap, serde_json::Value)>>>;

/// A server on a free port that answers every call with what `answer` makes.
async fn server(answer: impl Fn() -> Response<Body> + Clone + Send + Sync + 'static) -> (String, Seen) {
    let seen = Seen::default();
    let record = seen.clone();
    let handler = move |headers: HeaderMap, axum::Json(body): axum::Json<serde_json::Value>| {
        record.lock().unwrap().push((headers, body));
        std::future::ready(answer())
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, Router::new().route("/v1/audio/speech", post(handler))).into_future());
    (url, seen)
}

fn engine(url: &str, timeout_ms: u64) -> OpenAiSpeech {
    let settings = serde_json::json!({"voice": {
        "type": "openai", "kinds": ["tts"], "url": url, "api_key": KEY, "model": "m", "timeout_ms": timeout_ms,
    }});
    let engines: Engines = serde_json::from_value(settings).unwrap();
    OpenAiSpeech::new("voice", engines.get("voice").unwrap()).unwrap()
}

fn input() -> SpeechInput {
    SpeechInput { text: "안녕하세요.".into(), voice: "alloy".into(), language: "ko".into(), take: 0 }
}

fn call() -> Call {
    Call { idempotency_key: "key-1".into(), time_left: Duration::from_secs(60) }
}

fn answer(status: u16, body: &'static str) -> impl Fn() -> Response<Body> + Clone + Send + Sync {
    move || Response::builder().status(status).header("Retry-After", "7").body(Body::from(body)).unwrap()
}

/// Waits as long as the client does.
fn endless() -> Response<Body> {
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>("RIFF")]);
    Response::new(Body::from_stream(futures_util::StreamExt::chain(first, futures_util::stream::pending())))
}

async fn failure(url: &str, timeout_ms: u64) -> Failure {
    engine(url, timeout_ms).speak(&input(), &call()).await.unwrap_err()
}

#[tokio::test]
async fn a_recording_is_handed_on_as_it_came() {
    let (url, seen) = server(answer(200, "RIFFdata")).await;
    for url in [url.clone(), format!("{url}/"), format!("{url}/v1")] {
        let recording = engine(&url, 5000).speak(&input(), &call()).await.unwrap();
        assert_eq!(&recording.bytes[..], b"RIFFdata");
        assert_eq!(recording.units, 6);
    }
    let (headers, body) = seen.lock().unwrap()[0].clone();
    assert_eq!(headers["idempotency-key"], "key-1");
    assert_eq!(headers["authorization"], format!("Bearer {KEY}"));
    let expected =
        serde_json::json!({"model": "m", "input": "안녕하세요.", "voice": "alloy", "response_format": "wav"});
    assert_eq!(body, expected);
}

#[tokio::test]
async fn refusals_tell_what_the_server_said_and_nothing_secret() {
    let (url, _) =
        server(answer(429, r#"{"error":{"message":"slow down sk-very-secret 안녕하세요."}}"#)).await;
    let failure = failure(&url, 5000).await;
    assert_eq!(failure.class, Class::Throttled);
    assert_eq!(failure.message, "engine voice answered 429: slow down [key] [text]");
    assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_200_without_a_recording_is_asked_again() {
    let (url, _) = server(answer(200, "{\"status\":\"loading\"}")).await;
    assert_eq!(failure(&url, 5000).await.class, Class::Transient);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let redirect = || {
        Response::builder().status(302).header("Location", "http://127.0.0.1:1/").body(Body::empty()).unwrap()
    };
    let (url, _) = server(redirect).await;
    assert_eq!(failure(&url, 5000).await.class, Class::PermanentConfig);
}

#[tokio::test]
async fn an_answer_that_does_not_end_times_out() {
    let (url, _) = server(endless).await;
    assert_eq!(failure(&url, 150).await.class, Class::Timeout);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_again() {
    let broken = || {
        let parts = [Ok("RIFF"), Err(std::io::Error::other("gone"))];
        Response::new(Body::from_stream(futures_util::stream::iter(parts)))
    };
    let (url, _) = server(broken).await;
    assert_eq!(failure(&url, 5000).await.class, Class::Transient);
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let huge = || {
        let chunks = vec![Bytes::from(vec![1u8; 1 << 20]); 70];
        Response::new(Body::from_stream(futures_util::stream::iter(
            chunks.into_iter().map(Ok::<_, std::io::Error>),
        )))
    };
    let (url, _) = server(huge).await;
    let failure = failure(&url, 20_000).await;
    assert!(failure.message.contains("64 MB"), "{failure}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_asked_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let failure = failure(&url, 5000).await;
    assert_eq!(failure.class, Class::Transient);
    assert!(failure.message.contains("cannot be reached"), "{failure}");
}

#[test]
fn bad_addresses_are_refused_at_start() {
    for url in ["", "localhost:8880", "ftp://x"] {
        let settings = serde_json::json!({"v": {"type": "openai", "kinds": ["tts"], "url": url}});
        let engines: Engines = serde_json::from_value(settings).unwrap();
        let error = OpenAiSpeech::new("v", engines.get("v").unwrap()).err().unwrap();
        assert!(format!("{error:#}").contains("engines.v.url"), "{error:#}");
    }
}
