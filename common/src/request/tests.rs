use super::*;

fn config() -> Config {
    let mut config = Config::default();
    config.engines.insert(
        "espeak",
        serde_json::from_value(serde_json::json!({
            "type": "espeak", "kinds": ["tts"], "languages": ["en", "ko"], "voices": ["f1", "m1", "f2"]
        }))
        .unwrap(),
    );
    config.engines.insert("extractive", serde_json::from_value(serde_json::json!({
        "type": "extractive", "kinds": ["outline", "script"], "needs_source": true, "formats": ["dialogue", "monologue"]
    })).unwrap());
    config
}

fn try_accept(body: &str) -> Result<Accepted, Vec<Fault>> {
    let now = Timestamp::now();
    accept(body.as_bytes(), &config(), now, now)
}

#[track_caller]
fn refused(body: &str, field: &str, words: &str) {
    let faults = try_accept(body).expect_err("was accepted");
    let fault = faults.iter().find(|fault| fault.field == field).unwrap_or_else(|| panic!("{faults:?}"));
    assert!(fault.to_string().contains(words), "{fault}");
    assert!(!fault.remedy.is_empty());
}

#[test]
fn every_fault_names_its_field_the_reason_and_what_would_be_right() {
    refused("", "body", "empty");
    refused("  \n", "body", "empty");
    refused("{", "body", "not valid JSON");
    refused(r#"{"topic": "a"} {}"#, "body", "more after");
    refused("{}", "body", "neither a topic nor a source");
    refused(r#"{"source": {}}"#, "source", "no text");
    refused(r#"{"source": {"text": " "}}"#, "source.text", "empty");
    refused(r#"{"colour": "red"}"#, "colour", "unknown field");
    refused(r#"{"speakers": [{"name": "A", "vioce": "f1"}]}"#, "speakers[0].vioce", "unknown field");
    refused(r#"{"source": {"text": "Hi."}, "target_minutes": "five"}"#, "target_minutes", "invalid type");
    refused(r#"{"topic": "tides"}"#, "topic", "cannot write from a topic alone");
    refused(r#"{"source": {"text": "Hi."}, "target_minutes": 0}"#, "target_minutes", "1 to 180");
    refused(r#"{"source": {"text": "Hi."}, "target_minutes": 600}"#, "target_minutes", "it is 600");
    refused(r#"{"source": {"text": "Hi."}, "language": "klingon!"}"#, "language", "not a language tag");
    refused(r#"{"source": {"text": "Hi."}, "language": "xx"}"#, "language", "cannot do");
    refused(r#"{"source": {"text": "你好。"}}"#, "language", "\"zh\"");
    refused(
        r#"{"source": {"text": "Hi."}, "speakers": [{"name": "A", "voice": "x9"}]}"#,
        "speakers[0].voice",
        "f1, m1, f2",
    );
    refused(
        r#"{"source": {"text": "Hi."}, "speakers": [{"name": "A"}, {"name": "A"}]}"#,
        "speakers[1].name",
        "two speakers",
    );
    refused(r#"{"source": {"text": "Hi."}, "deadline_seconds": 0}"#, "deadline_seconds", "it is 0");
    refused(r#"{"source": {"text": "Hi."}, "format": "debate"}"#, "format", "dialogue, monologue");
    refused(r#"{"source": {"text": "Hi."}, "format": "opera"}"#, "format", "unknown variant");
    refused(r#"{"source": {"url": "http://x"}, "language": "en"}"#, "source.url", "https on its own port");
    refused(r#"{"source": {"url": "https://10.0.0.1/"}, "language": "en"}"#, "source.url", "is not public");
    refused(r#"{"source": {"url": "https://example.org/"}}"#, "language", "not known before");
    refused(
        r#"{"source": {"text": "Hi.", "url": "https://example.org/"}}"#,
        "source",
        "a text and an address",
    );
    refused(
        r#"{"source": {"text": "Hi."}, "callback_url": "http://x"}"#,
        "callback_url",
        "https on its own port",
    );
    let long = format!(r#"{{"source": {{"text": "{}"}}}}"#, "a ".repeat(500_001));
    refused(&long, "source.text", "1000002 bytes");
}

#[test]
fn all_faults_are_told_at_once() {
    let faults = try_accept(r#"{"topic": "t", "target_minutes": 0, "deadline_seconds": 0}"#).unwrap_err();
    assert_eq!(faults.len(), 3, "{faults:?}");
}

#[test]
fn a_deadline_may_be_over_before_the_message_is_read() {
    let now = Timestamp::now();
    let sent = now - Duration::from_secs(60);
    let body = br#"{"source": {"text": "Hi."}, "deadline_seconds": 30}"#;
    let faults = accept(body, &config(), now, sent).unwrap_err();
    assert!(faults[0].reason.contains("was over"), "{faults:?}");
}

#[test]
fn equal_requests_have_equal_hashes_however_they_are_written() {
    let one = try_accept(r#"{"title": "T", "source": {"text": "Hi."}}"#).unwrap();
    let two = try_accept(r#" { "source" : {"text": "Hi\u002e"}, "title": "T", "topic": null } "#).unwrap();
    let other = try_accept(r#"{"title": "U", "source": {"text": "Hi."}}"#).unwrap();
    assert_eq!(one.hash, two.hash);
    assert_ne!(one.hash, other.hash);
}

#[test]
fn what_is_left_open_is_filled_in() {
    let accepted = try_accept(r#"{"source": {"text": "조수는 하루에 두 번 오르내린다."}}"#).unwrap();
    assert_eq!(accepted.brief.language, "ko");
    assert_eq!(accepted.lane, Lane::Normal);
    assert_eq!(accepted.brief.pace.engine.as_ref(), Some(&accepted.engines.tts));
    let voices: Vec<&str> = accepted.brief.speakers.iter().map(|speaker| speaker.voice.as_str()).collect();
    assert_eq!(voices, ["f1", "m1"]);
    let asked = r#"{"source": {"text": "Hi."}, "speakers": [{"name": "A"}, {"name": "B", "voice": "f1"}]}"#;
    let voices: Vec<String> =
        try_accept(asked).unwrap().brief.speakers.into_iter().map(|s| s.voice).collect();
    assert_eq!(voices, ["m1", "f1"], "a voice that was asked for is not given to another");
}

#[test]
fn a_field_without_a_name_is_the_bodys_fault() {
    refused(r#"{"": 1}"#, "body", "unknown field");
}

/// Two megabytes of empty titles were told one by one, and names compared each with all others.
#[test]
fn a_refusal_is_not_longer_than_what_it_refuses() {
    let empty = |count: usize| [r#"{"title": ""}"#].repeat(count).join(", ");
    let named: Vec<String> = (0..90_000).map(|n| format!(r#"{{"name": "{n}"}}"#)).collect();
    for body in [
        format!(r#"{{"topic": "t", "chapters": [{}]}}"#, empty(100_000)),
        format!(r#"{{"topic": "t", "speakers": [{}]}}"#, named.join(", ")),
        format!(
            r#"{{"topic": "t", "speakers": [{}]}}"#,
            [r#"{"name": "", "voice": ""}"#].repeat(50_000).join(", ")
        ),
    ] {
        let started = std::time::Instant::now();
        let faults = try_accept(&body).unwrap_err();
        assert!(faults.iter().any(|fault| fault.reason.starts_with("there are")), "{faults:?}");
        assert!(faults.len() < 60, "{} faults", faults.len());
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}
