//! Redis: a cache and nothing else, so nothing here is bad that does not slow the fleet down.

use std::time::Duration;

use common::cache;
use common::config::Cache;

use super::{Findings, middle_ms};

pub(super) async fn look(settings: &Cache, found: &mut Findings) {
    if settings.url.is_empty() {
        let means = "equal work is done and paid again, and each worker keeps to its share of a rate";
        return found.note("connection", "none is configured", means);
    }
    let health = match tokio::time::timeout(Duration::from_secs(10), cache::health(settings)).await {
        Ok(Ok(health)) => health,
        Ok(Err(error)) => return gone(found, &format!("{error:#}")),
        Err(_) => return gone(found, "no answer in 10 s"),
    };
    found.ok("version", health.version, "scripts, expiry and pipelines work as the fleet uses them");
    let ms = middle_ms(health.round_trips);
    let budget = settings.budget_ms;
    let told = format!("{ms:.2} ms, the middle one of several; the budget of a task is {budget} ms");
    if Duration::from_secs_f64(ms / 100.0) < Duration::from_millis(budget) {
        found.ok("round trip", told, "a task asks about ten times");
    } else {
        found.note("round trip", told, "tasks go on without it when their budget is spent");
    }
    let told = format!("maxmemory {}, {}", health.max_memory, health.eviction);
    if health.max_memory == "0" || health.eviction != "noeviction" {
        found.ok("memory", told, "old results give way to new ones, or there is room for all");
    } else {
        let means = "when it is full nothing new is remembered; maxmemory-policy allkeys-lru would let old results give way";
        found.note("memory", told, means);
    }
}

fn gone(found: &mut Findings, why: &str) {
    let means =
        "everything works; equal work is done and paid again, and each worker keeps to its share of a rate";
    found.note("connection", why, means);
}
