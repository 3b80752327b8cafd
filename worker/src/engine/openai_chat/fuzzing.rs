//! What a language model answers, read without a server, for the crate `fuzz`.

use common::work::{OutlineInput, OutlineResult, ScriptInput, Turn};
use serde_json::Value;

use super::answer;
use super::events::{Decoder, Event};
use super::material::Material;
use super::outline::{self, Whole};
use super::queue::Budget;
use super::turns::Turns;
use super::{Ended, Flow, Reader};
use crate::engine::Draft;
use crate::failure::Failure;

/// What a stream said.
#[derive(Debug, PartialEq)]
pub struct Heard {
    /// Pieces of the answer, as they came.
    pub content: Vec<String>,
    /// An error that the server sent instead of going on.
    pub errors: Vec<Value>,
    /// How many other events there were.
    pub others: usize,
}

/// Reads a stream that arrives in pieces of `step` bytes.
pub fn heard(stream: &[u8], step: usize) -> Result<Heard, Failure> {
    let mut decoder = Decoder::default();
    let mut heard = Heard { content: Vec::new(), errors: Vec::new(), others: 0 };
    let mut take = |events: Vec<Event>| {
        for event in events {
            match event {
                Event::Content(text) => heard.content.push(text),
                Event::Error(error) => heard.errors.push(error),
                Event::Finish(_) | Event::Usage(_) | Event::Done => heard.others += 1,
            }
        }
    };
    for piece in stream.chunks(step) {
        take(decoder.push(piece)?);
    }
    take(decoder.finish()?);
    Ok(heard)
}

/// The turns of a chapter in an answer, and what it came to in words.
pub fn turns<S: AsRef<str>>(input: &ScriptInput, answer: &[S]) -> (Vec<Turn>, String) {
    let draft = Draft::default();
    let budget = (input.plan.budget > 0).then(|| Budget::around(f64::from(input.plan.budget), false));
    let mut turns = Turns::new(input, budget, 0.0, &[], &draft);
    let stopped = answer.iter().any(|piece| turns.push(piece.as_ref()) != Flow::Go);
    let verdict = turns.verdict(if stopped { Ended::Cut } else { Ended::Stop });
    turns.queue.trim();
    let rest = turns.queue.rest();
    (draft.given().into_iter().chain(rest.turns).collect(), format!("{verdict:?}"))
}

/// The plan of `count` chapters in an answer.
pub fn plan<S: AsRef<str>>(
    input: &OutlineInput,
    answer: &[S],
    count: usize,
) -> Result<OutlineResult, String> {
    let mut reader = Whole::default();
    let stopped = answer.iter().any(|piece| reader.push(piece.as_ref()) != Flow::Go);
    let ended = if stopped { Ended::Cut } else { Ended::Stop };
    let plan = outline::read(&reader, ended, &input.brief, &input.chapters, count)?;
    Ok(outline::outlined(plan, input, 10, Material::None))
}

/// Every JSON value in a text.
pub fn values(text: &str) -> Vec<Value> {
    answer::values(text)
}

/// The objects in lists that a growing text holds, as they become whole.
pub fn objects<S: AsRef<str>>(pieces: &[S]) -> Vec<String> {
    let mut scanner = answer::Scanner::default();
    let mut text = String::new();
    let mut found = Vec::new();
    for piece in pieces {
        text.push_str(piece.as_ref());
        found.extend(scanner.objects(&text).into_iter().filter_map(|at| text.get(at).map(str::to_owned)));
    }
    found
}
