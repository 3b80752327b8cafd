//! What an engine may know of the attempt that calls it, and what it tells while it works.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::wire::Said;
use common::work::{Price, Turn};
use tokio::sync::mpsc;

use super::pace::Pace;

/// One attempt, as its engine sees it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Sent to servers that honour idempotency keys: the same for every attempt at the same input, until one definitely failed.
    pub idempotency_key: String,
    /// What is left of the podcast's deadline.
    pub time_left: Duration,
    /// What has been paid, whatever becomes of the attempt.
    pub bill: Bill,
    /// A script as far as it is written.
    pub draft: Draft,
    /// How fast the podcast's voices speak.
    pub pace: Pace,
}

impl Call {
    /// A call on its own: nothing is written yet, and nobody listens to the draft.
    pub fn new(idempotency_key: impl Into<String>, time_left: Duration) -> Call {
        Call {
            idempotency_key: idempotency_key.into(),
            time_left,
            bill: Bill::default(),
            draft: Draft::default(),
            pace: Pace::default(),
        }
    }
}

/// Units and their price, added up over all that one attempt asks. Clones share the sum.
#[derive(Clone, Debug, Default)]
pub struct Bill(Arc<Mutex<(u64, Price)>>);

impl Bill {
    /// An answer that was paid for.
    pub fn add(&self, units: u64, cost_micros: i64) {
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *sum = (sum.0.saturating_add(units), sum.1.and(Price { calls: 1, micros: cost_micros }));
    }

    /// Units, and millionths of the currency unit.
    pub fn sum(&self) -> (u64, i64) {
        let (units, price) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (units, price.micros)
    }

    /// Answers, and what they cost.
    pub fn price(&self) -> Price {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// A script that is being written. What is given is accepted at once and never withdrawn.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Turns of earlier attempts, in order.
    written: Arc<Vec<Said>>,
    sender: Option<mpsc::UnboundedSender<Turn>>,
    given: Arc<Mutex<Vec<Turn>>>,
}

impl Draft {
    /// Goes on after `written`; what is given comes out of the receiver.
    pub fn after(written: Vec<Said>) -> (Draft, mpsc::UnboundedReceiver<Turn>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Draft { written: Arc::new(written), sender: Some(sender), given: Arc::default() }, receiver)
    }

    /// A turn that is finished. The number of turns is bounded by whoever writes them.
    pub fn give(&self, turn: Turn) {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).push(turn.clone());
        if let Some(sender) = &self.sender {
            // Nobody takes it any more when the attempt was given up.
            let _ = sender.send(turn);
        }
    }

    /// Turns of earlier attempts.
    pub fn written(&self) -> &[Said] {
        &self.written
    }

    /// Turns of this attempt so far.
    pub fn given(&self) -> Vec<Turn> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
