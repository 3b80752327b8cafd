//! The turns of a chapter as they come: each is checked and given on while the next is still being written.

use std::collections::HashSet;

use common::work::ScriptInput;
use serde::Deserialize;

use super::answer::{Scanner, Visible};
use super::checks::{self, Tongue, tongue};
use super::queue::{Budget, Queue};
use super::{Ended, Flow, Reader};
use crate::engine::Draft;
use crate::engine::openai_http::answer::bounded;

/// One turn, before it is cut into segments.
const MAX_TURN_CHARS: usize = 8_000;
const MAX_TURNS: usize = 500;
const MAX_BYTES: usize = 512 * 1024;
/// Text by which the language is told.
const MAX_SAMPLE: usize = 8_000;
/// A shorter turn may well be said twice.
const REPEATABLE_CHARS: usize = 30;
/// This many repetitions are no slip any more.
const MAX_REPETITIONS: u32 = 2;

/// What an answer came to.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Whole,
    /// It ended in the middle; what is whole of it is good.
    CutOff,
    /// In words that the model can act on. Turns before the fault are good.
    Wrong(String),
}

#[derive(Deserialize)]
struct Said {
    speaker: String,
    text: String,
}

/// Reads an answer turn by turn.
pub(super) struct Turns<'a> {
    input: &'a ScriptInput,
    pub(super) queue: Queue<'a>,
    visible: Visible,
    scanner: Scanner,
    checked: usize,
    accepted: usize,
    heard: HashSet<String>,
    repetitions: u32,
    sample: String,
    tongue: Tongue,
    fault: Option<String>,
    /// Enough came to see that it is far too long: an end is asked for.
    too_long: bool,
}

impl Reader for Turns<'_> {
    fn push(&mut self, text: &str) -> Flow {
        self.visible.push(text);
        let so_far = self.visible.json_so_far();
        let found: Vec<String> = self
            .scanner
            .objects(so_far)
            .into_iter()
            .filter_map(|range| so_far.get(range).map(str::to_owned))
            .collect();
        self.take_all(&found);
        self.watch();
        if self.fault.is_some() || self.too_long {
            Flow::Stop
        } else if self.scanner.complete && self.accepted > 0 {
            Flow::Whole
        } else {
            Flow::Go
        }
    }
}

