//! The figures that Podfleet promises: those of the performance goals, and its own above them. A benchmark answers with one row
//! for each.

use std::collections::BTreeMap;

use super::figure::{Better, Figure, Goal};

/// A promised figure. Ids are stable: comparisons and release checks name them.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub id: &'static str,
    /// Table and line of the goals that it answers.
    pub line: &'static str,
    pub what: &'static str,
    pub unit: &'static str,
    pub goal: Goal,
}

/// What was measured of a target: its value and what it is compared with, or why there is none.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    pub value: Option<f64>,
    pub reference: Option<f64>,
    pub reason: Option<String>,
}

const fn target(
    id: &'static str,
    line: &'static str,
    what: &'static str,
    unit: &'static str,
    goal: Goal,
) -> Target {
    Target { id, line, what, unit, goal }
}

pub const TARGETS: [Target; 48] = [
    // The performance goals.
    target("sequence_s", "one podcast", "one podcast, everything in sequence", "s", Goal::None),
    target("podcast_s", "one podcast", "one podcast of 5 chapters and 25 segments", "s", Goal::AtMost(12.0)),
    target("scripts_s", "chapter scripts", "its scripts, in parallel", "s", Goal::AtMost(15.0)),
    target(
        "scripts_cached_s",
        "chapter scripts",
        "its scripts, with prompt caching",
        "s",
        Goal::AtMost(10.5),
    ),
    target("scripts_farm_s", "chapter scripts", "its scripts, on a GPU farm", "s", Goal::AtMost(3.0)),
    target("speech_s", "speech", "its speech, 6 segments at a time", "s", Goal::AtMost(8.0)),
    target("speech_farm_s", "speech", "its speech, on a farm", "s", Goal::AtMost(2.0)),
    target(
        "database_rows_per_s",
        "database work",
        "rows a second in batches; reference: a transaction a row",
        "/s",
        Goal::RatioAtLeast(2.0),
    ),
    target("segments_per_s", "throughput", "segments a second at the medium load", "/s", Goal::AtLeast(3.0)),
    target(
        "podcasts_at_once",
        "podcasts at once",
        "podcasts at once at the heavy load",
        "",
        Goal::AtLeast(10.0),
    ),
    target(
        "completion_mean_s",
        "mean / P95",
        "mean to completion at the medium load",
        "s",
        Goal::Under(15.0),
    ),
    target("completion_p95_s", "mean / P95", "P95 to completion at the medium load", "s", Goal::Under(25.0)),
    target("first_answer_ms", "first answer", "P95 to the 202 at the heavy load", "ms", Goal::Under(200.0)),
    target("progress_ms", "progress", "P99 from a commit to a user's screen", "ms", Goal::Under(1000.0)),
    target(
        "notice_ms",
        "progress",
        "P99 to the notice of completion over a WebSocket",
        "ms",
        Goal::Under(1000.0),
    ),
    target("errors_percent", "errors", "podcasts not completed", "%", Goal::Under(1.0)),
    target(
        "cache_hits_percent",
        "cache hits",
        "cache hits of a load that repeats; reference: the most that it allows",
        "%",
        Goal::Over(75.0),
    ),
    target(
        "cache_of_possible_percent",
        "cache hits",
        "cache hits, of those possible",
        "%",
        Goal::AtLeast(95.0),
    ),
    target(
        "cpu_percent",
        "CPU / memory",
        "of a core, the busiest process at the heavy load",
        "%",
        Goal::Under(70.0),
    ),
    target(
        "memory_mb",
        "CPU / memory",
        "resident, the largest process at the heavy load",
        "MB",
        Goal::Under(512.0),
    ),
    target(
        "availability_percent",
        "availability",
        "requests answered while roles are killed and restarted",
        "%",
        Goal::AtLeast(99.9),
    ),
    target("light_s", "load scenarios", "light: P95 to completion", "s", Goal::Under(20.0)),
    target("medium_s", "load scenarios", "medium: P95 to completion", "s", Goal::Under(30.0)),
    target("heavy_s", "load scenarios", "heavy: P95 to completion", "s", Goal::Under(45.0)),
    // Podfleet's own.
    target(
        "noop_alone_ms",
        "no-op workflow alone",
        "a workflow 1 → 5 → 25 → 1 alone, median; reference: BullMQ",
        "ms",
        Goal::RatioUnder(0.5),
    ),
    target(
        "noop_alone_celery_ms",
        "no-op workflow alone",
        "the same; reference: Celery",
        "ms",
        Goal::RatioUnder(1.0),
    ),
    target(
        "noop_bullmq_per_s",
        "no-op workflow saturated",
        "workflows a second; reference: BullMQ",
        "/s",
        Goal::RatioAtLeast(5.0),
    ),
    target(
        "noop_celery_per_s",
        "no-op workflow saturated",
        "workflows a second; reference: Celery",
        "/s",
        Goal::RatioAtLeast(20.0),
    ),
    target(
        "noop_own_shape_per_s",
        "no-op workflow saturated",
        "workflows 1 → 5 → 25 → 5 → 1 a second",
        "/s",
        Goal::None,
    ),
    target(
        "postgres_per_s",
        "PostgreSQL alone",
        "the floor: tasks inserted and finished a second",
        "/s",
        Goal::None,
    ),
    target(
        "commit_per_s",
        "PostgreSQL alone",
        "the commit path: tasks a second; reference: the floor",
        "/s",
        Goal::RatioAtLeast(0.5),
    ),
    target(
        "quorum_per_s",
        "the broker alone",
        "the floor: messages a second through a quorum queue",
        "/s",
        Goal::None,
    ),
    target(
        "classic_per_s",
        "the broker alone",
        "messages a second through a classic queue",
        "/s",
        Goal::None,
    ),
    target("confirm_ms", "the broker alone", "a confirm of the quorum queue, median", "ms", Goal::None),
    target(
        "fleet_tasks_per_s",
        "the broker alone",
        "tasks a second through the whole fleet; reference: the quorum queue",
        "/s",
        Goal::RatioAtLeast(0.5),
    ),
    target(
        "coordination_percent",
        "coordination",
        "completion beyond the providers' own critical path",
        "%",
        Goal::Under(3.0),
    ),
    target(
        "first_audio_beyond_s",
        "first audio",
        "first audio beyond an outline, a turn and a segment",
        "s",
        Goal::AtMost(0.3),
    ),
    target(
        "mix_hour_s",
        "an hour mixed",
        "processor time to mix an hour; reference: ffmpeg, ebur128 and limiter",
        "s",
        Goal::Under(18.0),
    ),
    target(
        "mix_hour_loudnorm_s",
        "an hour mixed",
        "the same; reference: ffmpeg, loudnorm in two passes",
        "s",
        Goal::RatioUnder(1.0),
    ),
    target(
        "mix_memory_mb",
        "an hour mixed",
        "memory to mix an hour; reference: ffmpeg, ebur128 and limiter",
        "MB",
        Goal::Under(32.0),
    ),
    target(
        "ending_beyond_s",
        "the last segment",
        "from the last segment to the episode, beyond one chapter's mix",
        "s",
        Goal::AtMost(0.3),
    ),
    target(
        "worker_memory_mb",
        "memory of a worker",
        "resident, the largest worker at the heavy load",
        "MB",
        Goal::Under(64.0),
    ),
    target(
        "waiting_thousand_us",
        "a million tasks waiting",
        "a task with a thousand waiting",
        "µs",
        Goal::None,
    ),
    target(
        "waiting_million_us",
        "a million tasks waiting",
        "a task with a million waiting; reference: with a thousand",
        "µs",
        Goal::RatioAtMost(1.1),
    ),
    target("one_worker_per_s", "workers 1 → 8", "segments a second, one worker", "/s", Goal::None),
    target(
        "eight_workers_linear",
        "workers 1 → 8",
        "eight workers, of eight times one",
        "",
        Goal::AtLeast(0.95),
    ),
    // Of no table: what the order of work is for.
    target(
        "order_mean_s",
        "order of work",
        "mean to completion, overloaded; reference: first come, first served",
        "s",
        Goal::RatioUnder(1.0),
    ),
    target("order_p95_s", "order of work", "P95 of the same", "s", Goal::RatioUnder(1.0)),
];

