//! What stores blobs waits while their disk is full: what was paid for is kept in memory, and its permit takes no other work.

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::blobs::is_disk_full;

use crate::Env;
use crate::failure::Failure;

const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long one task may wait for room.
pub(super) struct Patience {
    until: Instant,
    told: bool,
}

impl Patience {
    pub(super) fn new(env: &Env) -> Patience {
        let wait = Duration::from_secs(env.config.blobs.wait_seconds);
        Patience { until: Instant::now() + wait, told: false }
    }

    /// After a failure for want of room: waits, and storing may be tried again. Any other failure is handed back, and so is this one
    /// when the patience is over.
    pub(super) async fn wait(&mut self, failure: Failure) -> Result<(), Failure> {
        if !is_disk_full(&failure) || Instant::now() >= self.until {
            return Err(failure);
        }
        if !self.told {
            tracing::error!(error = failure.message, "a task waits for room on a disk");
            self.told = true;
        }
        metrics::counter!("podfleet_disk_full_total").increment(1);
        tokio::time::sleep(LOOK_AGAIN).await;
        Ok(())
    }
}

/// Stores a blob unless its key is taken, as soon as there is room for it. Returns whether this call stored it.
pub(super) async fn store(env: &Env, key: &str, bytes: Bytes) -> Result<bool, Failure> {
    let mut patience = Patience::new(env);
    loop {
        match env.blobs.put_if_absent(key, bytes.clone()).await {
            Ok(stored) => return Ok(stored),
            Err(error) => patience.wait(error.into()).await?,
        }
    }
}
