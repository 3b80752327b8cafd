//! The turns of a chapter as they come: each is checked and given on while the next is still being written.

use std::collections::{HashSet, VecDeque};

use common::work::{ScriptInput, ScriptPart, Turn};
use serde::Deserialize;

use super::answer::{Scanner, Visible};
use super::checks::{self, Tongue, tongue};
use super::script::pause;
use super::{Ended, Flow, Reader};
use crate::engine::Draft;
use crate::text::{Weight, pieces, speakable_units};

/// A segment of speech: long enough to sound like one, short enough to be said again cheaply.
const SEGMENT_CHARS: usize = 400;
/// One turn, before it is cut into segments.
const MAX_TURN_CHARS: usize = 8_000;
const MAX_TURNS: usize = 500;
const MAX_BYTES: usize = 512 * 1024;
/// A shorter turn may well be said twice.
const REPEATABLE_CHARS: usize = 30;
/// This many repetitions are no slip any more.
const MAX_REPETITIONS: u32 = 2;

/// A chapter's length in words, syllables or characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    pub(super) aim: u32,
    pub(super) low: u32,
    pub(super) high: u32,
    /// Up to here turns are given on at once; what follows waits until the end is known.
    sure: u32,
    /// Reading stops here.
    most: u32,
}

impl Budget {
    /// An episode keeps within 15 % of its length if every chapter keeps within 10 % and the pace is off by 5 %.
    pub(super) fn around(aim: u32) -> Budget {
        let part = |percent: u64| u32::try_from(u64::from(aim) * percent / 100).unwrap_or(u32::MAX);
        Budget { aim, low: part(90), high: part(110), sure: part(70), most: part(160).saturating_add(100) }
    }
}

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

/// A segment that is not given on yet.
struct Pending {
    turn: Turn,
    units: u32,
    /// The next segment is of the same turn.
    same_breath: bool,
}

/// Reads an answer turn by turn.
pub(super) struct Turns<'a> {
    input: &'a ScriptInput,
    draft: &'a Draft,
    budget: Option<Budget>,
    visible: Visible,
    scanner: Scanner,
    checked: usize,
    pending: VecDeque<Pending>,
    /// Units accepted, with those of earlier answers.
    total: u32,
    /// And of these, given on.
    given: u32,
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
        so_far: u32,
        written: &[(String, String)],
        draft: &'a Draft,
    ) -> Turns<'a> {
        Turns {
            input,
            draft,
            budget,
            visible: Visible::default(),
            scanner: Scanner::default(),
            checked: 0,
            pending: VecDeque::new(),
            total: so_far,
            given: so_far,
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
            self.give_sure();
        }
    }

    fn take(&mut self, object: &str) -> Result<(), String> {
        let number = self.accepted + 1;
        let said: Said = serde_json::from_str(object)
            .map_err(|error| format!("turn {number} does not fit the schema: {error}"))?;
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
        self.add(u8::try_from(speaker).unwrap_or(u8::MAX), &text);
        Ok(())
    }

    /// The language of all that was said, once there is enough of it.
    fn listen(&mut self, text: &str) -> Result<(), String> {
        if self.tongue == Tongue::Right && self.sample.len() > 4_000 {
            // As it began, but not forever: a model may change over in the middle.
            self.sample.clear();
        }
        self.sample.push(' ');
        self.sample.push_str(text);
        match tongue(&self.sample, &self.input.brief.language) {
            Tongue::Wrong(found) => {
                if self.tongue != Tongue::Right {
                    self.pending.clear();
                }
                Err(format!("it is in {found} and must be in {}", self.input.brief.language))
            }
            Tongue::Right => {
                self.tongue = Tongue::Right;
                Ok(())
            }
            Tongue::Unknown => Ok(()),
        }
    }

    fn add(&mut self, speaker: u8, text: &str) {
        let language = &self.input.brief.language;
        let segments = pieces(text, language, Weight::Characters, SEGMENT_CHARS);
        let last = segments.len().saturating_sub(1);
        for (place, text) in segments.into_iter().enumerate() {
            let units = speakable_units(&text, language);
            self.total = self.total.saturating_add(units);
            let turn = Turn { speaker, text, pause: Default::default() };
            self.pending.push_back(Pending { turn, units, same_breath: place < last });
        }
    }

    /// Gives on what will stay whatever follows: all but the last turn, while the chapter is far from its end.
    fn give_sure(&mut self) {
        while self.pending.len() > 1 && self.tongue == Tongue::Right {
            let front = self.pending.front().map_or(0, |pending| pending.units);
            if self.budget.is_some_and(|budget| self.given + front > budget.sure) {
                return;
            }
            self.give_one();
        }
    }

    fn give_one(&mut self) {
        let Some(Pending { mut turn, units, same_breath }) = self.pending.pop_front() else { return };
        let next = self.pending.front().map(|pending| &pending.turn);
        turn.pause = match next {
            Some(_) => pause(&turn, next, same_breath),
            // What follows comes with the next answer.
            None => Default::default(),
        };
        self.given += units;
        self.draft.give(turn);
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
        if self.budget.is_some_and(|budget| self.total > budget.most) {
            self.too_long = true;
        }
    }

    /// New turns of this answer.
    pub(super) fn accepted(&self) -> usize {
        self.accepted
    }

    pub(super) fn total(&self) -> u32 {
        self.total
    }

    /// Gives on everything that is whole, up to the length of the chapter. What is in a language nobody asked for is not here
    /// any more.
    pub(super) fn give_all(&mut self) {
        while self
            .pending
            .front()
            .is_some_and(|pending| self.budget.is_none_or(|budget| self.given + pending.units <= budget.high))
        {
            self.give_one();
        }
    }

    /// Everything but the last turn, unless it is all there is.
    pub(super) fn give_but_last(&mut self) {
        if self.accepted > 1 {
            self.pending.pop_back();
            while self.pending.back().is_some_and(|pending| pending.same_breath) {
                self.pending.pop_back();
            }
        }
        self.give_all();
    }

    /// Nothing of what waits is used.
    pub(super) fn forget(&mut self) {
        self.pending.clear();
    }

    /// Takes out what is over the length: before the last segment, which closes the chapter, as long as there is any.
    pub(super) fn trim(&mut self) {
        let Some(budget) = self.budget else { return };
        while self.total > budget.high && self.pending.len() > 1 {
            let place = self.pending.len() - 2;
            let units = self.pending.get(place).map_or(0, |pending| pending.units);
            if self.total - units < budget.low {
                break;
            }
            self.pending.remove(place);
            self.total -= units;
            if let Some(before) = place.checked_sub(1).and_then(|place| self.pending.get_mut(place)) {
                before.same_breath = false;
            }
        }
    }

    /// The turns that end the chapter.
    pub(super) fn rest(mut self) -> ScriptPart {
        let mut turns = Vec::new();
        while let Some(Pending { mut turn, same_breath, .. }) = self.pending.pop_front() {
            turn.pause = pause(&turn, self.pending.front().map(|pending| &pending.turn), same_breath);
            turns.push(turn);
        }
        ScriptPart { turns }
    }
}

/// Equal but for space and case.
fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
