//! A podcast of which one piece of work meets a misbehaviour, and what became of it.

use std::time::Duration;

use anyhow::ensure;
use common::class::Class;
use jiff::Timestamp;
use loadtest::providers::{Endpoint, Ledger, Misbehaviour, Provider, Rule};
use serde_json::{Value, json};

use super::course::{Course, course, overcome};
use super::document::{Calls, Row, says};
use super::{TIMEOUT_MS, hurried, may_refuse};
use crate::fleet::{Fleet, PATIENCE};

/// Shorter than the shortest wait for an engine that cannot work.
const DEADLINE_S: u64 = 25;
/// A chapter of a minute is asked to go on at most so often.
const ASKED_FOR_LENGTH: usize = 3;
/// What the provider asks for when it throttles.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The work that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Speech,
    Outline,
    Script,
}

pub(super) struct Case {
    pub(super) row: Row,
    pub(super) stage: Stage,
    class: Class,
    /// The word that the rule looks for, and its name.
    marker: String,
    /// It is met once, or by every call.
    pub(super) once: bool,
    /// With which the server refuses, where it is not the usual one.
    pub(super) status: Option<u16>,
    pub(super) podcast: String,
}

/// An attempt as the database has it.
pub(super) struct Attempt {
    class: String,
    started_at: Timestamp,
    finished_at: Timestamp,
}

impl Stage {
    fn kind(self) -> &'static str {
        match self {
            Stage::Speech => "tts",
            Stage::Outline => "outline",
            Stage::Script => "script",
        }
    }

    /// Only the calls of this stage that carry the marker.
    fn rule(self, misbehaviour: Misbehaviour, marker: &str) -> Rule {
        let rule = Rule { name: marker.to_owned(), ..Rule::new(misbehaviour).on(marker) };
        match self {
            Stage::Speech => rule.at(Endpoint::Speech),
            Stage::Outline => rule.at(Endpoint::Chat).on("Plan the episode"),
            Stage::Script => rule.at(Endpoint::Chat).on("Write chapter"),
        }
    }

    /// A voice that nobody has heard costs a recording more, so most share theirs.
    fn request(self, marker: &str, voice: &str) -> Value {
        match self {
            Stage::Speech => {
                let text = format!(
                    "# Trouble\n\n## Part one\n\nThis is sentence 1 of a short case.\n\nHere the word {marker} stands in sentence 2 of it.\n"
                );
                json!({"source": {"text": text}, "language": "en"})
            }
            Stage::Outline | Stage::Script => {
                let speakers =
                    [1, 2].map(|n| json!({"name": format!("Speaker {n}"), "voice": format!("{voice}{n}")}));
                json!({"title": marker, "topic": "How the tides work", "language": "en", "target_minutes": 1, "speakers": speakers})
            }
        }
    }
}

pub(super) fn retry_after(row: &Row) -> Option<Duration> {
    let asks = matches!(row.misbehaviour, Misbehaviour::Throttled | Misbehaviour::ThrottledDate);
    asks.then_some(RETRY_AFTER)
}

/// A podcast that meets the misbehaviour at every call, or once; none for once if that is not tried again soon.
pub(super) async fn submit(
    fleet: &Fleet,
    provider: &Provider,
    row: &Row,
    stage: Stage,
    once: bool,
    status: Option<u16>,
) -> anyhow::Result<Option<Case>> {
    let class = row.class()?;
    if once && !matches!(course(&hurried(), class, false, None), Course::GivenUp { .. }) {
        return Ok(None);
    }
    // Letters alone, so that nothing reads it as anything else than a word; and an end, so that none is the beginning of another.
    let letters = row.misbehaviour.name().replace('_', "").replace('3', "three");
    let refuses = status.map(|status| format!("with{}", if status == 500 { "fault" } else { "refusal" }));
    let marker = format!(
        "Marker{}{letters}{}{}",
        stage.kind(),
        refuses.unwrap_or_default(),
        if once { "once" } else { "always" }
    );
    let mut rule = stage.rule(row.misbehaviour, &marker);
    rule.times = once.then_some(1);
    rule.status = status;
    provider.add_rules(vec![rule])?;
    // Where lengths decide how often the engine is asked, what others have spoken so far must not; nor where others have long spoken.
    let of_its_own = matches!(row.calls()?, Calls::UpTo(_)) || may_refuse(row);
    let mut request = stage.request(&marker, if of_its_own { &marker } else { "shared" });
    if row.time == "at the deadline" {
        request["deadline_seconds"] = json!(DEADLINE_S);
    }
    let podcast = fleet.submit(&request).await?;
    Ok(Some(Case { row: row.clone(), stage, class, marker, once, status, podcast }))
}