impl<'a> Turns<'a> {
    pub(super) fn new(
        input: &'a ScriptInput,
        budget: Option<Budget>,
        so_far: f64,
        written: &[(String, String)],
        draft: &'a Draft,
    ) -> Turns<'a> {
        Turns {
            input,
            queue: Queue::new(&input.brief.language, budget, so_far, draft),
            visible: Visible::default(),
            scanner: Scanner::default(),
            checked: 0,
            accepted: 0,
            heard: written.iter().map(|(_, text)| folded(text)).collect(),
            repetitions: 0,
            sample: String::new(),
            tongue: Tongue::Unknown,
            fault: None,
            too_long: false,
        }
    }

    /// What the whole answer is. To be asked once, at its end.
    pub(super) fn verdict(&mut self, ended: Ended) -> Verdict {
        if self.fault.is_none() && self.accepted == 0 {
            self.read_settled();
        }
        if self.tongue == Tongue::Unknown && self.accepted > 0 && self.fault.is_none() {
            self.tongue = Tongue::Right;
        }
        if let Some(fault) = self.fault.take() {
            return Verdict::Wrong(fault);
        }
        if (self.scanner.complete || self.too_long) && self.accepted > 0 {
            return Verdict::Whole;
        }
        if self.accepted > 0 || ended == Ended::Length {
            return Verdict::CutOff;
        }
        let (text, _) = self.visible.settled();
        Verdict::Wrong(if text.trim().is_empty() {
            "it was empty".to_owned()
        } else if self.scanner.complete {
            "its JSON has no list of turns".to_owned()
        } else {
            "there was no JSON object in it".to_owned()
        })
    }

    /// Prose came first, or thinking that was never closed: now that all is there, it can be told from the answer.
    fn read_settled(&mut self) {
        let (text, unclosed) = self.visible.settled();
        let mut text = text.to_owned();
        if unclosed {
            // The last thing it came to while it was thinking.
            let start =
                ["{\"turns\"", "{ \"turns\"", "[{"].iter().filter_map(|start| text.rfind(start)).min();
            text.drain(..start.unwrap_or(0));
        }
        self.scanner = Scanner::default();
        let found: Vec<String> = self
            .scanner
            .objects(&text)
            .into_iter()
            .filter_map(|range| text.get(range).map(str::to_owned))
            .collect();
        self.take_all(&found);
    }

    fn take_all(&mut self, found: &[String]) {
        for object in found {
            if self.fault.is_some() {
                return;
            }
            if let Err(fault) = self.take(object) {
                self.fault = Some(fault);
            }
            if self.tongue == Tongue::Right {
                self.queue.give_sure();
            }
        }
    }

    fn take(&mut self, object: &str) -> Result<(), String> {
        let number = self.accepted + 1;
        let said: Said = serde_json::from_str(object).map_err(|error| {
            format!("turn {number} does not fit the schema: {}", bounded(&error.to_string()))
        })?;
        let speakers = &self.input.brief.speakers;
        let asked = folded(&said.speaker);
        let speaker =
            speakers.iter().position(|speaker| folded(&speaker.name) == asked).ok_or_else(|| {
                let known: Vec<&str> = speakers.iter().map(|speaker| speaker.name.as_str()).collect();
                let name: String = said.speaker.chars().take(40).collect();
                format!("turn {number} is of \"{name}\", who is not one of {}", known.join(", "))
            })?;
        let names = speakers.iter().map(|speaker| speaker.name.as_str());
        let text = checks::spoken(&said.text, names).map_err(|fault| format!("turn {number}: {fault}"))?;
        if text.chars().count() > MAX_TURN_CHARS || self.accepted >= MAX_TURNS {
            return Err("it went on without end".to_owned());
        }
        if text.chars().count() >= REPEATABLE_CHARS && !self.heard.insert(folded(&text)) {
            self.repetitions += 1;
            // Said once is enough.
            return if self.repetitions > MAX_REPETITIONS {
                Err("it repeated its turns".to_owned())
            } else {
                Ok(())
            };
        }
        self.listen(&text)?;
        self.accepted += 1;
        self.queue.add(u8::try_from(speaker).unwrap_or(u8::MAX), &text);
        Ok(())
    }

    /// The language of this turn, if it is long enough to tell, and of all that was said.
    fn listen(&mut self, text: &str) -> Result<(), String> {
        let language = &self.input.brief.language;
        if self.sample.len() < MAX_SAMPLE {
            self.sample.push(' ');
            self.sample.push_str(text);
        }
        match (tongue(text, language), tongue(&self.sample, language)) {
            (Tongue::Wrong(found), _) | (_, Tongue::Wrong(found)) => {
                if self.tongue != Tongue::Right {
                    self.queue.forget();
                }
                Err(format!("it is in {found} and must be in {language}"))
            }
            (Tongue::Right, _) | (_, Tongue::Right) => {
                self.tongue = Tongue::Right;
                Ok(())
            }
            (Tongue::Unknown, Tongue::Unknown) => Ok(()),
        }
    }

    /// Stops what would never end.
    fn watch(&mut self) {
        if self.fault.is_some() {
            return;
        }
        let bytes = self.visible.bytes();
        if bytes > MAX_BYTES {
            self.fault = Some("it went on without end".to_owned());
        } else if bytes > self.checked + 1_024 {
            self.checked = bytes;
            if self.visible.loops() {
                self.fault = Some("it repeated itself without end".to_owned());
            }
        }
        self.too_long = self.queue.is_far_too_long();
    }

    /// New turns of this answer.
    pub(super) fn accepted(&self) -> usize {
        self.accepted
    }
}

/// Equal but for space and case.
fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
