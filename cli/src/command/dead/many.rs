//! `podfleet dead replay --kind …`, `dead replays`, `dead progress` and `dead cancel`: many letters, in steps.

use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::because;
use crate::args::dead::{DeadFilter, DeadMany, DeadReplay, DeadReplays};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{columns, own_name, print, print_json, remark};

/// How often the progress is asked for.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Progress {
    id: Uuid,
    #[serde(default)]
    state: String,
    remark: Option<String>,
    #[serde(default)]
    by: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    total: i64,
    #[serde(default)]
    replayed: i64,
    #[serde(default)]
    skipped: i64,
    #[serde(default)]
    failed: i64,
    #[serde(default)]
    waiting: i64,
    #[serde(default)]
    step: i64,
}

#[derive(Debug, Deserialize)]
struct DryRun {
    letters: i64,
    #[serde(default)]
    not_replayable: i64,
    #[serde(default)]
    podcasts: i64,
    #[serde(default)]
    requests: i64,
    #[serde(default)]
    work: Vec<Work>,
    cost_micros: Option<i64>,
    #[serde(default)]
    rate_per_minute: i64,
}

#[derive(Debug, Deserialize)]
struct Work {
    kind: String,
    engine: String,
    tasks: i64,
    units: Option<i64>,
}

pub(super) async fn run(options: DeadReplay) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    if serde_json::to_value(&options.filter)? == json!({}) && !options.all {
        let advice =
            "name letters, or a filter such as --fingerprint or --kind; --all means every open letter";
        return Err(Failure::Usage(advice.into()).into());
    }
    let wish = wish(&options.filter, &options);
    let answer = client.post("/v1/dead-letters/replay", &wish).await?;
    if options.dry_run {
        if options.server.json {
            return print_json(&answer);
        }
        let dry: DryRun = serde_json::from_value(answer).context("reading the server's answer")?;
        return print(estimate(&dry));
    }
    let begun: Progress = serde_json::from_value(answer.clone()).context("reading the server's answer")?;
    if options.detach {
        if options.server.json {
            return print_json(&answer);
        }
        return print(format_args!(
            "{}  {} letters; `{} dead progress` follows it",
            begun.id,
            begun.total,
            own_name()
        ));
    }
    let leave = format!(
        "replay {}: {} letters; it goes on without this command, and `{} dead cancel {}` ends it",
        begun.id,
        begun.total,
        own_name(),
        begun.id
    );
    remark(leave);
    follow(&client, begun.id, options.server.json).await
}

fn wish(filter: &DeadFilter, options: &DeadReplay) -> Value {
    let mut wish = json!({ "filter": filter, "dry_run": options.dry_run });
    if let Some(rate) = options.rate {
        wish["rate_per_minute"] = json!(rate);
    }
    if !options.dry_run {
        wish["reason"] = because(options.reason.as_deref());
    }
    wish
}

pub(super) async fn list(options: DeadReplays) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let answer = client.get(&format!("/v1/replays?limit={}", options.limit)).await?;
    if options.server.json {
        return print_json(&answer);
    }
    let replays: Vec<Progress> =
        serde_json::from_value(answer["replays"].clone()).context("reading the server's answer")?;
    if replays.is_empty() {
        remark("letters were never replayed in bulk");
        return Ok(());
    }
    let row = |replay: &Progress| {
        vec![replay.id.to_string(), line(replay), replay.by.clone(), replay.reason.clone()]
    };
    print(columns(&["ID", "STATE", "BY", "REASON"], replays.iter().map(row).collect()))
}

pub(super) async fn progress(options: DeadMany) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    follow(&client, options.id, options.server.json).await
}

pub(super) async fn cancel(options: DeadMany) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let answer = client.delete(&format!("/v1/replays/{}", options.id)).await?;
    if options.server.json {
        return print_json(&answer);
    }
    let progress: Progress = serde_json::from_value(answer).context("reading the server's answer")?;
    print(line(&progress))
}