pub(super) async fn attempts(fleet: &Fleet, case: &Case) -> anyhow::Result<Vec<Attempt>> {
    let rows = fleet
        .query(&format!(
            "select a.class, min(a.started_at), max(a.finished_at) from attempts a
             join tasks t on t.podcast_id = a.podcast_id and t.id = a.task_id
             left join segments s on s.podcast_id = t.podcast_id and s.chapter = t.chapter and s.segment = t.segment
             where t.podcast_id = '{}' and t.kind = '{}' and (t.kind <> 'tts' or s.text like '%{}%')
             group by a.attempt, a.class order by a.attempt, a.class desc",
            case.podcast,
            case.stage.kind(),
            case.marker
        ))
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Attempt { class: row.try_get(0)?, started_at: row.try_get(1)?, finished_at: row.try_get(2)? })
        })
        .collect()
}

pub(super) fn check(case: &Case, ended: &Value, attempts: &[Attempt], ledger: &Ledger) -> anyhow::Result<()> {
    let classes: Vec<&str> = attempts.iter().map(|attempt| attempt.class.as_str()).collect();
    let message = ended["failure"]["message"].as_str().unwrap_or("the episode");
    let state = match (ended["state"].as_str().unwrap_or_default(), ended["failure"]["class"].as_str()) {
        (state, Some(class)) if class != case.row.class => format!("{state}, {class}"),
        (state, _) => state.to_owned(),
    };
    let calls = ledger.calls.iter().filter(|call| call.rule.as_ref() == Some(&case.marker)).count();
    let seen = format!("{calls} calls, attempts {classes:?}, {state}: {message}");
    if case.once {
        // A wrong answer may be asked again within the attempt.
        let class = case.row.class.as_str();
        let failed: Vec<&str> = classes.iter().copied().filter(|class| *class != "success").collect();
        ensure!(failed == [class] || failed.is_empty(), "{seen}");
        ensure!(state == "completed" && calls == 1, "{seen}");
        return Ok(());
    }
    let course = course(&hurried(), case.class, case.row.is_wrong_answer(), retry_after(&case.row));
    let count = match course {
        Course::GivenUp { attempts, .. } => usize::try_from(attempts)?,
        // The deadline is nearer than the second attempt.
        Course::Single | Course::UntilDeadline { .. } => 1,
    };
    // A script whose first turns were good has parts that succeeded in the same attempt.
    let failed: Vec<&str> =
        classes.iter().copied().filter(|class| case.class == Class::Success || *class != "success").collect();
    if case.row.is_overcome()? {
        let most = case.row.most_attempts()?;
        println!("  {:?} {}: {seen}", case.stage, case.row.misbehaviour.name());
        ensure!(failed.len() < most && failed.iter().all(|class| *class == case.row.class), "{seen}");
        ensure!(state == "completed", "{seen}, wanted an episode");
        ensure!(case.row.calls()?.allow(calls, failed.len() + 1), "{seen}, wanted {:?}", case.row.calls()?);
        return check_times(case, overcome(&hurried(), most), ended, attempts);
    }
    ensure!(failed == vec![case.class.as_str(); count], "{seen}, wanted {count} of {}", case.class);
    ensure!(state == case.row.state, "{seen}, wanted {}", case.row.state);
    ensure!(says(&case.row.reads, message), "{seen}, wanted {}", case.row.reads);
    // A chapter that came out short is asked to go on, which depends on lengths, not on the misbehaviour.
    let most_more =
        if case.stage == Stage::Script && case.class == Class::Success { ASKED_FOR_LENGTH } else { 0 };
    let wanted = case.row.calls()?;
    let fits =
        (0..=most_more).any(|more| calls.checked_sub(more).is_some_and(|calls| wanted.allow(calls, count)));
    ensure!(fits, "{seen}, wanted {wanted:?}");
    check_times(case, course, ended, attempts)
}

/// The provider is not asked before it wants to be, and the end comes in time.
fn check_times(case: &Case, course: Course, ended: &Value, attempts: &[Attempt]) -> anyhow::Result<()> {
    for pair in attempts.windows(2) {
        let waited = pair[1].started_at.duration_since(pair[0].finished_at).unsigned_abs();
        let asked = retry_after(&case.row).unwrap_or_default();
        ensure!(waited >= asked.mul_f64(0.99), "asked again after {waited:?}, not {asked:?}");
    }
    let time =
        |name: &str| -> anyhow::Result<Timestamp> { Ok(ended[name].as_str().unwrap_or_default().parse()?) };
    let took = time("finished_at")?.duration_since(time("created_at")?).unsigned_abs();
    let calls = match case.row.calls()? {
        Calls::Each(_) => attempts.len(),
        Calls::UpTo(most) => most.max(attempts.len()),
    };
    let calls = Duration::from_millis(TIMEOUT_MS) * u32::try_from(calls)?;
    let longest = match course {
        Course::GivenUp { waits, .. } => waits + calls,
        Course::Single => calls,
        Course::UntilDeadline { .. } => Duration::from_secs(DEADLINE_S),
    };
    // What the machine is busy with beside it is not the policy's.
    ensure!(took <= longest + PATIENCE / 4, "it took {took:?}, not {longest:?}");
    Ok(())
}
