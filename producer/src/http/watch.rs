//! Following a podcast: server-sent events and a WebSocket, with the same events. Both resume after a `seq`.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use common::store::reading;
use futures_util::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use super::App;
use super::extract::{Params, PodcastId, unknown};
use super::problem::Problem;
use crate::Caller;
use crate::live::{Notice, Watch};

/// Proxies close connections that are silent for longer.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A WebSocket whose other end says nothing for this long, pongs included, is gone.
const SILENCE: Duration = Duration::from_secs(50);
/// A message that cannot be sent within this ends the WebSocket.
const SENDING: Duration = Duration::from_secs(10);
/// Nothing but control frames is expected from a watcher.
const MAX_INBOUND: usize = 4 * 1024;

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EventsQuery")]
pub(super) struct From {
    /// The `seq` of the last event seen.
    #[schemars(range(min = 0))]
    after: Option<i64>,
}

/// Server-sent events. When everything has been told already, 204 tells an `EventSource` to stop.
pub(super) async fn events(
    State(app): State<App>,
    caller: Caller,
    PodcastId(id): PodcastId,
    Params(from): Params<From>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = after(from, &headers)?;
    let Some(watch) = watch(&app, &caller, id, after).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let stream = stream::unfold(Some((watch, app, caller)), |state| async {
        let (mut watch, app, caller) = state?;
        let notice = tokio::select! {
            notice = watch.next() => notice?,
            () = closed(&app, &caller) => return None,
        };
        let event = Ok::<_, Infallible>(server_sent(&notice));
        Some((event, (!notice.last).then_some((watch, app, caller))))
    });
    let mut response = Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // nginx would collect the events otherwise.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Returns when the caller's key does not open any more.
pub(super) async fn closed(app: &App, caller: &Caller) {
    match caller.key {
        Some(key) => app.env.keyring.closed(key).await,
        None => std::future::pending().await,
    }
}

fn server_sent(notice: &Notice) -> sse::Event {
    sse::Event::default().id(notice.event.seq.to_string()).event(&notice.event.event).data(json(notice))
}

fn json(notice: &Notice) -> String {
    serde_json::to_string(&*notice.event).unwrap_or_default()
}

/// After which event to begin: a reconnecting `EventSource` says so in a header.
pub(super) fn after(from: From, headers: &HeaderMap) -> Result<i64, Problem> {
    let asked = from.after.unwrap_or(0);
    let number: Option<i64> = match headers.get("last-event-id").filter(|value| !value.is_empty()) {
        Some(value) => value.to_str().ok().and_then(|text| text.parse().ok()),
        None => Some(asked),
    };
    number.filter(|seq| *seq >= 0 && asked >= 0).ok_or_else(|| {
        Problem::bad_request(
            "after",
            "it is not the number of an event",
            "Give the `seq` of the last event seen, or 0",
        )
    })
}

/// `None`: the podcast has ended, and nothing comes after `seq`.
pub(super) async fn watch(app: &App, caller: &Caller, id: Uuid, seq: i64) -> Result<Option<Watch>, Problem> {
    let found = app.read(async |client| reading::podcast(client, &caller.tenant, id).await).await?;
    let podcast = found.ok_or_else(|| unknown(id))?;
    if podcast.state != "running" && seq >= podcast.seq {
        return Ok(None);
    }
    match app.env.hub.watch(id, seq, podcast.seq) {
        Some(watch) => Ok(Some(watch)),
        None => {
            let detail =
                "Too many watch podcasts here already. Try again in a moment, or ask for the podcast itself";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_after(10))
        }
    }
}

pub(super) async fn websocket(
    State(app): State<App>,
    caller: Caller,
    PodcastId(id): PodcastId,
    Params(from): Params<From>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let after = after(from, &HeaderMap::new())?;
    let upgrade = upgrade.map_err(|_| {
        let detail = "This address speaks WebSocket. Open it as one, or use …/events, which is plain HTTP";
        Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade-required", detail)
            .header(header::UPGRADE, HeaderValue::from_static("websocket"))
    })?;
    let watch = watch(&app, &caller, id, after).await?;
    let upgrade = upgrade.max_message_size(MAX_INBOUND).max_frame_size(MAX_INBOUND);
    Ok(upgrade.on_upgrade(async move |mut socket| {
        let (code, reason) = match watch {
            Some(watch) => tokio::select! {
                end = follow(&mut socket, watch) => end,
                () = closed(&app, &caller) => (close_code::POLICY, "the key was revoked or has expired"),
            },
            None => (close_code::NORMAL, "the podcast has ended"),
        };
        let farewell = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        tokio::time::timeout(SENDING, socket.send(farewell)).await.ok();
    }))
}

/// Sends events until the last. Returns why it stops.
async fn follow(socket: &mut WebSocket, mut watch: Watch) -> (u16, &'static str) {
    let mut ping = tokio::time::interval(KEEP_ALIVE);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    let mut heard = Instant::now();
    loop {
        let (message, last) = tokio::select! {
            notice = watch.next() => match notice {
                Some(notice) => (Message::Text(json(&notice).into()), notice.last),
                None => return (close_code::AGAIN, "connect again with ?after= the last seq seen"),
            },
            inbound = socket.recv() => match inbound {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return (close_code::NORMAL, ""),
                Some(Ok(_)) => {
                    heard = Instant::now();
                    continue;
                }
            },
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE {
                    return (close_code::POLICY, "no pong came back");
                }
                (Message::Ping(bytes::Bytes::new()), false)
            }
        };
        match tokio::time::timeout(SENDING, socket.send(message)).await {
            Ok(Ok(())) if last => return (close_code::NORMAL, "the podcast has ended"),
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return (close_code::AWAY, ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_resumes_after_what_it_has_seen() {
        let mut headers = HeaderMap::new();
        assert_eq!(after(From { after: None }, &headers).unwrap(), 0);
        assert_eq!(after(From { after: Some(3) }, &headers).unwrap(), 3);
        assert!(after(From { after: Some(-1) }, &headers).is_err());
        headers.insert("last-event-id", HeaderValue::from_static("7"));
        assert_eq!(
            after(From { after: Some(3) }, &headers).unwrap(),
            7,
            "what the browser has seen is later"
        );
        headers.insert("last-event-id", HeaderValue::from_static("x"));
        assert!(after(From { after: None }, &headers).is_err());
    }
}
