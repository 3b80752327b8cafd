//! Podcasts: list, show, cancel.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::request::Priority;
use common::store::dead_letters::reading as letters;
use common::store::podcasts::State as PodcastState;
use common::store::reading::{self, Filter, Queued, Summary, Trouble};
use common::store::{durations, pauses};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::App;
use super::extract::{Params, PodcastId, unknown};
use super::paging::{self, page};
use super::problem::Problem;
use crate::Caller;
use crate::cancel::{self, Cancelled};
use crate::link::Telling;

/// Where the rest of a podcast is found.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PodcastLinks")]
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
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Podcast")]
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
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Episode")]
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

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PodcastQuery")]
pub(super) struct Wanted {
    #[schemars(extend("enum" = ["running", "completed", "failed", "cancelled"]))]
    pub(super) state: Option<String>,
    #[schemars(with = "Option<Priority>")]
    pub(super) priority: Option<String>,
    /// BCP 47, as the podcast shows it.
    #[schemars(regex(pattern = r"^[A-Za-z0-9-]{2,35}$"))]
    pub(super) language: Option<String>,
    /// Asked for at this time or later.
    #[schemars(with = "Option<jiff::Timestamp>")]
    pub(super) since: Option<String>,
    /// Asked for before this time.
    #[schemars(with = "Option<jiff::Timestamp>")]
    pub(super) until: Option<String>,
    /// Entries of a page. Default 20.
    #[schemars(range(min = 1, max = 100))]
    pub(super) limit: Option<i64>,
    /// The `next` of the page before.
    #[schemars(regex(pattern = r"^v1\.[0-9a-f]{32}$"))]
    pub(super) cursor: Option<String>,
}

impl Wanted {
    /// A form of a page sends what nobody chose as an empty text.
    pub(super) fn without_blanks(self) -> Wanted {
        let chosen = |text: Option<String>| text.filter(|text| !text.is_empty());
        Wanted {
            state: chosen(self.state),
            priority: chosen(self.priority),
            language: chosen(self.language),
            since: chosen(self.since),
            until: chosen(self.until),
            limit: self.limit,
            cursor: chosen(self.cursor),
        }
    }
}

/// A page of podcasts, newest first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PodcastPage")]
pub(super) struct Page {
    podcasts: Vec<Listed>,
    /// Give it as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PodcastListed")]
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
    let limit = filter.limit;
    let query = Filter { limit: limit + 1, ..filter };
    let found = app
        .read(async |client| {
            let mut found = reading::podcasts(client, &caller.tenant, &query).await?;
            if found.iter().any(|podcast| podcast.state == "running") {
                let pauses = pauses::list(client, Some(&caller.tenant)).await?;
                found.iter_mut().for_each(|podcast| podcast.note_pauses(&caller.tenant, &pauses));
            }
            Ok(found)
        })
        .await?;
    let (found, next) = page(found, limit, |podcast| podcast.id);
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
    if let Some(priority) = &wanted.priority
        && !["high", "normal", "low"].contains(&priority.as_str())
    {
        let remedy = "Use one of: high, normal, low";
        return Err(Problem::bad_request("priority", format!("{priority:?} is none"), remedy));
    }
    let is_tag = |text: &str| {
        (2..=35).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if let Some(language) = wanted.language.as_deref().filter(|language| !is_tag(language)) {
        let remedy = "Give a tag of BCP 47, such as ko or en-GB";
        return Err(Problem::bad_request("language", format!("{language:?} is none"), remedy));
    }
    let (since, until) = (time("since", wanted.since.as_deref())?, time("until", wanted.until.as_deref())?);
    // Ids begin with the time: a cursor and an end are the same kind of bound, and the nearer one holds.
    let before = paging::before(wanted.cursor.as_deref())?;
    let before = before.into_iter().chain(until.map(first_id)).min();
    Ok(Filter {
        state: wanted.state,
        priority: wanted.priority,
        language: wanted.language,
        from: since.map(first_id),
        before,
        limit: paging::limit(wanted.limit)?,
    })
}

fn time(field: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        Problem::bad_request(field, format!("it is {text:?}"), "Give a time such as 2026-01-31T12:00:00Z")
    })
}

/// The first id that a podcast of this millisecond could have (UUID v7).
fn first_id(at: Timestamp) -> Uuid {
    let ms = u64::try_from(at.as_millisecond()).unwrap_or(0);
    Uuid::from_u128(u128::from(ms.min((1 << 48) - 1)) << 80 | 0x7000_8000_0000_0000_0000)
}

/// The answer to a cancel.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PodcastCancelled")]
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
        Wanted { state: state.map(Into::into), limit, cursor: cursor.map(Into::into), ..Wanted::default() }
    }

    #[test]
    fn a_cursor_leads_to_the_next_page() {
        let id = Uuid::now_v7();
        let cursor = format!("v1.{}", id.simple());
        let filter = filter(wanted(Some("failed"), Some(100), Some(&cursor))).unwrap();
        assert_eq!((filter.before, filter.limit, filter.state.as_deref()), (Some(id), 100, Some("failed")));
    }

    #[test]
    fn times_are_bounds_of_ids() {
        let id = Uuid::now_v7();
        let (seconds, nanoseconds) = id.get_timestamp().unwrap().to_unix();
        let at = Timestamp::new(seconds as i64, nanoseconds as i32).unwrap();
        let (from, after) = (first_id(at), first_id(at + jiff::SignedDuration::from_millis(1)));
        assert!(from <= id && id < after, "{from} {id} {after}");
        assert_eq!(from.get_version_num(), 7);
        let ended = Wanted { until: Some(at.to_string()), ..Wanted::default() };
        let paged = Wanted { cursor: Some(format!("v1.{}", Uuid::nil().simple())), ..ended.clone() };
        assert_eq!(filter(ended).unwrap().before, Some(from));
        assert_eq!(filter(paged).unwrap().before, Some(Uuid::nil()), "the nearer bound holds");
        assert_eq!(first_id(Timestamp::MIN), first_id(Timestamp::UNIX_EPOCH));
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
            Wanted { priority: Some("alone".into()), ..Wanted::default() },
            Wanted { language: Some("English, please".into()), ..Wanted::default() },
            Wanted { since: Some("yesterday".into()), ..Wanted::default() },
            Wanted { until: Some(String::new()), ..Wanted::default() },
        ] {
            assert!(filter(bad.clone()).is_err(), "{bad:?}");
        }
        assert_eq!(filter(wanted(None, None, None)).unwrap().limit, 20);
    }
}
