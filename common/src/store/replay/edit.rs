//! Whether an edited input may take the place of a dead task's: a pure function. What other rows already stand on cannot be
//! changed any more, and every refusal names the field, the reason and what would be right.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::config::{self, Config, Engine};
use crate::outbound::Address;
use crate::request::{Fault, MAX_SOURCE_BYTES};
use crate::store::podcasts::Podcast;
use crate::work::{Brief, Kind, OutlineInput, ScriptInput, SpeechInput, TextRef};

/// Longest text of one segment, in characters.
const MAX_SPOKEN: usize = 4_000;
const MAX_TITLE: usize = 300;
const MAX_BRIEF: usize = 2_000;
const MAX_SPEAKERS: usize = 8;
const MAX_CHAPTERS: usize = 50;

/// An edited input, checked, as it is stored; and what follows from it for other rows.
#[derive(Clone, Debug)]
pub struct Edited {
    pub input: Value,
    /// The same as text, its fields in the order in which inputs are always written: equal inputs have equal hashes.
    pub json: Box<RawValue>,
    /// Of an outline: the podcast's brief from now on.
    pub brief: Option<Brief>,
    /// Of a segment: its text from now on, for the transcript.
    pub text: Option<String>,
}

/// Checks `edited`, which is to take the place of `original`, the input of a task of this kind.
pub fn check(
    config: &Config,
    podcast: &Podcast,
    kind: Kind,
    accepted_parts: i32,
    original: &Value,
    edited: &Value,
) -> Result<Edited, Vec<Fault>> {
    if original == edited {
        let remedy = "Change something, or replay it as it is";
        return Err(vec![fault("payload", "it is the same as before", remedy)]);
    }
    match kind {
        Kind::Outline => outline(config, podcast, original, edited),
        Kind::Script => script(accepted_parts, original, edited),
        Kind::Tts => speech(config, podcast, edited),
        Kind::Mix | Kind::Join => Err(vec![fault(
            "payload",
            "this task is built from what is finished already",
            "Replay it as it is; what it needs is made again if it is missing",
        )]),
    }
}

fn speech(config: &Config, podcast: &Podcast, edited: &Value) -> Result<Edited, Vec<Fault>> {
    let (input, written): (SpeechInput, _) = read(edited)?;
    let mut faults = Vec::new();
    check_text("payload.text", &input.text, MAX_SPOKEN, &mut faults);
    if let Some(engine) = config.engines.get(&podcast.engines.tts) {
        check_voice("payload.voice", &input.voice, engine, &mut faults);
        check_language("payload.language", &input.language, engine, &mut faults);
    }
    done(faults, written, None, Some(input.text))
}

fn outline(
    config: &Config,
    podcast: &Podcast,
    original: &Value,
    edited: &Value,
) -> Result<Edited, Vec<Fault>> {
    let (input, written): (OutlineInput, _) = read(edited)?;
    let mut faults = Vec::new();
    let brief = &input.brief;
    for (field, text, longest) in [("title", &brief.title, MAX_TITLE), ("topic", &brief.topic, MAX_BRIEF)] {
        if let Some(text) = text {
            check_text(&format!("payload.brief.{field}"), text, longest, &mut faults);
        }
    }
    let engines = [&podcast.engines.outline, &podcast.engines.script, &podcast.engines.tts];
    for engine in engines.into_iter().filter_map(|name| config.engines.get(name)) {
        check_language("payload.brief.language", &brief.language, engine, &mut faults);
    }
    if !(1..=MAX_SPEAKERS).contains(&brief.speakers.len()) {
        let reason = format!("there are {}", brief.speakers.len());
        faults.push(fault("payload.brief.speakers", &reason, &format!("Give 1 to {MAX_SPEAKERS}")));
    }
    for (index, speaker) in brief.speakers.iter().enumerate() {
        let field = |name| format!("payload.brief.speakers[{index}].{name}");
        check_text(&field("name"), &speaker.name, MAX_TITLE, &mut faults);
        if let Some(engine) = config.engines.get(&podcast.engines.tts) {
            check_voice(&field("voice"), &speaker.voice, engine, &mut faults);
        }
    }
    if input.chapters.len() > MAX_CHAPTERS {
        let reason = format!("there are {}", input.chapters.len());
        faults.push(fault("payload.chapters", &reason, &format!("Give at most {MAX_CHAPTERS}")));
    }
    for (index, chapter) in input.chapters.iter().enumerate() {
        check_text(&format!("payload.chapters[{index}].title"), &chapter.title, MAX_TITLE, &mut faults);
    }
    if input.source.is_none() && brief.topic.is_none() {
        faults.push(fault("payload", "there is neither a topic nor a source", "Give one of them"));
    }
    let outbound = Some(&config.outbound);
    check_source("payload.source", input.source.as_ref(), original.get("source"), outbound, &mut faults);
    done(faults, written, Some(input.brief), None)
}

