//! What a replay makes of a failed podcast's rows: a pure function. Finished work stays; what is not finished becomes `ready`;
//! counters are counted anew; fan-ins that are full already and have no task get one.

use uuid::Uuid;

use crate::class::Class;
use crate::store::tasks::State;
use crate::topology::Lane;
use crate::work::Kind;

/// A task of the podcast's current generation.
#[derive(Clone, Debug)]
pub struct TaskRow {
    pub id: Uuid,
    pub kind: Kind,
    pub chapter: i32,
    pub state: State,
    pub lane: Lane,
    pub interruptions: i16,
    pub last_class: Option<String>,
}

/// A chapter as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChapterRow {
    pub chapter: i32,
    pub written: bool,
    pub segments_total: i32,
    pub segments_done: i32,
    pub mixed: bool,
}

/// What decides besides the rows.
#[derive(Clone, Copy, Debug)]
pub struct About {
    pub lane: Lane,
    pub mixes_chapters: bool,
    pub has_episode: bool,
    /// The deadline was over: tickets on their way bear the old one, and would be answered as expired.
    pub deadline_extended: bool,
}

/// A task that becomes `ready`. Its budgets are fresh; its attempts count on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revived {
    pub id: Uuid,
    pub lane: Lane,
    pub interruptions: i16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revival {
    pub tasks: Vec<Revived>,
    /// With counters that agree with the tasks.
    pub chapters: Vec<ChapterRow>,
    /// Chapters that are full and have no mix task.
    pub mixes: Vec<i32>,
    /// All chapters are mixed and there is no join task.
    pub join: bool,
    pub chapters_written: i32,
    pub chapters_mixed: i32,
    pub segments_total: i32,
    pub segments_done: i32,
}

pub fn revive(about: About, tasks: &[TaskRow], chapters: &[ChapterRow]) -> Revival {
    let mut revival = Revival {
        chapters: chapters.iter().map(|chapter| counted(*chapter, tasks)).collect(),
        ..Revival::default()
    };
    for chapter in &revival.chapters {
        revival.chapters_written += i32::from(chapter.written);
        revival.chapters_mixed += i32::from(chapter.mixed);
        revival.segments_total += chapter.segments_total;
        revival.segments_done += chapter.segments_done;
    }
    let all_mixed = !chapters.is_empty() && revival.chapters.iter().all(|chapter| chapter.mixed);
    let is_full = |chapter: &ChapterRow| chapter.written && chapter.segments_done == chapter.segments_total;
    let mut lost_mixes = Vec::new();
    for chapter in revival.chapters.iter().filter(|chapter| is_full(chapter) && !chapter.mixed) {
        match tasks.iter().find(|task| task.kind == Kind::Mix && task.chapter == chapter.chapter) {
            None if about.mixes_chapters => revival.mixes.push(chapter.chapter),
            Some(mix) if mix.state == State::Done => lost_mixes.push(mix.id),
            _ => {}
        }
    }
    let join = tasks.iter().find(|task| task.kind == Kind::Join);
    revival.join = all_mixed && join.is_none() && about.mixes_chapters;
    revival.tasks = tasks
        .iter()
        .filter(|task| match task.state {
            State::Dead | State::Held => true,
            State::Dispatched => about.deadline_extended,
            // A join that came back after its podcast had failed gave no episode; a mix whose result is gone gave none.
            State::Done => task.kind == Kind::Join && !about.has_episode || lost_mixes.contains(&task.id),
            State::Ready | State::Scheduled | State::Cancelled => false,
        })
        .map(|task| revived(about, task))
        .collect();
    revival
}

/// Back to the lane of its podcast, unless it is suspected of killing its worker: then it runs alone again.
fn revived(about: About, task: &TaskRow) -> Revived {
    let killed_alone =
        task.lane == Lane::Alone && task.last_class.as_deref() == Some(Class::Interrupted.as_str());
    let suspected = task.lane == Lane::Alone && task.state != State::Dead;
    Revived {
        id: task.id,
        lane: if killed_alone || suspected { Lane::Alone } else { about.lane },
        interruptions: if task.state == State::Dead { 0 } else { task.interruptions },
    }
}

