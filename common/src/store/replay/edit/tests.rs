use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::request::ChosenEngines;
use crate::store::podcasts::State;
use crate::topology::Lane;
use crate::work::Format;

fn podcast() -> Podcast {
    Podcast {
        id: Uuid::nil(),
        tenant: "t".into(),
        principal: "p".into(),
        state: State::Failed,
        generation: 1,
        lane: Lane::Normal,
        rank: 0,
        engines: ChosenEngines {
            outline: "extractive".into(),
            script: "extractive".into(),
            tts: "espeak".into(),
            mix: "builtin".into(),
        },
        brief: Brief {
            title: None,
            topic: None,
            language: "en".into(),
            format: Format::Dialogue,
            target_minutes: None,
            speakers: Vec::new(),
            pace: crate::work::Pace::default(),
        },
        title: None,
        traceparent: None,
        deadline: Timestamp::UNIX_EPOCH,
        event_seq: 1,
        chapters_total: 0,
        chapters_written: 0,
        chapters_mixed: 0,
        segments_total: 0,
        segments_done: 0,
        saved: crate::work::Price::default(),
        created_at: Timestamp::UNIX_EPOCH,
        first_audio_at: None,
        episode: None,
        failure: None,
        callback_url: None,
    }
}

fn config() -> Config {
    let mut config = Config::default();
    let engines = [
        (
            "espeak",
            json!({"type": "espeak", "kinds": ["tts"], "languages": ["en", "ko"], "voices": ["f2", "m3"]}),
        ),
        ("extractive", json!({"type": "extractive", "kinds": ["outline", "script"]})),
    ];
    for (name, engine) in engines {
        config.engines.insert(name, serde_json::from_value(engine).unwrap());
    }
    config
}

#[track_caller]
fn refused(kind: Kind, original: &Value, edited: &Value, field: &str) {
    let faults = check(&config(), &podcast(), kind, 0, original, edited).unwrap_err();
    let fault = faults.iter().find(|fault| fault.field == field);
    assert!(fault.is_some_and(|fault| !fault.remedy.is_empty()), "{edited}: {faults:?}");
}

#[test]
fn a_segment_may_say_something_else() {
    let original = json!({"text": "a", "voice": "f2", "language": "en", "take": 0});
    let with = |field: &str, value: Value| {
        let mut edited = original.clone();
        edited[field] = value;
        edited
    };
    let edited = check(&config(), &podcast(), Kind::Tts, 0, &original, &with("text", json!("b"))).unwrap();
    assert_eq!((edited.text.as_deref(), &edited.input["text"]), (Some("b"), &json!("b")));
    refused(Kind::Tts, &original, &original, "payload");
    refused(Kind::Tts, &original, &with("text", json!(" ")), "payload.text");
    refused(Kind::Tts, &original, &with("text", json!("a\0")), "payload.text");
    refused(Kind::Tts, &original, &with("text", json!("x".repeat(4_001))), "payload.text");
    refused(Kind::Tts, &original, &with("text", json!(7)), "payload.text");
    refused(Kind::Tts, &original, &with("voice", json!("nobody")), "payload.voice");
    refused(Kind::Tts, &original, &with("language", json!("ja")), "payload.language");
    refused(Kind::Tts, &original, &with("speed", json!(2)), "payload.speed");
    refused(Kind::Tts, &original, &json!([]), "payload");
}

#[test]
fn what_the_outline_fixed_stays() {
    let original = json!({
        "brief": {"language": "en", "format": "dialogue", "speakers": []}, "chapter": 0, "chapters": 1,
        "plan": {"title": "A", "source": {"blob": "t/source/1.txt"}, "budget": 5},
    });
    let with = |path: &str, value: Value| {
        let mut edited = original.clone();
        *edited.pointer_mut(path).unwrap() = value;
        edited
    };
    let inline = with("/plan/source", json!({"inline": "another text"}));
    assert!(check(&config(), &podcast(), Kind::Script, 0, &original, &inline).is_ok());
    let faults = check(&config(), &podcast(), Kind::Script, 1, &original, &inline).unwrap_err();
    assert!(faults[0].reason.contains("accepted"), "{faults:?}");
    refused(Kind::Script, &original, &with("/chapter", json!(1)), "payload.chapter");
    refused(Kind::Script, &original, &with("/plan/title", json!("B")), "payload.plan.title");
    refused(Kind::Script, &original, &with("/brief/language", json!("ko")), "payload.brief");
    let stolen = with("/plan/source", json!({"blob": "other/source/1.txt"}));
    refused(Kind::Script, &original, &stolen, "payload.plan.source");
}

#[test]
fn an_outline_needs_a_brief_that_the_engines_can_do() {
    let original = json!({
        "brief": {"language": "en", "format": "dialogue", "speakers": [{"name": "A", "voice": "f2"}]},
        "source": {"inline": "text"},
    });
    let with = |path: &str, value: Value| {
        let mut edited = original.clone();
        *edited.pointer_mut(path).unwrap() = value;
        edited
    };
    let better = with("/source/inline", json!("a better text"));
    let edited = check(&config(), &podcast(), Kind::Outline, 0, &original, &better).unwrap();
    assert_eq!(edited.brief.unwrap().language, "en");
    refused(Kind::Outline, &original, &with("/brief/language", json!("zh")), "payload.brief.language");
    refused(Kind::Outline, &original, &with("/brief/speakers", json!([])), "payload.brief.speakers");
    let role = with("/brief/speakers/0", json!({"name": "A", "voice": "f2", "role": "host\0"}));
    refused(Kind::Outline, &original, &role, "payload.brief.speakers[0].role");
    refused(
        Kind::Outline,
        &original,
        &with("/brief/speakers/0/voice", json!("x")),
        "payload.brief.speakers[0].voice",
    );
    refused(Kind::Outline, &original, &with("/source", Value::Null), "payload");
    refused(Kind::Mix, &json!({"segments": []}), &json!({"segments": [1]}), "payload");
}
