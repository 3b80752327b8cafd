//! Replays of many dead letters: dry run, start, progress, cancel.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use common::store::audit::{self, NewAudit};
use common::store::dead_letters::reading::Filter;
use common::store::dead_letters::settling::Decision;
use common::store::replay::bulk::{self, PassedOver, Progress};
use common::store::replay::estimate::{Estimate, estimate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::App;
use super::dead_letters::{body, filter::check_filter, settle::reason};
use super::extract::{Params, ReplayId};
use super::paging::{Paging, page};
use super::problem::Problem;
use crate::Caller;
use crate::replay::many::subject;

/// Letters a minute: what is asked for if nothing else is, and the most.
const RATE: i32 = 60;
const MOST_RATE: i32 = 1_200;
/// Letters that were passed over, as far as they are shown.
const SHOWN: i64 = 100;
/// Replays that are listed.
pub(super) const LISTED: i64 = 50;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ReplayRequest")]
pub(super) struct Asked {
    filter: Filter,
    reason: Option<String>,
    #[serde(default)]
    dry_run: bool,
    rate_per_minute: Option<i32>,
}

/// What a replay would come to; nothing has happened.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReplayDryRun")]
pub(super) struct DryRun {
    dry_run: bool,
    #[serde(flatten)]
    pub(super) estimate: Estimate,
    rate_per_minute: i32,
    /// By the rate alone; each step also waits for the one before.
    pub(super) minutes_at_least: i64,
}

pub(super) async fn start(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Problem> {
    let asked: Asked = body(&app, &headers, sent).await?;
    let rate = checked(&asked.filter, asked.rate_per_minute)?;
    if asked.dry_run {
        return Ok(Json(dry_run(&app, &caller, &asked.filter, rate).await?).into_response());
    }
    let progress = begin(&app, &caller, &asked.filter, &reason(asked.reason)?, rate).await?;
    let location = [(header::LOCATION, format!("/v1/replays/{}", progress.id))];
    Ok((StatusCode::ACCEPTED, location, Json(progress)).into_response())
}

/// The rate, once it and the filter will do.
pub(super) fn checked(filter: &Filter, rate_per_minute: Option<i32>) -> Result<i32, Problem> {
    check_filter(filter)?;
    if filter.state.as_deref().is_some_and(|state| state != "open") {
        let remedy = "Leave it out: only open letters are replayed";
        return Err(Problem::bad_request("filter.state", "it is not open", remedy));
    }
    let rate = rate_per_minute.unwrap_or(RATE);
    if !(1..=MOST_RATE).contains(&rate) {
        let remedy = format!("Give 1 to {MOST_RATE} letters a minute");
        return Err(Problem::bad_request("rate_per_minute", format!("it is {rate}"), remedy));
    }
    Ok(rate)
}

pub(super) async fn dry_run(
    app: &App,
    caller: &Caller,
    filter: &Filter,
    rate: i32,
) -> Result<DryRun, Problem> {
    let estimate = app.read(async |client| estimate(client, &caller.tenant, filter).await).await?;
    let minutes_at_least = estimate.letters / i64::from(rate);
    Ok(DryRun { dry_run: true, estimate, rate_per_minute: rate, minutes_at_least })
}

pub(super) async fn begin(
    app: &App,
    caller: &Caller,
    filter: &Filter,
    reason: &str,
    rate: i32,
) -> Result<Progress, Problem> {
    let tenant = caller.tenant.as_str();
    let id = Uuid::now_v7();
    let decision = Decision { tenant, principal: &caller.principal, reason, replay: Some(id) };
    let total = app
        .read(async |client| {
            let tx = client.transaction().await?;
            let total = bulk::start(&tx, id, &decision, filter, rate).await?;
            let after =
                json!({"replay": "running", "filter": filter, "letters": total, "rate_per_minute": rate});
            audit::insert(&tx, &entry(caller, "replay.start", id, Some(reason), None, after)).await?;
            tx.commit().await?;
            Ok(total)
        })
        .await?;
    tracing::info!(replay = %id, letters = total, "a replay of many letters begins");
    let progress = app.read(async |client| bulk::progress(client, tenant, id).await).await?;
    progress.ok_or_else(|| unknown(id))
}

fn entry<'a>(
    caller: &'a Caller,
    action: &'static str,
    id: Uuid,
    reason: Option<&'a str>,
    before: Option<serde_json::Value>,
    after: serde_json::Value,
) -> NewAudit<'a> {
    NewAudit {
        tenant: &caller.tenant,
        principal: &caller.principal,
        action,
        subject: subject(id),
        reason,
        before,
        after: Some(after),
    }
}

/// A replay, and the letters that were passed over.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReplayShown")]
pub(super) struct Shown {
    #[serde(flatten)]
    pub(super) progress: Progress,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) passed_over: Vec<PassedOver>,
}

pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    ReplayId(id): ReplayId,
) -> Result<Json<Shown>, Problem> {
    look(&app, &caller, id).await.map(Json)
}

pub(super) async fn look(app: &App, caller: &Caller, id: Uuid) -> Result<Shown, Problem> {
    let found = app
        .read(async |client| match bulk::progress(client, &caller.tenant, id).await? {
            Some(progress) => {
                let passed_over = bulk::passed_over(client, &caller.tenant, id, SHOWN).await?;
                Ok(Some(Shown { progress, passed_over }))
            }
            None => Ok(None),
        })
        .await?;
    found.ok_or_else(|| unknown(id))
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReplayPage")]
pub(super) struct List {
    replays: Vec<Progress>,
    /// Give it as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Params(paging): Params<Paging>,
) -> Result<Json<List>, Problem> {
    let (limit, before) = paging.read()?;
    let found =
        app.read(async |client| bulk::latest(client, &caller.tenant, before, limit + 1).await).await?;
    let (replays, next) = page(found, limit, |replay| replay.id);
    Ok(Json(List { replays, next }))
}

/// What was replayed goes on; what waits stays open.
pub(super) async fn cancel(
    State(app): State<App>,
    caller: Caller,
    ReplayId(id): ReplayId,
) -> Result<Json<Progress>, Problem> {
    let tenant = caller.tenant.as_str();
    let remark = format!("cancelled by {}", caller.principal);
    let cancelled = app
        .read(async |client| {
            let tx = client.transaction().await?;
            let cancelled = bulk::end(&tx, tenant, id, "cancelled", Some(&remark)).await?;
            if cancelled {
                let (before, after) = (json!({"replay": "running"}), json!({"replay": "cancelled"}));
                audit::insert(&tx, &entry(&caller, "replay.cancel", id, None, Some(before), after)).await?;
                tx.commit().await?;
            }
            Ok(cancelled)
        })
        .await?;
    let progress = app.read(async |client| bulk::progress(client, tenant, id).await).await?;
    let progress = progress.ok_or_else(|| unknown(id))?;
    if cancelled || progress.state == "cancelled" {
        return Ok(Json(progress));
    }
    let detail = format!("The replay cannot be cancelled any more: it is {}", progress.state);
    Err(Problem::new(StatusCode::CONFLICT, "already-ended", detail).with("state", progress.state))
}

fn unknown(id: Uuid) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", format!("There is no replay {id}"))
}
