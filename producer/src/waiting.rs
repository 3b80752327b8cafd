//! How many podcasts wait while nobody dispatches: the broker is away or has an alarm, or no collector runs. Requests are accepted
//! all the same, up to a bound. No request counts anything: the database is asked once a second, and what is accepted in between
//! is added.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::store::tasks::dispatch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::Env;

const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Waiting {
    most: usize,
    counted: AtomicUsize,
}

impl Waiting {
    pub(crate) fn new(most: usize) -> Waiting {
        Waiting { most, counted: AtomicUsize::new(0) }
    }

    /// Takes a place, unless all are taken and nobody dispatches. Producers do not see each other's new places for a second, so
    /// several together may exceed the bound by what they accept in that time.
    pub(crate) fn admits(&self, dispatcher_is_heard: bool) -> bool {
        let place = |counted| (counted < self.most).then_some(counted + 1);
        dispatcher_is_heard || self.counted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, place).is_ok()
    }
}

/// Looks once a second, while nobody dispatches.
pub(crate) async fn watch(env: Arc<Env>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
        if env.link.hears_a_dispatcher(Instant::now()) {
            // What waited the last time says nothing of the next.
            env.waiting.counted.store(0, Ordering::Relaxed);
            continue;
        }
        if !env.readiness.is_ready() {
            continue;
        }
        let most = i64::try_from(env.waiting.most).unwrap_or(i64::MAX);
        let counted = env
            .store
            .run(async |client| {
                let tx = client.transaction().await?;
                let counted = dispatch::podcasts_waiting(&tx, most).await?;
                tx.commit().await?;
                Ok(counted)
            })
            .await;
        match counted {
            Ok(counted) => {
                env.waiting.counted.store(usize::try_from(counted).unwrap_or_default(), Ordering::Relaxed);
                #[allow(clippy::cast_precision_loss)]
                metrics::gauge!("podfleet_waiting_podcasts").set(counted as f64);
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "waiting podcasts could not be counted");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_only_while_nobody_dispatches() {
        let waiting = Waiting::new(2);
        let admitted = (0..5).filter(|_| waiting.admits(false)).count();
        assert_eq!(admitted, 2);
        assert!(waiting.admits(true));
    }
}
