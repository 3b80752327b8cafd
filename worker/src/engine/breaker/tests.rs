use proptest::prelude::*;

use super::*;

const RULES: Rules = Rules {
    settings: config::Breaker { failures: 10, open_ms: 5_000, open_cap_ms: 30_000 },
    probe: Duration::from_secs(60),
    longest_asked: Duration::from_secs(600),
};
const DAY: Duration = Duration::from_secs(86_400);

/// After it was open once.
const CLOSED: Breaker = Breaker {
    open: None,
    openings: 1,
    failures: 0,
    tasks: Vec::new(),
    last_failure_ms: 0,
    suspects: Vec::new(),
};

/// The probe of the first opening that was let through at this time.
fn probe(at_ms: i64) -> Pass {
    Pass::Probe { opening: 1, until_ms: at_ms + 60_000 }
}

const LAST_CHANCE: Pass = Pass::LastChance { opening: 1 };

fn badly() -> Ended {
    Ended::Badly { cause: "answered 500".into(), asked: None }
}

fn misconfigured() -> Ended {
    Ended::Misconfigured { cause: "answered 401".into(), asked: None }
}

fn after(breaker: &Breaker, task: u64, pass: Pass, ended: &Ended, now_ms: i64) -> Breaker {
    breaker.told(&RULES, task, pass, ended, now_ms).unwrap_or_else(|| breaker.clone())
}

fn failed_by(tasks: impl IntoIterator<Item = u64>) -> Breaker {
    tasks
        .into_iter()
        .fold(Breaker::default(), |breaker, task| after(&breaker, task, Pass::Closed, &badly(), 0))
}

fn ask(breaker: &Breaker, left: Duration, now_ms: i64) -> (Answer, Breaker) {
    let (answer, next) = breaker.ask(&RULES, left, now_ms);
    (answer, next.unwrap_or_else(|| breaker.clone()))
}

#[test]
fn an_error_of_configuration_opens_it_at_once() {
    let open = after(&Breaker::default(), 1, Pass::Closed, &misconfigured(), 0);
    assert_eq!(ask(&open, DAY, 0).0, Answer::Wait(Duration::from_secs(30)));
    assert_eq!(ask(&open, DAY, 30_000).0, Answer::Ask(probe(30_000)));
    assert_eq!(open.open.unwrap().cause, "answered 401");
}

#[test]
fn failures_in_a_row_open_it_only_if_several_tasks_had_them() {
    let check =
        |tasks: Vec<u64>, open: bool| assert_eq!(failed_by(tasks.clone()).open.is_some(), open, "{tasks:?}");
    check(vec![1; 50], false);
    check((0..50).map(|n| n % 2).collect(), false);
    check((0..9).map(|n| n % 3).collect(), false);
    check((0..10).map(|n| n % 3).collect(), true);
    check((0..10).collect(), true);
}

#[test]
fn a_success_or_a_minute_of_silence_ends_a_row() {
    let nine = failed_by(0..9);
    let mended = after(&nine, 3, Pass::Closed, &Ended::Well, 0);
    assert_eq!(mended, Breaker::default());
    assert!(after(&nine, 3, Pass::Closed, &badly(), 60_000).open.is_some());
    assert!(after(&nine, 3, Pass::Closed, &badly(), 60_001).open.is_none());
}

#[test]
fn one_probe_at_a_time_and_each_that_fails_doubles_the_wait() {
    let mut breaker = failed_by(0..10);
    let mut now = 0;
    for wait in [5, 10, 20, 30, 30] {
        now += wait * 1000;
        assert!(matches!(ask(&breaker, DAY, now - 1).0, Answer::Wait(_)));
        let (answer, probing) = ask(&breaker, DAY, now);
        assert_eq!(answer, Answer::Ask(probe(now)));
        assert!(matches!(ask(&probing, DAY, now).0, Answer::Wait(_)), "one at a time");
        breaker = after(&probing, 1, probe(now), &badly(), now);
    }
    now += 30_000;
    let (_, probing) = ask(&breaker, DAY, now);
    assert_eq!(after(&probing, 1, probe(now), &Ended::Well, now + 100), CLOSED);
    let unclear = after(&probing, 1, probe(now), &Ended::Silently, now + 100);
    assert_eq!(ask(&unclear, DAY, now + 100).0, Answer::Ask(probe(now + 100)), "it said nothing");
}

#[test]
fn of_a_probe_that_is_heard_of_late_only_a_success_counts() {
    let (_, first) = ask(&failed_by(0..10), DAY, 5_000);
    assert!(matches!(ask(&first, DAY, 64_999).0, Answer::Wait(_)));
    let late = after(&first, 1, probe(5_000), &badly(), 70_000);
    assert!(matches!(ask(&late, DAY, 79_999).0, Answer::Wait(_)), "nobody had taken its place");
    let (answer, second) = ask(&first, DAY, 65_000);
    assert_eq!(answer, Answer::Ask(probe(65_000)), "nobody heard of the first one");
    for ended in [badly(), misconfigured(), Ended::Silently] {
        assert_eq!(after(&second, 1, probe(5_000), &ended, 66_000), second, "{ended:?}");
    }
    assert_eq!(after(&second, 1, probe(5_000), &Ended::Well, 66_000), CLOSED);
}

#[test]
fn what_the_engine_asks_for_is_honoured_up_to_a_bound() {
    let check = |asked: u64, expected: u64| {
        let asked = Some(Duration::from_secs(asked));
        let open = after(&failed_by(0..9), 9, Pass::Closed, &Ended::Badly { cause: String::new(), asked }, 0);
        assert_eq!(ask(&open, DAY, 0).0, Answer::Wait(Duration::from_secs(expected)));
    };
    check(1, 5);
    check(60, 60);
    check(86_400, 600);
}

