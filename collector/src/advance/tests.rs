use std::time::Duration;

use common::policy::Budgets;
use common::request::ChosenEngines;
use common::wire::VERSION;
use common::work::{ChapterPlan, Format, Pace, Pause, Place, Price, Speaker, Turn};
use proptest::prelude::*;
use serde_json::value::to_raw_value;

use super::*;

/// A podcast that the test carries forward as the collector does, one batch at a time.
struct World {
    rows: Rows,
    podcast: Uuid,
}

fn raw<T: serde::Serialize>(value: &T) -> Option<Box<RawValue>> {
    Some(to_raw_value(value).unwrap())
}

impl World {
    fn new() -> World {
        let id = Uuid::now_v7();
        let podcast = Podcast {
            id,
            tenant: "t".into(),
            principal: "p".into(),
            state: PodcastState::Running,
            generation: 1,
            lane: Lane::Normal,
            rank: 0,
            engines: ChosenEngines {
                outline: "e".into(),
                script: "e".into(),
                tts: "e".into(),
                mix: "builtin".into(),
            },
            brief: Brief {
                title: None,
                topic: None,
                language: "en".into(),
                format: Format::Monologue,
                target_minutes: None,
                speakers: vec![Speaker { name: "A".into(), voice: "v".into(), role: None }],
                pace: Pace::default(),
            },
            title: None,
            traceparent: None,
            deadline: Timestamp::now() + Duration::from_secs(3600),
            event_seq: 1,
            chapters_total: 0,
            chapters_written: 0,
            chapters_mixed: 0,
            segments_total: 0,
            segments_done: 0,
            saved: Price::default(),
            created_at: Timestamp::now(),
            first_audio_at: None,
            episode: None,
            failure: None,
            callback_url: None,
        };
        let mut world =
            World { rows: Rows { podcasts: [(id, podcast)].into(), ..Rows::default() }, podcast: id };
        world.add_task(Kind::Outline, 0, 0);
        world
    }

    fn podcast(&self) -> &Podcast {
        &self.rows.podcasts[&self.podcast]
    }

    fn add_task(&mut self, kind: Kind, chapter: i32, segment: i32) -> Uuid {
        let id = Uuid::now_v7();
        let task = Task {
            podcast_id: self.podcast,
            id,
            tenant: "t".into(),
            principal: "p".into(),
            generation: 1,
            kind,
            chapter,
            segment,
            state: State::Dispatched,
            lane: Lane::Normal,
            rank: 0,
            engine: "e".into(),
            input_hash: "h".into(),
            attempt: 1,
            budgets: Budgets::default(),
            parts: 0,
            turns: 0,
            deadline: Timestamp::MAX,
        };
        self.rows.tasks.insert(id, task);
        id
    }

    fn task(&self, kind: Kind, chapter: i32, segment: i32) -> &Task {
        self.rows
            .tasks
            .values()
            .find(|task| (task.kind, task.chapter, task.segment) == (kind, chapter, segment))
            .unwrap_or_else(|| panic!("no {kind} {chapter}/{segment}"))
    }

    fn outcome(&self, kind: Kind, chapter: i32, segment: i32, class: Class) -> Outcome {
        let task = self.task(kind, chapter, segment);
        let now = Timestamp::now();
        Outcome {
            v: VERSION,
            podcast: self.podcast,
            task: task.id,
            tenant: "t".into(),
            kind,
            attempt: task.attempt,
            generation: 1,
            input_hash: "h".into(),
            class,
            part: 0,
            last: true,
            worker: "w".into(),
            started_at: now,
            finished_at: now,
            units: 0,
            cost_micros: 0,
            cached: false,
            saved: Price::default(),
            measure: None,
            result: None,
            error: None,
        }
    }

