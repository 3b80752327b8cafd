//! What a worker has in hand, whichever session it is in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::wire::Ticket;
use common::work::Kind;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::Env;
use crate::outbox::{Held, Outbox, Report};

/// Outcomes that running tasks may have handed over and the loop not yet taken.
const FINISHED: usize = 1024;

/// What a worker has in hand; it lives across sessions.
pub(crate) struct Work {
    pub(super) running: JoinSet<()>,
    /// What runs, by the number of its start.
    pub(super) started: HashMap<u64, Arc<Waiting>>,
    pub(super) starts: u64,
    pub(super) in_use: HashMap<Kind, usize>,
    pub(super) alone: bool,
    pub(super) holding: HashSet<Uuid>,
    pub(super) outbox: Outbox,
    pub(super) finished: mpsc::Receiver<Report>,
    pub(super) reporter: mpsc::Sender<Report>,
    pub(super) session: u64,
    /// When it has to be gone, once it was asked to leave.
    leaves_by: Option<Instant>,
}

/// A delivery that was read.
pub(super) struct Waiting {
    pub(super) tickets: Vec<Ticket>,
    pub(super) held: Arc<Held>,
}

impl Work {
    pub(crate) fn new() -> Work {
        let (reporter, finished) = mpsc::channel(FINISHED);
        Work {
            running: JoinSet::new(),
            started: HashMap::new(),
            starts: 0,
            in_use: HashMap::new(),
            alone: false,
            holding: HashSet::new(),
            outbox: Outbox::default(),
            finished,
            reporter,
            session: 0,
            leaves_by: None,
        }
    }

    /// The time to finish begins when this is asked for the first time, and goes on over sessions.
    pub(crate) fn leaves_by(&mut self, env: &Env) -> Instant {
        let time = Duration::from_secs(env.config.worker.drain_seconds);
        *self.leaves_by.get_or_insert_with(|| Instant::now() + time)
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.in_use.values().any(|used| *used > 0) || !self.outbox.is_empty()
    }

    pub(super) fn idle(&self) -> bool {
        self.in_use.values().all(|used| *used == 0)
    }

    pub(super) fn take(&mut self, report: Report) {
        match report {
            Report::Outcome(settlement) => {
                if settlement.settles.is_some() {
                    self.holding.remove(&settlement.outcome.task);
                }
                self.outbox.push(*settlement);
            }
            Report::Free { kind, alone, start } => {
                self.started.remove(&start);
                if let Some(used) = self.in_use.get_mut(&kind) {
                    *used = used.saturating_sub(1);
                }
                if alone {
                    self.alone = false;
                }
            }
        }
    }
}