#[test]
fn who_cannot_wait_asks_all_the_same() {
    let open = failed_by(0..10);
    assert_eq!(ask(&open, Duration::from_secs(69), 0).0, Answer::Ask(LAST_CHANCE));
    assert_eq!(ask(&open, Duration::from_secs(70), 0).0, Answer::Wait(Duration::from_secs(5)));
    assert_eq!(after(&open, 7, LAST_CHANCE, &badly(), 1), open);
    assert_eq!(after(&open, 7, LAST_CHANCE, &Ended::Well, 1), CLOSED);
}

#[test]
fn an_input_that_looks_like_an_error_of_configuration_stops_its_neighbours_once() {
    let open = after(&Breaker::default(), 1, Pass::Closed, &misconfigured(), 0);
    let (_, probing) = ask(&open, DAY, 30_000);
    let closed = after(&probing, 2, probe(30_000), &Ended::Well, 30_000);
    assert!(closed.open.is_none());
    let again = after(&closed, 1, Pass::Closed, &misconfigured(), 60_000);
    assert!(again.open.is_none(), "its neighbours succeeded");
    assert!(after(&closed, 3, Pass::Closed, &misconfigured(), 60_000).open.is_some(), "another one");
    let cleared = after(&closed, 1, Pass::Closed, &Ended::Well, 60_000);
    assert!(after(&cleared, 1, Pass::Closed, &misconfigured(), 60_000).open.is_some(), "it had succeeded");
}

#[test]
fn what_was_asked_before_it_opened_changes_nothing() {
    let open = failed_by(0..10);
    for ended in [Ended::Well, badly(), misconfigured(), Ended::Silently] {
        assert_eq!(after(&open, 1, Pass::Closed, &ended, 1), open);
        assert_eq!(after(&open, 1, Pass::Probe { opening: 0, until_ms: 0 }, &ended, 1), open);
        assert_eq!(after(&open, 1, Pass::LastChance { opening: 0 }, &ended, 1), open);
    }
}

#[test]
fn a_state_of_another_version_is_read() {
    let open = failed_by(0..10);
    let json = serde_json::to_string(&open).unwrap();
    assert_eq!(serde_json::from_str::<Breaker>(&json).unwrap(), open);
    assert_eq!(serde_json::from_str::<Breaker>("{\"new\": 1}").unwrap(), Breaker::default());
}

/// A fleet that asks an engine: at each step a task comes, and calls end in any order.
#[derive(Clone, Debug)]
struct Step {
    task: u64,
    passed_ms: i64,
    ended: u8,
    /// Which calls end: places among those that are under way.
    finishes: Vec<prop::sample::Index>,
}

fn step() -> impl Strategy<Value = Step> {
    let finishes = proptest::collection::vec(any::<prop::sample::Index>(), 0..3);
    (0u64..6, 0i64..30_000, 0u8..4, finishes).prop_map(|(task, passed_ms, ended, finishes)| Step {
        task,
        passed_ms,
        ended,
        finishes,
    })
}

proptest! {
    /// Whatever happens: no wait beyond the bound, one probe at a time until its lease is over, and never a wait that a deadline
    /// would not outlast.
    #[test]
    fn it_always_lets_somebody_through_and_never_two_probes(
        steps in proptest::collection::vec(step(), 1..200),
        left_s in 0u64..400,
    ) {
        let (mut breaker, mut now) = (Breaker::default(), 0i64);
        let mut calls: Vec<(u64, Pass)> = Vec::new();
        for step in steps {
            now += step.passed_ms;
            let left = Duration::from_secs(left_s);
            let (answer, next) = breaker.ask(&RULES, left, now);
            breaker = next.unwrap_or(breaker);
            match answer {
                Answer::Ask(pass) => {
                    if let Pass::Probe { opening, .. } = pass {
                        let held = |other: &Pass| {
                            matches!(other, Pass::Probe { opening: of, until_ms } if *of == opening && *until_ms > now)
                        };
                        prop_assert!(!calls.iter().any(|(_, other)| held(other)), "two probes");
                    }
                    calls.push((step.task, pass));
                }
                Answer::Wait(wait) => {
                    prop_assert!(breaker.open.is_some());
                    prop_assert!(wait <= Duration::from_secs(30) && wait >= SHORTEST_WAIT);
                    prop_assert!(left >= wait * 2 + RULES.probe, "no time for another attempt");
                }
            }
            for place in step.finishes {
                if calls.is_empty() {
                    break;
                }
                let (task, pass) = calls.remove(place.index(calls.len()));
                let ended = [Ended::Well, badly(), misconfigured(), Ended::Silently][usize::from(step.ended)].clone();
                breaker = after(&breaker, task, pass, &ended, now);
            }
        }
        // A minute and a half later nobody is at it any more: somebody may ask.
        prop_assert!(matches!(ask(&breaker, DAY, now + 90_000).0, Answer::Ask(_)));
    }

    /// A call that succeeds when it may tell closes it, whatever has been.
    #[test]
    fn it_closes_when_a_probe_succeeds(tasks in proptest::collection::vec(0u64..5, 10..60), config in any::<bool>()) {
        let ended = if config { misconfigured() } else { badly() };
        let breaker = tasks.iter().fold(Breaker::default(), |b, task| after(&b, *task, Pass::Closed, &ended, 0));
        let (answer, probing) = ask(&breaker, DAY, 3_600_000);
        let Answer::Ask(pass) = answer else { panic!("it waits for ever") };
        prop_assert!(after(&probing, 77, pass, &Ended::Well, 3_600_000).open.is_none());
    }
}
