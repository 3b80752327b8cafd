//! What outcomes change: a pure function from locked rows and outcomes to the rows and tasks that follow. No I/O here, and
//! no clock: the caller hands `now` and jitter in.

mod failures;

use std::collections::{BTreeMap, BTreeSet};

use common::class::Class;
use common::config::Policy;
use common::store::chapters::{Chapter, NewChapter, NewSegment};
use common::store::podcasts::{Podcast, State as PodcastState};
use common::store::tasks::{Finished, Moved, State, Task};
use common::topology::Lane;
use common::wire::{ErrorReport, Outcome};
use common::work::{
    Brief, Episode, Kind, MixResult, OutlineResult, ScriptInput, ScriptPart, SpeechInput, SpeechResult,
};
use jiff::Timestamp;
use serde_json::value::RawValue;
use uuid::Uuid;

/// The locked rows. [`apply`] changes podcasts and chapters in place.
#[derive(Debug, Default)]
pub struct Rows {
    pub podcasts: BTreeMap<Uuid, Podcast>,
    pub tasks: BTreeMap<Uuid, Task>,
    /// By podcast, generation and chapter.
    pub chapters: BTreeMap<(Uuid, i32, i32), Chapter>,
}

/// A task that has become possible.
#[derive(Debug)]
pub enum Next {
    Script {
        podcast: Uuid,
        chapter: i32,
        input: Box<ScriptInput>,
    },
    Speech {
        podcast: Uuid,
        chapter: i32,
        segment: i32,
        input: SpeechInput,
    },
    /// Its input is read from the rows of the chapter's segments.
    Mix {
        podcast: Uuid,
        chapter: i32,
    },
    /// Its input is read from the rows of the podcast's chapters.
    Join {
        podcast: Uuid,
    },
}

/// A task that was given up.
#[derive(Debug)]
pub struct Dead {
    pub task: Uuid,
    pub class: Class,
    pub error: ErrorReport,
}

/// What a transaction writes besides the changed podcasts and chapters.
#[derive(Debug, Default)]
pub struct Changes {
    /// Indexes of the outcomes that belong to a known task: each becomes a row of `attempts`.
    pub attempts: Vec<usize>,
    pub finished: Vec<Finished>,
    pub moved: Vec<Moved>,
    /// Script task, accepted parts, turns in them.
    pub parts: Vec<(Uuid, i32, i32)>,
    pub chapters: Vec<NewChapter>,
    pub segments: Vec<NewSegment>,
    pub next: Vec<Next>,
    pub dead: Vec<Dead>,
    /// Podcasts and tasks whose inputs are not whole any more: they are inserted anew when they are.
    pub withdrawn: Vec<(Uuid, Uuid)>,
    pub touched_podcasts: BTreeSet<Uuid>,
    pub touched_chapters: BTreeSet<(Uuid, i32, i32)>,
    /// Podcasts that ended with these outcomes.
    pub ended: BTreeSet<Uuid>,
    /// Podcasts whose first segment can be heard since these outcomes.
    pub audible: BTreeSet<Uuid>,
    /// Of each lane, how many tickets came back.
    pub settled: BTreeMap<(Kind, Lane), u32>,
    /// Outcomes that changed nothing: duplicates and latecomers.
    pub stale: u64,
}

/// Applies outcomes in order. `policy` is that of an engine, by name; `jitter` gives numbers in `[0, 1)`.
pub fn apply(
    rows: &mut Rows,
    outcomes: &[Outcome],
    policy: &dyn Fn(&str) -> Policy,
    now: Timestamp,
    mut jitter: impl FnMut() -> f64,
) -> Changes {
    let mut changes = Changes::default();
    for (index, outcome) in outcomes.iter().enumerate() {
        let mut step = Step { rows, changes: &mut changes, outcome, policy, now };
        step.take(index, &mut jitter);
    }
    changes
}

struct Step<'a> {
    rows: &'a mut Rows,
    changes: &'a mut Changes,
    outcome: &'a Outcome,
    policy: &'a dyn Fn(&str) -> Policy,
    now: Timestamp,
}

