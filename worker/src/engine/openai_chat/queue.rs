//! Segments of a chapter between the model that writes them and the draft that has them for good.

use std::collections::VecDeque;

use common::work::{Pause, Place, ScriptPart, Turn};

use crate::engine::Draft;
use crate::text::{Weight, pieces, speakable_units};

/// A segment of speech: long enough to sound like one, short enough to be said again cheaply.
const SEGMENT_CHARS: usize = 400;

/// A chapter's length in words, syllables or characters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Budget {
    pub(super) aim: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// Up to here turns are given on at once; what follows waits until the end is known.
    sure: f64,
    /// Reading stops here.
    pub(super) most: f64,
}

impl Budget {
    /// An episode keeps within 15 % of its length if every chapter keeps within 10 % and the pace is off by 5 %. Chapters are
    /// ended as soon as they are long enough, all of them, so that they must come nearer from below than from above. While
    /// the voices' pace is only a guess, less is sure.
    pub(super) fn around(aim: f64, measured: bool) -> Budget {
        let sure = aim * if measured { 0.7 } else { 0.5 };
        Budget { aim, low: aim * 0.94, high: aim * 1.1, sure, most: aim * 1.6 + 100.0 }
    }
}

/// A segment that is not given on yet.
struct Pending {
    turn: Turn,
    units: f64,
    /// The next segment is of the same turn.
    same_breath: bool,
}

/// Holds back what may still change: the last turn, and what comes near the end of the chapter. The first turn does not wait for
/// the next one, for somebody waits to hear it.
pub(super) struct Queue<'a> {
    language: &'a str,
    draft: &'a Draft,
    budget: Option<Budget>,
    pending: VecDeque<Pending>,
    /// Units accepted, with those of earlier answers.
    total: f64,
    /// And of these, given on.
    given: f64,
}

impl<'a> Queue<'a> {
    pub(super) fn new(language: &'a str, budget: Option<Budget>, so_far: f64, draft: &'a Draft) -> Queue<'a> {
        Queue { language, draft, budget, pending: VecDeque::new(), total: so_far, given: so_far }
    }

    /// What speech lasted meanwhile may have changed the length of the rest.
    pub(super) fn replan(&mut self, budget: Option<Budget>) {
        self.budget = budget;
    }

    pub(super) fn total(&self) -> f64 {
        self.total
    }

    pub(super) fn is_far_too_long(&self) -> bool {
        self.budget.is_some_and(|budget| self.total > budget.most)
    }

    /// A turn that was accepted.
    pub(super) fn add(&mut self, speaker: u8, text: &str) {
        let segments = pieces(text, self.language, Weight::Characters, SEGMENT_CHARS);
        let last = segments.len().saturating_sub(1);
        for (place, text) in segments.into_iter().enumerate() {
            let units = speakable_units(&text, self.language);
            self.total += units;
            let turn = Turn { speaker, text, pause: Pause::default(), place: Place::Body };
            self.pending.push_back(Pending { turn, units, same_breath: place < last });
        }
    }

    /// Gives on what will stay whatever follows: all but the last turn, unless it is the first, while the chapter is far from its
    /// end.
    pub(super) fn give_sure(&mut self) {
        while self.pending.len() > 1 || (self.given == 0.0 && !self.pending.is_empty()) {
            let front = self.pending.front().map_or(0.0, |pending| pending.units);
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
            // What follows comes later.
            None => Default::default(),
        };
        self.given += units;
        self.draft.give(turn);
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

    /// Everything but the last turn.
    pub(super) fn give_but_last(&mut self) {
        self.pending.pop_back();
        while self.pending.back().is_some_and(|pending| pending.same_breath) {
            self.pending.pop_back();
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
            let units = self.pending.get(place).map_or(0.0, |pending| pending.units);
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

/// What follows a turn, from the next one.
fn pause(turn: &Turn, next: Option<&Turn>, same_breath: bool) -> Pause {
    match next {
        None => Pause::Chapter,
        Some(next) if next.speaker != turn.speaker => Pause::Turn,
        Some(_) if same_breath => Pause::Sentence,
        Some(_) => Pause::Paragraph,
    }
}