/// A row for each target; what is not in `measured` was not measured in this run.
pub fn of_targets(mut measured: BTreeMap<&'static str, Measured>) -> Vec<Figure> {
    TARGETS
        .iter()
        .map(|target| {
            let Measured { value, reference, reason } = measured.remove(target.id).unwrap_or_default();
            let mut figure =
                Figure::new(target.id, target.what, value, target.unit).against(reference).goal(target.goal);
            if target.goal == Goal::None {
                let lower = matches!(target.unit, "s" | "ms" | "µs");
                figure = figure.better(if lower { Better::Lower } else { Better::Higher });
            }
            let ratio_is_missing = figure.goal.is_some() && figure.met.is_none();
            match reason {
                Some(reason) => figure.because(reason),
                None if figure.value.is_none() => figure.because("not measured in this run"),
                None if ratio_is_missing => figure.because("there is no reference in this run"),
                None => figure,
            }
        })
        .collect()
}

impl Measured {
    pub fn value(value: impl Into<Option<f64>>) -> Measured {
        Measured { value: value.into(), ..Measured::default() }
    }

    #[must_use]
    pub fn against(self, reference: impl Into<Option<f64>>) -> Measured {
        Measured { reference: reference.into(), ..self }
    }

    /// Why there is no value, or no reference.
    #[must_use]
    pub fn because(self, reason: impl Into<String>) -> Measured {
        Measured { reason: Some(reason.into()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_target_has_a_row_of_its_own() {
        let ids: BTreeSet<&str> = TARGETS.iter().map(|target| target.id).collect();
        assert_eq!(ids.len(), TARGETS.len());
        let measured = BTreeMap::from([
            ("podcast_s", Measured::value(11.0)),
            ("commit_per_s", Measured::value(10.0).against(30.0)),
            ("scripts_farm_s", Measured::default().because("no farm")),
        ]);
        let rows = of_targets(measured);
        let row = |id: &str| rows.iter().find(|row| row.id == id).unwrap();
        assert_eq!(rows.len(), TARGETS.len());
        assert_eq!(row("podcast_s").met, Some(true));
        assert_eq!(row("commit_per_s").met, Some(false));
        assert_eq!(row("scripts_farm_s").reason.as_deref(), Some("no farm"));
        assert_eq!(row("speech_s").reason.as_deref(), Some("not measured in this run"));
        assert!(rows.iter().all(|row| row.value.is_some() || row.reason.is_some()));
    }
}
