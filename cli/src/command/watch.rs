//! `podfleet watch`

use std::time::Duration;

use anyhow::Context;

use super::submit::unsuccessful;
use crate::args::One;
use crate::client::Client;
use crate::client::follow::follow;
use crate::client::shapes::{Event, Podcast};
use crate::output::{clock, local, print, spoken};

/// One line an event, until the end. It fails when the podcast did not become an episode.
pub(crate) async fn run(options: One) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let as_json = options.server.json;
    follow(&client, options.id, |sent, event| if as_json { print(sent) } else { print(line(event)) }).await?;
    let value = client.get(&format!("/v1/podcasts/{}", options.id)).await?;
    let podcast: Podcast = serde_json::from_value(value.clone()).context("reading the server's answer")?;
    if podcast.state == "completed" { Ok(()) } else { Err(unsuccessful(&podcast, value).into()) }
}

fn line(event: &Event) -> String {
    let data = &event.data;
    let what = match event.event.as_str() {
        "progress" => {
            format!("{:<9} {}", data.stage, data.progress.of_stage(&data.stage).unwrap_or_default())
        }
        "first_audio" => {
            let after = data.first_audio_ms.map(|ms| format!(" after {}", spoken(Duration::from_millis(ms))));
            format!("audible   {}", after.unwrap_or_default().trim_start())
        }
        "completed" => {
            let length = data.duration_ms.map(|ms| clock(Duration::from_millis(ms))).unwrap_or_default();
            format!("completed {} {length}", data.title.as_deref().unwrap_or_default())
        }
        "failed" => {
            format!("failed    {}", data.failure.as_ref().map(ToString::to_string).unwrap_or_default())
        }
        other => other.to_owned(),
    };
    format!("{}  {}", local(event.at), what.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_one_line_each() {
        let check = |event: &str, data: serde_json::Value, expected: &str| {
            let value = json!({ "seq": 1, "at": "2026-01-01T00:00:00Z", "event": event, "data": data });
            let line = line(&serde_json::from_value(value).unwrap());
            assert_eq!(line.split_once("  ").unwrap().1, expected);
        };
        check("accepted", json!({}), "accepted");
        check("progress", json!({ "stage": "outline" }), "outline");
        let progress = json!({ "segments_total": 12, "segments_done": 3 });
        check(
            "progress",
            json!({ "stage": "tts", "progress": progress }),
            "tts       3 of 12 segments spoken",
        );
        check("first_audio", json!({ "first_audio_ms": 12_000 }), "audible   after 12 s");
        check("completed", json!({ "title": "조수", "duration_ms": 61_000 }), "completed 조수 1:01");
        check("failed", json!({ "failure": { "message": "no text" } }), "failed    no text");
    }
}
