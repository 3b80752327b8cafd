//! A tenant's place in the order of work: a virtual clock, as in fair queueing. Each podcast finishes, in virtual time, its
//! expected work after the one before it; a tenant that sends a thousand at once stands behind itself, not before others.
//! What becomes of a place is said in [`common::order`].

use std::collections::HashMap;
use std::time::Duration;

use common::order::{MOST_PASSED, micros, rank};

/// Tenants remembered; beyond, all are forgotten and read again from the database.
const MAX_TENANTS: usize = 10_000;

/// Where the next podcast of each tenant begins, in microseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct VirtualClock(HashMap<String, i64>);

impl VirtualClock {
    pub(crate) fn knows(&self, tenant: &str) -> bool {
        self.0.contains_key(tenant)
    }

    /// Goes on from the rank of a tenant's last podcast. How far that lies behind the podcast's begin is not remembered: at most by
    /// [`MOST_PASSED`], which the tenant gains once.
    pub(crate) fn seed(&mut self, tenant: &str, last_rank: Option<i64>) {
        if self.0.len() >= MAX_TENANTS {
            self.0.clear();
        }
        let begins = last_rank.map_or(i64::MIN, |rank| rank.saturating_sub(micros(MOST_PASSED)));
        self.0.insert(tenant.to_owned(), begins);
    }

    /// The rank of a tenant's next podcast.
    pub(crate) fn next(&mut self, tenant: &str, now_us: i64, work: Duration) -> i64 {
        let last = self.0.entry(tenant.to_owned()).or_insert(i64::MIN);
        let begins = now_us.max(*last);
        *last = begins.saturating_add(micros(work));
        rank(begins, work)
    }

    /// The podcast was not new: its work does not count a second time.
    pub(crate) fn withdraw(&mut self, tenant: &str, work: Duration) {
        if let Some(last) = self.0.get_mut(tenant) {
            *last = last.saturating_sub(micros(work));
        }
    }

    /// Nobody knows what was committed: ask the database again.
    pub(crate) fn forget(&mut self, tenant: &str) {
        self.0.remove(tenant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_busy_tenant_stands_behind_itself_and_not_before_others() {
        let mut clock = VirtualClock::default();
        let busy: Vec<i64> = (0..3).map(|_| clock.next("busy", 1_000, MINUTE)).collect();
        // Each lets eight minutes pass that are asked for later.
        assert_eq!(busy, [480_001_000, 540_001_000, 600_001_000]);
        assert_eq!(clock.next("calm", 2_000, MINUTE), 480_002_000);
        assert_eq!(clock.next("busy", 500_000_000, MINUTE), 980_000_000, "time passes for the idle");
    }

    #[test]
    fn it_goes_on_from_the_database_and_forgets_what_was_not_new() {
        let mut clock = VirtualClock::default();
        assert!(!clock.knows("t"));
        clock.seed("t", Some(990_000_000));
        assert_eq!(clock.next("t", 0, MINUTE), 570_000_000);
        clock.withdraw("t", MINUTE);
        assert_eq!(clock.next("t", 0, MINUTE), 570_000_000);
        clock.forget("t");
        clock.seed("t", None);
        assert_eq!(clock.next("t", 7, Duration::ZERO), 7);
    }

    #[test]
    fn memory_is_bounded() {
        let mut clock = VirtualClock::default();
        for tenant in 0..=MAX_TENANTS {
            clock.seed(&tenant.to_string(), None);
        }
        assert!(clock.0.len() <= MAX_TENANTS);
    }
}
