//! What people decide about a podcast besides cancelling it, each written down in the audit trail.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use common::request::{Fault, Priority};
use common::store::audit::{self, NewAudit};
use common::store::dead_letters::settling::Decision;
use common::store::generations::{self, Changed, Why};
use common::store::podcasts::{self, State as PodcastState};
use common::store::reading::{self, Script};
use common::store::replay::{self, Answer, Resumed, Without};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::App;
use super::dead_letters::{body, settle};
use super::extract::{PodcastId, unknown};
use super::problem::Problem;
use crate::Caller;
use crate::link::Telling;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WithReason {
    reason: Option<String>,
}

/// The answer to a replay of a podcast.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PodcastReplayed")]
pub(super) struct Replayed {
    id: Uuid,
    state: &'static str,
    /// What it came to, in one sentence.
    detail: String,
    tasks: usize,
    /// The dead letters that are settled with it.
    dead_letters: Vec<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_extended_to: Option<Timestamp>,
}

impl Replayed {
    pub(super) fn of(resumed: Resumed) -> Replayed {
        Replayed {
            id: resumed.podcast,
            state: PodcastState::Running.as_str(),
            detail: settle::detail(&resumed),
            tasks: resumed.tasks,
            dead_letters: resumed.also_replayed,
            deadline_extended_to: resumed.deadline_extended_to,
        }
    }
}

