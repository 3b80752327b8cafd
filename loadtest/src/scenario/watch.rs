//! A user's screen: follows a podcast to its end, connects again when the stream breaks, and notes how late each event was.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use jiff::Timestamp;
use serde::Deserialize;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use super::arrivals::Screen;

/// Before it connects again.
const PAUSE: Duration = Duration::from_millis(200);

/// What a screen showed.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// `completed`, `failed` or `cancelled`, and when it was shown.
    pub end: Option<(String, Instant)>,
    /// From the begin of each event's commit until it was shown, in milliseconds.
    pub lags_ms: Vec<f64>,
    /// The last of them: the notice of the end.
    pub last_lag_ms: Option<f64>,
    /// How often the stream broke off.
    pub breaks: u32,
}

#[derive(Debug, Deserialize)]
struct Event {
    seq: i64,
    at: Timestamp,
    event: String,
}

/// Follows until the podcast has ended; gives up after `patience`.
pub async fn follow(
    client: &reqwest::Client,
    apis: &[String],
    first: usize,
    podcast: Uuid,
    screen: Screen,
    patience: Duration,
) -> Watched {
    let mut watched = Watched::default();
    let mut seen = 0;
    let until_end = async {
        loop {
            let api = &apis[(first + watched.breaks as usize) % apis.len()];
            let broken = match screen {
                Screen::ServerSentEvents => server_sent(client, api, podcast, &mut seen, &mut watched).await,
                Screen::WebSocket => web_socket(api, podcast, &mut seen, &mut watched).await,
            };
            if watched.end.is_some() {
                return;
            }
            // Whatever the reason: a careful client connects again and misses nothing.
            drop(broken);
            watched.breaks += 1;
            tokio::time::sleep(PAUSE).await;
        }
    };
    // Without an end in time there is none in what was watched.
    let _ = tokio::time::timeout(patience, until_end).await;
    watched
}

impl Watched {
    fn show(&mut self, json: &str, seen: &mut i64) -> anyhow::Result<()> {
        let event: Event = serde_json::from_str(json).context("an event")?;
        let now = Timestamp::now();
        let lag = now.duration_since(event.at).as_secs_f64() * 1000.0;
        *seen = event.seq;
        self.lags_ms.push(lag);
        if matches!(event.event.as_str(), "completed" | "failed" | "cancelled") {
            self.last_lag_ms = Some(lag);
            self.end = Some((event.event, Instant::now()));
        }
        Ok(())
    }
}

async fn server_sent(
    client: &reqwest::Client,
    api: &str,
    podcast: Uuid,
    seen: &mut i64,
    watched: &mut Watched,
) -> anyhow::Result<()> {
    let url = format!("{api}/v1/podcasts/{podcast}/events?after={seen}");
    let mut body = client.get(url).send().await?.error_for_status()?.bytes_stream();
    let mut text = Vec::new();
    while let Some(piece) = body.next().await {
        text.extend_from_slice(&piece?);
        while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = text.drain(..end + 2).collect();
            let block = String::from_utf8_lossy(&block);
            if let Some(data) = block.lines().find_map(|line| line.strip_prefix("data:")) {
                watched.show(data, seen)?;
            }
        }
        if watched.end.is_some() {
            return Ok(());
        }
    }
    bail!("the stream ended before the podcast did")
}

async fn web_socket(api: &str, podcast: Uuid, seen: &mut i64, watched: &mut Watched) -> anyhow::Result<()> {
    let url = format!("{}/v1/podcasts/{podcast}/ws?after={seen}", api.replacen("http", "ws", 1));
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
    while let Some(message) = socket.next().await {
        match message? {
            Message::Text(text) => watched.show(&text, seen)?,
            Message::Ping(data) => socket.send(Message::Pong(data)).await?,
            Message::Close(_) => break,
            _ => {}
        }
        if watched.end.is_some() {
            socket.close(None).await.ok();
            return Ok(());
        }
    }
    bail!("the WebSocket ended before the podcast did")
}
