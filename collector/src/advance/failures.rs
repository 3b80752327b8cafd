//! What becomes of an attempt that failed: another one, or the end.

use common::class::Class;
use common::policy::{self, Failed, Verdict};
use common::store::podcasts::{Failure, State as PodcastState};
use common::store::tasks::{Moved, State, Task};
use common::topology::Lane;
use common::wire::ErrorReport;
use common::work::Kind;
use jiff::Timestamp;

use super::{Dead, Step, to_i32};

impl Step<'_> {
    /// A failure counts only while its attempt is the current one and on its way.
    pub(super) fn failure(&mut self, task: &Task, class: Class, error: ErrorReport, jitter: f64) {
        if self.outcome.attempt != task.attempt || task.state != State::Dispatched {
            self.changes.stale += 1;
            return;
        }
        self.leave_lane(task);
        let running =
            self.rows.podcasts.get(&task.podcast_id).is_some_and(|p| p.state == PodcastState::Running);
        if running && task.kind == Kind::Mix && !error.missing_segments.is_empty() {
            self.speak_again(task, &error, jitter);
        } else if running && task.kind == Kind::Join && !error.missing_chapters.is_empty() {
            self.mix_again(task, &error, jitter);
        } else {
            self.retry_or_give_up(task, class, error, jitter);
        }
    }

    /// What the policy says while the podcast runs; out of the way when it has ended.
    fn retry_or_give_up(&mut self, task: &Task, class: Class, error: ErrorReport, jitter: f64) {
        let Some(podcast) = self.rows.podcasts.get(&task.podcast_id) else { return };
        let (state_of_podcast, deadline) = (podcast.state, podcast.deadline);
        // Its priority may have been changed since the task was sent.
        let lane = if task.lane == Lane::Alone { Lane::Alone } else { podcast.lane };
        // Parts count once they are accepted; what was lost on its way brought nothing further.
        let advanced = error.advanced && self.outcome.part == task.parts;
        let failed = Failed {
            class,
            retry_after: error.retry_after(),
            alone: task.lane == Lane::Alone,
            wrong_answer: error.wrong_answer,
            advanced,
        };
        let policy = (self.policy)(&task.engine);
        let verdict = policy::decide(&policy, failed, task.budgets, self.now, deadline, jitter);
        let mut moved = Moved {
            podcast_id: task.podcast_id,
            id: task.id,
            state: State::Scheduled,
            lane,
            budgets: task.budgets,
            run_at: None,
            class: Some(class),
            error: Some(error.message.clone()),
        };
        match (state_of_podcast, verdict) {
            (PodcastState::Running, Verdict::Retry { run_at, alone, budgets }) => {
                moved.run_at = Some(run_at);
                moved.budgets = budgets;
                if alone {
                    moved.lane = Lane::Alone;
                }
            }
            (PodcastState::Running, Verdict::Dead { budgets }) => {
                moved.state = State::Dead;
                moved.budgets = budgets;
                // Would there have been another attempt, had there been time? Then it is the deadline that ended the podcast.
                let in_time = policy::decide(&policy, failed, task.budgets, self.now, Timestamp::MAX, jitter);
                if matches!(in_time, Verdict::Retry { .. }) {
                    let message = format!(
                        "the deadline {deadline} passed before the podcast was finished; the last attempt: {}",
                        error.message
                    );
                    self.give_up(task, Class::Expired, &ErrorReport { message, ..error });
                } else {
                    self.give_up(task, class, &error);
                }
            }
            (PodcastState::Failed, _) => moved.state = State::Held,
            (PodcastState::Completed | PodcastState::Cancelled, _) => moved.state = State::Cancelled,
        }
        if let Some(task) = self.rows.tasks.get_mut(&task.id) {
            task.state = moved.state;
            task.budgets = moved.budgets;
        }
        self.changes.moved.push(moved);
    }

    fn give_up(&mut self, task: &Task, class: Class, error: &ErrorReport) {
        self.changes.dead.push(Dead { task: task.id, class, error: error.clone() });
        if let Some(podcast) = self.rows.podcasts.get_mut(&task.podcast_id) {
            podcast.state = PodcastState::Failed;
            podcast.failure = Some(Failure { class, stage: task.kind.to_string(), error: error.clone() });
            self.changes.touched_podcasts.insert(podcast.id);
            self.changes.ended.insert(podcast.id);
        }
    }

    fn withdraw(&mut self, task: &Task) {
        self.rows.tasks.remove(&task.id);
        self.changes.withdrawn.push((task.podcast_id, task.id));
    }

    /// The same for a join that cannot read the mix of a chapter.
    fn mix_again(&mut self, join: &Task, error: &ErrorReport, jitter: f64) {
        self.withdraw(join);
        let missing = |task: &&Task| {
            (task.podcast_id, task.generation) == (join.podcast_id, join.generation)
                && task.kind == Kind::Mix
                && task.state == State::Done
                && error.missing_chapters.contains(&task.chapter)
        };
        let mixes: Vec<Task> = self.rows.tasks.values().filter(missing).cloned().collect();
        if let Some(podcast) = self.rows.podcasts.get_mut(&join.podcast_id) {
            podcast.chapters_mixed -= to_i32(mixes.len());
            self.changes.touched_podcasts.insert(podcast.id);
        }
        for mix in mixes {
            if let Some(chapter) = self.chapter(&mix) {
                chapter.mix = None;
            }
            let error = ErrorReport {
                message: format!("the episode could not be joined: {}", error.message),
                chain: error.chain.clone(),
                ..ErrorReport::default()
            };
            self.retry_or_give_up(&mix, Class::Transient, error, jitter);
        }
    }

    /// A mix that cannot read a segment's audio is withdrawn, and the segment is spoken again; that costs the segment's budget,
    /// so that audio which never arrives (a blob store that is not shared, say) ends the podcast with this reason.
    fn speak_again(&mut self, mix: &Task, error: &ErrorReport, jitter: f64) {
        self.withdraw(mix);
        let missing = |task: &&Task| {
            let chapter = (task.podcast_id, task.generation, task.chapter);
            chapter == (mix.podcast_id, mix.generation, mix.chapter)
                && task.kind == Kind::Tts
                && task.state == State::Done
                && error.missing_segments.contains(&task.segment)
        };
        let speeches: Vec<Task> = self.rows.tasks.values().filter(missing).cloned().collect();
        let lost = to_i32(speeches.len());
        if let Some(podcast) = self.rows.podcasts.get_mut(&mix.podcast_id) {
            podcast.segments_done -= lost;
            self.changes.touched_podcasts.insert(podcast.id);
        }
        if let Some(chapter) = self.chapter(mix) {
            chapter.segments_done -= lost;
        }
        for speech in speeches {
            let error = ErrorReport {
                message: format!(
                    "the audio of segment {} could not be mixed: {}",
                    speech.segment, error.message
                ),
                chain: error.chain.clone(),
                ..ErrorReport::default()
            };
            self.retry_or_give_up(&speech, Class::Transient, error, jitter);
        }
    }
}
