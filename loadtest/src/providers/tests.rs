mod misbehaviour;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;

pub(super) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

pub(super) async fn post_json(
    provider: &Provider,
    path: &str,
    body: &Value,
) -> reqwest::Result<reqwest::Response> {
    let request = client().post(format!("{}{path}", provider.url())).header("Idempotency-Key", "key-1");
    request.json(body).timeout(Duration::from_secs(10)).send().await
}

async fn ask(provider: &Provider, text: &str) -> reqwest::Result<reqwest::Response> {
    let body = json!({"model": "m", "input": text, "voice": "alloy", "response_format": "wav"});
    post_json(provider, "/v1/audio/speech", &body).await
}

/// Waits for the ledger, which is closed a moment after the last byte.
async fn outcomes(provider: &Provider) -> Vec<Outcome> {
    let started = Instant::now();
    while provider.ledger().in_flight > 0 && started.elapsed() < Duration::from_secs(5) {
        tokio::task::yield_now().await;
    }
    provider.ledger().calls.into_iter().map(|call| call.outcome).collect()
}

fn samples(wav: &[u8]) -> Vec<f32> {
    let mut reader = hound::WavReader::new(wav).unwrap();
    reader.samples::<i16>().map(|sample| f32::from(sample.unwrap()) / 32768.0).collect()
}