    /// The success of a task, with a result of its kind: an outline of two chapters, a script of two turns.
    fn success(&self, kind: Kind, chapter: i32, segment: i32) -> Outcome {
        let mut outcome = self.outcome(kind, chapter, segment, Class::Success);
        outcome.result = match kind {
            Kind::Outline => {
                let plan = |n: usize| ChapterPlan {
                    title: format!("C{n}"),
                    brief: String::new(),
                    source: None,
                    budget: 0,
                };
                raw(&OutlineResult { title: "T".into(), chapters: (0..2).map(plan).collect() })
            }
            Kind::Script => raw(&turns(2)),
            Kind::Tts => {
                raw(&SpeechResult { audio: "a".into(), samples: 1, lufs: None, true_peak_dbtp: -1.0 })
            }
            Kind::Mix => raw(&MixResult {
                audio: "m".into(),
                cues: "c".into(),
                frames: 1,
                duration_ms: 1,
                segments: 2,
                loudness: Vec::new(),
                true_peak_dbtp: None,
            }),
            Kind::Join => raw(&Episode {
                audio: "e".into(),
                transcript_vtt: String::new(),
                transcript_srt: String::new(),
                transcript_json: String::new(),
                transcript_txt: String::new(),
                chapters_json: String::new(),
                bytes: 1,
                duration_ms: 1,
                segments: 4,
                lufs: None,
                true_peak_dbtp: None,
            }),
        };
        outcome
    }

    /// Applies a batch and inserts what follows, as the commit does.
    fn apply(&mut self, batch: &[Outcome]) -> Changes {
        let changes = apply(&mut self.rows, batch, &|_| Policy::default(), Timestamp::now(), || 0.5);
        for chapter in &changes.chapters {
            let row = Chapter {
                podcast_id: chapter.podcast_id,
                generation: chapter.generation,
                chapter: chapter.chapter,
                written: false,
                segments_total: 0,
                segments_done: 0,
                mix: None,
            };
            self.rows.chapters.insert((chapter.podcast_id, chapter.generation, chapter.chapter), row);
        }
        for next in &changes.next {
            match next {
                Next::Script { chapter, .. } => self.add_task(Kind::Script, *chapter, 0),
                Next::Speech { chapter, segment, .. } => self.add_task(Kind::Tts, *chapter, *segment),
                Next::Mix { chapter, .. } => self.add_task(Kind::Mix, *chapter, 0),
                Next::Join { .. } => self.add_task(Kind::Join, 0, 0),
            };
        }
        if !changes.withdrawn.is_empty() {
            for moved in changes.moved.iter().filter(|moved| moved.state == State::Scheduled) {
                self.rows.tasks.get_mut(&moved.id).unwrap().state = State::Dispatched;
            }
        }
        changes
    }

    /// The next attempt is on its way.
    fn dispatch(&mut self, kind: Kind, chapter: i32, segment: i32) {
        let id = self.task(kind, chapter, segment).id;
        let task = self.rows.tasks.get_mut(&id).unwrap();
        (task.state, task.attempt) = (State::Dispatched, task.attempt + 1);
    }

    fn open_tasks(&self) -> Vec<(Kind, i32, i32)> {
        let open = self.rows.tasks.values().filter(|task| task.state == State::Dispatched);
        open.map(|task| (task.kind, task.chapter, task.segment)).collect()
    }
}

fn turns(count: usize) -> ScriptPart {
    let turn = |n| Turn { speaker: 0, text: format!("t{n}"), pause: Pause::Turn, place: Place::Body };
    ScriptPart { turns: (0..count).map(turn).collect() }
}

proptest! {
    /// Whatever the order, the batching and the duplication of outcomes: one mix a chapter, one join, one end.
    #[test]
    fn every_order_and_every_duplicate_ends_the_same(seed in any::<u64>(), duplicate in 0usize..4) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::new();
        let (mut mixes, mut joins, mut ends) = (0, 0, 0);
        let mut history: Vec<Outcome> = Vec::new();
        for _ in 0..1000 {
            let mut open = world.open_tasks();
            if open.is_empty() {
                break;
            }
            random.shuffle(&mut open);
            open.truncate(random.usize(1..4));
            let mut batch: Vec<Outcome> =
                open.iter().map(|(kind, chapter, segment)| world.success(*kind, *chapter, *segment)).collect();
            for _ in 0..duplicate {
                if !history.is_empty() {
                    batch.push(history[random.usize(0..history.len())].clone());
                }
            }
            batch.extend(batch.clone());
            history.extend(batch.clone());
            let changes = world.apply(&batch);
            mixes += changes.next.iter().filter(|next| matches!(next, Next::Mix { .. })).count();
            joins += changes.next.iter().filter(|next| matches!(next, Next::Join { .. })).count();
            ends += changes.ended.len();
        }
        prop_assert_eq!((mixes, joins, ends), (2, 1, 1));
        let podcast = world.podcast();
        prop_assert_eq!(podcast.state, PodcastState::Completed);
        prop_assert_eq!((podcast.segments_total, podcast.segments_done, podcast.chapters_mixed), (4, 4, 2));
    }
}