/// Everything that was given up in a podcast, at once.
pub(super) async fn replay(
    State(app): State<App>,
    caller: Caller,
    PodcastId(id): PodcastId,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Replayed>, Problem> {
    let asked: WithReason = body(&app, &headers, sent).await?;
    let reason = settle::reason(asked.reason)?;
    let decision =
        Decision { tenant: &caller.tenant, principal: &caller.principal, reason: &reason, replay: None };
    go_on(&app, &decision, id, Without::Nothing).await
}

async fn go_on(
    app: &App,
    decision: &Decision<'_>,
    id: Uuid,
    without: Without<'_>,
) -> Result<Json<Replayed>, Problem> {
    let answer = app
        .read(async |client| {
            let tx = client.transaction().await?;
            let now = Timestamp::now();
            let answer = replay::resume_podcast(&tx, &app.env.config, decision, id, without, now).await?;
            if matches!(answer, Answer::Resumed(_)) {
                tx.commit().await?;
            }
            Ok(answer)
        })
        .await?;
    resumed(app, id, answer).map(Json)
}

/// A segment's place, both from 0.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SegmentPlace")]
struct Place {
    chapter: i32,
    segment: i32,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LeaveOut {
    reason: Option<String>,
    /// Without it: all that were given up.
    segments: Option<Vec<Place>>,
}

/// The podcast is finished without segments that could not be spoken; its transcript says what is missing.
pub(super) async fn finish_without(
    State(app): State<App>,
    caller: Caller,
    PodcastId(id): PodcastId,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Replayed>, Problem> {
    let asked: LeaveOut = body(&app, &headers, sent).await?;
    let reason = settle::reason(asked.reason)?;
    let decision =
        Decision { tenant: &caller.tenant, principal: &caller.principal, reason: &reason, replay: None };
    let places: Option<Vec<(i32, i32)>> =
        asked.segments.map(|list| list.into_iter().map(|place| (place.chapter, place.segment)).collect());
    let without = match &places {
        None => Without::AllGivenUp,
        Some(places) if places.is_empty() => {
            let remedy = "Name at least one, or leave the field out: then it is all that were given up";
            return Err(Problem::bad_request("segments", "there are none", remedy));
        }
        Some(places) => Without::These(places),
    };
    go_on(&app, &decision, id, without).await
}

/// What the podcast says, with the places by which segments are named.
pub(super) async fn script(
    State(app): State<App>,
    caller: Caller,
    PodcastId(id): PodcastId,
) -> Result<Json<Script>, Problem> {
    let found = app.read(async |client| reading::script(client, &caller.tenant, id).await).await?;
    found.map(Json).ok_or_else(|| unknown(id))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Revision {
    reason: Option<String>,
    /// The generation that was looked at.
    generation: Option<i32>,
    segments: Vec<Revised>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RevisedSegment")]
struct Revised {
    chapter: i32,
    segment: i32,
    /// What it says from now on. Without it: the same, said another time.
    text: Option<String>,
}

/// The answer to a revision.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Revising {
    id: Uuid,
    state: &'static str,
    generation: i32,
    /// What it comes to, in one sentence.
    detail: String,
}

/// The next generation: some segments say something else, or the same another time. The episode before plays until it is there.
pub(super) async fn revise(
    State(app): State<App>,
    caller: Caller,
    PodcastId(id): PodcastId,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Revising>, Problem> {
    let asked: Revision = body(&app, &headers, sent).await?;
    let reason = asked.reason.map(|reason| settle::reason(Some(reason))).transpose()?;
    let changed: Vec<Changed> = asked
        .segments
        .into_iter()
        .map(|one| Changed {
            chapter: one.chapter,
            segment: one.segment,
            why: one.text.map_or(Why::AnotherTake, Why::Edited),
        })
        .collect();
    let order = generations::Order {
        tenant: &caller.tenant,
        principal: &caller.principal,
        reason: reason.as_deref(),
        podcast: id,
        seen: asked.generation,
        changed: &changed,
    };
    match begin(&app, &order).await? {
        generations::Answer::Begun(begun) => Ok(Json(Revising {
            id,
            state: PodcastState::Running.as_str(),
            generation: begun.generation,
            detail: format!(
                "Generation {} is being made: {} of {} segments are spoken again, {} chapters mixed again. The episode before plays until \
                 it is there",
                begun.generation, begun.segments, begun.segments_total, begun.chapters
            ),
        })),
        generations::Answer::Unknown => Err(unknown(id)),
        generations::Answer::Impossible(why) => {
            let fault = Fault { field: "podcast".into(), reason: why.reason, remedy: why.remedy };
            Err(impossible("not-revisable", "There can be no next generation", fault))
        }
        generations::Answer::Faulty(faults) => Err(Problem::faulty(StatusCode::UNPROCESSABLE_ENTITY, faults)),
    }
}

/// Begins it; watchers are told when it has begun.
pub(super) async fn begin(app: &App, order: &generations::Order<'_>) -> Result<generations::Answer, Problem> {
    let answer = app
        .read(async |client| {
            let tx = client.transaction().await?;
            let answer = generations::begin(&tx, &app.env.config, order, Timestamp::now()).await?;
            if matches!(answer, generations::Answer::Begun(_)) {
                tx.commit().await?;
            }
            Ok(answer)
        })
        .await?;
    if let generations::Answer::Begun(begun) = &answer {
        tracing::info!(podcast.id = %begun.podcast, generation = begun.generation, "the next generation of a podcast begins");
        app.env.hub.hint(begun.podcast);
        app.env.link.tell(Telling { tickets: Vec::new(), hints: vec![begun.hint.clone()] });
    }
    Ok(answer)
}

/// Watchers are told, if the podcast runs again; else the caller is told why not.
pub(super) fn resumed(app: &App, id: Uuid, answer: Answer) -> Result<Replayed, Problem> {
    match answer {
        Answer::Resumed(resumed) => {
            tracing::info!(podcast.id = %id, tasks = resumed.tasks, "a podcast was replayed");
            metrics::counter!("podfleet_replays_total", "result" => "replayed").increment(1);
            app.env.hub.hint(id);
            app.env.link.tell(Telling { tickets: Vec::new(), hints: vec![resumed.hint.clone()] });
            Ok(Replayed::of(*resumed))
        }
        Answer::Unknown | Answer::Settled(_) => Err(unknown(id)),
        Answer::Impossible(why) => {
            let fault = Fault { field: "podcast".into(), reason: why.reason, remedy: why.remedy };
            Err(impossible("not-replayable", "The podcast cannot be replayed", fault))
        }
        Answer::Faulty(faults) => Err(Problem::faulty(StatusCode::UNPROCESSABLE_ENTITY, faults)),
    }
}

/// The podcast is not in a state for what is wanted.
pub(super) fn impossible(kind: &'static str, what: &str, fault: Fault) -> Problem {
    let detail = format!("{what}: {}. {}", fault.reason, fault.remedy);
    Problem::new(StatusCode::CONFLICT, kind, detail).with("errors", json!([fault]))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PriorityRequest")]
pub(super) struct WithPriority {
    priority: Option<Priority>,
    reason: Option<String>,
}

/// The answer to a change of priority.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Reordered {
    id: Uuid,
    priority: &'static str,
    /// Tasks that wait, and wait in the other lane now. What is on its way stays where it is.
    tasks: u64,
}

/// Whoever may ask for a podcast may say how urgent it is, also later. The reason may be left out.
pub(super) async fn prioritise(
    State(app): State<App>,
    caller: Caller,
    PodcastId(id): PodcastId,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Reordered>, Problem> {
    let asked: WithPriority = body(&app, &headers, sent).await?;
    let Some(lane) = asked.priority.map(Priority::lane) else {
        let fault = Fault {
            field: "priority".into(),
            reason: "it is missing".into(),
            remedy: "Use one of: high, normal, low".into(),
        };
        return Err(Problem::faulty(StatusCode::UNPROCESSABLE_ENTITY, vec![fault]));
    };
    let reason = asked.reason.map(|reason| settle::reason(Some(reason))).transpose()?;
    let moved = app
        .read(async |client| {
            let tx = client.transaction().await?;
            let Some(podcast) = podcasts::lock_of(&tx, &caller.tenant, id).await? else { return Ok(None) };
            if let ended @ (PodcastState::Completed | PodcastState::Cancelled) = podcast.state {
                return Ok(Some(Err(ended)));
            }
            let tasks = podcasts::set_lane(&tx, id, lane).await?;
            let entry = NewAudit {
                tenant: &caller.tenant,
                principal: &caller.principal,
                action: "podcast.priority",
                subject: podcasts::subject(id),
                reason: reason.as_deref(),
                before: Some(json!({"priority": podcast.lane})),
                after: Some(json!({"priority": lane, "tasks": tasks})),
            };
            audit::insert(&tx, &entry).await?;
            tx.commit().await?;
            Ok(Some(Ok(tasks)))
        })
        .await?;
    match moved {
        Some(Ok(tasks)) => Ok(Json(Reordered { id, priority: lane.as_str(), tasks })),
        Some(Err(ended)) => {
            let fault = Fault {
                field: "podcast".into(),
                reason: format!("it is {}", ended.as_str()),
                remedy: "Only what is not finished can go sooner or later".into(),
            };
            Err(impossible("already-ended", "The priority cannot be changed any more", fault))
        }
        None => Err(unknown(id)),
    }
}
