//! One chapter from a language model: asked again until it is whole, about as long as it should be, and fit to be said.

use common::work::{ScriptInput, ScriptPart, Turn};

use super::prompt::{self, Prompt};
use super::queue::Budget;
use super::turns::{Turns, Verdict};
use super::{MAX_ASKS, OpenAiChat, wrong};
use crate::engine::Call;
use crate::engine::pace::planned;
use crate::failure::Failure;
use crate::text::speakable_units;

/// Answers to one chapter, good and bad together.
const MAX_ANSWERS: u32 = 12;
/// The least that is asked for, in words or syllables.
const LEAST: f64 = 20.0;

/// What a chapter has been through.
#[derive(Debug, Default)]
struct Course {
    answers: u32,
    wrong: u32,
    /// It was asked once to be shorter, or to go on, with the figure.
    shortened: bool,
    lengthened: u32,
    /// It was cut off when it was long enough already, and asked for an end.
    closing: bool,
    note: Option<String>,
}

pub(super) async fn write(
    engine: &OpenAiChat,
    input: &ScriptInput,
    source: Option<&str>,
    call: &Call,
) -> Result<ScriptPart, Failure> {
    if input.brief.speakers.is_empty() {
        return Err(Failure::permanent_input("the podcast has no speakers"));
    }
    let mut course = Course::default();
    loop {
        let budget = budget(input, call).await;
        let written = written(input, call);
        let so_far: f64 = written.iter().map(|(_, text)| speakable_units(text, &input.brief.language)).sum();
        if course.answers == 0 && budget.is_some_and(|budget| so_far >= budget.low) {
            // An earlier attempt broke off just before its end.
            return Ok(ScriptPart::default());
        }
        let words = engine.words.a_unit(&input.brief.language, &written, so_far);
        let remaining = budget.map(|budget| ((budget.aim - so_far).max(LEAST) * words).round() as u32);
        let prompt = Prompt {
            system: prompt::system(&input.brief),
            user: format!(
                "{}{}",
                prompt::source(source),
                prompt::chapter(input, remaining, &written, course.note.as_deref())
            ),
            name: "script",
            schema: prompt::script_schema(&input.brief),
        };
        let mut turns = Turns::new(input, budget, so_far, &written, &call.draft);
        let ended = engine.converse(&prompt, call, course.answers, &mut turns).await;
        course.answers += 1;
        let verdict = match ended {
            Ok(ended) => turns.verdict(ended),
            Err(failure) => {
                // What is finished stays: the next attempt goes on after it.
                turns.queue.give_all();
                return Err(failure);
            }
        };
        // What was given on has perhaps been spoken by now.
        let budget = self::budget(input, call).await;
        turns.queue.replan(budget);
        if let Some(last) = course.judge(engine, verdict, turns, budget)? {
            return Ok(last);
        }
    }
}

impl Course {
    /// The last turns, if the chapter is done; nothing, if it is asked again.
    fn judge(
        &mut self,
        engine: &OpenAiChat,
        verdict: Verdict,
        mut turns: Turns<'_>,
        budget: Option<Budget>,
    ) -> Result<Option<ScriptPart>, Failure> {
        let exhausted = self.answers >= MAX_ANSWERS;
        match verdict {
            Verdict::Wrong(reason) => {
                self.wrong += 1;
                turns.queue.give_all();
                if self.wrong >= MAX_ASKS || exhausted {
                    return Err(wrong(&engine.name, &reason));
                }
                self.note = Some(reason);
            }
            Verdict::CutOff => {
                let long_enough = budget.is_some_and(|budget| turns.queue.total() >= budget.low);
                if long_enough && (self.closing || exhausted) {
                    turns.queue.trim();
                    return Ok(Some(turns.queue.rest()));
                }
                self.closing = long_enough;
                let new = turns.accepted();
                turns.queue.give_all();
                if new == 0 || exhausted {
                    self.wrong += 1;
                }
                if self.wrong >= MAX_ASKS || exhausted {
                    return Err(wrong(&engine.name, "it was cut off before its end"));
                }
                self.note = Some("it was cut off before its end".to_owned());
            }
            Verdict::Whole => {
                let Some(budget) = budget else { return Ok(Some(turns.queue.rest())) };
                let total = turns.queue.total();
                let most = MAX_ASKS + (budget.aim / 400.0) as u32;
                if total < budget.low && self.lengthened < most && !exhausted {
                    self.lengthened += 1;
                    // Its last turn may have said goodbye: that is written again, at the end.
                    if turns.accepted() > 1 {
                        turns.queue.give_but_last();
                    } else {
                        turns.queue.give_all();
                    }
                    self.note =
                        Some(format!("the chapter had {total:.0} of {:.0} when it ended", budget.aim));
                } else if total > budget.high && !self.shortened && !exhausted {
                    self.shortened = true;
                    turns.queue.forget();
                    self.note = Some(format!(
                        "the chapter had {total:.0} instead of {:.0}; end it sooner",
                        budget.aim
                    ));
                } else {
                    turns.queue.trim();
                    let total = turns.queue.total();
                    if total < budget.low {
                        tracing::warn!(
                            engine = engine.name,
                            total,
                            aim = budget.aim,
                            "a chapter stays shorter than it should be"
                        );
                    }
                    return Ok(Some(turns.queue.rest()));
                }
            }
        }
        Ok(None)
    }
}

/// The chapter's length by the pace of its voices as it is known by now. Plans are made with the settings.
async fn budget(input: &ScriptInput, call: &Call) -> Option<Budget> {
    if input.plan.budget == 0 {
        return None;
    }
    let factor = call.pace.factor(planned(&input.brief)).await;
    Some(Budget::around(f64::from(input.plan.budget) * factor.unwrap_or(1.0), factor.is_some()))
}

/// Speakers and texts of all that is accepted, by earlier attempts and by this one.
fn written(input: &ScriptInput, call: &Call) -> Vec<(String, String)> {
    let name = |turn: &Turn| {
        let speaker = input.brief.speakers.get(usize::from(turn.speaker));
        speaker.map(|speaker| speaker.name.clone()).unwrap_or_default()
    };
    let earlier = call.draft.written().iter().map(|said| (said.speaker.clone(), said.text.clone()));
    let given = call.draft.given();
    earlier.chain(given.iter().map(|turn| (name(turn), turn.text.clone()))).collect()
}
