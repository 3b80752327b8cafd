//! `podfleet replay ID`, `podfleet finish-without ID`, `podfleet retake ID PLACE`, `podfleet erase ID` and `podfleet priority ID PRIORITY`

use serde_json::{Value, json};

use super::submit::wait;
use crate::args::acts::{Erase, FinishWithout, Priority, Replay, Retake};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::progress::Board;

pub(crate) async fn replay(options: Replay) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let wish = json!({ "reason": options.reason.as_deref().unwrap_or("no reason was given") });
    let answer = client.post(&format!("/v1/podcasts/{}/replay", options.id), &wish).await?;
    told(&answer, options.server.json)
}

pub(crate) async fn finish_without(options: FinishWithout) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let mut wish = json!({ "reason": options.reason.as_deref().unwrap_or("no reason was given") });
    if !options.places.is_empty() {
        wish["segments"] = json!(options.places);
    }
    let answer = client.post(&format!("/v1/podcasts/{}/finish-without", options.id), &wish).await?;
    told(&answer, options.server.json)
}

pub(crate) async fn retake(options: Retake) -> anyhow::Result<()> {
    if options.text.is_some() && options.places.len() > 1 {
        let advice = "--text is for one segment; give one place, or leave --text out";
        return Err(Failure::Usage(advice.into()).into());
    }
    let client = Client::new(&options.server)?;
    let segments: Vec<Value> = options
        .places
        .iter()
        .map(|place| json!({ "chapter": place.chapter, "segment": place.segment, "text": options.text }))
        .collect();
    let wish = json!({ "reason": options.reason, "segments": segments });
    let answer = client.post(&format!("/v1/podcasts/{}/revise", options.id), &wish).await?;
    if !options.wait {
        return told(&answer, options.server.json);
    }
    let (shown, podcast) = wait(&client, options.id, &options.id.to_string(), &Board::new()).await?;
    if options.server.json {
        return print_json(&shown);
    }
    print(format_args!("{} is there in generation {}", podcast.title(), shown["generation"]))
}

pub(crate) async fn erase(options: Erase) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let wish = json!({ "reason": options.reason, "dry_run": options.dry_run });
    let answer = client.post(&format!("/v1/podcasts/{}/erase", options.id), &wish).await?;
    if options.server.json {
        return print_json(&answer);
    }
    if options.dry_run {
        return print(format_args!("would erase {}; nothing has happened", extent(&answer["would_erase"])));
    }
    print(format_args!("{} is erased: {}. Its blobs go within minutes", options.id, extent(&answer)))
}

fn extent(answer: &Value) -> String {
    let count = |name: &str| answer[name].as_u64().unwrap_or_default();
    let own = count("blobs").saturating_sub(count("shared_blobs"));
    format!(
        "{} segments, {} dead letters, {own} blobs ({} more stay, because others need them)",
        count("segments"),
        count("dead_letters"),
        count("shared_blobs")
    )
}

pub(crate) async fn priority(options: Priority) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let wish = json!({ "priority": options.priority, "reason": options.reason });
    let answer = client.post(&format!("/v1/podcasts/{}/priority", options.id), &wish).await?;
    if options.server.json {
        return print_json(&answer);
    }
    let moved = match answer["tasks"].as_u64().unwrap_or_default() {
        0 => "nothing of it waits; what comes later goes there".to_owned(),
        1 => "1 task that waits has gone there".to_owned(),
        tasks => format!("{tasks} tasks that wait have gone there"),
    };
    print(format_args!("{} has {} priority now: {moved}", options.id, text(&answer, "priority")))
}

/// What came of it, in the server's words.
fn told(answer: &Value, as_json: bool) -> anyhow::Result<()> {
    if as_json { print_json(answer) } else { print(text(answer, "detail")) }
}

fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or("done")
}
