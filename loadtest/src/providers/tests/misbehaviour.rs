//! Each misbehaviour, as a real client meets it.

use std::error::Error;

use futures_util::StreamExt;

use super::*;

const SPEECH: &str = "/v1/audio/speech";

/// Asks for speech from a provider that always misbehaves like this.
async fn meet(misbehaviour: Misbehaviour) -> (Provider, reqwest::Result<reqwest::Response>) {
    let provider = Provider::start(Settings::default().rule(Rule::new(misbehaviour))).await.unwrap();
    let body = json!({"input": "Sentence 7", "voice": "v", "response_format": "wav"});
    let answer = post_json(&provider, SPEECH, &body).await;
    (provider, answer)
}

async fn body(misbehaviour: Misbehaviour) -> Vec<u8> {
    let (provider, answer) = meet(misbehaviour).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 200);
    let bytes = answer.bytes().await.unwrap().to_vec();
    assert_eq!(outcomes(&provider).await, [Outcome::Misbehaved]);
    bytes
}

/// The kind of the input/output error at the root of an HTTP error, if there is one.
fn root(error: &reqwest::Error) -> Option<std::io::ErrorKind> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

#[tokio::test]
async fn refusals_are_in_openais_shape() {
    let check = async |misbehaviour, status: u16, code: Value| {
        let (provider, answer) = meet(misbehaviour).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), status);
        let wait = answer.headers().get("retry-after").map(|wait| wait.to_str().unwrap().to_owned());
        let error: Value = answer.json().await.unwrap();
        assert_eq!(error["error"]["code"], code);
        assert_eq!(outcomes(&provider).await, [Outcome::Failed(status)]);
        assert_eq!(provider.ledger().price_micros, 0);
        wait
    };
    let limited = json!("rate_limit_exceeded");
    assert_eq!(check(Misbehaviour::Throttled, 429, limited.clone()).await.as_deref(), Some("1"));
    let date = check(Misbehaviour::ThrottledDate, 429, limited).await.unwrap();
    assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
    assert_eq!(check(Misbehaviour::NoCredit, 429, json!("insufficient_quota")).await, None);
    assert_eq!(check(Misbehaviour::WrongKey, 401, json!("invalid_api_key")).await, None);
    assert_eq!(check(Misbehaviour::ServerError, 500, Value::Null).await, None);
}

#[tokio::test]
async fn a_stall_before_sends_nothing() {
    let provider =
        Provider::start(Settings::default().rule(Rule::new(Misbehaviour::StallBefore))).await.unwrap();
    let asking = ask(&provider, "1");
    assert!(tokio::time::timeout(Duration::from_secs(1), asking).await.is_err());
    assert_eq!(outcomes(&provider).await, [Outcome::Abandoned]);
    assert_eq!(provider.ledger().calls[0].bytes_out, 0);
}

#[tokio::test]
async fn a_stall_in_the_middle_sends_half() {
    let (provider, answer) = meet(Misbehaviour::StallMiddle).await;
    let mut stream = answer.unwrap().bytes_stream();
    let mut received = 0;
    while let Ok(Some(piece)) = tokio::time::timeout(Duration::from_secs(1), stream.next()).await {
        received += piece.unwrap().len();
    }
    assert_eq!(received, (44 + 96_000) / 2);
    assert_eq!(provider.ledger().in_flight, 1);
    drop(stream);
    assert_eq!(outcomes(&provider).await, [Outcome::Abandoned]);
}

#[tokio::test]
async fn resets_are_resets() {
    let (provider, answer) = meet(Misbehaviour::ResetBefore).await;
    let error = answer.err().unwrap();
    assert_eq!(root(&error), Some(std::io::ErrorKind::ConnectionReset), "{error:?}");
    assert_eq!(outcomes(&provider).await, [Outcome::Misbehaved]);

    let (provider, answer) = meet(Misbehaviour::ResetMiddle).await;
    let error = answer.unwrap().bytes().await.err().unwrap();
    assert_eq!(root(&error), Some(std::io::ErrorKind::ConnectionReset), "{error:?}");
    assert_eq!(outcomes(&provider).await, [Outcome::Misbehaved]);
}