#[test]
fn parts_are_accepted_in_order_and_only_from_the_current_attempt() {
    let mut world = World::new();
    world.apply(&[world.success(Kind::Outline, 0, 0)]);
    let part = |world: &World, part: i32, last: bool, attempt: i32| {
        let mut outcome = world.success(Kind::Script, 0, 0);
        (outcome.part, outcome.last, outcome.attempt) = (part, last, attempt);
        outcome
    };
    assert_eq!(world.apply(&[part(&world, 0, false, 1)]).segments.len(), 2);
    assert_eq!(world.apply(&[part(&world, 0, false, 1)]).segments.len(), 0, "a part counts once");
    assert_eq!(
        world.apply(&[part(&world, 1, false, 2)]).segments.len(),
        0,
        "another attempt's part does not count"
    );
    let changes = world.apply(&[part(&world, 1, true, 1)]);
    let numbers: Vec<i32> = changes.segments.iter().map(|segment| segment.segment).collect();
    assert_eq!(numbers, [2, 3], "turns go on after those accepted");
    assert_eq!(world.task(Kind::Script, 0, 0).state, State::Done);
}

#[test]
fn a_final_part_after_a_gap_is_a_failed_attempt() {
    let mut world = World::new();
    world.apply(&[world.success(Kind::Outline, 0, 0)]);
    let mut last = world.success(Kind::Script, 0, 0);
    last.part = 2;
    let changes = world.apply(&[last]);
    assert_eq!(changes.moved[0].state, State::Scheduled);
    assert!(changes.moved[0].error.as_ref().unwrap().contains("part 0"));
}

#[test]
fn a_failure_of_an_older_attempt_changes_nothing() {
    let mut world = World::new();
    let late = world.outcome(Kind::Outline, 0, 0, Class::Transient);
    let task = world.task(Kind::Outline, 0, 0).id;
    world.rows.tasks.get_mut(&task).unwrap().attempt = 2;
    let changes = world.apply(&[late]);
    assert_eq!((changes.moved.len(), changes.stale), (0, 1));
}

#[test]
fn a_success_of_an_older_attempt_counts() {
    let mut world = World::new();
    let late = world.success(Kind::Outline, 0, 0);
    let task = world.task(Kind::Outline, 0, 0).id;
    world.rows.tasks.get_mut(&task).unwrap().attempt = 2;
    assert_eq!(world.apply(&[late]).chapters.len(), 2);
}

#[test]
fn another_generation_or_input_changes_nothing() {
    let mut world = World::new();
    let mut outcome = world.success(Kind::Outline, 0, 0);
    outcome.generation = 2;
    assert_eq!(world.apply(&[outcome]).stale, 1);
    let mut outcome = world.success(Kind::Outline, 0, 0);
    outcome.input_hash = "other".into();
    assert_eq!(world.apply(&[outcome]).stale, 1);
}

#[test]
fn a_permanent_failure_fails_the_podcast_with_its_reason_and_the_rest_is_held() {
    let mut world = World::new();
    world.apply(&[world.success(Kind::Outline, 0, 0)]);
    let mut fatal = world.outcome(Kind::Script, 0, 0, Class::PermanentInput);
    fatal.error = Some(report("nothing to say".into()));
    let changes = world.apply(&[fatal]);
    assert_eq!((changes.dead.len(), changes.ended.len()), (1, 1));
    assert_eq!(world.podcast().failure.as_ref().unwrap().error.message, "nothing to say");
    // What is still in flight is recorded, but leads to nothing new that runs.
    let other = world.outcome(Kind::Script, 1, 0, Class::Transient);
    assert_eq!(world.apply(&[other]).moved[0].state, State::Held);
}