impl Step<'_> {
    fn take(&mut self, index: usize, jitter: &mut impl FnMut() -> f64) {
        let outcome = self.outcome;
        let Some(task) = self.rows.tasks.get(&outcome.task).cloned() else {
            self.changes.stale += 1;
            return;
        };
        // Nothing was attempted where nothing was asked.
        if outcome.class() != Class::Parked || outcome.units > 0 {
            self.changes.attempts.push(index);
        }
        let current = task.generation == outcome.generation && task.input_hash == outcome.input_hash;
        if !current || task.state == State::Done {
            self.changes.stale += 1;
            return;
        }
        if outcome.class == Class::Success {
            if let Err(error) = self.success(&task) {
                self.failure(&task, Class::Transient, error, jitter());
            }
        } else {
            let error = outcome.error.clone().unwrap_or_default();
            self.failure(&task, outcome.class(), error, jitter());
        }
    }

    /// An error here means that the answer cannot be used, which is a failure of the attempt.
    fn success(&mut self, task: &Task) -> Result<(), ErrorReport> {
        match task.kind {
            Kind::Outline => {
                let outline: OutlineResult = self.result()?;
                self.outlined(task, outline)?;
                self.finish(task, false);
            }
            Kind::Script => return self.written(task),
            Kind::Tts => {
                let _: SpeechResult = self.result()?;
                self.finish(task, true);
                self.spoken(task);
            }
            Kind::Mix => {
                let mix: MixResult = self.result()?;
                self.finish(task, false);
                self.mixed(task, mix);
            }
            Kind::Join => {
                let episode: Episode = self.result()?;
                // Of a generation that is not the last one, nothing else names the episode.
                self.finish(task, true);
                self.joined(task, episode);
            }
        }
        Ok(())
    }

    fn result<T: serde::de::DeserializeOwned>(&self) -> Result<T, ErrorReport> {
        let json = self.outcome.result.as_ref().map_or("null", |json| json.get());
        serde_json::from_str(json)
            .map_err(|error| report(format!("the worker's result cannot be read: {error}")))
    }

    /// Marks the task done; its result is kept where a later task is built from it.
    fn finish(&mut self, task: &Task, keep_result: bool) {
        // A failure of the same task earlier in this batch (it was interrupted, and finished all the same) must not be written
        // over its success: the task would run again and count twice.
        self.changes.moved.retain(|moved| moved.id != task.id);
        let result: Option<Box<RawValue>> = if keep_result { self.outcome.result.clone() } else { None };
        self.changes.finished.push(Finished { podcast_id: task.podcast_id, id: task.id, result });
        self.leave_lane(task);
        if let Some(task) = self.rows.tasks.get_mut(&task.id) {
            task.state = State::Done;
        }
        self.changes.touched_podcasts.insert(task.podcast_id);
        if let Some(podcast) = self.rows.podcasts.get_mut(&task.podcast_id) {
            podcast.saved = podcast.saved.and(self.outcome.saved);
        }
    }

    fn leave_lane(&mut self, task: &Task) {
        if task.state == State::Dispatched {
            *self.changes.settled.entry((task.kind, task.lane)).or_default() += 1;
        }
    }

    fn outlined(&mut self, task: &Task, outline: OutlineResult) -> Result<(), ErrorReport> {
        if outline.chapters.is_empty() {
            return Err(report("the outline has no chapters".into()));
        }
        let Some(podcast) = self.rows.podcasts.get_mut(&task.podcast_id) else { return Ok(()) };
        podcast.title = Some(outline.title.clone());
        podcast.chapters_total = to_i32(outline.chapters.len());
        let brief = Brief { title: Some(outline.title), ..podcast.brief.clone() };
        let titles: Vec<String> = outline.chapters.iter().map(|plan| plan.title.clone()).collect();
        for (index, plan) in outline.chapters.into_iter().enumerate() {
            let chapter = to_i32(index);
            self.changes.chapters.push(NewChapter {
                podcast_id: podcast.id,
                generation: task.generation,
                chapter,
                tenant: podcast.tenant.clone(),
                principal: podcast.principal.clone(),
                title: plan.title.clone(),
            });
            let input = ScriptInput {
                brief: brief.clone(),
                chapter: u16::try_from(index).unwrap_or(u16::MAX),
                chapters: u16::try_from(titles.len()).unwrap_or(u16::MAX),
                plan,
                previous_title: index.checked_sub(1).and_then(|i| titles.get(i)).cloned(),
                next_title: titles.get(index + 1).cloned(),
            };
            self.changes.next.push(Next::Script { podcast: podcast.id, chapter, input: Box::new(input) });
        }
        Ok(())
    }

    /// Parts are accepted only from the current attempt and at the next index; an accepted turn is never withdrawn.
    fn written(&mut self, task: &Task) -> Result<(), ErrorReport> {
        let outcome = self.outcome;
        if outcome.attempt != task.attempt || outcome.part < task.parts {
            self.changes.stale += 1;
            return Ok(());
        }
        if outcome.part > task.parts {
            if outcome.last {
                return Err(report(format!("part {} of the script was lost on its way", task.parts)));
            }
            self.changes.stale += 1;
            return Ok(());
        }
        let part: ScriptPart = self.result()?;
        let turns = to_i32(part.turns.len());
        if outcome.last && task.turns + turns == 0 {
            return Err(report("the script has no turns".into()));
        }
        self.add_turns(task, part)?;
        if let Some(task) = self.rows.tasks.get_mut(&task.id) {
            task.parts += 1;
            task.turns += turns;
        }
        self.changes.parts.push((task.id, task.parts + 1, task.turns + turns));
        self.changes.touched_podcasts.insert(task.podcast_id);
        if outcome.last {
            self.finish(task, false);
            if let Some(podcast) = self.rows.podcasts.get_mut(&task.podcast_id) {
                podcast.chapters_written += 1;
            }
            if let Some(chapter) = self.chapter(task) {
                chapter.written = true;
            }
            self.mix_when_full(task);
        }
        Ok(())
    }

    fn add_turns(&mut self, task: &Task, part: ScriptPart) -> Result<(), ErrorReport> {
        let Some(podcast) = self.rows.podcasts.get(&task.podcast_id).cloned() else { return Ok(()) };
        let count = to_i32(part.turns.len());
        if let Some(turn) =
            part.turns.iter().find(|turn| usize::from(turn.speaker) >= podcast.brief.speakers.len())
        {
            return Err(report(format!("a turn names speaker {}, who does not exist", turn.speaker)));
        }
        for (segment, turn) in (task.turns..).zip(part.turns) {
            let speaker = &podcast.brief.speakers[usize::from(turn.speaker)];
            self.changes.segments.push(NewSegment {
                podcast_id: podcast.id,
                generation: task.generation,
                chapter: task.chapter,
                segment,
                tenant: podcast.tenant.clone(),
                principal: podcast.principal.clone(),
                speaker: speaker.name.clone(),
                text: turn.text.clone(),
                pause: turn.pause,
                place: turn.place,
            });
            let input = SpeechInput {
                text: turn.text,
                voice: speaker.voice.clone(),
                language: podcast.brief.language.clone(),
                take: 0,
            };
            self.changes.next.push(Next::Speech {
                podcast: podcast.id,
                chapter: task.chapter,
                segment,
                input,
            });
        }
        if let Some(podcast) = self.rows.podcasts.get_mut(&task.podcast_id) {
            podcast.segments_total += count;
        }
        if let Some(chapter) = self.chapter(task) {
            chapter.segments_total += count;
        }
        Ok(())
    }

    fn spoken(&mut self, task: &Task) {
        if let Some(podcast) = self.rows.podcasts.get_mut(&task.podcast_id) {
            podcast.segments_done += 1;
            if (task.chapter, task.segment) == (0, 0) && podcast.first_audio_at.is_none() {
                podcast.first_audio_at = Some(self.now);
                self.changes.audible.insert(podcast.id);
            }
        }
        if let Some(chapter) = self.chapter(task) {
            chapter.segments_done += 1;
        }
        self.mix_when_full(task);
    }

    /// The fan-in of a chapter, under its podcast's lock: whoever makes it full unlocks the mix, and nobody else can.
    fn mix_when_full(&mut self, task: &Task) {
        let full = self
            .chapter(task)
            .is_some_and(|chapter| chapter.written && chapter.segments_done == chapter.segments_total);
        let Some(podcast) = self.rows.podcasts.get(&task.podcast_id) else { return };
        if !full {
            return;
        }
        if podcast.engines.mixes_chapters() {
            self.changes.next.push(Next::Mix { podcast: task.podcast_id, chapter: task.chapter });
        } else {
            let nothing = MixResult {
                audio: String::new(),
                cues: String::new(),
                frames: 0,
                duration_ms: 0,
                segments: 0,
                loudness: Vec::new(),
                true_peak_dbtp: None,
            };
            self.mixed(task, nothing);
        }
    }

    fn mixed(&mut self, task: &Task, mix: MixResult) {
        if let Some(chapter) = self.chapter(task) {
            chapter.mix = Some(mix);
        }
        if let Some(podcast) = self.rows.podcasts.get_mut(&task.podcast_id) {
            podcast.chapters_mixed += 1;
            if podcast.chapters_mixed == podcast.chapters_total {
                self.changes.next.push(Next::Join { podcast: podcast.id });
            }
        }
    }

    /// Completing and cancelling are mirrored: a podcast that is not running any more stays what it is.
    fn joined(&mut self, task: &Task, episode: Episode) {
        if let Some(podcast) = self.rows.podcasts.get_mut(&task.podcast_id)
            && podcast.state == PodcastState::Running
        {
            podcast.episode = Some(episode);
            podcast.state = PodcastState::Completed;
            self.changes.ended.insert(podcast.id);
        }
    }

    /// The chapter that a task belongs to, marked as changed.
    fn chapter(&mut self, task: &Task) -> Option<&mut Chapter> {
        let key = (task.podcast_id, task.generation, task.chapter);
        let chapter = self.rows.chapters.get_mut(&key)?;
        self.changes.touched_chapters.insert(key);
        Some(chapter)
    }
}

fn report(message: String) -> ErrorReport {
    ErrorReport { message, ..ErrorReport::default() }
}

/// Counts of chapters and turns are bounded far below this at acceptance and by the size of a message.
fn to_i32(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