/// Titles, speakers and the number of chapters stand in other rows since the outline; what a chapter tells may change.
fn script(accepted_parts: i32, original: &Value, edited: &Value) -> Result<Edited, Vec<Fault>> {
    if accepted_parts > 0 {
        return Err(vec![fault(
            "payload",
            "a part of this script is accepted already, and accepted turns are never withdrawn",
            "Replay it as it is: it goes on after the accepted part. Or cancel the podcast and ask for it anew",
        )]);
    }
    let (input, written): (ScriptInput, _) = read(edited)?;
    // Read and written like the other: an older input lacks fields that have a default since.
    let (_, before): (ScriptInput, _) = read(original)?;
    let original = &before.value;
    let mut faults = Vec::new();
    let fixed = ["/brief", "/chapter", "/chapters", "/plan/title", "/previous_title", "/next_title"];
    for path in fixed.into_iter().filter(|path| original.pointer(path) != written.value.pointer(path)) {
        let field = format!("payload{}", path.replace('/', "."));
        faults.push(fault(&field, "it is fixed since the outline", "Leave it as it was; change `plan` only"));
    }
    if !input.plan.brief.is_empty() {
        check_text("payload.plan.brief", &input.plan.brief, MAX_BRIEF, &mut faults);
    }
    let before = original.pointer("/plan/source");
    check_source("payload.plan.source", input.plan.source.as_ref(), before, None, &mut faults);
    done(faults, written, None, None)
}

/// An input as it will be stored.
struct Written {
    value: Value,
    json: Box<RawValue>,
}

/// Reads an input strictly: a field that is not understood would be ignored without a word.
fn read<T: DeserializeOwned + Serialize>(edited: &Value) -> Result<(T, Written), Vec<Fault>> {
    let remedy = "Compare it with the payload as it was: `GET /v1/dead-letters/{id}?payload=true`";
    let input: T = serde_path_to_error::deserialize(edited).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "payload".to_owned() } else { format!("payload.{path}") };
        vec![fault(&field, &error.inner().to_string(), remedy)]
    })?;
    let unwritable = |error: serde_json::Error| vec![fault("payload", &error.to_string(), remedy)];
    let value = serde_json::to_value(&input).map_err(unwritable)?;
    let json = to_raw_value(&input).map_err(unwritable)?;
    let mut faults = Vec::new();
    unknown_fields("payload", edited, &value, &mut faults);
    nul_characters("payload", &value, &mut faults);
    if faults.is_empty() { Ok((input, Written { value, json })) } else { Err(faults) }
}

/// What was given and is not there any more once it is read.
fn unknown_fields(path: &str, given: &Value, read: &Value, faults: &mut Vec<Fault>) {
    match (given, read) {
        (Value::Object(given), Value::Object(read)) => {
            for (name, value) in given {
                let path = format!("{path}.{name}");
                match read.get(name) {
                    Some(other) => unknown_fields(&path, value, other, faults),
                    // An empty optional field is left out when it is written.
                    None if value.is_null() || *value == *"" || *value == Value::Array(vec![]) => {}
                    None => faults.push(fault(&path, "there is no such field", "Remove it")),
                }
            }
        }
        (Value::Array(given), Value::Array(read)) => {
            for (index, (value, other)) in given.iter().zip(read).enumerate() {
                unknown_fields(&format!("{path}[{index}]"), value, other, faults);
            }
        }
        _ => {}
    }
}

