//! `podfleet dev`: the whole fleet on this machine until Ctrl-C.

use std::path::Path;

use common::config::Telemetry;
use common::{process, telemetry};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::args::Dev;
use crate::dev_file::{self, DevFile};
use crate::failure::Failure;
use crate::fleet::{Fleet, Options};
use crate::output::{boxed, from_here, own_name, print, print_json, remark};
use crate::progress::Board;

pub(crate) async fn run(config: Option<&Path>, options: Dev) -> anyhow::Result<()> {
    let shutdown = begin()?;
    let (data, as_json) = (options.data.clone(), options.json);
    let options = Options {
        data: options.data,
        port: options.port,
        producers: 1,
        workers: options.workers,
        collectors: options.collectors,
        external: options.external,
    };
    let fleet = start(config, &options, &Board::new(), &shutdown).await?;
    let file = DevFile { api: fleet.api.clone(), amqp: fleet.amqp.clone(), pid: std::process::id() };
    dev_file::write(&data, &file)?;
    if as_json {
        print_json(&about(&fleet, &file)?)?;
    } else {
        print(boxed(&summary(&fleet, &data)))?;
    }
    shutdown.cancelled().await;
    remark("stopping; once more ends everything at once");
    dev_file::remove(&data);
    fleet.stop().await
}

/// Signals and logs of a process that runs a fleet. The roles log to files; here only what needs attention is told.
pub(crate) fn begin() -> anyhow::Result<CancellationToken> {
    telemetry::start(&Telemetry { log: "warn,lapin=off".into(), json: false })?;
    process::shutdown_on_signals()
}

/// Starts the fleet, unless the user has had enough before it is ready.
pub(crate) async fn start(
    config: Option<&Path>,
    options: &Options,
    board: &Board,
    shutdown: &CancellationToken,
) -> anyhow::Result<Fleet> {
    let what = if options.external {
        "starting the roles"
    } else {
        "starting RabbitMQ, PostgreSQL, Redis and the roles"
    };
    let _waiting = board.waiting(what);
    tokio::select! {
        started = Fleet::start(config, options) => started,
        () = shutdown.cancelled() => Err(Failure::Interrupted.into()),
    }
}

/// What the box says, for programs. Nobody needs a key: that of `dev` is not there, rather than left out.
fn about(fleet: &Fleet, file: &DevFile) -> anyhow::Result<Value> {
    let mut about = serde_json::to_value(file)?;
    about["dashboard"] = json!(fleet.api);
    about["logs"] = json!(fleet.logs);
    about["signed_in"] = json!({ "tenant": "default", "role": "admin", "key": null });
    Ok(about)
}

fn summary(fleet: &Fleet, data: &Path) -> Vec<String> {
    let program = own_name();
    // Client commands find the server by themselves when it is this folder's.
    let server =
        if data == Path::new(".podfleet") { String::new() } else { format!(" --server {}", fleet.api) };
    vec![
        "Podfleet is running.".into(),
        String::new(),
        format!("Open    {}  in a browser; the API is there, too", fleet.api),
        format!("Try     {program} submit samples/tides.md --wait -o tides.mp3{server}"),
        format!("        {program} list{server}"),
        format!("Logs    {}", from_here(&fleet.logs)),
        "Stop    Ctrl-C".into(),
        String::new(),
        "You are signed in: whoever uses this machine is the admin of the tenant".into(),
        "\"default\", without a key. Not for production.".into(),
    ]
}