#[tokio::test]
async fn a_close_in_the_middle_is_an_orderly_end_too_early() {
    let (provider, answer) = meet(Misbehaviour::CloseMiddle).await;
    let answer = answer.unwrap();
    assert_eq!(answer.content_length(), Some(44 + 96_000));
    let error = answer.bytes().await.err().unwrap();
    assert_ne!(root(&error), Some(std::io::ErrorKind::ConnectionReset), "{error:?}");
    assert_eq!(outcomes(&provider).await, [Outcome::Misbehaved]);
}

#[tokio::test]
async fn nothing_and_web_pages_come_with_200() {
    assert_eq!(body(Misbehaviour::Empty).await, b"");
    assert!(body(Misbehaviour::Html).await.starts_with(b"<!DOCTYPE html>"));
}

#[tokio::test]
async fn ten_gigabytes_flow_as_long_as_somebody_reads() {
    for (misbehaviour, start) in
        [(Misbehaviour::EndlessBody, &b"RIFF"[..]), (Misbehaviour::GzipBomb, &b"\x1f\x8b"[..])]
    {
        let (provider, answer) = meet(misbehaviour).await;
        let answer = answer.unwrap();
        let packed = answer.headers().get("content-encoding").is_some_and(|coding| coding == "gzip");
        assert_eq!(packed, misbehaviour == Misbehaviour::GzipBomb);
        let mut stream = answer.bytes_stream();
        let first = stream.next().await.unwrap().unwrap();
        assert!(first.starts_with(start));
        let mut received = first.len();
        while received < 20_000_000 {
            received += stream.next().await.unwrap().unwrap().len();
        }
        drop(stream);
        assert_eq!(outcomes(&provider).await, [Outcome::Abandoned]);
    }
}

#[tokio::test]
async fn audio_is_wrong_in_many_ways() {
    let truncated = body(Misbehaviour::TruncatedAudio).await;
    let announced = u32::from_le_bytes(truncated[40..44].try_into().unwrap()) as usize;
    assert_eq!((announced, truncated.len()), (96_000, 44 + 48_000));
    assert!(body(Misbehaviour::WrongContainerMp3).await.starts_with(b"\xff\xf3"));
    assert!(body(Misbehaviour::WrongContainerOgg).await.starts_with(b"OggS"));
    assert_eq!(body(Misbehaviour::HeaderOnlyWav).await.len(), 44);
    let lying = body(Misbehaviour::LyingMp3).await;
    assert_eq!(lying.windows(4).filter(|window| window == b"Xing").count(), 3);
}

#[tokio::test]
async fn every_common_misbehaviour_is_met_by_chat_too() {
    for misbehaviour in Misbehaviour::ALL.into_iter().filter(|m| m.applies_to(Endpoint::Speech)) {
        if !misbehaviour.applies_to(Endpoint::Chat) {
            continue;
        }
        for stream in [false, true] {
            let rule = Rule::new(misbehaviour).at(Endpoint::Chat);
            let provider = Provider::start(Settings::default().rule(rule)).await.unwrap();
            let body = json!({"messages": [{"role": "user", "content": "Hi"}], "stream": stream});
            let asking = async {
                let answer = post_json(&provider, "/v1/chat/completions", &body).await?;
                answer.error_for_status_ref()?;
                answer
                    .bytes_stream()
                    .take(100)
                    .collect::<Vec<_>>()
                    .await
                    .into_iter()
                    .collect::<Result<Vec<_>, _>>()
            };
            let answer = tokio::time::timeout(Duration::from_millis(400), asking).await;
            let text = match answer {
                Ok(Ok(pieces)) => String::from_utf8_lossy(&pieces.concat()).into_owned(),
                _ => String::new(),
            };
            let good = serde_json::from_str::<Value>(&text).is_ok() || text.contains("[DONE]");
            assert!(!good, "{misbehaviour:?}: {text}");
        }
    }
}
