//! What the fleet is at: its lanes and its workers.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use common::store::lanes::{self, InHand, Standing};
use common::store::pauses::{self, Pause};
use common::work::Kind;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::App;
use super::pauses::own;
use super::problem::Problem;
use crate::Caller;

/// Tasks in hand that are looked up; a worker holds few.
const LOOKED_UP: usize = 2_000;

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Queues {
    queues: Vec<Standing>,
    /// Where the counting of each lane ends: this many may be more.
    counted_to: i64,
    /// What is held back: your own pauses, and those for everybody.
    pauses: Vec<Pause>,
}

/// Of all tenants together: numbers tell nobody what others do.
pub(super) async fn queues(State(app): State<App>, caller: Caller) -> Result<Json<Queues>, Problem> {
    let (queues, pauses) = app
        .read(async |client| {
            let queues = lanes::standings(client, Timestamp::now()).await?;
            Ok((queues, pauses::list(client, own(&caller)).await?))
        })
        .await?;
    Ok(Json(Queues { queues, counted_to: lanes::COUNTED_TO, pauses }))
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Workers {
    workers: Vec<Worker>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Worker {
    worker: String,
    version: String,
    host: String,
    pid: u32,
    /// How many tasks of each kind it does at a time.
    permits: BTreeMap<Kind, u32>,
    engines: Vec<String>,
    /// It is about to leave and takes nothing new.
    draining: bool,
    heard_ms_ago: u64,
    /// Tasks it has in hand, of all tenants.
    holding: usize,
    /// Those of them that are yours.
    tasks: Vec<InHand>,
}

/// Those whose heartbeats this producer has heard of late.
pub(super) async fn workers(State(app): State<App>, caller: Caller) -> Result<Json<Workers>, Problem> {
    let present = app.env.roster.present(Instant::now());
    let held: Vec<Uuid> =
        present.iter().flat_map(|(pulse, _)| &pulse.holding).copied().take(LOOKED_UP).collect();
    let own = app.read(async |client| lanes::of_tenant(client, &caller.tenant, &held).await).await?;
    let own: HashMap<Uuid, InHand> = own.into_iter().map(|task| (task.task, task)).collect();
    let workers = present
        .into_iter()
        .map(|(pulse, age)| Worker {
            holding: pulse.holding.len(),
            tasks: pulse.holding.iter().filter_map(|task| own.get(task).cloned()).collect(),
            worker: pulse.worker,
            version: pulse.version,
            host: pulse.host,
            pid: pulse.pid,
            permits: pulse.permits,
            engines: pulse.engines,
            draining: pulse.draining,
            heard_ms_ago: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
        })
        .collect();
    Ok(Json(Workers { workers }))
}