#[tokio::test]
async fn speech_says_the_number_of_its_text() {
    let provider =
        Provider::start(Settings::default().samples_for(|text| 30_000 + text.len())).await.unwrap();
    let text = "Sentence 42 says so.";
    let answer = ask(&provider, text).await.unwrap().error_for_status().unwrap();
    assert_eq!(answer.headers()["x-request-id"], "req-1");
    let wav = answer.bytes().await.unwrap();
    let samples = samples(&wav);
    assert_eq!(samples.len(), 30_000 + text.len());
    let marks = decode_numbers(&samples, tones::RATE);
    assert_eq!(marks.iter().map(|mark| mark.number).collect::<Vec<_>>(), [42]);

    assert_eq!(outcomes(&provider).await, [Outcome::Answered]);
    let ledger: Value =
        client().get(format!("{}/ledger", provider.url())).send().await.unwrap().json().await.unwrap();
    assert_eq!(
        (&ledger["calls"][0]["number"], &ledger["calls"][0]["outcome"]),
        (&json!(42), &json!("answered"))
    );
    let ledger = provider.stop().await;
    let call = &ledger.calls[0];
    assert_eq!(call.idempotency_key.as_deref(), Some("key-1"));
    assert_eq!((call.bytes_out, call.status, call.price_micros), (wav.len() as u64, Some(200), 20 * 15));
    assert!(call.first_byte_at.is_some() && call.ended_at.is_some() && call.bytes_in > 60);
    assert_eq!((ledger.answered(), ledger.in_flight, ledger.peak_in_flight), (1, 0, 1));
    assert_eq!(ledger.answers_by_text().into_values().collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn every_format_is_spoken() {
    let provider = Provider::start(Settings::default()).await.unwrap();
    for (format, start) in
        [("wav", &b"RIFF"[..]), ("flac", b"fLaC"), ("mp3", b"\xff\xf3"), ("pcm", b"\x00\x40")]
    {
        let body = json!({"input": "7", "voice": {"id": "v"}, "response_format": format});
        let answer = post_json(&provider, "/v1/audio/speech", &body).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.bytes().await.unwrap().starts_with(start), "{format}");
    }
    for bad in [
        json!({"input": ""}),
        json!({"input": "x".repeat(4097)}),
        json!({"input": 1}),
        json!({"input": "1", "response_format": "opus"}),
    ] {
        let answer = post_json(&provider, "/v1/audio/speech", &bad).await.unwrap();
        assert_eq!(answer.status(), 400, "{bad}");
        let error: Value = answer.json().await.unwrap();
        assert_eq!(error["error"]["type"], "invalid_request_error");
    }
    assert_eq!(provider.stop().await.answered(), 4);
}

#[tokio::test]
async fn faults_come_first_and_in_order() {
    let settings = Settings::default()
        .fail_first(1, 429, Some(Duration::from_millis(1500)))
        .fail_first(1, 503, None)
        .stall_first(1);
    let provider = Provider::start(settings).await.unwrap();
    let first = ask(&provider, "1").await.unwrap();
    assert_eq!((first.status().as_u16(), &first.headers()["retry-after"]), (429, &"2".parse().unwrap()));
    assert_eq!(ask(&provider, "2").await.unwrap().status(), 503);

    let stalled = tokio::time::timeout(Duration::from_millis(200), ask(&provider, "3")).await;
    assert!(stalled.is_err());
    assert_eq!(ask(&provider, "3").await.unwrap().status(), 200);
    let outcomes: Vec<Outcome> = provider.stop().await.calls.into_iter().map(|call| call.outcome).collect();
    let expected = [Outcome::Failed(429), Outcome::Failed(503), Outcome::Abandoned, Outcome::Answered];
    assert_eq!(outcomes, expected);
}

#[tokio::test]
async fn latency_and_concurrency_are_kept() {
    let mut settings = Settings::default().speech_latency(Latency::fixed_ms(1000));
    settings.speech.limits = Limits { concurrency: Some(2), queue: 1, requests_per_minute: None };
    let provider = Provider::start(settings).await.unwrap();
    let started = Instant::now();
    let status = async |text: &str| ask(&provider, text).await.unwrap().status().as_u16();
    let mut statuses: [u16; 4] = tokio::join!(status("1"), status("2"), status("3"), status("4")).into();
    statuses.sort_unstable();
    // Two at once, one after them, one too many.
    assert_eq!(statuses, [200, 200, 200, 429]);
    assert!(started.elapsed() >= Duration::from_millis(2000), "{:?}", started.elapsed());
    assert_eq!(provider.ledger().peak_in_flight, 4);
}

#[tokio::test]
async fn a_rate_is_kept() {
    let mut settings = Settings::default();
    settings.speech.limits.requests_per_minute = Some(2);
    let provider = Provider::start(settings).await.unwrap();
    for expected in [200, 200, 429] {
        let answer = ask(&provider, "1").await.unwrap();
        assert_eq!(answer.status(), expected);
        if expected == 429 {
            let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((25..=30).contains(&wait), "{wait}");
        }
    }
}

#[tokio::test]
async fn stopping_gives_up_stalled_calls() {
    let provider = Provider::start(Settings::default().stall_first(1)).await.unwrap();
    let url = provider.url();
    let asking = tokio::spawn(async move {
        let body = json!({"input": "1"});
        client().post(format!("{url}/v1/audio/speech")).json(&body).send().await
    });
    while provider.ledger().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    let ledger = tokio::time::timeout(Duration::from_secs(5), provider.stop()).await.unwrap();
    assert_eq!(ledger.calls[0].outcome, Outcome::Abandoned);
    assert!(asking.await.is_ok());
}

#[tokio::test]
async fn rules_are_set_over_http() {
    let provider = Provider::start(Settings::default()).await.unwrap();
    let rules = format!("{}/rules", provider.url());
    let set = |body: Value| client().post(&rules).json(&body).send();
    assert_eq!(
        set(json!([{"do": "html", "times": 1}, {"do": "empty", "times": 1}])).await.unwrap().status(),
        200
    );
    assert_eq!(set(json!({"do": "server_error", "contains": "tides"})).await.unwrap().status(), 200);
    for (bad, words) in [
        (json!({"do": "sing"}), "sing"),
        (json!([{"do": "html"}, {"times": 1}]), "rule 2"),
        (json!([1]), "rule 1"),
    ] {
        let refusal = set(bad).await.unwrap();
        assert_eq!(refusal.status(), 400);
        assert!(refusal.text().await.unwrap().contains(words));
    }
    let listed: Value = client().get(&rules).send().await.unwrap().json().await.unwrap();
    assert_eq!(listed.as_array().map(Vec::len), Some(3));
    assert_eq!(ask(&provider, "tides").await.unwrap().text().await.unwrap().find("<!DOCTYPE"), Some(0));
    assert_eq!(ask(&provider, "tides").await.unwrap().text().await.unwrap(), "");
    assert_eq!(ask(&provider, "tides").await.unwrap().status(), 500);
    assert_eq!(client().delete(&rules).send().await.unwrap().status(), 204);
    assert_eq!(ask(&provider, "tides").await.unwrap().status(), 200);
    let called: Vec<Option<String>> = provider.ledger().calls.into_iter().map(|call| call.rule).collect();
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(called, [named("html"), named("empty"), named("server_error"), None]);
}

#[tokio::test]
async fn the_ledger_comes_in_pages() {
    let provider = Provider::start(Settings::default()).await.unwrap();
    for number in 1..=5 {
        ask(&provider, &number.to_string()).await.unwrap().bytes().await.unwrap();
    }
    let url = format!("{}/ledger?after=2&limit=2", provider.url());
    let page: Value = client().get(url).send().await.unwrap().json().await.unwrap();
    let ids: Vec<u64> =
        page["calls"].as_array().unwrap().iter().filter_map(|call| call["id"].as_u64()).collect();
    assert_eq!((ids, &page["total"]), (vec![3, 4], &json!(5)));
    assert_eq!(provider.ledger().duplicates().into_iter().collect::<Vec<_>>(), [("key-1", 5)]);
}

#[tokio::test]
async fn a_key_is_asked_for_where_there_is_one() {
    let open = "0.0.0.0:0".parse().unwrap();
    let refusal = Provider::bind(open, Settings::default()).await.err().unwrap().to_string();
    assert!(refusal.contains("give the provider a key"), "{refusal}");
    let settings = Settings { key: Some("secret".into()), ..Settings::default() };
    let provider = Provider::bind(open, settings).await.unwrap();
    let url = format!("http://127.0.0.1:{}/ledger", provider.address().port());
    assert_eq!(client().get(&url).send().await.unwrap().status(), 401);
    assert_eq!(client().get(&url).bearer_auth("secre").send().await.unwrap().status(), 401);
    assert_eq!(client().get(&url).bearer_auth("secret").send().await.unwrap().status(), 200);
}
