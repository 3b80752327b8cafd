//! One call to a simulated provider.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::settings::{Failing, Settings};
use super::{Ledger, Outcome, locked, tones};

pub(super) struct Shared {
    settings: Settings,
    pub(super) ledger: Mutex<Ledger>,
    random: Mutex<fastrand::Rng>,
    stopping: CancellationToken,
}

/// What is read of a request; the rest is the provider's business, and this one does not mind.
#[derive(Deserialize)]
pub(super) struct Request {
    input: String,
    #[serde(default)]
    voice: String,
}

/// What the rules say about a call.
enum Fate {
    Answer,
    Fail(Failing),
    Stall,
}

impl Shared {
    pub(super) fn new(settings: Settings, stopping: CancellationToken) -> Shared {
        let random = Mutex::new(fastrand::Rng::with_seed(settings.seed));
        Shared { settings, ledger: Mutex::default(), random, stopping }
    }

    /// Calls are counted from 0 in the order of arrival.
    fn fate(&self, call: u64) -> Fate {
        let mut first = 0;
        for failing in &self.settings.failures {
            first += failing.calls;
            if call < first {
                return Fate::Fail(*failing);
            }
        }
        if call < first + self.settings.stalls { Fate::Stall } else { Fate::Answer }
    }
}

pub(super) async fn ledger(State(shared): State<Arc<Shared>>) -> Json<Ledger> {
    Json(locked(&shared.ledger).clone())
}

pub(super) async fn speak(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Json(request): Json<Request>,
) -> Response {
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let place = locked(&shared.ledger).begin(&request.input, request.voice, key);
    // Dropped with this handler when the caller goes away.
    let mut entry = Entry { shared: &shared, place, outcome: Outcome::Abandoned };
    let latency = shared.settings.latency.draw(&mut locked(&shared.random));
    tokio::time::sleep(latency).await;
    match shared.fate(place as u64) {
        Fate::Fail(failing) => {
            entry.outcome = Outcome::Failed(failing.status);
            failed(failing)
        }
        Fate::Stall => {
            shared.stopping.cancelled().await;
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        Fate::Answer => match recording(&shared.settings, &request.input) {
            Ok(wav) => {
                entry.outcome = Outcome::Answered;
                ([(header::CONTENT_TYPE, "audio/wav")], wav).into_response()
            }
            Err(error) => {
                entry.outcome = Outcome::Failed(500);
                problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
            }
        },
    }
}

/// An open line of the ledger, closed with `outcome` whatever happens.
struct Entry<'a> {
    shared: &'a Shared,
    place: usize,
    outcome: Outcome,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        locked(&self.shared.ledger).end(self.place, self.outcome);
    }
}

/// A text without a number says 0.
fn recording(settings: &Settings, text: &str) -> anyhow::Result<Vec<u8>> {
    let samples = tones::encode(tones::number_in(text).unwrap_or(0), settings.length.samples(text));
    tones::wav(&samples)
}

fn failed(failing: Failing) -> Response {
    let status = StatusCode::from_u16(failing.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = problem(status, "a simulated fault");
    if let Some(wait) = failing.retry_after {
        let seconds = wait.saturating_add(Duration::from_nanos(999_999_999)).as_secs();
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn problem(status: StatusCode, message: &str) -> Response {
    let kind = if status == StatusCode::TOO_MANY_REQUESTS { "rate_limit_exceeded" } else { "simulated" };
    let error = json!({"error": {"message": message, "type": kind, "param": null, "code": null}});
    (status, Json(error)).into_response()
}
