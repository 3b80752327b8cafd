//! What the rest of the producer knows of the broker: whether a session is up, how much room the dispatcher last saw in each
//! lane, and where to hand over what is to be published. With no session, first tickets are the dispatcher's business.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::pause::Scope;
use common::publisher::{Ledger, Outgoing};
use common::store::tasks::NewTask;
use common::topology::Lane;
use common::wire::{Hint, RoomPulse};
use tokio::sync::mpsc;

/// A dispatcher's word on room holds this long.
const ROOM_LASTS: Duration = Duration::from_secs(3);
/// Batches that wait to be published; beyond, tickets are left to the dispatcher.
const OUTBOX: usize = 64;

/// What a committed transaction has to tell the broker.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    pub(crate) tickets: Vec<Outgoing>,
    pub(crate) hints: Vec<Hint>,
}

#[derive(Debug)]
pub(crate) struct Link {
    ledger: Arc<Ledger>,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    outbox: mpsc::Sender<Telling>,
    room: BTreeMap<String, u32>,
    paused: Vec<Scope>,
    heard: Option<Instant>,
}

impl Open {
    fn hears_a_dispatcher(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| now.duration_since(heard) <= ROOM_LASTS)
    }
}

impl Link {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Link {
        Link { ledger, open: Mutex::new(None) }
    }

    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        // Each change below is one assignment, so a panic elsewhere leaves it whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session is up and will publish what it receives.
    pub(crate) fn connect(&self) -> mpsc::Receiver<Telling> {
        let (outbox, receiver) = mpsc::channel(OUTBOX);
        *self.open() = Some(Open { outbox, room: BTreeMap::new(), paused: Vec::new(), heard: None });
        receiver
    }

    /// Nothing more is handed over. The session publishes what is left in its receiver, or calls [`Self::abandon`].
    pub(crate) fn disconnect(&self) {
        *self.open() = None;
    }

    /// What a broken session did not publish goes back to the dispatcher with the next checkpoint.
    pub(crate) fn abandon(&self, mut left: mpsc::Receiver<Telling>) {
        self.disconnect();
        while let Ok(telling) = left.try_recv() {
            self.fail(&telling.tickets);
        }
    }

    pub(crate) fn heard(&self, pulse: RoomPulse, now: Instant) {
        if let Some(open) = self.open().as_mut() {
            open.room = pulse.room;
            open.paused = pulse.paused;
            open.heard = Some(now);
        }
    }

    /// Whether a dispatcher has spoken lately. If not, the broker is away, has an alarm, or no collector runs.
    pub(crate) fn hears_a_dispatcher(&self, now: Instant) -> bool {
        self.open().as_ref().is_some_and(|open| open.hears_a_dispatcher(now))
    }

    /// Whether the dispatcher lately spoke of a pause that holds a task.
    pub(crate) fn holds(&self, task: &NewTask) -> bool {
        let covers = |scope: &Scope| scope.covers(&task.tenant, task.kind, task.lane, &task.engine);
        self.open().as_ref().is_some_and(|open| open.paused.iter().any(covers))
    }

    /// Takes a place in a lane, if the dispatcher lately saw room there.
    pub(crate) fn take(&self, lane: Lane, now: Instant) -> bool {
        let mut open = self.open();
        let Some(open) = open.as_mut() else { return false };
        if !open.hears_a_dispatcher(now) {
            return false;
        }
        match open.room.get_mut(lane.as_str()) {
            Some(room) if *room > 0 => {
                *room -= 1;
                true
            }
            _ => false,
        }
    }

    /// Hands over what is to be published. Never waits: what cannot be handed over is the dispatcher's, and hints may be lost.
    pub(crate) fn tell(&self, telling: Telling) {
        if telling.tickets.is_empty() && telling.hints.is_empty() {
            return;
        }
        let open = self.open();
        let unsent = match open.as_ref() {
            Some(open) => open.outbox.try_send(telling).err().map(mpsc::error::TrySendError::into_inner),
            None => Some(telling),
        };
        if let Some(telling) = unsent {
            self.fail(&telling.tickets);
        }
    }

    fn fail(&self, tickets: &[Outgoing]) {
        let seqs: Vec<i64> = tickets.iter().map(|out| out.seq).collect();
        self.ledger.fail(&seqs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(room: u32) -> RoomPulse {
        RoomPulse { v: 1, room: [("normal".to_owned(), room)].into(), paused: Vec::new() }
    }

    #[test]
    fn room_is_used_up_and_goes_stale() {
        let (link, now) = (Link::new(Ledger::new()), Instant::now());
        link.heard(pulse(2), now);
        assert!(!link.take(Lane::Normal, now), "without a session there is no room");
        let _outbox = link.connect();
        assert!(!link.take(Lane::Normal, now), "nobody has spoken of room yet");
        link.heard(pulse(2), now);
        assert!(!link.take(Lane::High, now));
        assert!(link.take(Lane::Normal, now));
        assert!(!link.take(Lane::Normal, now + Duration::from_secs(4)));
        assert!(link.take(Lane::Normal, now + Duration::from_secs(3)));
        assert!(!link.take(Lane::Normal, now));
        link.heard(pulse(1), now);
        link.disconnect();
        assert!(!link.take(Lane::Normal, now));
    }
}