/// PostgreSQL keeps none.
fn nul_characters(path: &str, value: &Value, faults: &mut Vec<Fault>) {
    match value {
        Value::String(text) if text.contains('\0') => {
            faults.push(fault(path, "it contains a NUL character", "Remove it"));
        }
        Value::Array(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                nul_characters(&format!("{path}[{index}]"), entry, faults);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                nul_characters(&format!("{path}.{name}"), field, faults);
            }
        }
        _ => {}
    }
}

/// A key of a blob is ours: another one could name what is not this tenant's. An address is read where `outbound` says which may
/// be asked.
fn check_source(
    field: &str,
    source: Option<&TextRef>,
    before: Option<&Value>,
    outbound: Option<&config::Outbound>,
    faults: &mut Vec<Fault>,
) {
    match source {
        Some(TextRef::Inline(text)) if text.len() > MAX_SOURCE_BYTES => {
            let reason = format!("it has {} bytes", text.len());
            faults.push(fault(field, &reason, &format!("Give at most {MAX_SOURCE_BYTES}")));
        }
        Some(TextRef::Inline(text)) => check_text(field, text, MAX_SOURCE_BYTES, faults),
        Some(TextRef::Blob(key)) => {
            let unchanged = before.and_then(|before| before.get("blob")).and_then(Value::as_str);
            if unchanged != Some(key) {
                let remedy = r#"Leave it as it was, or give the text: {"inline": "…"}"#;
                faults.push(fault(field, "it names another blob", remedy));
            }
        }
        Some(TextRef::Url(url)) => match outbound.map(|settings| Address::parse(url, settings)) {
            Some(Ok(_)) => {}
            Some(Err(bad)) => faults.push(fault(field, &bad.reason, bad.remedy)),
            None => faults.push(fault(field, "it is an address", r#"Give the text: {"inline": "…"}"#)),
        },
        None => {}
    }
}

fn check_text(field: &str, text: &str, longest: usize, faults: &mut Vec<Fault>) {
    let length = text.chars().count();
    if text.trim().is_empty() {
        faults.push(fault(field, "it is empty", "Give it a text"));
    } else if length > longest {
        faults.push(fault(field, &format!("it has {length} characters"), &format!("Give at most {longest}")));
    }
}

fn check_voice(field: &str, voice: &str, engine: &Engine, faults: &mut Vec<Fault>) {
    check_text(field, voice, MAX_TITLE, faults);
    if !engine.voices.is_empty() && !engine.voices.iter().any(|known| known == voice) {
        let remedy = format!("Use one of: {}", engine.voices.join(", "));
        faults.push(fault(field, &format!("the engine has no voice {voice:?}"), &remedy));
    }
}

fn check_language(field: &str, language: &str, engine: &Engine, faults: &mut Vec<Fault>) {
    if !engine.speaks(language) && !faults.iter().any(|known| known.field == field) {
        let remedy = format!("Use one of: {}", engine.languages.join(", "));
        faults.push(fault(field, &format!("the engine cannot do {language:?}"), &remedy));
    }
}

fn done(
    faults: Vec<Fault>,
    written: Written,
    brief: Option<Brief>,
    text: Option<String>,
) -> Result<Edited, Vec<Fault>> {
    if faults.is_empty() {
        Ok(Edited { input: written.value, json: written.json, brief, text })
    } else {
        Err(faults)
    }
}

fn fault(field: &str, reason: &str, remedy: &str) -> Fault {
    Fault { field: field.into(), reason: reason.into(), remedy: remedy.into() }
}

#[cfg(test)]
mod tests;
