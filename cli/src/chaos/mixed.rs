//! `podfleet loadtest mixed`: an older build and this one at work on one database and one broker, in every order of an upgrade and
//! of a way back, under load and with kills. What must hold is what must hold in chaos.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use uuid::Uuid;

use super::check::{self, Findings};
use super::fault::Mischief;
use super::inflict::Came;
use super::load::{Load, Log};
use super::messages;
use super::nemesis::{RESUMED, until_work_flows};
use super::watch::Watch;
use super::world::World;
use crate::args::loadtest::Mixed;
use crate::dev;
use crate::failure::Failure;
use crate::output::{print, remark};

/// After the last stage nothing may stand still longer than this before everything is at rest.
const REST: Duration = Duration::from_secs(120);
/// So often a ticket that the workers do not know is slipped in until one has come by.
const TRIES: usize = 20;

/// Which members come from this build; the others come from the older one.
struct Stage {
    name: &'static str,
    is_new: fn(&str) -> bool,
}

/// The schema is the older build's at first. The first process of this build brings its own additions, while older ones work;
/// later older ones start on that.
const STAGES: [Stage; 7] = [
    Stage { name: "all old", is_new: |_| false },
    Stage { name: "new workers", is_new: works },
    Stage { name: "one new of each role", is_new: |member| member.ends_with("-1") },
    Stage { name: "new producers and collectors", is_new: |member| !works(member) },
    Stage { name: "all new", is_new: |_| true },
    Stage { name: "one old of each role", is_new: |member| !member.ends_with("-1") },
    Stage { name: "all old again", is_new: |_| false },
];

pub(crate) async fn run(options: Mixed) -> anyhow::Result<()> {
    let shutdown = dev::begin()?;
    let new = std::env::current_exe().context("finding this program")?;
    let old =
        options.with.canonicalize().with_context(|| format!("no program {}", options.with.display()))?;
    ensure!(std::fs::read(&old)? != std::fs::read(&new)?, "{} is this very build", old.display());
    let mut world = World::start(&old).await?;
    let worked = tokio::select! {
        worked = work(&mut world, &new, &old, Duration::from_secs(options.stage)) => worked,
        () = shutdown.cancelled() => Err(Failure::Interrupted.into()),
    };
    let holds = matches!(&worked, Ok((_, findings)) if findings.violations.is_empty());
    let logs = world.stop(!holds).await;
    let (log, findings) = worked?;
    let state = |name: &str| findings.states.get(name).copied().unwrap_or_default();
    print(format!(
        "{} mixtures: accepted {}, completed {}, failed {}, cancelled {}, lost {}, duplicated {}; segments paid twice: {} known, {} \
         unexplained",
        STAGES.len(),
        log.submitted.len(),
        state("completed"),
        state("failed"),
        state("cancelled"),
        findings.lost,
        findings.duplicated,
        findings.paid_twice_known,
        findings.paid_twice_unexplained
    ))?;
    match logs {
        None => print("every invariant held"),
        Some(logs) => {
            print(format!("broken:\n  {}", findings.violations.join("\n  ")))?;
            let count = findings.violations.len();
            let logs = logs.display();
            Err(Failure::Broken(format!(
                "{count} invariants are broken; the logs of the roles are in {logs}"
            ))
            .into())
        }
    }
}

async fn work(world: &mut World, new: &Path, old: &Path, lasts: Duration) -> anyhow::Result<(Log, Findings)> {
    let load = Load::start(world)?;
    let watch = Watch::start(world);
    let mut builds: BTreeMap<String, &Path> = BTreeMap::new();
    let mut copied = BTreeMap::new();
    let mut late = Vec::new();
    for stage in &STAGES {
        for member in members(world) {
            let program = if (stage.is_new)(&member) { new } else { old };
            if builds.insert(member.clone(), program).unwrap_or(old) != program {
                world.replace(&member, program).await?;
            }
        }
        let took = until_work_flows(world, Instant::now()).await?;
        remark(format!("{}: work flows after {:.1} s", stage.name, took.as_secs_f64()));
        if took > RESUMED {
            late.push(format!("{}: work flowed only after {:.1} s", stage.name, took.as_secs_f64()));
        }
        if !world.members("worker").iter().any(|worker| (stage.is_new)(worker)) {
            slip_in_what_they_do_not_know(world, &mut copied).await?;
        }
        for victim in ["worker-2", "collector-2", "producer-2"] {
            world.signal(victim, Signal::SIGKILL)?;
            world.respawn().await?;
            tokio::time::sleep(lasts / 3).await;
        }
    }
    remark("waiting until everything is at rest");
    world.heal().await?;
    let log = load.stop().await?;
    let seen = watch.stop().await;
    let mut findings = check::everything(world, &log, &seen, &copied, REST).await?;
    findings.violations.extend(late);
    findings.violations.extend_from_slice(world.complaints());
    let handed_back = "select count(*) from attempts where class = 'unsupported'";
    let handed_back: i64 = world.database().await?.query_one(handed_back, &[]).await?.get(0);
    if handed_back == 0 {
        findings.violations.push("no worker handed back the tickets that it did not know".into());
    }
    Ok((log, findings))
}

fn works(member: &str) -> bool {
    member.starts_with("worker") || member.starts_with("mixer")
}

fn members(world: &World) -> Vec<String> {
    ["producer", "collector", "worker", "mixer"].iter().flat_map(|role| world.members(role)).collect()
}

/// Tickets of a version that no build knows: a worker hands them back, and they are done all the same.
async fn slip_in_what_they_do_not_know(
    world: &World,
    copied: &mut BTreeMap<Uuid, usize>,
) -> anyhow::Result<()> {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..TRIES {
        // A lane may not have been declared yet.
        if let Ok(Came::Over) = messages::meddle(world, Mischief::Newer, &mut random, copied).await {
            return Ok(());
        }
    }
    anyhow::bail!("no ticket came by")
}
