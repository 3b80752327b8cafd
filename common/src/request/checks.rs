//! What is judged of a request, field by field. Each finds all faults that it can.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    ChosenEngines, DEFAULT_DEADLINE, Fault, MAX_BRIEF, MAX_CHAPTERS, MAX_DEADLINE, MAX_METADATA, MAX_NAME,
    MAX_SOURCE_BYTES, MAX_SPEAKERS, MAX_TITLE, MAX_TOPIC, MINUTES, PodcastRequest, detect_language, fault,
};
use crate::config::{Config, Engine};
use crate::outbound::Address;
use crate::work::Format;

/// Of a list that is too long, which [`numbers`] says, only as much is judged as it may hold: a refusal must not be longer than
/// what it refuses.
pub(super) fn texts(request: &PodcastRequest, faults: &mut Vec<Fault>) {
    let mut bounded = |field: &str, text: Option<&String>, longest: usize| {
        let Some(text) = text else { return };
        if text.trim().is_empty() {
            faults.push(fault(field, "it is empty", "Leave the field out, or give it a text"));
        } else if text.chars().count() > longest {
            let reason = format!("it has {} characters", text.chars().count());
            faults.push(fault(field, &reason, &format!("Give at most {longest}")));
        } else if text.contains('\0') {
            faults.push(fault(field, "it contains a NUL character", "Remove it"));
        }
    };
    bounded("title", request.title.as_ref(), MAX_TITLE);
    bounded("topic", request.topic.as_ref(), MAX_TOPIC);
    for (i, chapter) in request.chapters.iter().take(MAX_CHAPTERS).enumerate() {
        bounded(&format!("chapters[{i}].title"), Some(&chapter.title), MAX_TITLE);
        bounded(&format!("chapters[{i}].brief"), chapter.brief.as_ref(), MAX_BRIEF);
    }
    for (i, speaker) in request.speakers.iter().take(MAX_SPEAKERS).enumerate() {
        bounded(&format!("speakers[{i}].name"), Some(&speaker.name), MAX_NAME);
        bounded(&format!("speakers[{i}].voice"), speaker.voice.as_ref(), MAX_NAME);
        bounded(&format!("speakers[{i}].role"), speaker.role.as_ref(), MAX_BRIEF);
    }
    for (key, value) in request.metadata.iter().take(MAX_METADATA) {
        bounded("metadata", Some(key), MAX_NAME);
        bounded(&format!("metadata.{key}"), Some(value), MAX_BRIEF);
    }
    if let Some(text) = request.source.as_ref().and_then(|source| source.text.as_ref()) {
        if text.trim().is_empty() {
            faults.push(fault("source.text", "it is empty", "Give the text of the article"));
        } else if text.len() > MAX_SOURCE_BYTES {
            let reason = format!("it has {} bytes", text.len());
            faults.push(fault(
                "source.text",
                &reason,
                &format!("Give at most {MAX_SOURCE_BYTES}; split a longer text"),
            ));
        } else if text.contains('\0') {
            faults.push(fault("source.text", "it contains a NUL character", "Send text, not a binary file"));
        }
    }
    let has_source =
        request.source.as_ref().is_some_and(|source| source.text.is_some() || source.url.is_some());
    if request.source.is_some() && !has_source {
        faults.push(fault("source", "it has no text", r#"Give "source": {"text": "…"}, or {"url": "…"}"#));
    } else if request.topic.is_none() && !has_source {
        faults.push(fault("body", "there is neither a topic nor a source", "Give `topic`, or `source.text`"));
    }
    if request.source.as_ref().is_some_and(|source| source.text.is_some() && source.url.is_some()) {
        faults.push(fault("source", "it has a text and an address", "Give one of them"));
    }
}

/// As far as an address can be judged by its text: what a name resolves to is judged when it is asked.
pub(super) fn addresses(request: &PodcastRequest, config: &Config, faults: &mut Vec<Fault>) {
    let source = request.source.as_ref().and_then(|source| source.url.as_ref());
    for (field, url) in [
        ("source.url", source),
        ("callback_url", request.callback_url.as_ref()),
        ("cover_url", request.cover_url.as_ref()),
    ] {
        if let Some(Err(bad)) = url.map(|url| Address::parse(url, &config.outbound)) {
            faults.push(fault(field, &bad.reason, bad.remedy));
        }
    }
}

pub(super) fn numbers(request: &PodcastRequest, faults: &mut Vec<Fault>) {
    if let Some(minutes) = request.target_minutes
        && !MINUTES.contains(&minutes)
    {
        let remedy = format!("Give {} to {} minutes", MINUTES.start(), MINUTES.end());
        faults.push(fault("target_minutes", &format!("it is {minutes}"), &remedy));
    }
    let mut at_most = |field: &str, count: usize, most: usize| {
        if count > most {
            faults.push(fault(field, &format!("there are {count}"), &format!("Give at most {most}")));
        }
    };
    at_most("chapters", request.chapters.len(), MAX_CHAPTERS);
    at_most("speakers", request.speakers.len(), MAX_SPEAKERS);
    at_most("metadata", request.metadata.len(), MAX_METADATA);
    for (i, speaker) in request.speakers.iter().take(MAX_SPEAKERS).enumerate() {
        if request.speakers[..i].iter().any(|earlier| earlier.name == speaker.name) {
            let reason = format!("two speakers are called {:?}", speaker.name);
            faults.push(fault(&format!("speakers[{i}].name"), &reason, "Give each its own name"));
        }
    }
}

pub(super) fn deadline(
    request: &PodcastRequest,
    now: Timestamp,
    since: Timestamp,
    faults: &mut Vec<Fault>,
) -> Timestamp {
    let wish = request.deadline_seconds.map_or(DEFAULT_DEADLINE, Duration::from_secs);
    let deadline = since.saturating_add(wish.min(MAX_DEADLINE)).unwrap_or(Timestamp::MAX);
    if wish.is_zero() {
        faults.push(fault(
            "deadline_seconds",
            "it is 0",
            "Give the seconds that the podcast may take, or leave it out",
        ));
    } else if wish > MAX_DEADLINE {
        let remedy = format!("Give at most {} (30 days)", MAX_DEADLINE.as_secs());
        faults.push(fault("deadline_seconds", &format!("it is {}", wish.as_secs()), &remedy));
    } else if deadline <= now {
        let reason = format!("the deadline was over at {deadline}, before the message was read");
        faults.push(fault("deadline_seconds", &reason, "Send it again with more time"));
    }
    deadline
}

/// The language asked for, or that of the text. Only its shape is judged here; engines say what they can do.
pub(super) fn language(request: &PodcastRequest, faults: &mut Vec<Fault>) -> String {
    let Some(tag) = &request.language else {
        let text = request.source.as_ref().and_then(|source| source.text.as_deref());
        if text.is_none() && request.source.as_ref().is_some_and(|source| source.url.is_some()) {
            let reason = "it is not known before the page at source.url is read";
            faults.push(fault("language", reason, "Give the language of the episode, such as ko or en"));
        }
        return detect_language(text.or(request.topic.as_deref()).unwrap_or_default()).to_owned();
    };
    let mut subtags = tag.split('-');
    let well_formed = subtags.next().is_some_and(|primary| {
        (2..=3).contains(&primary.len()) && primary.bytes().all(|b| b.is_ascii_alphabetic())
    }) && subtags
        .all(|tag| (1..=8).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric()));
    if !well_formed {
        faults.push(fault(
            "language",
            &format!("{tag:?} is not a language tag"),
            "Give BCP 47, such as ko, en or pt-BR",
        ));
    }
    tag.clone()
}

pub(super) fn writer(
    name: &str,
    engine: &Engine,
    request: &PodcastRequest,
    format: Format,
    faults: &mut Vec<Fault>,
) {
    let has_text =
        request.source.as_ref().is_some_and(|source| source.text.is_some() || source.url.is_some());
    if engine.needs_source
        && !has_text
        && request.topic.is_some()
        && !faults.iter().any(|f| f.field == "topic")
    {
        let reason =
            format!("the engine \"{name}\" writes from a source text; it cannot write from a topic alone");
        faults.push(fault(
            "topic",
            &reason,
            "Give `source.text`, or configure an `openai` engine for outline and script",
        ));
    }
    if !engine.formats.is_empty()
        && !engine.formats.contains(&format)
        && !faults.iter().any(|f| f.field == "format")
    {
        let can: Vec<&str> = engine.formats.iter().map(|format| format.as_str()).collect();
        let reason = format!("the engine \"{name}\" cannot honestly write a {}", format.as_str());
        faults.push(fault("format", &reason, &format!("Use one of: {}", can.join(", "))));
    }
}

pub(super) fn speech(
    engines: &ChosenEngines,
    [outline, script, tts]: [&Engine; 3],
    request: &PodcastRequest,
    language: &str,
    faults: &mut Vec<Fault>,
) {
    let chosen = [(&engines.outline, outline), (&engines.script, script), (&engines.tts, tts)];
    for (name, engine) in chosen {
        if !engine.speaks(language) && !faults.iter().any(|fault| fault.field == "language") {
            let reason = format!("the engine \"{name}\" cannot do \"{language}\"");
            let remedy = format!("Use one of: {}", engine.languages.join(", "));
            faults.push(fault("language", &reason, &remedy));
        }
    }
    for (i, speaker) in request.speakers.iter().take(MAX_SPEAKERS).enumerate() {
        if let Some(voice) = &speaker.voice
            && !tts.voices.is_empty()
            && !tts.voices.contains(voice)
        {
            let reason = format!("the engine \"{}\" has no voice {voice:?}", engines.tts);
            let remedy = format!("Use one of: {}", tts.voices.join(", "));
            faults.push(fault(&format!("speakers[{i}].voice"), &reason, &remedy));
        }
    }
}
