use std::time::Duration;

use serde_json::{Value, json};

use super::*;

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

async fn ask(provider: &Provider, text: &str) -> reqwest::Result<reqwest::Response> {
    let body = json!({"model": "m", "input": text, "voice": "alloy", "response_format": "wav"});
    let url = format!("{}/v1/audio/speech", provider.url());
    client()
        .post(url)
        .header("Idempotency-Key", "key-1")
        .json(&body)
        .timeout(Duration::from_secs(5))
        .send()
        .await
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
    let wav = ask(&provider, text).await.unwrap().error_for_status().unwrap().bytes().await.unwrap();
    let samples = samples(&wav);
    assert_eq!(samples.len(), 30_000 + text.len());
    let marks = decode_numbers(&samples, tones::RATE);
    assert_eq!(marks.iter().map(|mark| mark.number).collect::<Vec<_>>(), [42]);

    let ledger: Value =
        client().get(format!("{}/ledger", provider.url())).send().await.unwrap().json().await.unwrap();
    assert_eq!(ledger["calls"][0]["number"], 42);
    assert_eq!(ledger["calls"][0]["outcome"], "answered");
    let ledger = provider.stop().await;
    assert_eq!(ledger.calls[0].idempotency_key.as_deref(), Some("key-1"));
    assert_eq!((ledger.answered(), ledger.in_flight, ledger.peak_in_flight), (1, 0, 1));
    assert_eq!(ledger.answers_by_text().into_values().collect::<Vec<_>>(), [1]);
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
async fn calls_at_one_time_are_counted() {
    let latency = Latency::Fixed(Duration::from_millis(200));
    let provider = Provider::start(Settings { latency, ..Settings::default() }).await.unwrap();
    let (one, two, three) = tokio::join!(ask(&provider, "1"), ask(&provider, "2"), ask(&provider, "3"));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(provider.ledger().peak_in_flight, 3);
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