#[test]
fn a_cancelled_podcast_does_not_complete() {
    let mut world = World::new();
    let join = world.add_task(Kind::Join, 0, 0);
    world.rows.podcasts.get_mut(&world.podcast).unwrap().state = PodcastState::Cancelled;
    let changes = world.apply(&[world.success(Kind::Join, 0, 0)]);
    assert_eq!(world.podcast().state, PodcastState::Cancelled);
    assert!(changes.ended.is_empty());
    assert_eq!(world.rows.tasks[&join].state, State::Done, "the work is recorded all the same");
}

#[test]
fn a_mix_without_its_audio_has_the_segment_spoken_again() {
    let mut world = World::new();
    world.apply(&[world.success(Kind::Outline, 0, 0)]);
    world.apply(&[world.success(Kind::Script, 0, 0)]);
    world.apply(&[world.success(Kind::Tts, 0, 0), world.success(Kind::Tts, 0, 1)]);
    let mut outcome = world.outcome(Kind::Mix, 0, 0, Class::Transient);
    outcome.error = Some(ErrorReport { missing_segments: vec![1, 1], ..report("gone".into()) });
    let changes = world.apply(&[outcome]);
    assert_eq!(changes.withdrawn.len(), 1);
    assert_eq!(changes.moved.len(), 1);
    assert_eq!((changes.moved[0].state, changes.moved[0].budgets.failures), (State::Scheduled, 1));
    assert_eq!(world.podcast().segments_done, 1);
    let again = world.apply(&[world.success(Kind::Tts, 0, 1)]);
    assert!(matches!(again.next[..], [Next::Mix { chapter: 0, .. }]), "the chapter is full again");
}

#[test]
fn a_join_without_a_mix_has_the_chapter_mixed_again() {
    let mut world = World::new();
    world.apply(&[world.success(Kind::Outline, 0, 0)]);
    world.apply(&[world.success(Kind::Script, 0, 0)]);
    world.apply(&[world.success(Kind::Tts, 0, 0), world.success(Kind::Tts, 0, 1)]);
    world.apply(&[world.success(Kind::Mix, 0, 0)]);
    let mixed = world.podcast().chapters_mixed;
    assert!(mixed > 0);
    let join = world.add_task(Kind::Join, 0, 0);
    let mut outcome = world.outcome(Kind::Join, 0, 0, Class::Transient);
    outcome.error = Some(ErrorReport { missing_chapters: vec![0, 0], ..report("gone".into()) });
    let changes = world.apply(&[outcome]);
    assert_eq!(changes.withdrawn, [(world.podcast, join)]);
    assert_eq!(changes.moved.len(), 1, "its mix, once");
    assert_eq!((changes.moved[0].state, changes.moved[0].budgets.failures), (State::Scheduled, 1));
    assert_eq!(world.podcast().chapters_mixed, mixed - 1);
    world.apply(&[world.success(Kind::Mix, 0, 0)]);
    assert_eq!(world.podcast().chapters_mixed, mixed, "it counts again");
}

#[test]
fn audio_that_is_missing_each_time_ends_the_podcast() {
    let mut world = World::new();
    world.apply(&[world.success(Kind::Outline, 0, 0)]);
    world.apply(&[world.success(Kind::Script, 0, 0)]);
    world.apply(&[world.success(Kind::Tts, 0, 0), world.success(Kind::Tts, 0, 1)]);
    let mut rounds = 0;
    while world.podcast().state == PodcastState::Running {
        rounds += 1;
        assert!(rounds <= u32::from(Policy::default().max_failures), "it must end");
        let mut outcome = world.outcome(Kind::Mix, 0, 0, Class::Transient);
        outcome.error = Some(ErrorReport { missing_segments: vec![1], ..report("not there".into()) });
        world.apply(&[outcome]);
        if world.podcast().state == PodcastState::Running {
            world.apply(&[world.success(Kind::Tts, 0, 1)]);
        }
    }
    assert_eq!(rounds, u32::from(Policy::default().max_failures));
    assert!(world.podcast().failure.as_ref().unwrap().error.message.contains("segment 1"));
}

