//! What pages are told while they are open: parts of themselves, made anew, as server-sent events. Each stream begins with how
//! things are, so whoever connects again has missed nothing.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::super::App;
use super::super::extract::PodcastId;
use super::super::problem::Problem;
use super::super::watch::{closed, watch};
use super::episode::version;
use super::frame::Visit;
use super::podcast::{self, changing, story};
use crate::Caller;
use crate::live::Watch;

/// Between two of a page's renewals: what happens meanwhile is told together.
const PAUSE: Duration = Duration::from_millis(700);
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One page that is open.
struct Open {
    app: App,
    caller: Caller,
    visit: Visit,
    podcast: Uuid,
    /// `None`: the podcast has ended, and only how it is remains to be told.
    watch: Option<Watch>,
    /// The sound that the page has.
    version: String,
    told_at: Instant,
    first: bool,
}

pub(in crate::http) async fn podcast(
    State(app): State<App>,
    caller: Caller,
    visit: Visit,
    PodcastId(id): PodcastId,
) -> Result<Response, Problem> {
    // Nothing that has happened is told again, only that it has.
    let now = story(&app, &caller, id, false).await?.podcast;
    let watch = watch(&app, &caller, id, now.seq).await?;
    let open = Open {
        app,
        caller,
        visit,
        podcast: id,
        watch,
        version: String::new(),
        told_at: Instant::now(),
        first: true,
    };
    Ok(as_events(stream::unfold(Some(open), |open| async {
        let mut open = open?;
        let event = open.next().await?;
        let goes_on = open.watch.is_some();
        Some((event, goes_on.then_some(open)))
    })))
}

pub(super) fn as_events(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let events = futures_util::StreamExt::map(events, Ok::<_, Infallible>);
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // nginx would collect the events otherwise.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl Open {
    /// `None` ends the stream: the browser connects again, or is told that its key opens nothing any more.
    async fn next(&mut self) -> Option<Event> {
        if !std::mem::take(&mut self.first) {
            let wait = wait(self.watch.as_mut()?, self.told_at + PAUSE);
            let ended = tokio::select! {
                ended = wait => ended?,
                () = closed(&self.app, &self.caller) => return None,
            };
            if ended {
                self.watch = None;
            }
        }
        self.told_at = Instant::now();
        // The database is away: the browser connects again, and finds how things are then.
        let story = story(&self.app, &self.caller, self.podcast, false).await.ok()?;
        let version = version(&story.podcast);
        let texts = if version == self.version {
            None
        } else {
            Some(podcast::texts(&self.app, &story.podcast).await)
        };
        self.version = version;
        let html = changing(&self.visit, &self.caller, &story, texts.as_ref()).into_string();
        let name = if self.watch.is_some() { "parts" } else { "end" };
        Some(Event::default().event(name).data(html))
    }
}

/// Waits for news, and then until it is time to tell it. Whether that was the last; `None`: the watch was let go.
async fn wait(watch: &mut Watch, not_before: Instant) -> Option<bool> {
    let mut notice = watch.next().await?;
    while !notice.last {
        match timeout_at(not_before, watch.next()).await {
            Ok(next) => notice = next?,
            Err(_) => return Some(false),
        }
    }
    Some(true)
}