/// To its end. One that stopped, or was cancelled, is a failure of the command.
async fn follow(client: &Client, id: Uuid, as_json: bool) -> anyhow::Result<()> {
    let mut told: Option<Progress> = None;
    loop {
        let answer = client.get(&format!("/v1/replays/{id}")).await?;
        let progress: Progress =
            serde_json::from_value(answer.clone()).context("reading the server's answer")?;
        if progress.state != "running" {
            if as_json {
                print_json(&answer)?;
            } else {
                print(line(&progress))?;
            }
            return ended(&progress);
        }
        if told.as_ref() != Some(&progress) && !as_json {
            remark(line(&progress));
        }
        told = Some(progress);
        tokio::time::sleep(LOOK).await;
    }
}

fn ended(progress: &Progress) -> anyhow::Result<()> {
    match (progress.state.as_str(), progress.failed) {
        ("completed", 0) => Ok(()),
        ("completed", failed) => anyhow::bail!("{failed} letters could not be replayed"),
        (state, _) => anyhow::bail!(
            "the replay {state}: {}",
            progress.remark.as_deref().unwrap_or("no reason was given")
        ),
    }
}

fn line(progress: &Progress) -> String {
    let mut text = format!(
        "{}: {} of {} replayed, {} waiting",
        progress.state, progress.replayed, progress.total, progress.waiting
    );
    for (count, what) in [(progress.skipped, "skipped"), (progress.failed, "failed")] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    if progress.state == "running" {
        text.push_str(&format!(", step {}", progress.step));
    }
    text
}

fn estimate(dry: &DryRun) -> String {
    let mut lines = vec![format!(
        "{} letters would be replayed: {} podcasts go on, {} requests are handed in again",
        dry.letters, dry.podcasts, dry.requests
    )];
    for work in &dry.work {
        let units = work.units.map(|units| format!(", about {units} units")).unwrap_or_default();
        lines.push(format!("  {} {} tasks with {}{units}", work.tasks, work.kind, work.engine));
    }
    lines.push(match dry.cost_micros {
        #[allow(clippy::cast_precision_loss)]
        Some(micros) => format!("  cost: about {:.2}, for the work that is known now", micros as f64 / 1e6),
        None => "  cost: not known; nothing of the kind was paid for in these podcasts yet".into(),
    });
    if dry.not_replayable > 0 {
        lines.push(format!(
            "  {} more match and cannot be replayed; `dead show` tells why",
            dry.not_replayable
        ));
    }
    lines.push(format!(
        "  in steps of 1, 5, 20, then 100, at most {} a minute; it stops when the same cause returns",
        dry.rate_per_minute
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_tells_count_and_cost() {
        let dry = json!({
            "letters": 7, "podcasts": 6, "requests": 1, "not_replayable": 2, "rate_per_minute": 60, "cost_micros": 1_234_567,
            "work": [{"kind": "tts", "engine": "tones", "tasks": 9, "units": 540, "cost_micros": 1}],
        });
        let text = estimate(&serde_json::from_value(dry).unwrap());
        assert!(text.starts_with("7 letters would be replayed: 6 podcasts go on, 1 requests"), "{text}");
        assert!(
            text.contains("9 tts tasks with tones, about 540 units") && text.contains("about 1.23"),
            "{text}"
        );
        assert!(text.contains("2 more match"), "{text}");
    }

    #[test]
    fn a_replay_that_stopped_is_a_failure() {
        let progress = |state: &str| -> Progress {
            serde_json::from_value(json!({
                "id": Uuid::nil(), "state": state, "remark": "the same cause returned", "total": 9, "replayed": 1, "waiting": 8,
                "step": 1
            }))
            .unwrap()
        };
        assert!(ended(&progress("completed")).is_ok());
        assert!(ended(&progress("stopped")).unwrap_err().to_string().contains("the same cause returned"));
        assert!(ended(&progress("cancelled")).is_err());
        assert_eq!(line(&progress("running")), "running: 1 of 9 replayed, 8 waiting, step 1");
    }
}
