//! How things are, for all who look at the same time. Open pages are renewed in the same moment, and the first of them to ask asks for
//! all: ten pages cost the database as much as one. While nobody looks, nothing is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::store::minutes::Minute;
use common::store::overview::{Held, LaneNow, WorkerNow};
use jiff::Timestamp;
use tokio::time::Instant;

/// How often open pages are renewed.
const TURN: Duration = Duration::from_secs(2);
/// Tenants whose answers are kept though none of their pages may be open.
const REMEMBERED: usize = 64;

/// What the whole fleet is at; each figure unless the database did not tell it in time.
#[derive(Debug)]
pub(super) struct FleetNow {
    pub(super) lanes: Option<Vec<LaneNow>>,
    pub(super) workers: Option<Vec<WorkerNow>>,
}

/// What is a tenant's own of it.
#[derive(Debug)]
pub(super) struct TenantNow {
    pub(super) at: Timestamp,
    pub(super) podcasts: Option<Vec<(String, i64)>>,
    pub(super) minutes: Option<Vec<Minute>>,
    pub(super) held: Option<Vec<Held>>,
}

/// The answers that are shared by the pages of this producer. Clones share them.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct Looks(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    clock: Clock,
    fleet: Shared<FleetNow>,
    tenants: Mutex<BTreeMap<String, Arc<Shared<TenantNow>>>>,
}

impl Looks {
    /// Until open pages are renewed the next time.
    pub(super) async fn next_turn(&self) {
        tokio::time::sleep_until(self.0.clock.next(Instant::now())).await;
    }

    /// `None`: it cannot be had now.
    pub(super) async fn fleet(&self, read: impl AsyncFnOnce() -> Option<FleetNow>) -> Option<Arc<FleetNow>> {
        self.0.fleet.get(|| self.0.clock.turn(Instant::now()), read).await
    }

    pub(super) async fn tenant(
        &self,
        tenant: &str,
        read: impl AsyncFnOnce() -> Option<TenantNow>,
    ) -> Option<Arc<TenantNow>> {
        let shared = {
            let mut tenants = self.0.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            if tenants.len() >= REMEMBERED {
                tenants.retain(|_, shared| Arc::strong_count(shared) > 1);
            }
            tenants.entry(tenant.to_owned()).or_default().clone()
        };
        shared.get(|| self.0.clock.turn(Instant::now()), read).await
    }
}

/// Time in turns, the same for all pages.
#[derive(Debug)]
struct Clock {
    origin: Instant,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock { origin: Instant::now() }
    }
}

impl Clock {
    fn turn(&self, now: Instant) -> u128 {
        now.saturating_duration_since(self.origin).as_millis() / TURN.as_millis()
    }

    /// When the next turn begins.
    fn next(&self, now: Instant) -> Instant {
        let into = now.saturating_duration_since(self.origin).as_millis() % TURN.as_millis();
        let left = TURN.as_millis() - into;
        now + Duration::from_millis(u64::try_from(left).unwrap_or_default())
    }
}

/// An answer for all who ask in one turn, also the answer that there is none. Whoever comes while it is read waits for it.
#[derive(Debug)]
struct Shared<T>(tokio::sync::Mutex<Option<(u128, Option<Arc<T>>)>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Shared(tokio::sync::Mutex::default())
    }
}

impl<T> Shared<T> {
    /// `turn` tells which one it is.
    async fn get(&self, turn: impl Fn() -> u128, read: impl AsyncFnOnce() -> Option<T>) -> Option<Arc<T>> {
        let mut answer = self.0.lock().await;
        if let Some((of, answer)) = &*answer
            && *of == turn()
        {
            return answer.clone();
        }
        let fresh = read().await.map(Arc::new);
        // Of the turn in which it was there: a read may take longer than one, and those who waited for it take it.
        *answer = Some((turn(), fresh.clone()));
        fresh
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[test]
    fn all_pages_have_the_same_turns() {
        let clock = Clock::default();
        let after = |ms: u64| clock.origin + Duration::from_millis(ms);
        let turns = [0, 1_999, 2_000, 5_999].map(|ms| clock.turn(after(ms)));
        assert_eq!(turns, [0, 0, 1, 2]);
        for ms in [0, 700, 1_999] {
            assert_eq!(clock.next(after(ms)), after(2_000), "{ms}");
        }
        assert_eq!(clock.next(after(2_000)), after(4_000), "a turn that has just begun is not the next one");
    }

    #[tokio::test]
    async fn whoever_asks_in_one_turn_shares_the_answer() {
        let (shared, reads) = (Shared::<u32>::default(), AtomicU32::new(0));
        let ask = async |turn: u128, answer: Option<u32>| {
            let read = async || {
                reads.fetch_add(1, Ordering::Relaxed);
                // The others come meanwhile.
                tokio::task::yield_now().await;
                answer
            };
            shared.get(|| turn, read).await.as_deref().copied()
        };
        let all = join_all((0..10).map(|_| ask(0, Some(7)))).await;
        assert!(all.iter().all(|answer| *answer == Some(7)), "{all:?}");
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        let none = join_all((0..10).map(|_| ask(1, None))).await;
        assert!(none.iter().all(Option::is_none), "what cannot be had is not asked for ten times, either");
        assert_eq!(reads.load(Ordering::Relaxed), 2);
    }
}
