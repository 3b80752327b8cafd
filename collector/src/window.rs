//! How many tickets may be on their way in each lane. Lanes are kept shallow, so that what comes later but ranks earlier is
//! not stuck behind a backlog in the broker; the backlog waits in PostgreSQL.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use common::durations::Durations;
use common::store::pauses::InForce;
use common::store::tasks::NewTask;
use common::topology::Lane;
use common::wire::{RoomPulse, VERSION, WorkerPulse};
use common::work::Kind;
use uuid::Uuid;

use crate::awaited::Awaited;

/// Tickets in a lane even when no worker is known.
const LEAST: u32 = 8;
/// A lane must last until the dispatcher has looked again: the measured time of a commit and a publish, with room to spare.
const REFILL: Duration = Duration::from_millis(500);
/// Weight of the past in the running rate, for each observation.
const MEMORY: f64 = 0.8;
/// A worker that was not heard of for this long is gone.
const SILENCE: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(crate) struct Window {
    workers: HashMap<String, (WorkerPulse, Instant)>,
    in_flight: HashMap<(Kind, Lane), u32>,
    /// Lanes in which something waits, with a rank that nothing there is known to be below.
    waiting: BTreeMap<(Kind, Lane), i64>,
    settled: HashMap<Kind, f64>,
    rate: HashMap<Kind, f64>,
    observed_at: Instant,
    pub(crate) awaited: Awaited,
    /// What is not to go out.
    pub(crate) pauses: Vec<InForce>,
    /// How long work takes.
    pub(crate) learnt: Durations,
}

impl Window {
    pub(crate) fn new(now: Instant) -> Window {
        Window {
            workers: HashMap::new(),
            in_flight: HashMap::new(),
            waiting: BTreeMap::new(),
            settled: HashMap::new(),
            rate: HashMap::new(),
            observed_at: now,
            awaited: Awaited::default(),
            pauses: Vec::new(),
            learnt: Durations::default(),
        }
    }

    pub(crate) fn heard(&mut self, pulse: WorkerPulse, now: Instant) {
        if pulse.draining {
            self.workers.remove(&pulse.worker);
        } else {
            self.workers.insert(pulse.worker.clone(), (pulse, now));
        }
    }

    pub(crate) fn forget_silent_workers(&mut self, now: Instant) {
        self.workers.retain(|_, (_, heard)| now.duration_since(*heard) < SILENCE);
    }

    /// Every worker that was heard of lately.
    pub(crate) fn workers(&self) -> impl Iterator<Item = &WorkerPulse> {
        self.workers.values().map(|(pulse, _)| pulse)
    }

