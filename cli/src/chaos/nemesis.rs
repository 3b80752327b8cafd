//! Who does it, and when. One seed decides about all of it: the order of the faults, whom they hit, and how long they last. In a
//! storm faults follow each other without waiting for anything, and up to three last at the same time; alone, each is waited for.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use anyhow::Context;
use uuid::Uuid;

use super::fault::{Fault, Target, deck};
use super::inflict::{self, Came};
use super::load::Orders;
use super::world::World;
use crate::failure::Failure;
use crate::output::remark;

/// Work must flow again this long after a fault is over.
pub(super) const RESUMED: Duration = Duration::from_secs(15);
/// Alone, a process that is to crash at a point must pass it within this.
const CRASH: Duration = Duration::from_secs(20);
/// Faults that last at the same time, at most.
const MOST_LASTING: usize = 3;
/// A fault that is not possible is tried again so often before its next regular turn.
const TRIES: u8 = 3;
/// Between two faults of a storm that is late.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// So many faults in a row that fail for reasons of their own: something is wrong with the machine, and not with the fleet.
const MOST_FAILED: u32 = 20;

/// What was done.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    pub(super) faults: BTreeMap<String, u32>,
    /// Faults that could not be done, because what they need was not there: no process that is not frozen already, say.
    pub(super) missed: BTreeMap<String, u32>,
    /// By fault that was alone: the longest time until work flowed again.
    pub(super) resumed_ms: BTreeMap<String, u64>,
    /// Tasks whose tickets were sent a second time, and how often.
    pub(super) copied: BTreeMap<Uuid, usize>,
}

/// How a fault that lasts is taken back.
struct Lasting {
    until: Instant,
    target: Target,
    fault: Fault,
}

pub(super) struct Nemesis {
    random: fastrand::Rng,
    /// Every fault that may happen.
    faults: Vec<Fault>,
    deck: VecDeque<(Fault, u8)>,
    decks: u32,
    lasting: Vec<Lasting>,
    orders: Orders,
    failed: u32,
    /// When the storm's next fault is due.
    next: Instant,
    done: Done,
}

impl Nemesis {
    /// With `only`, no faults but those that have one of these words in their names.
    pub(super) fn new(seed: u64, only: &[String], orders: Orders) -> anyhow::Result<Nemesis> {
        let wanted =
            |fault: &Fault| only.is_empty() || only.iter().any(|word| fault.name().contains(word.as_str()));
        let faults: Vec<Fault> = deck().into_iter().filter(wanted).collect();
        if faults.is_empty() {
            let names: Vec<String> = deck().into_iter().map(Fault::name).collect();
            return Err(
                Failure::Usage(format!("no fault is called so; there are: {}", names.join(", "))).into()
            );
        }
        let random = fastrand::Rng::with_seed(seed);
        Ok(Nemesis {
            random,
            faults,
            deck: VecDeque::new(),
            decks: 0,
            lasting: Vec::new(),
            orders,
            failed: 0,
            next: Instant::now(),
            done: Done::default(),
        })
    }

    pub(super) fn done(&self) -> &Done {
        &self.done
    }

    /// The names of all faults that count.
    pub(super) fn kinds(&self) -> Vec<String> {
        self.faults.iter().filter(|fault| fault.counts()).map(|fault| fault.name()).collect()
    }

    /// The next card of a deck that is shuffled anew when every fault has had its turn. Every other deck is of those that are behind.
    fn draw(&mut self) -> Option<(Fault, u8)> {
        if self.deck.is_empty() {
            self.decks += 1;
            let mut faults = self.faults.clone();
            if self.decks.is_multiple_of(2) {
                let count = |fault: &Fault| self.done.faults.get(&fault.name()).copied().unwrap_or_default();
                let most = faults.iter().map(count).max().unwrap_or_default();
                faults.retain(|fault| fault.counts() && count(fault) < most);
            }
            self.random.shuffle(&mut faults);
            if self.decks == 1 {
                crashes_early(&mut faults);
            }
            self.deck.extend(faults.into_iter().map(|fault| (fault, TRIES)));
        }
        self.deck.pop_front()
    }

