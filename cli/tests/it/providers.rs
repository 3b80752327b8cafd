//! Providers that misbehave: what `docs/providers.md` says of each is what the fleet does, and the command that runs them.

mod course;
mod document;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use common::class::Class;
use common::config::{Engines, Policy};
use jiff::Timestamp;
use loadtest::providers::{Endpoint, Misbehaviour, Provider, Rule, Settings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::fleet::{Fleet, PATIENCE, Servers, Setup};
use course::{Course, course};
use document::{Row, says};

/// Shorter than the shortest wait for an engine that cannot work.
const DEADLINE_S: u64 = 25;
/// Long enough for a busy machine.
const TIMEOUT_MS: u64 = 10_000;
/// What the provider asks for when it throttles.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The shipped policy, hurried.
fn hurried() -> Policy {
    Policy { base_ms: 50, max_failures: 3, max_throttles: 3, ..Policy::default() }
}

/// A podcast of which one piece of work meets a misbehaviour.
struct Case {
    row: Row,
    class: Class,
    /// The word that the rule looks for.
    marker: String,
    /// It is met once, or by every call.
    once: bool,
    podcast: String,
}

/// An attempt as the database has it.
struct Attempt {
    class: String,
    started_at: Timestamp,
    finished_at: Timestamp,
}

pub(crate) async fn the_table_for_speech_is_true(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let rows = document::rows("Speech", Endpoint::Speech)?;
    check_against_the_shipped_policy(&rows)?;
    let provider = Provider::start(Settings::default()).await?;
    let setup = Setup::default()
        .with_speech_server(&provider.url())
        .with("ENGINES__TONES__TIMEOUT_MS", TIMEOUT_MS)
        .with("ENGINES__TONES__CONCURRENCY", 64)
        .with("WORKER__CONCURRENCY", 64)
        .with("POLICY__BASE_MS", hurried().base_ms)
        .with("POLICY__MAX_FAILURES", hurried().max_failures)
        .with("POLICY__MAX_THROTTLES", hurried().max_throttles);
    let fleet = Fleet::start(servers, "providers", setup).await?;
    let mut cases = Vec::new();
    for (number, row) in rows.into_iter().enumerate() {
        cases.extend(submit(&fleet, &provider, number, row).await?);
    }
    let mut wrong = Vec::new();
    for case in &cases {
        let ended = fleet.ended(&case.podcast).await?;
        let attempts = attempts_at_speech(&fleet, case).await?;
        if let Err(error) = check(case, &ended, &attempts) {
            wrong.push(format!(
                "{}{}: {error}",
                case.row.misbehaviour.name(),
                if case.once { ", once" } else { "" }
            ));
        }
    }
    ensure!(wrong.is_empty(), "docs/providers.md says otherwise:\n{}", wrong.join("\n"));
    ensure!(provider.ledger().duplicates().is_empty(), "paid twice: {:?}", provider.ledger().duplicates());
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Attempts and times in the table are those of the policy and the time-out that are shipped.
fn check_against_the_shipped_policy(rows: &[Row]) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for row in rows {
        let class = class(row)?;
        let expected = course(&Policy::default(), class, retry_after(row));
        let cells = (expected.attempts_cell(), expected.time_cell(class));
        let written = (row.attempts.clone(), row.time.clone());
        if cells != written {
            wrong.push(format!("{}: {written:?} should be {cells:?}", row.misbehaviour.name()));
        }
    }
    ensure!(wrong.is_empty(), "docs/providers.md says otherwise:\n{}", wrong.join("\n"));
    let engine = json!({"x": {"type": "openai", "kinds": ["tts"], "url": "http://x"}});
    let engines: Engines = serde_json::from_value(engine)?;
    let timeout_ms = engines.get("x").context("an engine")?.timeout_ms;
    ensure!(timeout_ms == 60_000, "the table reckons with a time-out of 60 s, not {timeout_ms} ms");
    Ok(())
}

fn class(row: &Row) -> anyhow::Result<Class> {
    let name = if row.class == "—" { "success" } else { &row.class };
    Ok(serde_json::from_value(Value::String(name.to_owned()))?)
}

fn retry_after(row: &Row) -> Option<Duration> {
    let asks = matches!(row.misbehaviour, Misbehaviour::Throttled | Misbehaviour::ThrottledDate);
    asks.then_some(RETRY_AFTER)
}

/// One podcast that meets the misbehaviour at every call, and where that is tried again soon, one that meets it once.
async fn submit(fleet: &Fleet, provider: &Provider, number: usize, row: Row) -> anyhow::Result<Vec<Case>> {
    let class = class(&row)?;
    let retried = matches!(course(&hurried(), class, None), Course::GivenUp { .. });
    let mut cases = Vec::new();
    for once in if retried { vec![false, true] } else { vec![false] } {
        let letter = char::from(b'a' + u8::try_from(number)?);
        let marker = format!("Marker{letter}{}", if once { "x" } else { "z" });
        let mut rule = Rule::new(row.misbehaviour).at(Endpoint::Speech).on(&marker);
        rule.times = once.then_some(1);
        provider.add_rules(vec![rule])?;
        let text = format!(
            "# Trouble\n\n## Part one\n\nThis is sentence 1 of a short case.\n\nHere the word {marker} stands in sentence 2 of it.\n"
        );
        let mut request = json!({"source": {"text": text}, "language": "en"});
        if row.time == "at the deadline" {
            request["deadline_seconds"] = json!(DEADLINE_S);
        }
        let podcast = fleet.submit(&request).await?;
        cases.push(Case { row: row.clone(), class, marker, once, podcast });
    }
    Ok(cases)
}

async fn attempts_at_speech(fleet: &Fleet, case: &Case) -> anyhow::Result<Vec<Attempt>> {
    let rows = fleet
        .query(&format!(
            "select a.class, a.started_at, a.finished_at from attempts a
             join tasks t on t.podcast_id = a.podcast_id and t.id = a.task_id
             join segments s on s.podcast_id = t.podcast_id and s.chapter = t.chapter and s.segment = t.segment
             where t.podcast_id = '{}' and t.kind = 'tts' and s.text like '%{}%' order by a.attempt",
            case.podcast, case.marker
        ))
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Attempt { class: row.try_get(0)?, started_at: row.try_get(1)?, finished_at: row.try_get(2)? })
        })
        .collect()
}

