//! Providers that misbehave: what `docs/providers.md` says of each is what the fleet does, and the command that runs them.

mod case;
mod course;
mod document;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, ensure};
use common::config::Policy;
use loadtest::providers::{Endpoint, Length, Misbehaviour, Provider, Settings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::fleet::{Fleet, PATIENCE, Servers, Setup};
use case::{Case, Stage};
use document::Row;

/// Of a whole call, until its answer begins, and from one piece of it to the next. What is long is long enough for a busy machine.
const TIMEOUT_MS: u64 = 30_000;
const FIRST_BYTE_TIMEOUT_MS: u64 = 8000;
const IDLE_TIMEOUT_MS: u64 = 8000;

/// The shipped policy, hurried.
fn hurried() -> Policy {
    Policy { base_ms: 50, max_failures: 3, max_throttles: 3, ..Policy::default() }
}

fn setup(provider: &Provider) -> Setup {
    Setup::default()
        .with_speech_server(&provider.url())
        .with("ENGINES__TONES__TIMEOUT_MS", TIMEOUT_MS)
        .with("ENGINES__TONES__FIRST_BYTE_TIMEOUT_MS", FIRST_BYTE_TIMEOUT_MS)
        .with("ENGINES__TONES__IDLE_TIMEOUT_MS", IDLE_TIMEOUT_MS)
        .with("ENGINES__TONES__CONCURRENCY", 64)
        // Each row is for itself, though all of them use one engine at the same time.
        .with("ENGINES__TONES__BREAKER__FAILURES", 0)
        .with("WORKER__CONCURRENCY", 64)
        .with("POLICY__BASE_MS", hurried().base_ms)
        .with("POLICY__MAX_FAILURES", hurried().max_failures)
        .with("POLICY__MAX_THROTTLES", hurried().max_throttles)
}

pub(crate) async fn the_table_for_speech_is_true(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let rows = document::rows("Speech", Endpoint::Speech)?;
    document::check(&rows, Stage::Speech)?;
    let provider = Provider::start(Settings::default()).await?;
    let fleet = Fleet::start(servers, "providers", setup(&provider)).await?;
    let mut wrong = Vec::new();
    for throttled in [false, true] {
        let mut cases = Vec::new();
        for row in rows.iter().filter(|row| throttles(row) == throttled) {
            for once in [false, true] {
                cases.extend(case::submit(&fleet, &provider, row, Stage::Speech, once, None).await?);
            }
        }
        wrong.extend(wrongs(&fleet, &provider, &cases).await?);
    }
    ensure!(wrong.is_empty(), "docs/providers.md says otherwise:\n{}", wrong.join("\n"));
    ensure!(provider.ledger().duplicates().is_empty(), "paid twice: {:?}", provider.ledger().duplicates());
    fleet.at_rest().await?;
    fleet.stop().await
}

pub(crate) async fn the_tables_for_writing_are_true(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let outlines = document::rows("Outlines", Endpoint::Chat)?;
    document::check(&outlines, Stage::Outline)?;
    let scripts = document::rows("Scripts", Endpoint::Chat)?;
    document::check(&scripts, Stage::Script)?;
    let mut settings = Settings::default();
    settings.speech.length = Length::Natural;
    let provider = Provider::start(settings).await?;
    let setup = setup(&provider)
        .with("ENGINES__WRITER__TYPE", "openai")
        .with("ENGINES__WRITER__KINDS", "outline,script")
        .with("ENGINES__WRITER__URL", provider.url())
        .with("ENGINES__WRITER__MODEL", "simulated")
        .with("ENGINES__WRITER__TIMEOUT_MS", TIMEOUT_MS)
        .with("ENGINES__WRITER__FIRST_BYTE_TIMEOUT_MS", FIRST_BYTE_TIMEOUT_MS)
        .with("ENGINES__WRITER__IDLE_TIMEOUT_MS", IDLE_TIMEOUT_MS)
        .with("ENGINES__WRITER__CONCURRENCY", 64)
        .with("ENGINES__WRITER__BREAKER__FAILURES", 0)
        .with("DEFAULTS__OUTLINE", "writer")
        .with("DEFAULTS__SCRIPT", "writer");
    let mut fleet = Fleet::start(servers, "providers-writing", setup).await?;
    let tables = [(Stage::Outline, outlines), (Stage::Script, scripts)];
    let wrong = run_writing(&mut fleet, &provider, &tables).await?;
    ensure!(wrong.is_empty(), "docs/providers.md says otherwise:\n{}", wrong.join("\n"));
    ensure!(provider.ledger().duplicates().is_empty(), "paid twice: {:?}", provider.ledger().duplicates());
    fleet.at_rest().await?;
    fleet.stop().await
}

/// A worker remembers of a server which form of asking it refused, so what a server may refuse with is run apart from the rest,
/// and each time by a worker that knows nothing yet.
async fn run_writing(
    fleet: &mut Fleet,
    provider: &Provider,
    tables: &[(Stage, Vec<Row>)],
) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (stage, rows) in tables {
        // Most that are met once become an episode, and all of them at once are much to speak.
        for (throttled, once) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut cases = Vec::new();
            for row in rows.iter().filter(|row| !may_refuse(row) && throttles(row) == throttled) {
                cases.extend(case::submit(fleet, provider, row, *stage, once, None).await?);
            }
            wrong.extend(wrongs(fleet, provider, &cases).await?);
        }
    }
    for once in [false, true] {
        for (stage, rows) in tables {
            for row in rows.iter().filter(|row| may_refuse(row)) {
                for status in statuses(row, once) {
                    if let Some(case) = case::submit(fleet, provider, row, *stage, once, *status).await? {
                        wrong.extend(wrongs(fleet, provider, &[case]).await?);
                        replace_worker(fleet).await?;
                    }
                }
            }
        }
    }
    Ok(wrong)
}

