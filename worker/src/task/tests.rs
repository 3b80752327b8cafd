//! What the cache takes for the same work: each thing that a result depends on is changed in turn.

use common::config::{Audio, Engine};
use common::store::tasks::input_hash;
use common::wire::{Input, VERSION};
use common::work::{OutlineInput, ScriptInput, SpeechInput, SpeechResult};
use jiff::Timestamp;
use serde_json::{Value, json, value::to_raw_value};
use uuid::Uuid;

use super::once::result_key;
use super::*;

/// A piece of work, as far as anything could tell it from another one.
struct Case {
    engine_name: String,
    engine: Value,
    /// Of text and of what is made of it: writer or segment.
    versions: [u32; 2],
    prompt: u32,
    audio: Audio,
    input: Value,
    ticket: Ticket,
}

impl Case {
    fn new(kind: Kind, input: Value) -> Case {
        let nothing = to_raw_value(&()).unwrap();
        Case {
            engine_name: "e".into(),
            engine: json!({"type": "openai", "kinds": kind, "url": "http://a", "model": "m"}),
            versions: [1, 1],
            prompt: 1,
            audio: Audio::default(),
            input,
            ticket: Ticket {
                v: VERSION,
                podcast: Uuid::nil(),
                task: Uuid::nil(),
                tenant: "t".into(),
                kind,
                chapter: 0,
                segment: 0,
                attempt: 1,
                generation: 1,
                input_hash: String::new(),
                engine: "e".into(),
                workers: 0,
                deadline: Timestamp::MAX,
                alone: false,
                committed_parts: 0,
                committed_turns: 0,
                written: Vec::new(),
                failures: 0,
                traceparent: None,
                input: Input::Inline(nothing),
            },
        }
    }

    /// As the collector and the worker make it.
    fn key(mut self) -> String {
        let engine: Engine = serde_json::from_value(self.engine).unwrap();
        let (kind, [text, made]) = (self.ticket.kind, self.versions);
        // Read and written again, as on its way through the collector.
        let input = match kind {
            Kind::Outline => raw::<OutlineInput>(self.input),
            Kind::Script => raw::<ScriptInput>(self.input),
            _ => raw::<SpeechInput>(self.input),
        };
        self.ticket.input_hash = input_hash(kind, &self.engine_name, &engine.identity(), &input);
        let revision = match kind {
            Kind::Tts => tts::revision_of(text, made, &self.audio),
            _ => writing_revision_of(text, made, self.prompt),
        };
        result_key(&self.ticket, &result_hash(&self.ticket, &revision))
    }
}

fn raw<T: Serialize + DeserializeOwned>(input: Value) -> Box<RawValue> {
    to_raw_value(&serde_json::from_value::<T>(input).unwrap()).unwrap()
}

#[track_caller]
fn check(kind: Kind, input: &Value, what: &str, hits: bool, change: impl FnOnce(&mut Case)) {
    let mut changed = Case::new(kind, input.clone());
    change(&mut changed);
    let same = changed.key() == Case::new(kind, input.clone()).key();
    assert_eq!(
        same,
        hits,
        "{kind}: another {what} {}",
        if hits { "is the same work" } else { "is other work" }
    );
}

/// Sets what a JSON pointer names.
fn set(input: &mut Value, pointer: &str, value: Value) {
    *input.pointer_mut(pointer).unwrap_or_else(|| panic!("there is no {pointer}")) = value;
}

/// What holds of every kind.
fn check_common(kind: Kind, input: &Value) {
    check(kind, input, "nothing", true, |_| {});
    check(kind, input, "podcast", true, |case| case.ticket.podcast = Uuid::max());
    check(kind, input, "task", true, |case| case.ticket.task = Uuid::max());
    check(kind, input, "place", true, |case| (case.ticket.chapter, case.ticket.segment) = (7, 7));
    check(kind, input, "attempt", true, |case| (case.ticket.attempt, case.ticket.failures) = (7, 7));
    check(kind, input, "generation", true, |case| case.ticket.generation = 7);
    check(kind, input, "deadline", true, |case| case.ticket.deadline = Timestamp::MIN);
    check(kind, input, "address", true, |case| case.engine["url"] = json!("http://b"));
    check(kind, input, "tenant", false, |case| case.ticket.tenant = "u".into());
    check(kind, input, "engine", false, |case| case.engine_name = "f".into());
    check(kind, input, "model", false, |case| case.engine["model"] = json!("n"));
    check(kind, input, "normaliser", false, |case| case.versions[0] = 2);
    check(kind, input, "writer or leveller", false, |case| case.versions[1] = 2);
}