    /// How many live workers have an engine.
    pub(crate) fn workers_with(&self, engine: &str) -> u32 {
        let count = self.workers().filter(|pulse| pulse.engines.iter().any(|name| name == engine)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Tasks that live workers hold.
    pub(crate) fn held(&self) -> Vec<Uuid> {
        self.workers().flat_map(|pulse| pulse.holding.iter().copied()).collect()
    }

    /// Replaces what was counted along the way with what the database says. Where others may have added something, nothing is known
    /// of its rank: outlines come from producers, and `promoted` tells that tasks came back whose time has come.
    pub(crate) fn resync(
        &mut self,
        in_flight: Vec<(Kind, Lane, u32)>,
        waiting: &[(Kind, Lane)],
        promoted: bool,
    ) {
        self.in_flight = in_flight.into_iter().map(|(kind, lane, count)| ((kind, lane), count)).collect();
        let known = std::mem::take(&mut self.waiting);
        let rank = |lane: &(Kind, Lane)| match known.get(lane) {
            Some(rank) if lane.0 != Kind::Outline && !promoted => *rank,
            _ => i64::MIN,
        };
        self.waiting = waiting.iter().map(|lane| (*lane, rank(lane))).collect();
    }

    pub(crate) fn settled(&mut self, kind: Kind, lane: Lane, count: u32) {
        let in_flight = self.in_flight.entry((kind, lane)).or_default();
        *in_flight = in_flight.saturating_sub(count);
        *self.settled.entry(kind).or_default() += f64::from(count);
    }

    /// Updates the rates; call it every second or so.
    pub(crate) fn observe(&mut self, now: Instant) {
        let seconds = now.duration_since(self.observed_at).as_secs_f64();
        if seconds < 0.2 {
            return;
        }
        for kind in Kind::ALL {
            let observed = self.settled.insert(kind, 0.0).unwrap_or(0.0) / seconds;
            let rate = self.rate.entry(kind).or_default();
            // Rises at once, falls slowly: a burst must find its window open.
            *rate = observed.max(*rate * MEMORY);
        }
        self.observed_at = now;
    }

    /// Permits reported by heartbeats, plus what is done while the lane is refilled.
    fn capacity(&self, kind: Kind) -> u32 {
        let permits: u32 = self.workers().filter_map(|pulse| pulse.permits.get(&kind)).sum();
        let seconds = REFILL.as_secs_f64();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let refill = (self.rate.get(&kind).copied().unwrap_or(0.0) * seconds).min(100_000.0) as u32;
        LEAST.max(permits + permits / 4) + refill
    }

    /// Room for work that is taken in order of rank.
    pub(crate) fn room(&self, kind: Kind, lane: Lane) -> u32 {
        self.capacity(kind).saturating_sub(self.in_flight.get(&(kind, lane)).copied().unwrap_or(0))
    }

    /// Whether a pause holds a task that has just become possible.
    pub(crate) fn holds(&self, task: &NewTask) -> bool {
        self.pauses.iter().any(|pause| pause.scope.covers(&task.tenant, task.kind, task.lane, &task.engine))
    }

    /// Takes a place for a task that has just become possible: only while nothing waits in its lane that comes before it.
    pub(crate) fn take(&mut self, kind: Kind, lane: Lane, rank: i64) -> bool {
        let first = self.waiting.get(&(kind, lane)).is_none_or(|lowest| rank <= *lowest);
        if !first || self.room(kind, lane) == 0 {
            let lowest = self.waiting.entry((kind, lane)).or_insert(rank);
            *lowest = rank.min(*lowest);
            return false;
        }
        self.dispatched(kind, lane, 1);
        true
    }

    pub(crate) fn dispatched(&mut self, kind: Kind, lane: Lane, count: u32) {
        *self.in_flight.entry((kind, lane)).or_default() += count;
    }

    /// What was taken from a lane left something that ranks no lower than this, or nothing.
    pub(crate) fn left_waiting(&mut self, kind: Kind, lane: Lane, rank: Option<i64>) {
        match rank {
            Some(rank) => self.waiting.insert((kind, lane), rank),
            None => self.waiting.remove(&(kind, lane)),
        };
    }

    /// Something waits in a lane, whatever its rank.
    pub(crate) fn waits_anywhere(&mut self, kind: Kind, lane: Lane) {
        self.waiting.insert((kind, lane), i64::MIN);
    }

    pub(crate) fn waits(&self, kind: Kind, lane: Lane) -> bool {
        self.waiting.contains_key(&(kind, lane))
    }

    /// Whether a lane stands still, for everybody.
    fn is_stopped(&self, kind: Kind, lane: Lane) -> bool {
        self.pauses.iter().any(|pause| pause.scope.stops(kind, lane))
    }

    /// The pauses that may hold back something in a lane.
    pub(crate) fn pauses_in(&self, kind: Kind, lane: Lane) -> Vec<InForce> {
        self.pauses.iter().filter(|pause| pause.scope.touches(kind, lane)).cloned().collect()
    }

    /// Lanes in which something waits that may go out, and for which there is room.
    pub(crate) fn open_lanes(&self) -> Vec<(Kind, Lane, u32)> {
        self.waiting
            .keys()
            .map(|(kind, lane)| (*kind, *lane, self.room(*kind, *lane)))
            .filter(|(kind, lane, room)| *room > 0 && !self.is_stopped(*kind, *lane))
            .collect()
    }

    /// What producers may publish by themselves: half of the room, since several share it.
    pub(crate) fn room_pulse(&self) -> RoomPulse {
        let room = [Lane::High, Lane::Normal, Lane::Low]
            .into_iter()
            .map(|lane| {
                let room = if self.waits(Kind::Outline, lane) { 0 } else { self.room(Kind::Outline, lane) };
                (lane.to_string(), room.div_ceil(2))
            })
            .collect();
        let paused = self.pauses.iter().map(|pause| pause.scope.clone()).collect();
        RoomPulse { v: VERSION, room, paused }
    }
}

#[cfg(test)]
mod tests {
    use common::pause::Scope;

    use super::*;

    fn pulse(worker: &str, permits: u32) -> WorkerPulse {
        WorkerPulse {
            v: VERSION,
            worker: worker.into(),
            version: String::new(),
            host: String::new(),
            pid: 1,
            permits: [(Kind::Tts, permits)].into(),
            engines: vec!["tones".into()],
            holding: vec![],
            draining: false,
        }
    }

    #[test]
    fn the_window_follows_the_permits_and_the_rate() {
        let start = Instant::now();
        let mut window = Window::new(start);
        assert_eq!(window.room(Kind::Tts, Lane::Normal), LEAST);
        window.heard(pulse("a", 40), start);
        assert_eq!((window.workers_with("tones"), window.workers_with("x")), (1, 0));
        assert_eq!(window.room(Kind::Tts, Lane::Normal), 50);
        window.dispatched(Kind::Tts, Lane::Normal, 50);
        assert_eq!(window.room(Kind::Tts, Lane::Normal), 0);
        window.settled(Kind::Tts, Lane::Normal, 1000);
        window.observe(start + Duration::from_secs(1));
        assert_eq!(window.room(Kind::Tts, Lane::Normal), 550);
        window.forget_silent_workers(start + Duration::from_secs(16));
        assert_eq!(window.room(Kind::Tts, Lane::Normal), LEAST + 500);
    }

    #[test]
    fn nothing_overtakes_what_waits() {
        let mut window = Window::new(Instant::now());
        assert!(window.take(Kind::Tts, Lane::Low, 10));
        window.waits_anywhere(Kind::Tts, Lane::Low);
        assert!(!window.take(Kind::Tts, Lane::Low, 10), "who knows what waits");
        assert!(window.take(Kind::Tts, Lane::High, 10), "another lane is not held up");
        window.left_waiting(Kind::Tts, Lane::Low, Some(20));
        assert!(window.take(Kind::Tts, Lane::Low, 20));
        assert!(!window.take(Kind::Tts, Lane::Low, 21));
        window.resync(vec![(Kind::Tts, Lane::Low, LEAST)], &[(Kind::Tts, Lane::Low)], false);
        assert!(!window.take(Kind::Tts, Lane::Low, 15), "no room: it waits, too");
        window.resync(Vec::new(), &[(Kind::Tts, Lane::Low)], false);
        assert!(!window.take(Kind::Tts, Lane::Low, 16) && window.take(Kind::Tts, Lane::Low, 15));
        window.resync(Vec::new(), &[(Kind::Tts, Lane::Low)], true);
        assert!(!window.take(Kind::Tts, Lane::Low, 15), "something has come back");
        window.left_waiting(Kind::Tts, Lane::Low, None);
        assert!(window.take(Kind::Tts, Lane::Low, 99));
    }

    #[test]
    fn a_lane_that_stands_still_is_passed_over_and_producers_hear_of_it() {
        let mut window = Window::new(Instant::now());
        window.waits_anywhere(Kind::Tts, Lane::Low);
        let pause = |tenant: Option<&str>| InForce {
            number: 1,
            scope: Scope { tenant: tenant.map(Into::into), kind: Some(Kind::Tts), ..Scope::default() },
        };
        window.pauses = vec![pause(Some("acme"))];
        assert_eq!(window.open_lanes().len(), 1, "others use it");
        assert_eq!(
            (window.pauses_in(Kind::Tts, Lane::Low).len(), window.pauses_in(Kind::Mix, Lane::Low).len()),
            (1, 0)
        );
        window.pauses = vec![pause(None)];
        assert!(window.open_lanes().is_empty());
        assert_eq!(window.room_pulse().paused, [pause(None).scope]);
    }

    #[test]
    fn a_worker_that_leaves_takes_its_permits_along() {
        let now = Instant::now();
        let mut window = Window::new(now);
        window.heard(pulse("a", 100), now);
        window.heard(WorkerPulse { draining: true, ..pulse("a", 100) }, now);
        assert_eq!(window.room(Kind::Tts, Lane::Normal), LEAST);
    }
}
