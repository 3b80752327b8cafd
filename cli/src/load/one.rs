//! One podcast that has the fleet to itself, and what its providers needed for it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use loadtest::probe::{Attempted, CourseRow};
use loadtest::providers::{CallRecord, Endpoint, Outcome};
use loadtest::scenario::arrivals::Screen;
use loadtest::scenario::follow;
use serde_json::Value;
use uuid::Uuid;

use super::stage::Stage;

const PATIENCE: Duration = Duration::from_secs(300);
/// What stands round a turn's text in the writer's JSON.
const TURN_BYTES: f64 = 40.0;

/// How it went, in seconds.
#[derive(Clone, Debug)]
pub(crate) struct One {
    pub(crate) completed: f64,
    pub(crate) scripts: f64,
    pub(crate) speech: f64,
    pub(crate) first_audio: f64,
    /// What the providers alone need until all of it is written and spoken.
    pub(crate) providers: f64,
    /// And until the first turn is.
    pub(crate) providers_first: f64,
    /// From the commit of the last segment to the end, without the mix of one chapter.
    pub(crate) ending: f64,
    pub(crate) segments: i32,
    /// Calls of the language model.
    pub(crate) asked: usize,
}

/// Asks for it, and waits for its end.
pub(crate) async fn make(stage: &Stage, body: &Value) -> anyhow::Result<One> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let before = stage.provider.ledger().total;
    let started = Instant::now();
    let sent = jiff::Timestamp::now();
    let answer = client.post(format!("{}/v1/podcasts", stage.fleet.api)).json(body).send().await?;
    ensure!(answer.status() == 202, "the request was answered {}: {}", answer.status(), answer.text().await?);
    let answer: Value = answer.json().await?;
    let id: Uuid = answer["id"].as_str().and_then(|id| id.parse().ok()).context("the answer has no id")?;
    let watched = follow(&client, &stage.fleet.apis, 0, id, Screen::WebSocket, PATIENCE).await;
    let (end, at) = watched.end.with_context(|| format!("podcast {id} did not end within {PATIENCE:?}"))?;
    ensure!(end == "completed", "podcast {id} ended as {end}");
    let database = stage.database()?;
    let row = database.courses().await?.into_iter().find(|row| row.id == id).context("the podcast's row")?;
    let attempts = database.attempts_of(id).await?;
    let calls: Vec<CallRecord> =
        stage.provider.ledger().calls.into_iter().filter(|call| call.id > before).collect();
    let texts = database.texts_of(id, 0).await?;
    let path = Path::of(&calls, &attempts, &texts)?;
    let first_audio = row.first_audio_at.context("a first segment")?.duration_since(sent).as_secs_f64();
    Ok(One {
        completed: at.duration_since(started).as_secs_f64(),
        scripts: row.scripts_ms.context("scripts")? / 1000.0,
        speech: row.speech_ms.context("speech")? / 1000.0,
        first_audio,
        providers: path.all,
        providers_first: path.first,
        ending: ending(&row)?,
        segments: row.segments,
        asked: calls.iter().filter(|call| call.endpoint == Endpoint::Chat).count(),
    })
}

fn ending(row: &CourseRow) -> anyhow::Result<f64> {
    let (finished, last) = (row.finished_at.context("an end")?, row.last_audio_at.context("a last segment")?);
    Ok(finished.duration_since(last).as_secs_f64() - row.last_mix_ms.context("a mix")? / 1000.0)
}

/// The longest chain of the providers' own times: an outline, a script, and the segment that follows from it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Path {
    all: f64,
    first: f64,
}