#[test]
fn speech_is_the_same_when_everything_that_is_heard_is() {
    let input = json!({"text": "The tide rises.", "voice": "v", "language": "en", "take": 0});
    check_common(Kind::Tts, &input);
    check(Kind::Tts, &input, "order of fields", true, |case| {
        case.input = json!({"take": 0, "language": "en", "voice": "v", "text": "The tide rises."});
    });
    check(Kind::Tts, &input, "prompt", true, |case| case.prompt = 2);
    check(Kind::Tts, &input, "bit rate", true, |case| case.audio.bitrate_kbps = 128);
    check(Kind::Tts, &input, "pause", true, |case| case.audio.pauses.turn_ms = 1);
    for (field, value) in [
        ("text", json!("The tide rises!")),
        ("voice", json!("w")),
        ("language", json!("en-gb")),
        ("take", json!(1)),
    ] {
        check(Kind::Tts, &input, field, false, |case| case.input[field] = value);
    }
    check(Kind::Tts, &input, "speed", false, |case| case.engine["speed"] = json!(1.25));
    check(Kind::Tts, &input, "instruction", false, |case| case.engine["instructions"] = json!("Softly"));
    check(Kind::Tts, &input, "audio format", false, |case| case.engine["audio_format"] = json!("mp3"));
    check(Kind::Tts, &input, "length of pieces", false, |case| case.engine["max_input"] = json!(100));
    check(Kind::Tts, &input, "loudness", false, |case| case.audio.target_lufs = -18.0);
    check(Kind::Tts, &input, "peak", false, |case| case.audio.max_true_peak_dbtp = -2.0);
    check(Kind::Tts, &input, "fade", false, |case| case.audio.fade_ms = 0);
}

fn brief() -> Value {
    json!({
        "title": "Tides", "topic": "The sea", "language": "en", "format": "dialogue", "target_minutes": 5,
        "speakers": [{"name": "A", "voice": "v", "role": "asks"}, {"name": "B", "voice": "w", "role": "answers"}],
        "pace": {"engine": "e", "per_minute": 175, "pauses": common::config::Pauses::default()},
    })
}

/// What is asked for, below the place of the brief.
fn check_brief(kind: Kind, input: &Value) {
    for (pointer, value) in [
        ("/brief/title", json!("Tide")),
        ("/brief/topic", json!("The moon")),
        ("/brief/language", json!("ko")),
        ("/brief/format", json!("interview")),
        ("/brief/target_minutes", json!(6)),
        ("/brief/speakers/0/name", json!("C")),
        ("/brief/speakers/0/voice", json!("x")),
        ("/brief/speakers/1/role", json!("doubts")),
        ("/brief/pace/engine", json!("f")),
        ("/brief/pace/per_minute", json!(180)),
        ("/brief/pace/pauses/turn_ms", json!(1)),
    ] {
        check(kind, input, pointer, false, |case| set(&mut case.input, pointer, value));
    }
    check(kind, input, "number of speakers", false, |case| {
        case.input["brief"]["speakers"].as_array_mut().unwrap().pop();
    });
    check(kind, input, "prompt", false, |case| case.prompt = 2);
    check(kind, input, "temperature", false, |case| case.engine["temperature"] = json!(0.3));
    check(kind, input, "longest answer", false, |case| case.engine["max_output_tokens"] = json!(1024));
    check(kind, input, "context", false, |case| case.engine["context_tokens"] = json!(100_000));
    check(kind, input, "fade", true, |case| case.audio.fade_ms = 0);
}

#[test]
fn an_outline_is_the_same_when_everything_that_is_asked_is() {
    let input = json!({
        "brief": brief(), "source": {"inline": "A text."}, "chapters": [{"title": "One", "brief": "first"}],
    });
    check_common(Kind::Outline, &input);
    check_brief(Kind::Outline, &input);
    for (pointer, value) in [
        ("/source", json!({"inline": "Another text."})),
        ("/source", json!({"blob": "t/source/1.txt"})),
        ("/source", Value::Null),
        ("/chapters/0/title", json!("Two")),
        ("/chapters/0/brief", json!("second")),
        ("/chapters", json!([])),
    ] {
        check(Kind::Outline, &input, pointer, false, |case| set(&mut case.input, pointer, value));
    }
}

#[test]
fn a_script_is_the_same_when_everything_that_is_asked_is() {
    let input = json!({
        "brief": brief(), "chapter": 1, "chapters": 3, "previous_title": "One", "next_title": "Three",
        "plan": {"title": "Two", "brief": "the second", "source": {"inline": "A text."}, "budget": 100},
    });
    check_common(Kind::Script, &input);
    check_brief(Kind::Script, &input);
    for (pointer, value) in [
        ("/chapter", json!(2)),
        ("/chapters", json!(4)),
        ("/previous_title", json!("Zero")),
        ("/next_title", Value::Null),
        ("/plan/title", json!("2")),
        ("/plan/brief", json!("the other")),
        ("/plan/source", json!({"inline": "Another text."})),
        ("/plan/budget", json!(101)),
    ] {
        check(Kind::Script, &input, pointer, false, |case| set(&mut case.input, pointer, value));
    }
}

#[test]
fn what_is_remembered_is_read_by_every_version() {
    let speech = SpeechResult { audio: "a".into(), samples: 7, lufs: Some(-16.0), true_peak_dbtp: -1.5 };
    let paid = Price { calls: 2, micros: 30 };
    let json = serde_json::to_string(&Remembered { result: &speech, paid }).unwrap();
    // One that knows of no prices.
    assert_eq!(serde_json::from_str::<SpeechResult>(&json).unwrap(), speech);
    let old = serde_json::to_string(&speech).unwrap();
    let read: Remembered<SpeechResult> = serde_json::from_str(&old).unwrap();
    assert_eq!((read.result, read.paid), (speech, Price::default()));
}
