//! `podfleet loadtest chaos`: the claim that nothing is lost, put to the proof. A fleet of real processes works under load while
//! a nemesis, driven by one seed, kills, freezes and cuts off whatever there is. Then everything heals, and the invariants are
//! checked: in the database, in the speech server's ledger, and by listening to every episode.
//!
//! Read in this order: [`fault`] (what may be done), [`nemesis`] (who does it, and when), [`inflict`] and [`messages`] (how),
//! [`world`] (the fleet), [`load`] and [`application`] (who uses it meanwhile), [`watch`] (who looks on), [`check`] (what must
//! hold), [`report`]. [`mixed`] does the same with two builds side by side.

mod application;
mod check;
mod fault;
mod inflict;
mod load;
mod messages;
pub(crate) mod mixed;
mod nemesis;
mod provider;
mod report;
mod watch;
mod world;

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::args::loadtest::Chaos;
use crate::dev;
use crate::failure::Failure;
use crate::output::{print, print_json, remark};
use check::Findings;
use load::{Load, Log};
use nemesis::Nemesis;
use report::{Report, Run, WANTED_OF_EACH};
use watch::{Seen, Watch};
use world::World;

/// For this part of the time, and no longer than that, each fault is alone, and the time until work flows is measured. Before that
/// they follow each other like a storm.
const ALONE: f64 = 0.4;
const LONGEST_ALONE: Duration = Duration::from_secs(15 * 60);
/// Between two faults of a storm, on average.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1500);
const LONGEST_INTERVAL: Duration = Duration::from_secs(3);
/// Kinds that a slow machine gave too few turns get them after the time is over, for at most so long.
const SHORTEST_OVERTIME: Duration = Duration::from_secs(5 * 60);
const LONGEST_OVERTIME: Duration = Duration::from_secs(45 * 60);
/// How often the report is written while the run goes on.
const PROGRESS: Duration = Duration::from_secs(30);

pub(crate) async fn run(options: Chaos) -> anyhow::Result<()> {
    let shutdown = dev::begin()?;
    let seed = options.seed.unwrap_or_else(|| u64::from(std::process::id()));
    remark(format!("seed {seed}, {} minutes; starting the fleet", options.minutes));
    let program = std::env::current_exe().context("finding this program")?;
    let mut world = World::start(&program).await?;
    let report = rage(&mut world, seed, &options, &shutdown).await;
    // Before anything else may go wrong.
    if let (Ok(report), Some(file)) = (&report, &options.output) {
        report.write(file)?;
    }
    let logs = world.stop(!matches!(&report, Ok(report) if report.holds())).await;
    let report = report?;
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
    let watch = Watch::start(world);
    let mut nemesis = Nemesis::new(seed, &options.only, load.orders())?;
    let run = Run { seed, minutes: options.minutes, kinds: nemesis.kinds(), all: options.only.is_empty() };
    let mut broken_off = storm_and_alone(world, &mut nemesis, &load, &watch, options, &run, shutdown).await;
    if shutdown.is_cancelled() {
        return Err(Failure::Interrupted.into());
    }
    remark("healing; waiting until everything is at rest");
    if let Err(error) = world.heal().await {
        broken_off = broken_off.and(Err(error.context("healing")));
    }
    let log = load.stop().await?;
    let seen = watch.stop().await;
    let rest = Duration::from_secs(options.rest);
    let checked = check::everything(world, &log, &seen, &nemesis.done().copied, rest).await;
    // After an hour even a check that cannot be made is better told than nothing.
    let mut findings = checked.unwrap_or_else(|error| Findings {
        violations: vec![format!("the checks broke off: {error:#}")],
        ..Findings::default()
    });
    if let Err(error) = broken_off.and(leave(world).await) {
        findings.violations.push(format!("the run broke off: {error:#}"));
    }
    findings.violations.extend_from_slice(world.complaints());
    let mut report = Report::finished(&run, nemesis.done(), &log, &seen, findings);
    report.left = world.left().clone();
    Ok(report)
}

/// At rest, every member leaves in order.
async fn leave(world: &mut World) -> anyhow::Result<()> {
    world.expect_order();
    world.end_all().await
}

/// First the storm, then one fault at a time.
async fn storm_and_alone(
    world: &mut World,
    nemesis: &mut Nemesis,
    load: &Load,
    watch: &Watch,
    options: &Chaos,
    run: &Run,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let whole = Duration::from_secs_f64(options.minutes * 60.0);
    let storm = whole - whole.mul_f64(ALONE).min(LONGEST_ALONE);
    let interval = interval(storm, run.kinds.len());
    let overtime = whole.clamp(SHORTEST_OVERTIME, LONGEST_OVERTIME);
    let started = Instant::now();
    let (mut told, mut alone) = (Instant::now(), false);
    while started.elapsed() < whole + overtime && !shutdown.is_cancelled() {
        if started.elapsed() < storm {
            nemesis.strike(world, interval).await?;
        } else if alone && started.elapsed() >= whole {
            let behind = report::behind(run, nemesis.done());
            if behind.is_empty() {
                break;
            }
            nemesis.next_of(&behind);
            nemesis.strike_alone(world).await?;
        } else {
            if !alone {
                remark("from here on one fault at a time");
                nemesis.calm(world).await?;
                nemesis.begin_alone();
                world.expect_order();
                alone = true;
            }
            nemesis.strike_alone(world).await?;
        }
        if told.elapsed() > PROGRESS {
            told = Instant::now();
            tell(nemesis, &load.log(), &watch.seen(), options, run, started.elapsed())?;
        }
    }
    nemesis.calm(world).await
}

/// Such that every kind has its turns, and a few more for those that are not possible; but work must get on, too.
fn interval(storm: Duration, kinds: usize) -> Duration {
    let turns = f64::from(WANTED_OF_EACH + 3) * kinds as f64;
    storm.div_f64(turns.max(1.0)).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
}

/// Says how far the run is, and writes down what it has come to, so that something is left if it is interrupted.
fn tell(
    nemesis: &Nemesis,
    log: &Log,
    seen: &Seen,
    options: &Chaos,
    run: &Run,
    elapsed: Duration,
) -> anyhow::Result<()> {
    let report = Report::unfinished(run, nemesis.done(), log, seen);
    remark(format!(
        "{:.0} of {} minutes: {} faults, the fewest of a kind {}; {} podcasts accepted, {} completed or cancelled so far",
        elapsed.as_secs_f64() / 60.0,
        run.minutes,
        report.faults_total,
        report.fewest(run).map_or_else(String::new, |(kind, count)| format!("{count} ({kind})")),
        report.accepted,
        seen.ended.len(),
    ));
    match &options.output {
        Some(file) => report.write(file),
        None => Ok(()),
    }
}

/// What is known of a run that is not over.
fn nothing_found_yet() -> Findings {
    Findings { violations: vec!["the run is not over: nothing is checked yet".into()], ..Findings::default() }
}