#[test]
fn a_script_that_breaks_off_further_on_each_time_uses_no_budget() {
    let mut world = World::new();
    world.apply(&[world.success(Kind::Outline, 0, 0)]);
    let broken = |world: &World, part: i32| {
        let mut outcome = world.outcome(Kind::Script, 0, 0, Class::Transient);
        outcome.part = part;
        outcome.error = Some(ErrorReport { advanced: true, ..report("broke off".into()) });
        outcome
    };
    let most = i32::from(Policy::default().max_failures);
    for part in 0..2 * most {
        let mut turn = world.success(Kind::Script, 0, 0);
        (turn.part, turn.last, turn.result) = (part, false, raw(&turns(1)));
        let changes = world.apply(&[turn, broken(&world, part + 1)]);
        assert_eq!((changes.moved[0].state, changes.moved[0].budgets.failures), (State::Scheduled, 0));
        world.dispatch(Kind::Script, 0, 0);
    }
    // What it says it sent has not arrived: that is a failure like any other.
    let changes = world.apply(&[broken(&world, 2 * most + 1)]);
    assert_eq!(changes.moved[0].budgets.failures, 1);
    world.dispatch(Kind::Script, 0, 0);
    let mut standing = broken(&world, 2 * most);
    standing.error = Some(report("broke off".into()));
    assert_eq!(world.apply(&[standing]).moved[0].budgets.failures, 2);
}

#[test]
fn an_unreadable_result_is_a_failed_attempt_not_a_panic() {
    let mut world = World::new();
    for result in [None, raw(&1), raw(&serde_json::json!({"title": "T", "chapters": []}))] {
        let mut outcome = world.outcome(Kind::Outline, 0, 0, Class::Success);
        outcome.result = result;
        let task = world.task(Kind::Outline, 0, 0).id;
        world.rows.tasks.get_mut(&task).unwrap().state = State::Dispatched;
        assert_eq!(world.apply(&[outcome]).moved[0].state, State::Scheduled);
    }
}

#[test]
fn a_failure_that_leaves_no_time_for_another_attempt_is_the_deadlines() {
    let mut world = World::new();
    world.rows.podcasts.get_mut(&world.podcast).unwrap().deadline = Timestamp::now();
    let mut late = world.outcome(Kind::Outline, 0, 0, Class::Timeout);
    late.error = Some(report("no answer".into()));
    assert_eq!(world.apply(&[late]).dead[0].class, Class::Expired);
    let failure = world.podcast().failure.clone().unwrap();
    assert!(failure.error.message.contains("deadline") && failure.error.message.contains("no answer"));
}

#[test]
fn parked_work_is_no_attempt_and_costs_no_budget() {
    let mut world = World::new();
    let mut outcome = world.outcome(Kind::Outline, 0, 0, Class::PermanentConfig);
    outcome.error =
        Some(ErrorReport { retry_after_ms: Some(5_000), parked: true, ..report("left alone".into()) });
    let changes = world.apply(&[outcome]);
    assert!(changes.attempts.is_empty());
    assert_eq!(changes.moved[0].budgets, Budgets::default());
    assert_eq!((changes.moved[0].state, changes.moved[0].class), (State::Scheduled, Some(Class::Parked)));
    let wait = changes.moved[0].run_at.unwrap().duration_since(Timestamp::now()).as_secs_f64();
    assert!((7.0..=7.5).contains(&wait), "{wait}");
}

#[test]
fn a_success_after_an_interruption_in_the_same_batch_is_the_only_thing_written() {
    for class in [Class::Interrupted, Class::Transient, Class::Returned] {
        let mut world = World::new();
        let batch = [world.outcome(Kind::Outline, 0, 0, class), world.success(Kind::Outline, 0, 0)];
        let changes = world.apply(&batch);
        assert_eq!((changes.finished.len(), changes.moved.len()), (1, 0), "{class}");
        let batch = [world.success(Kind::Outline, 0, 0), world.outcome(Kind::Outline, 0, 0, class)];
        let changes = world.apply(&batch);
        assert_eq!((changes.finished.len(), changes.moved.len()), (0, 0), "{class}");
    }
}
