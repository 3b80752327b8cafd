//! The order of work. A task's rank is fixed when it is inserted and the lowest goes first, so the order costs one look at an
//! index. It is made of three things, all in microseconds of virtual time:
//!
//! * where the podcast **begins** in its tenant's share: after everything that the tenant asked for before. Whoever asks for a
//!   thousand stands behind himself, not before others; and because whatever comes later begins later, what waits ages.
//! * a **handicap** by its expected work: short podcasts pass long ones of their own tenant, up to a bound.
//! * a **credit** for what is nearer to the end: work that finishes a podcast comes before work that begins another.
//!
//! So the longest wait is stated as work that may pass: all that was accepted before, and of what is accepted later, by the
//! same tenant at most [`MOST_PASSED`], and by any other at most [`MOST_PASSED`] plus what it is behind in its share.

use std::time::Duration;

use crate::work::Kind;

/// A podcast lets pass this many times its own expected work, and never more than [`MOST_PASSED`].
const STRETCH: u32 = 8;
/// The most work, accepted later, that passes a podcast.
pub const MOST_PASSED: Duration = Duration::from_secs(15 * 60);

/// The rank of a podcast whose place in its tenant's share begins at `begins_us`.
pub fn rank(begins_us: i64, work: Duration) -> i64 {
    begins_us.saturating_add(micros((work * STRETCH).min(MOST_PASSED)))
}

/// What a task's kind takes off its podcast's rank.
pub fn credit_us(kind: Kind) -> i64 {
    match kind {
        Kind::Outline => 0,
        Kind::Script => 1_000_000,
        Kind::Tts => 2_000_000,
        Kind::Mix => 5_000_000,
        Kind::Join => 10_000_000,
    }
}

/// In whole microseconds.
pub fn micros(work: Duration) -> i64 {
    i64::try_from(work.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod simulation;
