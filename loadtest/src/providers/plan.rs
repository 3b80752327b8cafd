//! An answer as it will be sent: status, headers, pieces with the time before each, and how it ends. Misbehaviours change plans,
//! and one player plays them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use futures_util::{Stream, StreamExt, stream};
use tokio_util::sync::CancellationToken;

pub(super) use axum::body::Bytes;

use super::gate::Place;
use super::ledger::Outcome;
use super::socket::Switch;
use super::{Shared, locked};

/// Until what was written is on its way: what breaks a connection must come after.
const FLUSHED: Duration = Duration::from_millis(50);

pub(super) type Pieces = Box<dyn Iterator<Item = (Duration, Bytes)> + Send>;

pub(super) struct Plan {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(header::HeaderName, HeaderValue)>,
    /// Sent as `Content-Length`; without it the body is chunked.
    pub(super) length: Option<u64>,
    pub(super) pieces: Pieces,
    pub(super) end: End,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    /// Nothing more comes.
    Stall,
    /// RST.
    Reset,
    /// FIN, before the body is whole.
    Close,
}

impl Plan {
    /// One piece with its length.
    pub(super) fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Plan {
        let body: Bytes = body.into();
        let outcome = if status.is_success() { Outcome::Answered } else { Outcome::Failed(status.as_u16()) };
        Plan {
            status,
            headers: vec![(header::CONTENT_TYPE, HeaderValue::from_static(content_type))],
            length: Some(body.len() as u64),
            pieces: Box::new(Some((Duration::ZERO, body)).into_iter().filter(|(_, piece)| !piece.is_empty())),
            end: End::Done,
            outcome,
        }
    }

    /// Half of its bytes, then `end`.
    #[must_use]
    pub(super) fn broken(self, end: End) -> Plan {
        let pieces: Vec<_> = self.pieces.collect();
        let mut left = pieces.iter().map(|(_, piece)| piece.len()).sum::<usize>() / 2;
        let mut kept = Vec::new();
        for (wait, piece) in pieces {
            if left == 0 {
                break;
            }
            let part = piece.slice(..piece.len().min(left));
            left -= part.len();
            kept.push((wait, part));
        }
        Plan { pieces: Box::new(kept.into_iter()), end, outcome: Outcome::Misbehaved, ..self }
    }

    /// The same head with another body.
    #[must_use]
    pub(super) fn with_pieces(self, pieces: Pieces) -> Plan {
        Plan { length: None, pieces, outcome: Outcome::Misbehaved, ..self }
    }

    #[must_use]
    pub(super) fn misbehaved(self) -> Plan {
        Plan { outcome: Outcome::Misbehaved, ..self }
    }
}

/// A call in the ledger, closed whatever happens: with its outcome, or as abandoned when it is dropped before.
pub(super) struct Entry {
    pub(super) shared: Arc<Shared>,
    pub(super) id: u64,
    outcome: Outcome,
}

impl Entry {
    pub(super) fn new(shared: Arc<Shared>, id: u64) -> Entry {
        Entry { shared, id, outcome: Outcome::Abandoned }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        locked(&self.shared.ledger).end(self.id, self.outcome);
    }
}

/// Answers with a plan. The call and its place inside are held until the last byte is handed over.
pub(super) fn play(plan: Plan, entry: Entry, place: Option<Place>, switch: &Switch) -> Response<Body> {
    locked(&entry.shared.ledger).answering(entry.id, plan.status.as_u16());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = plan.status;
    for (name, value) in plan.headers {
        response.headers_mut().insert(name, value);
    }
    if let Some(length) = plan.length {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    if let Ok(id) = HeaderValue::from_str(&format!("req-{}", entry.id)) {
        response.headers_mut().insert("x-request-id", id);
    }
    let stopping = entry.shared.stopping.clone();
    let pieces = in_time(plan.pieces, plan.outcome, stopping.clone());
    let ending = stream::once(end(plan.end, stopping, switch.clone())).filter_map(std::future::ready);
    let mut sending = Sending {
        inner: Box::pin(pieces.chain(ending)),
        left: plan.length.filter(|_| plan.end == End::Done),
        entry: Some(entry),
        outcome: plan.outcome,
        _place: place,
    };
    sending.finish_if_whole();
    *response.body_mut() = Body::from_stream(sending);
    response
}

/// Good answers are finished when the provider is stopped; of what has no end nobody waits for it.
fn in_time(
    pieces: Pieces,
    outcome: Outcome,
    stopping: CancellationToken,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    stream::unfold((pieces, stopping), move |(mut pieces, stopping)| async move {
        let (wait, piece) = pieces.next()?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if outcome == Outcome::Misbehaved {
            // Ten gigabytes that are read as fast as they come must not keep others waiting.
            tokio::task::yield_now().await;
        }
        if outcome == Outcome::Misbehaved && stopping.is_cancelled() {
            return Some((
                Err(std::io::Error::other("the provider was stopped")),
                (Box::new(std::iter::empty()) as Pieces, stopping),
            ));
        }
        Some((Ok(piece), (pieces, stopping)))
    })
}

async fn end(end: End, stopping: CancellationToken, switch: Switch) -> Option<std::io::Result<Bytes>> {
    let broken = |what: &str| Some(Err(std::io::Error::other(what.to_owned())));
    match end {
        End::Done => None,
        End::Stall => {
            stopping.cancelled().await;
            broken("the provider was stopped")
        }
        End::Reset => {
            tokio::time::sleep(FLUSHED).await;
            switch.reset();
            broken("reset on demand")
        }
        End::Close => {
            tokio::time::sleep(FLUSHED).await;
            broken("closed on demand")
        }
    }
}

/// The body, which tells the ledger what became of it.
struct Sending {
    inner: Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>,
    /// Of a body with a length: nobody asks for more after its last byte.
    left: Option<u64>,
    entry: Option<Entry>,
    outcome: Outcome,
    _place: Option<Place>,
}

impl Sending {
    fn finish(&mut self) {
        if let Some(mut entry) = self.entry.take() {
            entry.outcome = self.outcome;
        }
    }

    fn finish_if_whole(&mut self) {
        if self.left == Some(0) {
            self.finish();
        }
    }
}

impl Stream for Sending {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = std::task::ready!(self.inner.as_mut().poll_next(cx));
        match &next {
            Some(Ok(piece)) => {
                let bytes = piece.len() as u64;
                if let Some(entry) = &self.entry {
                    locked(&entry.shared.ledger).sent(entry.id, bytes);
                }
                self.left = self.left.map(|left| left.saturating_sub(bytes));
                self.finish_if_whole();
            }
            // A stall ends when the provider is stopped: nobody was answered.
            Some(Err(_)) if self.entry.as_ref().is_some_and(|entry| entry.shared.stopping.is_cancelled()) => {
                self.entry = None;
            }
            _ => self.finish(),
        }
        Poll::Ready(next)
    }
}