/// A server that refuses calls because they are too many is asked fewer at a time from then on, and then one row waits for another.
/// So these come last.
fn throttles(row: &Row) -> bool {
    use Misbehaviour::{NoCredit, Throttled, ThrottledDate};
    matches!(row.misbehaviour, NoCredit | Throttled | ThrottledDate)
}

fn may_refuse(row: &Row) -> bool {
    use Misbehaviour::{FormatRefused, SchemaRefused, ServerError};
    matches!(row.misbehaviour, FormatRefused | SchemaRefused | ServerError)
}

/// A format is refused with any of these.
fn statuses(row: &Row, once: bool) -> &'static [Option<u16>] {
    let refuses = matches!(row.misbehaviour, Misbehaviour::FormatRefused | Misbehaviour::SchemaRefused);
    if refuses && !once { &[None, Some(422), Some(500)] } else { &[None] }
}

async fn replace_worker(fleet: &mut Fleet) -> anyhow::Result<()> {
    fleet.role("worker").signal(Signal::SIGTERM);
    let status = fleet.role("worker").exit().await?;
    ensure!(status.success(), "the worker ended with {status}");
    fleet.roles.retain(|role| !role.name.starts_with("worker"));
    fleet.spawn("worker", &[]).await
}

/// Where the fleet did otherwise than the table says.
async fn wrongs(fleet: &Fleet, provider: &Provider, cases: &[Case]) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for case in cases {
        let ended = fleet.ended(&case.podcast).await?;
        let attempts = case::attempts(fleet, case).await?;
        if let Err(error) = case::check(case, &ended, &attempts, &provider.ledger()) {
            wrong.push(format!("{}: {error:#}", name(case)));
        }
    }
    Ok(wrong)
}

fn name(case: &Case) -> String {
    let once = if case.once { ", once" } else { "" };
    let status = case.status.map(|status| format!(" with {status}")).unwrap_or_default();
    format!("{:?} {}{status}{once}", case.stage, case.row.misbehaviour.name())
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