    /// One fault in a storm, one `interval` after the one before on average; those that have lasted long enough are taken back.
    pub(super) async fn strike(&mut self, world: &mut World, interval: Duration) -> anyhow::Result<()> {
        let pause = self.next.saturating_duration_since(Instant::now()).max(SHORTEST_PAUSE);
        self.next += interval.mul_f64(0.5 + self.random.f64());
        tokio::time::sleep(pause).await;
        self.look(world).await?;
        self.take_back(world, Instant::now()).await?;
        let Some((fault, tries)) = self.draw() else { return Ok(()) };
        let busy = fault.target().is_some_and(|target| self.is_busy(&target));
        let came = if busy { Ok(Came::Missed) } else { self.begin(world, fault).await };
        match self.settled(world, fault, came).await? {
            Came::Over => {}
            Came::Lasts { target, lasts } => {
                self.lasting.push(Lasting { until: Instant::now() + lasts, target, fault });
                if self.lasting.len() > MOST_LASTING {
                    self.take_back_first(world).await?;
                }
            }
            Came::Missed => self.try_again(fault, tries),
            // Counted when the process has crashed.
            Came::Awaited => {}
        }
        self.look(world).await
    }

    /// One fault while no other is there, and then the time until work flows.
    pub(super) async fn strike_alone(&mut self, world: &mut World) -> anyhow::Result<()> {
        let Some((fault, tries)) = self.draw() else { return Ok(()) };
        let name = fault.name();
        let before = self.done.faults.get(&name).copied();
        let came = self.begin(world, fault).await;
        match self.settled(world, fault, came).await? {
            Came::Over => {}
            Came::Lasts { target, lasts } => {
                tokio::time::sleep(lasts).await;
                self.undo(world, &Lasting { until: Instant::now(), target, fault }).await?;
            }
            Came::Missed => {
                self.try_again(fault, tries);
                return Ok(());
            }
            Came::Awaited => {
                let started = Instant::now();
                while self.done.faults.get(&name).copied() == before && started.elapsed() < CRASH {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    self.look(world).await?;
                }
                if self.done.faults.get(&name).copied() == before {
                    *self.done.missed.entry(name).or_default() += 1;
                    self.try_again(fault, tries);
                    return world.disarm().await;
                }
            }
        }
        self.look(world).await?;
        let took = until_work_flows(world, Instant::now()).await?;
        let longest = self.done.resumed_ms.entry(name.clone()).or_default();
        *longest = (*longest).max(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        remark(format!("{name}: work flowed again after {:.1} s", took.as_secs_f64()));
        Ok(())
    }

    /// Takes everything back that lasts, and the crash points that nobody has passed yet.
    pub(super) async fn calm(&mut self, world: &mut World) -> anyhow::Result<()> {
        while !self.lasting.is_empty() {
            self.take_back_first(world).await?;
        }
        world.disarm().await?;
        self.look(world).await
    }

    /// From here on each fault is alone, and each has a turn before one has a second.
    pub(super) fn begin_alone(&mut self) {
        self.deck.clear();
        self.decks = 0;
    }

    /// Only these have turns from here on.
    pub(super) fn next_of(&mut self, kinds: &[String]) {
        self.deck.retain(|(fault, _)| kinds.contains(&fault.name()));
        if self.deck.is_empty() {
            let behind = self.faults.iter().filter(|fault| kinds.contains(&fault.name()));
            self.deck.extend(behind.map(|fault| (*fault, 1)));
        }
    }

    async fn begin(&mut self, world: &mut World, fault: Fault) -> anyhow::Result<Came> {
        let spared: Vec<String> = self
            .lasting
            .iter()
            .filter_map(|lasting| match &lasting.target {
                Target::Member(name) => Some(name.clone()),
                _ => None,
            })
            .collect();
        let mut hand = inflict::Hand {
            random: &mut self.random,
            world,
            spared: &spared,
            copied: &mut self.done.copied,
            orders: &self.orders,
        };
        hand.begin(fault).await
    }

    /// Writes down what a fault came to. One that failed for reasons of its own, because a server did not start in time, say, is as
    /// good as missed; what it left is set right.
    async fn settled(
        &mut self,
        world: &mut World,
        fault: Fault,
        came: anyhow::Result<Came>,
    ) -> anyhow::Result<Came> {
        let name = fault.name();
        let came = match came {
            Ok(came) => {
                self.failed = 0;
                came
            }
            Err(error) => {
                remark(format!("{name} did not work: {error:#}"));
                self.failed += 1;
                anyhow::ensure!(self.failed < MOST_FAILED, "{MOST_FAILED} faults in a row did not work");
                world.raise_servers().await.context("starting the servers again")?;
                Came::Missed
            }
        };
        match came {
            Came::Missed => *self.done.missed.entry(name).or_default() += 1,
            Came::Awaited => {}
            Came::Over | Came::Lasts { .. } => self.count(fault, name),
        }
        Ok(came)
    }

    fn count(&mut self, fault: Fault, name: String) {
        remark(&name);
        if fault.counts() {
            *self.done.faults.entry(name).or_default() += 1;
        }
    }

    /// Starts who is gone, and counts the crash points that were passed.
    async fn look(&mut self, world: &mut World) -> anyhow::Result<()> {
        world.respawn().await?;
        for point in world.crashed() {
            let fault = Fault::Crash(point);
            self.count(fault, fault.name());
        }
        Ok(())
    }

    fn try_again(&mut self, fault: Fault, tries: u8) {
        if tries > 1 {
            self.deck.push_back((fault, tries - 1));
        }
    }

    fn is_busy(&self, target: &Target) -> bool {
        self.lasting.iter().any(|lasting| lasting.target == *target)
    }

    async fn take_back(&mut self, world: &mut World, now: Instant) -> anyhow::Result<()> {
        let (over, lasting) =
            std::mem::take(&mut self.lasting).into_iter().partition(|lasting| lasting.until <= now);
        self.lasting = lasting;
        for lasting in Vec::from_iter(over) {
            self.undo(world, &lasting).await?;
        }
        Ok(())
    }

    async fn take_back_first(&mut self, world: &mut World) -> anyhow::Result<()> {
        let Some(first) = self.lasting.iter().map(|lasting| lasting.until).min() else { return Ok(()) };
        tokio::time::sleep_until(first.into()).await;
        self.take_back(world, first).await
    }

    async fn undo(&mut self, world: &mut World, lasting: &Lasting) -> anyhow::Result<()> {
        if let Err(error) = inflict::undo(world, lasting.fault, &lasting.target).await {
            remark(format!("{} was not taken back at once: {error:#}", lasting.fault.name()));
            world.raise_servers().await.context("starting the servers again")?;
            inflict::undo(world, lasting.fault, &lasting.target).await?;
        }
        Ok(())
    }
}

/// Two of three faults are crashes while there are any, so that a short run passes every point.
fn crashes_early(faults: &mut Vec<Fault>) {
    let (crashes, others): (Vec<_>, Vec<_>) =
        faults.drain(..).partition(|fault| matches!(fault, Fault::Crash(_)));
    let mut others = others.into_iter();
    for pair in crashes.chunks(2) {
        faults.extend(pair);
        faults.extend(others.next());
    }
    faults.extend(others);
}

/// The time from the end of a fault until every API is ready, and a task has succeeded that was started after it.
pub(super) async fn until_work_flows(world: &World, over: Instant) -> anyhow::Result<Duration> {
    const SQL: &str = "select exists (select from attempts where class = 'success' and started_at > now() - $1::float8 * interval '1 s')";
    let flows = async || {
        let database = world.database().await?;
        while !database.query_one(SQL, &[&over.elapsed().as_secs_f64()]).await?.get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        world.until_ready().await
    };
    loop {
        // A connection that breaks is made again: the database may have been the victim.
        match tokio::time::timeout((4 * RESUMED).saturating_sub(over.elapsed()), flows()).await {
            Ok(Ok(())) | Err(_) => return Ok(over.elapsed()),
            Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
