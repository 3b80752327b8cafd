//! Podcasts: list, show, cancel.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::store::dead_letters::reading as letters;
use common::store::podcasts::State as PodcastState;
use common::store::reading::{self, Filter, Queued, Summary, Trouble};
use common::store::{durations, pauses};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::App;
use super::extract::{Params, PodcastId, unknown};
use super::problem::Problem;
use crate::Caller;
use crate::cancel::{self, Cancelled};
use crate::link::Telling;

/// Where the rest of a podcast is found.
#[derive(Debug, Serialize)]
pub(super) struct Links {
    #[serde(rename = "self")]
    this: String,
    events: String,
    ws: String,
    audio: String,
}

impl Links {
    pub(super) fn of(id: Uuid) -> Links {
        let this = path(id);
        Links {
            events: format!("{this}/events"),
            ws: format!("{this}/ws"),
            audio: format!("{this}/audio"),
            this,
        }
    }
}

pub(super) fn path(id: Uuid) -> String {
    format!("/v1/podcasts/{id}")
}

/// A podcast in full.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    summary: Summary,
    links: Links,
    #[serde(skip_serializing_if = "Option::is_none")]
    episode: Option<EpisodeLinks>,
    /// Its place among those that wait for their turn, while nothing of it is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    queued: Option<Queued>,
    /// What is being tried again, or has been given up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    troubles: Vec<Trouble>,
    /// What waits for a person: replaying one of these letters lets the podcast go on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dead_letters: Vec<Uuid>,
}

/// The finished episode and where its parts are.
#[derive(Debug, Serialize)]
struct EpisodeLinks {
    audio: String,
    bytes: u64,
    duration_ms: u64,
    segments: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    lufs: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    true_peak_dbtp: Option<f64>,
    transcript_vtt: String,
    transcript_srt: String,
    transcript_json: String,
    transcript_txt: String,
    chapters: String,
}

pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    PodcastId(id): PodcastId,
) -> Result<Json<Shown>, Problem> {
    let (summary, queued, unspoken, troubles, dead_letters) = app
        .read(async |client| {
            let mut summary = reading::podcast(client, &caller.tenant, id).await?;
            let (mut queued, mut unspoken) = (None, None);
            if let Some(podcast) = summary.as_mut().filter(|podcast| podcast.state == "running") {
                podcast.note_pauses(&caller.tenant, &pauses::list(client, Some(&caller.tenant)).await?);
                queued = reading::queued(client, &caller.tenant, id).await?;
                unspoken = Some(durations::unspoken(client, id, podcast.generation).await?);
            }
            let troubles = reading::troubles(client, &caller.tenant, id).await?;
            let letters = letters::open_of_podcast(client, &caller.tenant, id).await?;
            Ok((summary, queued, unspoken, troubles, letters))
        })
        .await?;
    let mut summary = summary.ok_or_else(|| unknown(id))?;
    let forecast = |unspoken: Vec<(String, i32)>| app.env.forecast.left_seconds(&summary, &unspoken);
    if let Some(seconds) = unspoken.and_then(forecast) {
        summary.expect(seconds, Timestamp::now());
    }
    let this = path(id);
    let episode = summary.episode.as_ref().map(|episode| EpisodeLinks {
        audio: format!("{this}/audio"),
        bytes: episode.bytes,
        duration_ms: episode.duration_ms,
        segments: episode.segments,
        lufs: episode.lufs,
        true_peak_dbtp: episode.true_peak_dbtp,
        transcript_vtt: format!("{this}/transcript.vtt"),
        transcript_srt: format!("{this}/transcript.srt"),
        transcript_json: format!("{this}/transcript.json"),
        transcript_txt: format!("{this}/transcript.txt"),
        chapters: format!("{this}/chapters.json"),
    });
    Ok(Json(Shown { summary, links: Links::of(id), episode, queued, troubles, dead_letters }))
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    pub(super) state: Option<String>,
    pub(super) limit: Option<i64>,
    pub(super) cursor: Option<String>,
}

/// A page of podcasts, newest first.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    podcasts: Vec<Listed>,
    /// Give it as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Listed {
    #[serde(flatten)]
    summary: Summary,
    links: Links,
}

pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Params(wanted): Params<Wanted>,
) -> Result<Json<Page>, Problem> {
    let filter = filter(wanted)?;
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    // One more than asked for tells whether there is another page.
    let query = Filter { limit: filter.limit + 1, ..filter };
    let mut found = app
        .read(async |client| {
            let mut found = reading::podcasts(client, &caller.tenant, &query).await?;
            if found.iter().any(|podcast| podcast.state == "running") {
                let pauses = pauses::list(client, Some(&caller.tenant)).await?;
                found.iter_mut().for_each(|podcast| podcast.note_pauses(&caller.tenant, &pauses));
            }
            Ok(found)
        })
        .await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| cursor(last.id));
    let podcasts =
        found.into_iter().map(|summary| Listed { links: Links::of(summary.id), summary }).collect();
    Ok(Json(Page { podcasts, next }))
}

pub(super) fn filter(wanted: Wanted) -> Result<Filter, Problem> {
    if let Some(state) = &wanted.state
        && PodcastState::parse(state).is_none()
    {
        let remedy = "Use one of: running, completed, failed, cancelled";
        return Err(Problem::bad_request("state", format!("{state:?} is not a state"), remedy));
    }
    let limit = wanted.limit.unwrap_or(20);
    if !(1..=100).contains(&limit) {
        return Err(Problem::bad_request("limit", format!("it is {limit}"), "Give a number from 1 to 100"));
    }
    let before = match wanted.cursor.as_deref().map(parse_cursor) {
        Some(None) => {
            return Err(Problem::bad_request(
                "cursor",
                "it is not a cursor",
                "Use the `next` of the page before",
            ));
        }
        before => before.flatten(),
    };
    Ok(Filter { state: wanted.state, before, limit })
}

/// The last podcast of a page, in a form that invites nobody to build one.
pub(super) fn cursor(last: Uuid) -> String {
    format!("v1.{}", last.simple())
}

fn parse_cursor(text: &str) -> Option<Uuid> {
    text.strip_prefix("v1.")?.parse().ok()
}

/// The answer to a cancel.
#[derive(Debug, Serialize)]
pub(super) struct Ended {
    id: Uuid,
    state: &'static str,
    links: Links,
}

pub(super) async fn cancel(
    State(app): State<App>,
    caller: Caller,
    PodcastId(id): PodcastId,
) -> Result<Json<Ended>, Problem> {
    match cancel::cancel(&app.env.store, &caller.tenant, id).await.map_err(Problem::database)? {
        Cancelled::Now(hint) => {
            tracing::info!(podcast.id = %id, "the podcast was cancelled");
            app.env.hub.hint(id);
            app.env.link.tell(Telling { tickets: Vec::new(), hints: vec![*hint] });
        }
        Cancelled::Before => {}
        Cancelled::TooLate(state) => {
            let detail = format!("The podcast cannot be cancelled any more: it is {}", state.as_str());
            return Err(
                Problem::new(StatusCode::CONFLICT, "already-ended", detail).with("state", state.as_str())
            );
        }
        Cancelled::Unknown => return Err(unknown(id)),
    }
    Ok(Json(Ended { id, state: PodcastState::Cancelled.as_str(), links: Links::of(id) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(state: Option<&str>, limit: Option<i64>, cursor: Option<&str>) -> Wanted {
        Wanted { state: state.map(Into::into), limit, cursor: cursor.map(Into::into) }
    }

    #[test]
    fn a_cursor_leads_to_the_next_page() {
        let id = Uuid::now_v7();
        let filter = filter(wanted(Some("failed"), Some(100), Some(&cursor(id)))).unwrap();
        assert_eq!((filter.before, filter.limit, filter.state.as_deref()), (Some(id), 100, Some("failed")));
    }

    #[test]
    fn filters_that_mean_nothing_are_refused() {
        for bad in [
            wanted(Some("done"), None, None),
            wanted(None, Some(0), None),
            wanted(None, Some(101), None),
            wanted(None, None, Some("7")),
            wanted(None, None, Some("v1.x")),
            wanted(None, None, Some("")),
        ] {
            assert!(filter(bad.clone()).is_err(), "{bad:?}");
        }
        assert_eq!(filter(wanted(None, None, None)).unwrap().limit, 20);
    }
}
