//! What the caller's tenant may ask for, and what it has asked for.

use axum::Json;
use axum::extract::State;
use common::config::Limits;
use common::store::tenants::{self, Used};
use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use super::problem::Problem;
use crate::Caller;

/// 0 is no limit.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LimitsShown")]
pub(super) struct Shown {
    limits: Limits,
    used: Used,
}

pub(super) async fn show(State(app): State<App>, caller: Caller) -> Result<Json<Shown>, Problem> {
    let limits = app.env.keyring.limits(&caller.tenant, app.env.config.limits);
    let used = app.read(async |client| tenants::used_by(client, &caller.tenant).await).await?;
    Ok(Json(Shown { limits, used }))
}