impl Path {
    fn of(calls: &[CallRecord], attempts: &[Attempted], first_texts: &[String]) -> anyhow::Result<Path> {
        let tasks: HashMap<Uuid, &Attempted> =
            attempts.iter().map(|attempt| (attempt.task, attempt)).collect();
        let mut outline = 0.0f64;
        let (mut scripts, mut speech) = (HashMap::<i32, f64>::new(), HashMap::<(i32, i32), f64>::new());
        let mut until_first_turn = 0.0;
        for call in calls.iter().filter(|call| call.outcome == Outcome::Answered) {
            // The worker's keys begin with the task.
            let task = call.idempotency_key.as_deref().and_then(|key| key.get(..36)?.parse::<Uuid>().ok());
            let Some(task) = task.and_then(|task| tasks.get(&task)) else { continue };
            let took = seconds(call).context("a call without an end")?;
            match (call.endpoint, task.kind.as_str()) {
                (Endpoint::Chat, "outline") => outline += took,
                (Endpoint::Chat, _) => {
                    *scripts.entry(task.chapter).or_default() += took;
                    if task.chapter == 0 && until_first_turn == 0.0 {
                        until_first_turn = first_turn(call, took, first_texts);
                    }
                }
                (Endpoint::Speech, _) => *speech.entry((task.chapter, task.segment)).or_default() += took,
            }
        }
        let last_of = |chapter: i32| {
            let of_chapter = speech.iter().filter(|((of, _), _)| *of == chapter);
            of_chapter.max_by_key(|((_, segment), _)| *segment).map_or(0.0, |(_, took)| *took)
        };
        let longest = scripts.iter().map(|(chapter, took)| took + last_of(*chapter)).fold(0.0, f64::max);
        let first = speech.get(&(0, 0)).copied().unwrap_or(0.0);
        Ok(Path { all: outline + longest, first: outline + until_first_turn + first })
    }
}

fn seconds(call: &CallRecord) -> Option<f64> {
    Some(call.ended_at?.duration_since(call.started_at).as_secs_f64())
}

/// When the first turn had been sent: tokens come at one pace after the first of them.
fn first_turn(call: &CallRecord, took: f64, texts: &[String]) -> f64 {
    let until_first_token =
        call.first_byte_at.map_or(0.0, |at| at.duration_since(call.started_at).as_secs_f64());
    let bytes = |text: &String| text.len() as f64 + TURN_BYTES;
    let all: f64 = texts.iter().map(bytes).sum();
    let share = texts.first().map_or(1.0, |first| bytes(first) / all.max(1.0));
    until_first_token + (took - until_first_token) * share
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use loadtest::providers::Tokens;

    use super::*;

    fn call(task: Uuid, endpoint: Endpoint, from_ms: i64, to_ms: i64) -> CallRecord {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        CallRecord {
            id: 1,
            endpoint,
            idempotency_key: Some(format!("{task}-1-abc-0-0")),
            text_hash: String::new(),
            number: None,
            voice: String::new(),
            bytes_in: 0,
            bytes_out: 0,
            status: Some(200),
            rule: None,
            started_at: at(from_ms),
            first_byte_at: Some(at(from_ms + 100)),
            ended_at: Some(at(to_ms)),
            outcome: Outcome::Answered,
            tokens: Tokens::default(),
            price_micros: 0,
        }
    }

    #[test]
    fn the_path_goes_through_the_slowest_chapter_and_its_last_segment() {
        let task = |number: u128, kind: &str, chapter, segment| Attempted {
            task: Uuid::from_u128(number),
            kind: kind.into(),
            chapter,
            segment,
            started: 0.0,
            finished: 0.0,
            recorded: 0.0,
        };
        let attempts = [
            task(1, "outline", 0, 0),
            task(2, "script", 0, 0),
            task(3, "script", 1, 0),
            task(4, "tts", 0, 0),
            task(5, "tts", 1, 0),
            task(6, "tts", 1, 1),
        ];
        let id = Uuid::from_u128;
        let calls = [
            call(id(1), Endpoint::Chat, 0, 200),
            call(id(2), Endpoint::Chat, 200, 1_300),
            call(id(3), Endpoint::Chat, 200, 3_200),
            call(id(4), Endpoint::Speech, 900, 1_900),
            call(id(5), Endpoint::Speech, 900, 5_900),
            call(id(6), Endpoint::Speech, 3_300, 3_800),
        ];
        let texts = ["x".repeat(60), "x".repeat(60)];
        let path = Path::of(&calls, &attempts, &texts).unwrap();
        assert!((path.all - 3.7).abs() < 1e-9, "{path:?}");
        // 0.2 + 0.1 to the first token + half of the other second + 1.0 to speak it.
        assert!((path.first - 1.8).abs() < 1e-9, "{path:?}");
    }
}
