//! One podcast with everything in sequence, as it was made before there was a fleet, and the same podcast on the fleet.

use std::time::Instant;

use anyhow::{Context, ensure};
use common::work::Kind;
use jiff::Timestamp;
use loadtest::probe::{Machine, Sampler};
use loadtest::report::{Better, Document, Figure, Goal};
use loadtest::scenario::arrivals::Screen;
use loadtest::scenario::{self, follow, request};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::one::{self, One};
use super::stage::{Setup, Stage};
use crate::output::remark;

/// Segments at a time, as the performance goals have it.
pub(crate) const SPEECH: u16 = 6;
const POLL: std::time::Duration = std::time::Duration::from_millis(100);

/// Seconds of the podcast that was made step by step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sequence {
    pub(crate) whole: f64,
    pub(crate) scripts: f64,
    pub(crate) speech: f64,
}

pub(super) async fn run(seed: u64, shutdown: &CancellationToken) -> anyhow::Result<Document> {
    let machine = Machine::now();
    let sampler = Sampler::start();
    remark("one podcast in sequence; this takes about 80 s");
    let sequence = in_sequence(seed, shutdown).await?;
    remark("the same podcast on the fleet");
    let one = on_the_fleet(seed, shutdown).await?;
    let (_, others_cores) = sampler.stop().await?;
    Ok(Document {
        scenario: "baseline".to_owned(),
        seed,
        at: Timestamp::now(),
        version: common::process::VERSION.to_owned(),
        machine: machine.after(others_cores),
        setup: json!({
            "sequence": "one script at a time, then one segment at a time, then one chapter mixed at a time",
            "fleet": Setup { speech: SPEECH, ..Setup::default() }.describe(),
        }),
        results: figures(sequence, &one),
        details: json!({"bars": [{
            "title": "One podcast of 5 chapters and 25 segments", "unit": "s", "goal": 12.0,
            "bars": [["everything in sequence", sequence.whole], ["on the fleet", one.completed]],
        }]}),
    })
}

fn figures(sequence: Sequence, one: &One) -> Vec<Figure> {
    let row =
        |id, what, value: f64, reference: f64| Figure::new(id, what, value, "s").against(Some(reference));
    let plain = |id, what, value: f64| Figure::new(id, what, value, "s").better(Better::Lower);
    vec![
        plain("sequence_s", "in sequence: the whole podcast", sequence.whole),
        plain("sequence_scripts_s", "in sequence: its scripts", sequence.scripts),
        plain("sequence_speech_s", "in sequence: its speech", sequence.speech),
        row("podcast_s", "on the fleet: the whole podcast", one.completed, sequence.whole)
            .goal(Goal::AtMost(12.0)),
        row("scripts_s", "on the fleet: its scripts", one.scripts, sequence.scripts).goal(Goal::AtMost(15.0)),
        plain("first_audio_s", "on the fleet: to first audio", one.first_audio),
        plain("providers_s", "the longest chain of the providers' own times", one.providers),
        Figure::new("segments", "segments", f64::from(one.segments), ""),
    ]
}

pub(crate) async fn on_the_fleet(seed: u64, shutdown: &CancellationToken) -> anyhow::Result<One> {
    let setup =
        Setup { producers: 1, workers: 1, collectors: 1, speech: SPEECH, mixers: 5, ..Setup::default() };
    let stage = Stage::start(&setup, scenario::providers(seed, 1.0), shutdown).await?;
    // Another one first: it opens connections, and has the voices heard that nobody has heard before.
    let made = match one::make(&stage, &request(0)).await {
        Ok(_) => one::make(&stage, &request(1)).await,
        failed => failed,
    };
    stage.stop(made.is_ok()).await?;
    made
}

/// A worker that writes one script at a time; when all are written, one that speaks one segment at a time; one mixer.
pub(crate) async fn in_sequence(seed: u64, shutdown: &CancellationToken) -> anyhow::Result<Sequence> {
    let setup = Setup {
        producers: 1,
        workers: 0,
        collectors: 1,
        speech: 1,
        writing: 1,
        mixers: 1,
        ..Setup::default()
    };
    let mut stage = Stage::start(&setup, scenario::providers(seed, 1.0), shutdown).await?;
    let made = sequence(&mut stage).await;
    stage.stop(made.is_ok()).await?;
    made
}

async fn sequence(stage: &mut Stage) -> anyhow::Result<Sequence> {
    let writing = format!("{},{}", Kind::Outline, Kind::Script);
    stage.fleet.add_worker("worker-writing", &["--tasks", &writing, "--concurrency", "1"]);
    let client = reqwest::Client::builder().no_proxy().build()?;
    let started = Instant::now();
    let api = stage.fleet.api.clone();
    let answer = client.post(format!("{api}/v1/podcasts")).json(&request(1)).send().await?;
    let answer: Value = answer.error_for_status()?.json().await?;
    let id: Uuid = answer["id"].as_str().and_then(|id| id.parse().ok()).context("the answer has no id")?;
    loop {
        let podcast: Value = client.get(format!("{api}/v1/podcasts/{id}")).send().await?.json().await?;
        ensure!(podcast["state"] == "running", "the podcast ended too soon: {podcast}");
        let count = |name: &str| podcast["progress"][name].as_u64().unwrap_or(0);
        if count("chapters_total") > 0 && count("chapters_written") == count("chapters_total") {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    let speaking = Kind::Tts.to_string();
    stage.fleet.add_worker("worker-speaking", &["--tasks", &speaking, "--concurrency", "1"]);
    let patience = std::time::Duration::from_secs(600);
    let watched = follow(&client, std::slice::from_ref(&api), 0, id, Screen::WebSocket, patience).await;
    let (end, at) = watched.end.context("the podcast did not end")?;
    ensure!(end == "completed", "the podcast ended as {end}");
    let rows = stage.database()?.courses().await?;
    let row = rows.into_iter().find(|row| row.id == id).context("the podcast's row")?;
    Ok(Sequence {
        whole: at.duration_since(started).as_secs_f64(),
        scripts: row.scripts_ms.context("scripts")? / 1000.0,
        speech: row.speech_ms.context("speech")? / 1000.0,
    })
}
