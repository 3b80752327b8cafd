//! `podfleet loadtest chaos`: the claim that nothing is lost, put to the proof. A fleet of real processes works under load while
//! a nemesis, driven by one seed, kills, freezes and cuts off whatever there is. Then everything heals, and the invariants are
//! checked: in the database, in the speech server's ledger, and by listening to every episode.
//!
//! Read in this order: [`nemesis`] (what is done to the fleet), [`world`] (the fleet), [`load`] (who submits meanwhile), [`check`]
//! (what must hold), [`report`].

mod check;
mod load;
mod nemesis;
mod report;
mod world;

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::args::Chaos;
use crate::dev;
use crate::failure::Failure;
use crate::output::{print, print_json, remark};
use load::Load;
use nemesis::Nemesis;
use report::Report;
use world::World;

/// This part of the time faults follow each other without a pause; then each is alone, and the time until work flows is measured.
const STORM: f64 = 0.6;

pub(crate) async fn run(options: Chaos) -> anyhow::Result<()> {
    let shutdown = dev::begin()?;
    let seed = options.seed.unwrap_or_else(|| u64::from(std::process::id()));
    remark(format!("seed {seed}, {} minutes; starting the fleet", options.minutes));
    let mut world = World::start().await?;
    let report = rage(&mut world, seed, &options, &shutdown).await;
    let logs = world.stop(!matches!(&report, Ok(report) if report.holds())).await?;
    let report = report?;
    if let Some(file) = &options.output {
        report.write(file)?;
    }
    if options.json {
        print_json(&serde_json::to_value(&report)?)?;
    } else {
        print(&report)?;
    }
    match logs {
        None => Ok(()),
        Some(logs) => Err(Failure::Broken(format!(
            "{} invariants are broken; the logs of the roles are in {}",
            report.violations.len(),
            logs.display()
        ))
        .into()),
    }
}

async fn rage(
    world: &mut World,
    seed: u64,
    options: &Chaos,
    shutdown: &CancellationToken,
) -> anyhow::Result<Report> {
    let load = Load::start(world)?;
    let mut nemesis = Nemesis::new(seed, &options.only)?;
    let whole = Duration::from_secs_f64(options.minutes * 60.0);
    let started = Instant::now();
    while started.elapsed() < whole {
        if shutdown.is_cancelled() {
            return Err(Failure::Interrupted.into());
        }
        let alone = started.elapsed() > whole.mul_f64(STORM);
        nemesis.strike(world, alone).await?;
    }
    remark("healing; waiting until everything is at rest");
    world.heal().await?;
    let submitted = load.stop().await?;
    let findings = check::everything(world, &submitted, Duration::from_secs(options.rest)).await?;
    Ok(Report::new(seed, options.minutes, nemesis.done(), &submitted, findings))
}
