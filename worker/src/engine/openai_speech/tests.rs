use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Response};
use axum::routing::{get, post};
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
    Call::new("key-1", Duration::from_secs(60))
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

fn with(url: &str, change: serde_json::Value) -> OpenAiSpeech {
    let mut settings = serde_json::json!({"type": "openai", "kinds": ["tts"], "url": url});
    settings.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    OpenAiSpeech::new("voice", &serde_json::from_value(settings).unwrap()).unwrap()
}

#[tokio::test]
async fn settings_reach_the_server() {
    let (url, seen) = server(answer(200, "fLaCdata")).await;
    let change = serde_json::json!({"audio_format": "flac", "instructions": "calmly", "speed": 1.25});
    with(&url, change).speak(&input(), &call()).await.unwrap();
    let (_, body) = seen.lock().unwrap()[0].clone();
    assert_eq!(
        (&body["response_format"], &body["instructions"], &body["speed"]),
        (&"flac".into(), &"calmly".into(), &1.25.into())
    );
}

#[tokio::test]
async fn raw_samples_become_a_recording() {
    let (url, _) = server(answer(200, "\u{1}\u{0}\u{2}\u{0}")).await;
    let engine = with(&url, serde_json::json!({"audio_format": "pcm"}));
    let bytes = engine.speak(&input(), &call()).await.unwrap().bytes;
    let mut wav = hound::WavReader::new(&bytes[..]).unwrap();
    assert_eq!(wav.spec().sample_rate, 24_000);
    assert_eq!(wav.samples::<i16>().map(Result::unwrap).collect::<Vec<_>>(), [1, 2]);
    let (url, _) = server(answer(200, "RIFFdata")).await;
    let engine = with(&url, serde_json::json!({"audio_format": "pcm"}));
    assert_eq!(&engine.speak(&input(), &call()).await.unwrap().bytes[..], b"RIFFdata");
}

#[tokio::test]
async fn a_stall_is_told_from_an_answer_that_takes_too_long() {
    let (url, _) = server(endless).await;
    let settings = serde_json::json!({"idle_timeout_ms": 100, "timeout_ms": 20_000});
    let failure = with(&url, settings).speak(&input(), &call()).await.unwrap_err();
    assert_eq!(failure.class, Class::Timeout);
    assert!(failure.message.contains("stalled"), "{failure}");
}

#[tokio::test]
async fn a_drip_is_never_idle_and_ends_all_the_same() {
    let dripping = || {
        let stream = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, std::io::Error>("R"), ()))
        });
        Response::new(Body::from_stream(stream))
    };
    let (url, _) = server(dripping).await;
    let settings = serde_json::json!({"idle_timeout_ms": 5_000, "timeout_ms": 400});
    let asked = std::time::Instant::now();
    let failure = with(&url, settings).speak(&input(), &call()).await.unwrap_err();
    assert_eq!(failure.class, Class::Timeout);
    assert!(failure.message.contains("no whole answer"), "{failure}");
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_times_out_by_itself() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let settings = serde_json::json!({"first_byte_timeout_ms": 100, "timeout_ms": 20_000});
    let failure = with(&url, settings).speak(&input(), &call()).await.unwrap_err();
    assert_eq!(failure.class, Class::Timeout);
    assert!(failure.message.contains("did not begin to answer within 100 ms"), "{failure}");
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_costs_nothing_when_there_is_another() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let (url, seen) = server(answer(200, "RIFFdata")).await;
    let engine = with(&dead, serde_json::json!({"urls": url}));
    for _ in 0..4 {
        engine.speak(&input(), &call()).await.unwrap();
    }
    assert_eq!(seen.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn two_servers_share_what_is_asked_at_once() {
    let (one, first) = server(answer(200, "RIFFdata")).await;
    let (two, second) = server(answer(200, "RIFFdata")).await;
    let engine = with(&one, serde_json::json!({"urls": two}));
    for _ in 0..10 {
        let (input, call) = (input(), call());
        let (a, b) = tokio::join!(engine.speak(&input, &call), engine.speak(&input, &call));
        a.unwrap();
        b.unwrap();
    }
    assert_eq!((first.lock().unwrap().len(), second.lock().unwrap().len()), (10, 10));
}

#[tokio::test]
async fn a_packed_answer_is_not_unpacked() {
    let packed =
        || Response::builder().header("Content-Encoding", "gzip").body(Body::from("\u{1f}bomb")).unwrap();
    let (url, _) = server(packed).await;
    let failure = failure(&url, 5000).await;
    assert_eq!(failure.class, Class::Transient);
    assert!(failure.message.contains("packed"), "{failure}");
}

#[tokio::test]
async fn calls_beyond_the_rate_wait_or_are_handed_back() {
    let (url, seen) = server(answer(200, "RIFFdata")).await;
    let engine = with(&url, serde_json::json!({"requests_per_minute": 1}));
    engine.speak(&input(), &call()).await.unwrap();
    let soon = Call::new("key-1", Duration::from_secs(5));
    let failure = engine.speak(&input(), &soon).await.unwrap_err();
    assert_eq!(failure.class, Class::Parked);
    assert!(failure.retry_after.unwrap() > Duration::from_secs(50), "{failure:?}");
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[test]
fn segments_are_cut_in_the_servers_own_unit() {
    let engine = |unit: &str, most: u32| {
        with("http://127.0.0.1:1", serde_json::json!({"input_unit": unit, "max_input": most}))
    };
    let text = "물이 천천히 들어온다. 배가 조용히 나간다. 바다는 다시 기다린다.";
    assert_eq!(engine("characters", 4096).pieces(text, "ko"), [text]);
    assert_eq!(engine("characters", 25).pieces(text, "ko").len(), 2);
    let pieces = engine("bytes", 40).pieces(text, "ko");
    assert_eq!(pieces, ["물이 천천히 들어온다.", "배가 조용히 나간다.", "바다는 다시 기다린다."]);
    assert!(pieces.iter().all(|piece| piece.len() <= 40));
}

#[tokio::test]
async fn voices_are_compared_with_what_the_server_lists() {
    let list = r#"{"voices": ["a", {"id": "b"}, {"name": "c"}]}"#;
    let routes = Router::new().route("/v1/audio/voices", get(move || std::future::ready(list)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, routes).into_future());
    with(&url, serde_json::json!({"voices": "a,b,c,a+b(2)"})).check().await.unwrap();
    let error = with(&url, serde_json::json!({"voices": "a,x"})).check().await.unwrap_err().to_string();
    assert!(error.contains("no voice x; it lists a, b, c"), "{error}");
    // A server that lists nothing cannot be compared with.
    let (url, _) = server(answer(200, "")).await;
    with(&url, serde_json::json!({"voices": "x"})).check().await.unwrap();
}