fn counted(chapter: ChapterRow, tasks: &[TaskRow]) -> ChapterRow {
    let of = |kind| tasks.iter().filter(move |task| task.kind == kind && task.chapter == chapter.chapter);
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    ChapterRow {
        written: of(Kind::Script).any(|task| task.state == State::Done),
        segments_total: count(of(Kind::Tts).count()),
        segments_done: count(of(Kind::Tts).filter(|task| task.state == State::Done).count()),
        ..chapter
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ABOUT: About =
        About { lane: Lane::High, mixes_chapters: true, has_episode: false, deadline_extended: false };

    fn task(kind: Kind, chapter: i32, state: State) -> TaskRow {
        TaskRow {
            id: Uuid::now_v7(),
            kind,
            chapter,
            state,
            lane: Lane::High,
            interruptions: 0,
            last_class: None,
        }
    }

    fn chapter(chapter: i32, mixed: bool) -> ChapterRow {
        ChapterRow { chapter, written: false, segments_total: 0, segments_done: 0, mixed }
    }

    fn ids(revival: &Revival) -> Vec<Uuid> {
        revival.tasks.iter().map(|task| task.id).collect()
    }

    #[test]
    fn only_what_is_unfinished_runs_again() {
        let tasks = [
            task(Kind::Outline, 0, State::Done),
            task(Kind::Script, 0, State::Done),
            task(Kind::Tts, 0, State::Done),
            task(Kind::Tts, 0, State::Dead),
            task(Kind::Tts, 0, State::Held),
            task(Kind::Tts, 0, State::Dispatched),
        ];
        let revival = revive(ABOUT, &tasks, &[chapter(0, false)]);
        assert_eq!(ids(&revival), [tasks[3].id, tasks[4].id]);
        assert_eq!((revival.segments_total, revival.segments_done, revival.chapters_written), (4, 1, 1));
        assert!(revival.mixes.is_empty() && !revival.join);
        let late = revive(About { deadline_extended: true, ..ABOUT }, &tasks, &[chapter(0, false)]);
        assert_eq!(ids(&late).len(), 3, "a ticket with a deadline that is over would come back as expired");
    }

    #[test]
    fn full_fan_ins_fire_once() {
        let spoken = [task(Kind::Script, 0, State::Done), task(Kind::Tts, 0, State::Done)];
        assert_eq!(revive(ABOUT, &spoken, &[chapter(0, false)]).mixes, [0]);
        let mut held = spoken.to_vec();
        held.push(task(Kind::Mix, 0, State::Held));
        let revival = revive(ABOUT, &held, &[chapter(0, false)]);
        assert!(revival.mixes.is_empty() && ids(&revival) == [held[2].id]);
        held[2].state = State::Done;
        let revival = revive(ABOUT, &held, &[chapter(0, true)]);
        assert!(revival.join && revival.tasks.is_empty());
        held.push(task(Kind::Join, 0, State::Done));
        let revival = revive(ABOUT, &held, &[chapter(0, true)]);
        assert!(!revival.join && ids(&revival) == [held[3].id], "the join came too late to count");
        let complete = About { has_episode: true, ..ABOUT };
        assert!(revive(complete, &held, &[chapter(0, true)]).tasks.is_empty());
    }

    #[test]
    fn a_podcast_without_an_outline_has_no_fan_ins() {
        let revival = revive(ABOUT, &[task(Kind::Outline, 0, State::Dead)], &[]);
        assert!(!revival.join && revival.tasks.len() == 1);
    }

    #[test]
    fn what_was_killed_alone_runs_alone_again() {
        let alone = |state, class: Class, interruptions| TaskRow {
            lane: Lane::Alone,
            interruptions,
            last_class: Some(class.to_string()),
            ..task(Kind::Tts, 0, state)
        };
        let tasks = [
            alone(State::Dead, Class::Interrupted, 5),
            alone(State::Dead, Class::PermanentInput, 3),
            alone(State::Held, Class::Interrupted, 3),
        ];
        let lanes: Vec<_> =
            revive(ABOUT, &tasks, &[]).tasks.iter().map(|task| (task.lane, task.interruptions)).collect();
        assert_eq!(lanes, [(Lane::Alone, 0), (Lane::High, 0), (Lane::Alone, 3)]);
    }

    fn any_state() -> impl Strategy<Value = State> {
        prop::sample::select(vec![State::Dispatched, State::Done, State::Dead, State::Held])
    }

    proptest! {
        /// Whatever died: nothing that is finished runs again, nothing unfinished is left behind, and no fan-in is missed.
        #[test]
        fn nothing_is_forgotten_and_nothing_done_twice(
            shape in prop::collection::vec((any_state(), prop::collection::vec(any_state(), 0..5), any::<bool>()), 1..4),
            extended in any::<bool>(),
        ) {
            let (mut tasks, mut chapters) = (vec![task(Kind::Outline, 0, State::Done)], Vec::new());
            for (index, (script, segments, has_mix)) in shape.iter().enumerate() {
                let number = i32::try_from(index).unwrap();
                tasks.push(task(Kind::Script, number, *script));
                tasks.extend(segments.iter().map(|state| task(Kind::Tts, number, *state)));
                let full = *script == State::Done && segments.iter().all(|state| *state == State::Done);
                if full && *has_mix {
                    tasks.push(task(Kind::Mix, number, State::Held));
                }
                chapters.push(chapter(number, false));
            }
            let revival = revive(About { deadline_extended: extended, ..ABOUT }, &tasks, &chapters);
            let again = ids(&revival);
            for task in &tasks {
                let open = matches!(task.state, State::Dead | State::Held) || extended && task.state == State::Dispatched;
                prop_assert_eq!(again.contains(&task.id), open, "{:?}", task);
            }
            for row in &revival.chapters {
                let full = row.written && row.segments_done == row.segments_total;
                let mixes = tasks.iter().filter(|task| task.kind == Kind::Mix && task.chapter == row.chapter).count();
                let fired = usize::from(revival.mixes.contains(&row.chapter));
                prop_assert_eq!(mixes + fired, usize::from(full));
            }
            prop_assert_eq!(revival.segments_done, revival.chapters.iter().map(|row| row.segments_done).sum::<i32>());
        }
    }
}
