//! Named crash points: `PODFLEET_CRASH_AT=worker.after_confirm_before_ack:3` aborts the process when it passes that point
//! for the third time. Only in builds with debug assertions; a release build has none.

/// Every crash point there is, by who passes it; a mixer is a worker that mixes and joins. A test enumerates them, so that none is
/// left that nobody hits.
pub const POINTS: &[&str] = &[
    "producer.before_commit",
    "producer.after_commit_before_reply",
    "producer.after_publish_before_checkpoint",
    "worker.after_delivery_before_run",
    "worker.after_engine_before_store",
    "worker.after_store_before_outcome",
    "worker.after_confirm_before_ack",
    "mixer.after_mix_before_store",
    "mixer.after_join_before_store",
    "mixer.after_store_before_mark",
    "collector.before_commit",
    "collector.after_commit_before_publish",
    "collector.after_publish_before_ack",
];

/// Aborts here when the environment asks for it.
#[cfg(debug_assertions)]
pub fn point(name: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    debug_assert!(POINTS.contains(&name), "crash point {name} is not listed");
    let wanted = WANTED.get_or_init(|| {
        let wish = std::env::var("PODFLEET_CRASH_AT").ok()?;
        let (name, nth) = wish.split_once(':').unwrap_or((wish.as_str(), "1"));
        Some((name.to_owned(), nth.parse().unwrap_or(1)))
    });
    if let Some((at, nth)) = wanted
        && at == name
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *nth
    {
        tracing::error!(crash.point = name, "aborting: the crash point was asked for");
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub fn point(_name: &'static str) {}

/// Aborts when the environment asks for it with `PODFLEET_CRASH_ON_TEXT`, and `text` contains what that says: an input that kills
/// whoever works on it.
#[cfg(debug_assertions)]
pub fn on_text(text: &str) {
    use std::sync::OnceLock;
    static DEADLY: OnceLock<Option<String>> = OnceLock::new();
    let deadly = DEADLY.get_or_init(|| std::env::var("PODFLEET_CRASH_ON_TEXT").ok());
    if deadly.as_ref().is_some_and(|deadly| text.contains(deadly.as_str())) {
        tracing::error!("aborting: the environment asked for it at this text");
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub fn on_text(_text: &str) {}

// Mistakes that a process makes on purpose when `PODFLEET_DEFECT` names one of them, and that `loadtest chaos` must find. With any
// of them the repairs that would hide it are off, too. Only in builds with debug assertions.

/// Outcomes are acked before they are committed.
pub const ACKS_BEFORE_COMMITS: &str = "acks_before_commits";
/// Counters are read without the lock under which they are changed.
pub const NAIVE_FAN_IN: &str = "naive_fan_in";

/// A message that no queue took counts as confirmed.
pub const DROPS_RETURNED: &str = "drops_returned";
/// No mistake at all, only the repairs are off: what the others are compared with. It must not be found out.
pub const WITHOUT_REPAIRS: &str = "without_repairs";

/// Whether this mistake is to be made.
pub fn has_defect(name: &str) -> bool {
    defect() == Some(name)
}

/// Whether any mistake is to be made.
pub fn is_defective() -> bool {
    defect().is_some()
}

#[cfg(debug_assertions)]
fn defect() -> Option<&'static str> {
    use std::sync::OnceLock;
    static DEFECT: OnceLock<Option<String>> = OnceLock::new();
    DEFECT.get_or_init(|| std::env::var("PODFLEET_DEFECT").ok()).as_deref()
}

#[cfg(not(debug_assertions))]
fn defect() -> Option<&'static str> {
    None
}
