//! Pauses: list, begin, end. Whoever sits at the machine itself pauses for everybody or for a tenant; who has a key, for his own tenant.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use common::access;
use common::pause::Scope;
use common::request::Fault;
use common::store::pauses::{self, Act, Pause};
use common::topology::Lane;
use common::work::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::App;
use super::dead_letters::{body, settle::reason};
use super::extract::PauseId;
use super::problem::Problem;
use crate::Caller;

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PauseList")]
pub(super) struct List {
    pauses: Vec<Pause>,
}

/// Of which tenant somebody may end pauses.
pub(super) fn own(caller: &Caller) -> Option<&str> {
    caller.key.is_some().then_some(caller.tenant.as_str())
}

pub(super) async fn list(State(app): State<App>, caller: Caller) -> Result<Json<List>, Problem> {
    let pauses = app.read(async |client| pauses::list(client, own(&caller)).await).await?;
    Ok(Json(List { pauses }))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PauseRequest")]
pub(super) struct Asked {
    kind: Option<String>,
    lane: Option<String>,
    engine: Option<String>,
    tenant: Option<String>,
    #[serde(default)]
    everyone: bool,
    reason: Option<String>,
}

/// A pause, and whether this request began it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PauseBegun")]
pub(super) struct Begun {
    #[serde(flatten)]
    pause: Pause,
    new: bool,
}

/// What is paused already stays paused: the answer tells since when, by whom and why.
pub(super) async fn pause(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Problem> {
    let asked: Asked = body(&app, &headers, sent).await?;
    let scope = scope(&app, &caller, &asked)
        .map_err(|fault| Problem::faulty(StatusCode::UNPROCESSABLE_ENTITY, vec![fault]))?;
    let reason = reason(asked.reason)?;
    let act = Act { tenant: &caller.tenant, principal: &caller.principal, reason: &reason };
    let (pause, new) = app
        .read(async |client| {
            let tx = client.transaction().await?;
            let begun = pauses::pause(&tx, &scope, &act).await?;
            tx.commit().await?;
            Ok(begun)
        })
        .await?;
    if new {
        tracing::info!(pause.id = %pause.id, by = caller.principal, "work is paused");
    }
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Begun { pause, new })).into_response())
}

fn scope(app: &App, caller: &Caller, asked: &Asked) -> Result<Scope, Fault> {
    let refuse = |field: &str, reason: String, remedy: String| Fault { field: field.into(), reason, remedy };
    let none = |field: &str, given: &str, known: &[&str]| {
        refuse(field, format!("{given:?} is none"), format!("Use one of: {}", known.join(", ")))
    };
    let kinds = Kind::ALL.map(Kind::as_str);
    let lanes = Lane::ALL.map(Lane::as_str);
    let kind = asked.kind.as_deref().map(|name| Kind::parse(name).ok_or_else(|| none("kind", name, &kinds)));
    let lane = asked.lane.as_deref().map(|name| Lane::parse(name).ok_or_else(|| none("lane", name, &lanes)));
    if let Some(engine) = &asked.engine
        && app.env.config.engines.get(engine).is_none()
    {
        let known: Vec<&str> = app.env.config.engines.iter().map(|(name, _)| name).collect();
        return Err(none("engine", engine, &known));
    }
    if asked.everyone && asked.tenant.is_some() {
        let remedy = "Give one of them".to_owned();
        return Err(refuse("tenant", "a tenant is given, and everyone".into(), remedy));
    }
    if caller.key.is_some() && (asked.everyone || asked.tenant.as_ref().is_some_and(|t| *t != caller.tenant))
    {
        let field = if asked.everyone { "everyone" } else { "tenant" };
        let reason = format!("your key is of the tenant \"{}\"", caller.tenant);
        let remedy = "Leave it out: others are paused with `podfleet pause`, beside the database".to_owned();
        return Err(refuse(field, reason, remedy));
    }
    if let Some(tenant) = &asked.tenant
        && !access::is_name(tenant)
    {
        return Err(refuse(
            "tenant",
            format!("{tenant:?} cannot be one"),
            format!("Use {}", access::NAME_RULE),
        ));
    }
    let tenant = asked.tenant.clone().or_else(|| (!asked.everyone).then(|| caller.tenant.clone()));
    Ok(Scope { tenant, kind: kind.transpose()?, lane: lane.transpose()?, engine: asked.engine.clone() })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WithReason {
    reason: Option<String>,
}

/// A pause, and whether this request ended it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PauseEnded")]
pub(super) struct Ended {
    #[serde(flatten)]
    pause: Pause,
    now: bool,
}

pub(super) async fn resume(
    State(app): State<App>,
    caller: Caller,
    PauseId(id): PauseId,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Ended>, Problem> {
    let asked: WithReason = body(&app, &headers, sent).await?;
    let reason = reason(asked.reason)?;
    let act = Act { tenant: &caller.tenant, principal: &caller.principal, reason: &reason };
    let ended = app
        .read(async |client| {
            let tx = client.transaction().await?;
            let ended = pauses::resume(&tx, own(&caller), id, &act).await?;
            tx.commit().await?;
            Ok(ended)
        })
        .await?;
    let (pause, now) = ended.ok_or_else(|| unknown(id))?;
    if now {
        tracing::info!(pause.id = %id, by = caller.principal, "a pause has ended");
    }
    Ok(Json(Ended { pause, now }))
}

/// There is none, or it is not the caller's to end: the answer is the same.
fn unknown(id: Uuid) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not-found",
        format!("There is no pause {id} of yours. GET /v1/pauses lists them"),
    )
}