fn check(case: &Case, ended: &Value, attempts: &[Attempt]) -> anyhow::Result<()> {
    let classes: Vec<&str> = attempts.iter().map(|attempt| attempt.class.as_str()).collect();
    let message = ended["failure"]["message"].as_str().unwrap_or("the episode");
    let state = match (ended["state"].as_str().unwrap_or_default(), ended["failure"]["class"].as_str()) {
        (state, Some(class)) if class != case.row.class => format!("{state}, {class}"),
        (state, _) => state.to_owned(),
    };
    let seen = format!("attempts {classes:?}, {state}: {message}");
    if case.once {
        ensure!(classes == [case.row.class.as_str(), "success"] && state == "completed", "{seen}");
        return Ok(());
    }
    let course = course(&hurried(), case.class, retry_after(&case.row));
    let count = match course {
        Course::GivenUp { attempts, .. } => usize::try_from(attempts)?,
        // The deadline is nearer than the second attempt.
        Course::Single | Course::UntilDeadline { .. } => 1,
    };
    ensure!(classes == vec![case.class.as_str(); count], "{seen}, wanted {count} of {}", case.class);
    ensure!(state == case.row.state, "{seen}, wanted {}", case.row.state);
    ensure!(says(&case.row.reads, message), "{seen}, wanted {}", case.row.reads);
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
        |name: &str| -> anyhow::Result<Timestamp> { Ok(ended[name].as_str().context("a time")?.parse()?) };
    let took = time("finished_at")?.duration_since(time("created_at")?).unsigned_abs();
    let calls = Duration::from_millis(TIMEOUT_MS) * u32::try_from(attempts.len())?;
    let longest = match course {
        Course::GivenUp { waits, .. } => waits + calls,
        Course::Single => calls,
        Course::UntilDeadline { .. } => Duration::from_secs(DEADLINE_S),
    };
    // What the machine is busy with beside it is not the policy's.
    ensure!(took <= longest + PATIENCE / 4, "it took {took:?}, not {longest:?}");
    Ok(())
}

pub(crate) async fn the_command_serves_until_it_is_told_to_leave(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let folder = servers.folder("providers-command")?;
    let rules = folder.join("rules.toml");
    std::fs::write(&rules, "[speech]\nlength = \"natural\"\n[[rules]]\ndo = \"html\"\ntimes = 1\n")?;
    let command = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podfleet"));
        command.args(["loadtest", "providers"]).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command
    };
    let rules = rules.to_str().context("a path")?;
    let mut running = command(&["--bind", "127.0.0.1:0", "--json", "--rules", rules])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(running.stdout.take().context("its output")?).lines();
    let mut first = String::new();
    while serde_json::from_str::<Value>(&first).is_err() {
        first.push_str(&lines.next_line().await?.context("an address")?);
    }
    let url = serde_json::from_str::<Value>(&first)?["url"].as_str().context("an address")?.to_owned();
    let http = reqwest::Client::new();
    for start in ["<!DOCTYPE", "RIFF"] {
        let body = json!({"input": "One, 1.", "voice": "v", "response_format": "wav"});
        let answer = http.post(format!("{url}/v1/audio/speech")).json(&body).send().await?.bytes().await?;
        ensure!(answer.starts_with(start.as_bytes()), "{start}");
    }
    let ledger: BTreeMap<String, Value> = http.get(format!("{url}/ledger")).send().await?.json().await?;
    ensure!(ledger["total"] == 2 && ledger["calls"][0]["rule"] == "html", "{ledger:?}");
    kill(Pid::from_raw(running.id().context("a running command")? as i32), Signal::SIGINT)?;
    let output = tokio::time::timeout(PATIENCE, running.wait_with_output()).await??;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success() && told.contains("2 calls"), "{}: {told}", output.status);
    for (arguments, words) in [
        (&["--bind", "0.0.0.0:0"][..], "give the provider a key"),
        (&["--rules", "/nowhere.toml"], "/nowhere.toml"),
    ] {
        let output = command(arguments).output().await?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(2) && told.contains(words), "{arguments:?}: {told}");
    }
    Ok(())
}
