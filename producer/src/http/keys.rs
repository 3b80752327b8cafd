//! Keys of the caller's tenant: list, make, revoke.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use common::access::Role;
use common::request::Fault;
use common::store::keys::{self, Listed, Made, Wanted};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::App;
use super::dead_letters::body;
use super::extract::{KeyId, Params};
use super::paging::{Paging, page};
use super::problem::Problem;
use crate::Caller;

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "KeyPage")]
pub(super) struct List {
    keys: Vec<Listed>,
    /// Give it as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Whoever sits at the machine itself looks after all tenants; an admin after his own.
fn scope(caller: &Caller) -> Option<&str> {
    caller.key.is_some().then_some(caller.tenant.as_str())
}

pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Params(paging): Params<Paging>,
) -> Result<Json<List>, Problem> {
    let (limit, before) = paging.read()?;
    let found = app.read(async |client| keys::list(client, scope(&caller), before, limit + 1).await).await?;
    let (keys, next) = page(found, limit, |key| key.id);
    Ok(Json(List { keys, next }))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "KeyRequest")]
pub(super) struct Asked {
    role: Role,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    expires_seconds: Option<u64>,
    #[serde(default)]
    requests_per_minute: Option<i32>,
}

/// The key itself is in this answer and nowhere else.
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Problem> {
    let asked: Asked = body(&app, &headers, sent).await?;
    let tenant = asked.tenant.unwrap_or_else(|| caller.tenant.clone());
    if scope(&caller).is_some_and(|own| own != tenant) {
        let fault = Fault {
            field: "tenant".into(),
            reason: format!("your key is of the tenant \"{}\"", caller.tenant),
            remedy: "Leave it out: keys of other tenants are made with `podfleet keys create`, beside the database".into(),
        };
        return Err(Problem::faulty(StatusCode::UNPROCESSABLE_ENTITY, vec![fault]));
    }
    let wanted = Wanted {
        tenant: &tenant,
        name: asked.name.as_deref(),
        role: asked.role,
        expires_in: asked.expires_seconds.map(std::time::Duration::from_secs),
        requests_per_minute: asked.requests_per_minute,
    };
    wanted.check().map_err(|faults| Problem::faulty(StatusCode::UNPROCESSABLE_ENTITY, faults))?;
    let made: Made = app.read(async |client| keys::create(client, &wanted, &caller.principal).await).await?;
    tracing::info!(key = %made.listed.id, tenant, role = %asked.role, by = caller.principal, "a key was made");
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// The answer to a revocation.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "KeyRevoked")]
pub(super) struct Revoked {
    id: Uuid,
    state: &'static str,
}

/// However often it is asked for. In every producer the key is refused within five seconds.
pub(super) async fn revoke(
    State(app): State<App>,
    caller: Caller,
    KeyId(id): KeyId,
) -> Result<Json<Revoked>, Problem> {
    let known =
        app.read(async |client| keys::revoke(client, scope(&caller), id, &caller.principal).await).await?;
    if known.is_none() {
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-found", format!("There is no key {id}")));
    }
    tracing::info!(key = %id, by = caller.principal, "a key was revoked");
    Ok(Json(Revoked { id, state: "revoked" }))
}
