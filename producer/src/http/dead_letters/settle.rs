//! Deciding about a dead letter: replay, edit and replay, discard. Each happens once, and writes down who, when and why.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use common::request::Fault;
use common::store::audit::{self, NewAudit};
use common::store::dead_letters::reading::{self, Settled};
use common::store::dead_letters::settling::{self, Decision};
use common::store::replay::{self, Resumed};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::App;
use super::super::extract::LetterId;
use super::super::problem::Problem;
use super::{body, unknown};
use crate::Caller;
use crate::accept::Refusal;
use crate::replay::{Replayed, Wish, one};

const MAX_REASON: usize = 500;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Reason")]
pub(in crate::http) struct WithReason {
    reason: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct EditReplay {
    reason: Option<String>,
    payload: Value,
}

/// Why it is done: a person reads it later.
pub(in crate::http) fn reason(given: Option<String>) -> Result<String, Problem> {
    let refuse = |reason: &str| {
        let remedy = format!("Say in 1 to {MAX_REASON} characters why, for whoever reads the audit trail");
        let fault = Fault { field: "reason".into(), reason: reason.into(), remedy };
        Err(Problem::faulty(StatusCode::UNPROCESSABLE_ENTITY, vec![fault]))
    };
    match given.as_deref().map(str::trim) {
        None => refuse("it is missing"),
        Some("") => refuse("it is empty"),
        Some(text) if text.chars().count() > MAX_REASON => refuse("it is too long"),
        Some(text) if text.chars().any(char::is_control) => refuse("it contains control characters"),
        Some(text) => Ok(text.to_owned()),
    }
}

/// The answer to a replay.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterReplayed")]
pub(in crate::http) struct Answer {
    id: Uuid,
    state: &'static str,
    pub(in crate::http) podcast: Uuid,
    /// What it came to, in one sentence.
    pub(in crate::http) detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_extended_to: Option<jiff::Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also_replayed: Vec<Uuid>,
}

pub(in crate::http) async fn replay(
    State(app): State<App>,
    caller: Caller,
    LetterId(id): LetterId,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Answer>, Problem> {
    let asked: WithReason = body(&app, &headers, sent).await?;
    let reason = reason(asked.reason)?;
    settle(&app, Wish { caller: &caller, letter: id, reason: &reason, edited: None, many: None })
        .await
        .map(Json)
}

pub(in crate::http) async fn edit_replay(
    State(app): State<App>,
    caller: Caller,
    LetterId(id): LetterId,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Answer>, Problem> {
    let asked: EditReplay = body(&app, &headers, sent).await?;
    let reason = reason(asked.reason)?;
    let edited = Some(&asked.payload);
    settle(&app, Wish { caller: &caller, letter: id, reason: &reason, edited, many: None }).await.map(Json)
}

pub(in crate::http) async fn settle(app: &App, wish: Wish<'_>) -> Result<Answer, Problem> {
    let replayed = one(&app.env, &app.intake, wish).await.map_err(unavailable)?;
    match replayed {
        Replayed::Resumed(resumed) => {
            let detail = detail(&resumed);
            Ok(Answer {
                id: wish.letter,
                state: "replayed",
                podcast: resumed.podcast,
                detail,
                tasks: Some(resumed.tasks),
                deadline_extended_to: resumed.deadline_extended_to,
                also_replayed: resumed.also_replayed,
            })
        }
        Replayed::Accepted { podcast } => Ok(Answer {
            id: wish.letter,
            state: "replayed",
            podcast,
            detail: format!("The request was accepted: it is podcast {podcast}"),
            tasks: None,
            deadline_extended_to: None,
            also_replayed: Vec::new(),
        }),
        Replayed::Settled(settled) => Err(already(&settled)),
        Replayed::Unknown => Err(unknown(wish.letter)),
        Replayed::Impossible(why) => {
            let fault = Fault { field: "letter".into(), reason: why.reason, remedy: why.remedy };
            let detail = format!("The letter cannot be replayed: {}. {}", fault.reason, fault.remedy);
            Err(Problem::new(StatusCode::CONFLICT, "not-replayable", detail).with("errors", json!([fault])))
        }
        Replayed::Faulty(faults) => Err(Problem::faulty(StatusCode::UNPROCESSABLE_ENTITY, faults)),
    }
}

/// What a replay came to.
pub(in crate::http) fn detail(resumed: &Resumed) -> String {
    let mut detail = format!(
        "The podcast runs again: {} tasks; {} of {} segments are spoken already and stay",
        resumed.tasks, resumed.segments_done, resumed.segments_total
    );
    if let Some(deadline) = resumed.deadline_extended_to {
        detail.push_str(&format!(". Its time was over; it has until {deadline} now"));
    }
    detail
}

fn unavailable(error: anyhow::Error) -> Problem {
    match error.downcast_ref::<Refusal>() {
        Some(Refusal::Overloaded) => {
            let detail = "Too many requests are being accepted at once. The letter is open still; try again in a moment";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_after(1)
        }
        Some(Refusal::Unavailable | Refusal::Backlog) => Problem::unavailable(),
        Some(Refusal::DiskFull(whose)) => Problem::disk_full(whose),
        Some(Refusal::Limited(limited)) => Problem::limited(limited),
        Some(Refusal::Unstorable | Refusal::Conflict { .. }) => Problem::unexpected(&error),
        None => Problem::database(error),
    }
}

/// Somebody was first: who, when and why.
fn already(settled: &Settled) -> Problem {
    let mut detail =
        format!("It was {} by {} at {}, because: {}", settled.state, settled.by, settled.at, settled.reason);
    if let Some(podcast) = settled.became {
        detail.push_str(&format!(". It became podcast {podcast}"));
    }
    Problem::new(StatusCode::CONFLICT, "already-settled", detail).with("settled", json!(settled))
}

/// The answer to a discard.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterDiscarded")]
pub(in crate::http) struct Discarded {
    id: Uuid,
    state: &'static str,
}

pub(in crate::http) async fn discard(
    State(app): State<App>,
    caller: Caller,
    LetterId(id): LetterId,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Discarded>, Problem> {
    let asked: WithReason = body(&app, &headers, sent).await?;
    set_aside(&app, &caller, id, &reason(asked.reason)?).await.map(Json)
}

/// The letter is closed, and its podcast stays as it is.
pub(in crate::http) async fn set_aside(
    app: &App,
    caller: &Caller,
    id: Uuid,
    reason: &str,
) -> Result<Discarded, Problem> {
    let (tenant, principal) = (caller.tenant.as_str(), caller.principal.as_str());
    let decision = Decision { tenant, principal, reason, replay: None };
    let first = app
        .read(async |client| {
            let tx = client.transaction().await?;
            if !settling::settle(&tx, id, "discarded", &decision, None, None).await? {
                return Ok(false);
            }
            let entry = NewAudit {
                tenant,
                principal,
                action: "dead_letter.discard",
                subject: replay::subject(id),
                reason: Some(reason),
                before: Some(json!({"letter": "open"})),
                after: Some(json!({"letter": "discarded"})),
            };
            audit::insert(&tx, &entry).await?;
            tx.commit().await?;
            Ok(true)
        })
        .await?;
    if first {
        tracing::info!(letter = %id, "a dead letter was discarded");
        return Ok(Discarded { id, state: "discarded" });
    }
    let found = app.read(async |client| reading::letter(client, tenant, id).await).await?;
    Err(found.and_then(|whole| whole.letter.settled).map_or_else(|| unknown(id), |settled| already(&settled)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_line_that_somebody_can_read() {
        assert_eq!(reason(Some(" the engine is repaired ".into())).unwrap(), "the engine is repaired");
        for bad in [None, Some(""), Some("  "), Some("a\nb"), Some("\0")] {
            assert!(reason(bad.map(Into::into)).is_err(), "{bad:?}");
        }
        assert!(reason(Some("가".repeat(500))).is_ok() && reason(Some("가".repeat(501))).is_err());
    }
}
