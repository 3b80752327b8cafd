//! `podfleet loadtest bench`: the fleet itself, on private servers, with tasks that do nothing.

use anyhow::Context;
use common::config::Broker;
use loadtest::noop::{self, Amount, Figures};
use serde_json::json;

use crate::args::Bench;
use crate::dev;
use crate::failure::Failure;
use crate::fleet::Options;
use crate::output::{print, print_json};
use crate::progress::Board;

/// The shapes that are measured: name, engine for mixing, tasks of one podcast.
const SHAPES: [(&str, &str, usize); 2] = [
    ("1 → 5 → 25 → 1, the peers' shape", "none", 32),
    ("1 → 5 → 25 → 5 → 1, a podcast's own", "builtin", 37),
];

pub(crate) async fn run(options: Bench) -> anyhow::Result<()> {
    let shutdown = dev::begin()?;
    let amount = Amount { alone: options.alone, saturated: options.workflows };
    let mut results = Vec::new();
    for (shape, mix, tasks) in SHAPES {
        let folder = tempfile::Builder::new()
            .prefix("podfleet-bench-")
            .tempdir()
            .context("a folder for the servers")?;
        let file = folder.path().join("bench.toml");
        std::fs::write(&file, configuration(mix))?;
        let fleet = Options {
            data: folder.path().join("data"),
            port: 0,
            workers: options.workers,
            collectors: 1,
            external: false,
        };
        let fleet = dev::start(Some(&file), &fleet, &Board::new(), &shutdown).await?;
        let broker = Broker { url: fleet.broker.clone(), ..Broker::default() };
        let measured = tokio::select! {
            measured = noop::measure(&fleet.api, &broker, amount, tasks) => measured,
            error = fleet.hopeless() => Err(error),
            () = shutdown.cancelled() => Err(Failure::Interrupted.into()),
        };
        fleet.stop().await?;
        let figures = measured?;
        if !options.json {
            print(report(shape, &figures))?;
        }
        results.push(json!({"shape": shape, "workers": options.workers, "figures": figures}));
    }
    if options.json { print_json(&json!({ "results": results })) } else { Ok(()) }
}

fn configuration(mix: &str) -> String {
    format!(
        "[defaults]\noutline = \"noop\"\nscript = \"noop\"\ntts = \"noop\"\nmix = \"{mix}\"\n\
         [worker]\nconcurrency = 64\n[collector]\nmixers = 16\n"
    )
}

fn report(shape: &str, figures: &Figures) -> String {
    format!(
        "{shape}\n  alone: {:.1} ms (median), {:.1} ms (95 %)\n  saturated: {:.0} workflows/s, {:.0} tasks/s over {} workflows\n  \
         accepted under full load: {:.1} ms (median), {:.1} ms (99 %)\n",
        figures.alone_p50_ms,
        figures.alone_p95_ms,
        figures.workflows_per_second,
        figures.tasks_per_second,
        figures.workflows,
        figures.accepted_p50_ms,
        figures.accepted_p99_ms,
    )
}
