//! Follows a podcast to its end, through whatever happens to the connection: it goes on after the last event seen.

use std::time::Duration;

use anyhow::Context;
use common::backoff::Reconnect;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::shapes::{Event, Podcast};
use super::{Client, sse};
use crate::failure::Failure;

/// How long a server may be away before the client gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Tells every event from the first on, as it was sent and as it is understood, and returns when the podcast is finished.
pub(crate) async fn follow(
    client: &Client,
    id: Uuid,
    mut tell: impl FnMut(&Value, &Event) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut last_seen = 0;
    let mut backoff = Reconnect::default();
    let mut away_since: Option<Instant> = None;
    loop {
        let before = last_seen;
        match follow_once(client, id, &mut last_seen, &mut tell).await {
            Ok(true) => return Ok(()),
            // The server ended the stream. A podcast that has ended meanwhile may have no more events to tell.
            Ok(false) if is_finished(client, id).await => return Ok(()),
            Ok(false) => {}
            Err(error) if is_final(&error) => return Err(error),
            Err(error) => {
                if away_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                    let advice =
                        format!("the podcast goes on without us; `podfleet watch {id}` follows it again");
                    return Err(error.context(advice));
                }
            }
        }
        if last_seen > before {
            backoff.reset();
            away_since = None;
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// Follows one connection to its end; true when the podcast is finished. The server ends the stream after the last event, and
/// only then: an end in the middle of it was undone by a replay.
async fn follow_once(
    client: &Client,
    id: Uuid,
    last_seen: &mut i64,
    tell: &mut impl FnMut(&Value, &Event) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let mut body = client.events(id, *last_seen).await?.bytes_stream();
    let mut parser = sse::Parser::default();
    let mut ended = false;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| client.unreachable(&error))?;
        for data in parser.feed(&piece)? {
            let sent: Value = serde_json::from_str(&data).context("reading an event")?;
            let event = Event::deserialize(&sent).context("reading an event")?;
            // After a reconnection the server may tell again what it is not sure to have told.
            if event.seq <= *last_seen {
                continue;
            }
            *last_seen = event.seq;
            tell(&sent, &event)?;
            ended = event.is_last();
        }
    }
    Ok(ended)
}

async fn is_finished(client: &Client, id: Uuid) -> bool {
    let answer = client.get(&format!("/v1/podcasts/{id}")).await;
    let podcast = answer.ok().and_then(|value| serde_json::from_value::<Podcast>(value).ok());
    podcast.is_some_and(|podcast| podcast.is_finished())
}

/// Whether asking again cannot help: the server has understood, and refused.
fn is_final(error: &anyhow::Error) -> bool {
    match error.downcast_ref() {
        Some(Failure::Refused(problem)) => !matches!(problem.status, 429 | 500..),
        Some(Failure::Unreachable(_)) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::stand_in::StandIn;
    use super::*;

    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

    fn event(seq: i64, name: &str) -> String {
        format!(
            "id: {seq}\nevent: {name}\ndata: {{\"seq\": {seq}, \"at\": \"2026-01-01T00:00:00Z\", \"event\": \"{name}\"}}\n\n"
        )
    }

    async fn followed(answers: Vec<String>) -> (anyhow::Result<()>, Vec<i64>, Vec<String>) {
        let server = StandIn::start(answers).await;
        let client = Client::at(&server.address, None).unwrap();
        let mut seen = Vec::new();
        let ended = follow(&client, Uuid::nil(), |_, event| {
            seen.push(event.seq);
            Ok(())
        })
        .await;
        (ended, seen, server.requests().await)
    }

    #[tokio::test]
    async fn a_broken_stream_goes_on_after_the_last_event_and_tells_nothing_twice() {
        let running = r#"{"id": "00000000-0000-0000-0000-000000000000", "state": "running", "created_at": "2026-01-01T00:00:00Z"}"#;
        let (ended, seen, requests) = followed(vec![
            format!("{HEAD}{}{}", event(1, "accepted"), event(2, "progress")),
            format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{running}",
                running.len()
            ),
            format!("{HEAD}{}{}", event(2, "progress"), event(3, "completed")),
        ])
        .await;
        ended.unwrap();
        assert_eq!(seen, [1, 2, 3]);
        assert!(requests[0].contains("last-event-id: 0\r\n"), "{}", requests[0]);
        assert!(requests[2].contains("last-event-id: 2\r\n"), "{}", requests[2]);
    }

    #[tokio::test]
    async fn a_server_that_is_restarting_is_waited_for() {
        let away =
            "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned();
        let (ended, seen, _) =
            followed(vec![String::new(), away, format!("{HEAD}{}", event(5, "failed"))]).await;
        ended.unwrap();
        assert_eq!(seen, [5]);
    }

    #[tokio::test]
    async fn an_end_that_a_replay_undid_is_not_the_end() {
        let events = [event(1, "failed"), event(2, "replayed"), event(3, "completed")].concat();
        let (ended, seen, _) = followed(vec![format!("{HEAD}{events}")]).await;
        ended.unwrap();
        assert_eq!(seen, [1, 2, 3]);
    }

    #[tokio::test]
    async fn an_unknown_podcast_is_an_error_at_once() {
        let unknown = "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 22\r\n\r\n{\"title\": \"not found\"}";
        let (ended, seen, requests) = followed(vec![unknown.to_owned()]).await;
        assert!(ended.unwrap_err().to_string().contains("not found (404)"));
        assert!(seen.is_empty() && requests.len() == 1);
    }
}
