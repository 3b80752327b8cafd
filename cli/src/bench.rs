//! `podfleet loadtest bench`: every figure that Podfleet promises, measured in one run on private servers, with the floors and, if asked
//! for, the peers beside it.
//!
//! Read in this order: [`floors`] (broker and database alone), [`workflows`] (tasks that do nothing, and [`peers`]), [`podcasts`] (one podcast
//! with the latencies of the goals), [`loads`] (many), [`scaling`] (workers 1 → 8), [`order`] (who goes first), [`mixing`] (an hour of speech).

mod floors;
mod loads;
pub(crate) mod mixing;
mod order;
mod peers;
mod podcasts;
mod scaling;
mod workflows;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use jiff::Timestamp;
use loadtest::probe::{Machine, Sampler};
use loadtest::report::{Document, Measured, of_targets};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::args::loadtest::{Bench, Part};
use crate::dev;
use crate::failure::Failure;
use crate::load::{table, write};
use crate::output::{from_here, print, print_json, remark};

/// What has been measured so far.
#[derive(Debug, Default)]
struct Results {
    figures: BTreeMap<&'static str, Measured>,
    bars: Vec<Value>,
    /// Everything as it was observed, by part.
    raw: Map<String, Value>,
}

impl Results {
    fn set(&mut self, id: &'static str, measured: Measured) {
        self.figures.insert(id, measured);
    }

    fn value(&mut self, id: &'static str, value: impl Into<Option<f64>>) {
        self.set(id, Measured::value(value));
    }

    fn why_not(&mut self, id: &'static str, reason: &str) {
        self.set(id, Measured::default().because(reason));
    }

    fn bars(&mut self, title: &str, unit: &str, goal: Option<f64>, bars: &[(&str, f64)]) {
        self.bars.push(json!({"title": title, "unit": unit, "goal": goal, "bars": bars}));
    }
}

pub(crate) async fn run(options: Bench) -> anyhow::Result<()> {
    let shutdown = dev::begin()?;
    let machine = Machine::now();
    let sampler = Sampler::start();
    let mut results = Results::default();
    for part in Part::ALL {
        if !options.only.is_empty() && !options.only.contains(&part) {
            continue;
        }
        let started = Instant::now();
        remark(format_args!("{part}"));
        measure(part, &options, &mut results, &shutdown)
            .await
            .with_context(|| format!("the part `{part}`"))?;
        remark(format_args!("  {:.0} s", started.elapsed().as_secs_f64()));
    }
    let (_, others_cores) = sampler.stop().await?;
    let at = Timestamp::now();
    let document = Document {
        scenario: "bench".to_owned(),
        seed: options.seed,
        at,
        version: common::process::VERSION.to_owned(),
        machine: machine.after(others_cores),
        setup: json!({
            "optimised": !cfg!(debug_assertions), "workflows": options.workflows, "alone": options.alone, "rounds": options.rounds,
            "peers": options.peers, "minutes_of_each_load": options.minutes,
        }),
        results: of_targets(results.figures),
        details: json!({ "bars": results.bars }),
    };
    let file = options.output.unwrap_or_else(|| PathBuf::from("out/bench/latest.json"));
    write(&document, &file)?;
    keep(&file, at, &document, results.raw)?;
    if options.json {
        print_json(&serde_json::to_value(&document)?)?;
    } else {
        print(table(&document.results))?;
        remark(format_args!(
            "\n{}\nThe same in {}, with plots beside it",
            document.machine,
            from_here(&file)
        ));
    }
    Ok(())
}

async fn measure(
    part: Part,
    options: &Bench,
    results: &mut Results,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let work = async {
        match part {
            Part::Floors => floors::measure(results).await,
            Part::Workflows => workflows::measure(options, results, shutdown).await,
            Part::Podcasts => podcasts::measure(options.seed, results, shutdown).await,
            Part::Loads => loads::measure(options, results, shutdown).await,
            Part::Scaling => scaling::measure(options.seed, results, shutdown).await,
            Part::Order => order::measure(options.seed, results, shutdown).await,
            Part::Mixing => mixing::measure(results).await,
        }
    };
    tokio::select! {
        measured = work => measured,
        () = shutdown.cancelled() => Err(Failure::Interrupted.into()),
    }
}

/// Every run is kept, with all that was observed.
fn keep(
    file: &std::path::Path,
    at: Timestamp,
    document: &Document,
    raw: Map<String, Value>,
) -> anyhow::Result<()> {
    let folder = file.parent().unwrap_or_else(|| std::path::Path::new("")).join("raw");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let name = at.strftime("%Y%m%d-%H%M%S").to_string();
    document.write(&folder.join(format!("{name}.json")))?;
    let observed = folder.join(format!("{name}.observed"));
    std::fs::write(&observed, serde_json::to_vec_pretty(&raw)?)
        .with_context(|| format!("cannot write {}", observed.display()))
}
