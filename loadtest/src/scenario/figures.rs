//! What a run came to, as rows beside the goals.

use std::collections::HashMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::Scenario;
use super::arrivals::{Arrival, highest_hit_rate};
use super::drive::{Course, Ended, Ran};
use crate::probe::{CourseRow, Totals, Usage};
use crate::report::{Better, Figure, Goal, mean, quantile};

/// What was looked at from outside.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub rows: Vec<CourseRow>,
    pub usages: Vec<Usage>,
    /// Outlines, scripts and segments, and those of them that came from a cache.
    pub cache: (i64, i64),
    /// Segments that were committed while requests arrived.
    pub segments_while_arriving: i64,
    pub database: Totals,
    pub published: u64,
    pub restarts: usize,
    /// How often the dashboard's open pages were renewed.
    pub page_renewals: u64,
}

/// The goals of the document, for a run that is as fast as life.
struct Goals {
    mean_s: f64,
    p95_s: f64,
    done_within_s: f64,
}

/// Rows in the order in which people look for them.
pub fn figures(scenario: &Scenario, arrivals: &[Arrival], ran: &Ran, observed: &Observed) -> Vec<Figure> {
    let seconds = |ms: f64| ms / scenario.faster;
    let goals = Goals {
        mean_s: seconds(15.0),
        p95_s: seconds(25.0),
        done_within_s: seconds(scenario.done_within.as_secs_f64()),
    };
    let mut rows = completion(ran, &goals);
    rows.extend(audio(ran, observed));
    rows.extend(answers(ran));
    rows.extend(throughput(ran, observed));
    rows.extend(failures(ran));
    rows.extend(cache(arrivals, observed));
    rows.extend(progress(ran));
    rows.extend(processes(observed));
    rows.extend(servers(ran, observed));
    rows.push(
        Figure::new(
            "sent_late_p99_ms",
            "the load itself was late by, P99",
            quantile(&lates(ran), 0.99),
            "ms",
        )
        .better(Better::Lower),
    );
    rows
}

fn completion(ran: &Ran, goals: &Goals) -> Vec<Figure> {
    let took = completed_s(ran);
    let at = |share| quantile(&took, share);
    vec![
        Figure::new("completion_mean_s", "to completion, mean", mean(&took), "s")
            .goal(Goal::Under(goals.mean_s)),
        Figure::new("completion_p50_s", "to completion, P50", at(0.5), "s").better(Better::Lower),
        Figure::new("completion_p95_s", "to completion, P95", at(0.95), "s").goal(Goal::Under(goals.p95_s)),
        Figure::new("completion_p99_s", "to completion, P99", at(0.99), "s").better(Better::Lower),
        Figure::new("done_p95_s", "done within the scenario's time, P95", at(0.95), "s")
            .goal(Goal::Under(goals.done_within_s)),
    ]
}

fn audio(ran: &Ran, observed: &Observed) -> Vec<Figure> {
    let first: HashMap<Uuid, Timestamp> =
        observed.rows.iter().filter_map(|row| Some((row.id, row.first_audio_at?))).collect();
    let waited: Vec<f64> = ran
        .courses
        .iter()
        .filter_map(|course| Some(first.get(&course.podcast?)?.duration_since(course.sent_at).as_secs_f64()))
        .collect();
    let row = |id, what, value| Figure::new(id, what, value, "s").better(Better::Lower);
    vec![
        row("first_audio_mean_s", "to first audio, mean", mean(&waited)),
        row("first_audio_p50_s", "to first audio, P50", quantile(&waited, 0.5)),
        row("first_audio_p95_s", "to first audio, P95", quantile(&waited, 0.95)),
        row("first_audio_p99_s", "to first audio, P99", quantile(&waited, 0.99)),
    ]
}

fn answers(ran: &Ran) -> Vec<Figure> {
    let ms = |over_http: bool| -> Vec<f64> {
        let asked = ran.courses.iter().filter(|course| course.is_over_http() == over_http);
        asked.filter_map(|course| Some(course.answered?.as_secs_f64() * 1000.0)).collect()
    };
    let (http, amqp) = (ms(true), ms(false));
    let row = |id, what, value| Figure::new(id, what, value, "ms");
    vec![
        row("first_answer_mean_ms", "to the 202, mean", mean(&http)).better(Better::Lower),
        row("first_answer_p50_ms", "to the 202, P50", quantile(&http, 0.5)).better(Better::Lower),
        row("first_answer_p95_ms", "to the 202, P95", quantile(&http, 0.95)).goal(Goal::Under(200.0)),
        row("first_answer_p99_ms", "to the 202, P99", quantile(&http, 0.99)).goal(Goal::Under(200.0)),
        row("amqp_answer_p95_ms", "to the reply over AMQP, P95", quantile(&amqp, 0.95)).better(Better::Lower),
    ]
}

fn throughput(ran: &Ran, observed: &Observed) -> Vec<Figure> {
    let lasted = ran.to.duration_since(ran.from).as_secs_f64();
    let rate = |count: f64| (lasted > 0.0).then(|| count / lasted);
    let completed = ran.courses.iter().filter(|course| matches!(course.ended, Ended::Completed(_))).count();
    let segments: i32 = observed.rows.iter().map(|row| row.segments).sum();
    vec![
        Figure::new("requests", "requests", ran.courses.len() as f64, ""),
        Figure::new("completed", "podcasts completed", completed as f64, ""),
        Figure::new("segments", "segments spoken", f64::from(segments), ""),
        Figure::new(
            "segments_per_s",
            "segments a second while requests arrived",
            rate(observed.segments_while_arriving as f64),
            "/s",
        )
        .goal(Goal::Over(2.0)),
        Figure::new("podcasts_at_once", "podcasts under way at once, at most", at_once(&observed.rows), "")
            .better(Better::Higher),
    ]
}

fn failures(ran: &Ran) -> Vec<Figure> {
    let count = ran.courses.len().max(1) as f64;
    let failed = ran.courses.iter().filter(|course| matches!(course.ended, Ended::Not(_))).count();
    let in_vain: u32 = ran.courses.iter().map(|course| course.in_vain).sum();
    let breaks: u32 = ran.courses.iter().map(|course| course.watched.breaks).sum();
    let answered = ran.courses.iter().filter(|course| course.answered.is_some()).count() as f64;
    let asked = f64::from(ran.probes) + count;
    let served = f64::from(ran.probes_answered) + answered;
    vec![
        Figure::new("errors_percent", "podcasts not completed", 100.0 * failed as f64 / count, "%")
            .goal(Goal::Under(1.0)),
        Figure::new(
            "availability_percent",
            "requests answered, by one producer or another",
            100.0 * served / asked,
            "%",
        )
        .goal(Goal::AtLeast(99.9)),
        Figure::new("sent_in_vain", "attempts that another producer had to answer", f64::from(in_vain), "")
            .better(Better::Lower),
        Figure::new("streams_broken", "event streams that broke and were resumed", f64::from(breaks), "")
            .better(Better::Lower),
    ]
}

fn cache(arrivals: &[Arrival], observed: &Observed) -> Vec<Figure> {
    let (made, hits) = observed.cache;
    let rate = (made > 0).then(|| 100.0 * hits as f64 / made as f64);
    let possible = highest_hit_rate(arrivals).map(|rate| 100.0 * rate);
    let mut row = Figure::new("cache_hits_percent", "outlines, scripts and segments from a cache", rate, "%");
    // Where every request is about another article there is nothing to hit.
    if possible.is_none_or(|possible| possible <= 0.0) {
        return vec![row.because("every request was about another article")];
    }
    row = row.against(possible).goal(if possible > Some(75.0) { Goal::Over(75.0) } else { Goal::None });
    let share = rate.zip(possible).map(|(rate, possible)| 100.0 * rate / possible);
    vec![
        row,
        Figure::new("cache_possible_percent", "the most that this load allows", possible, "%"),
        Figure::new("cache_of_possible_percent", "cache hits, of those possible", share, "%")
            .goal(Goal::AtLeast(95.0)),
    ]
}

fn progress(ran: &Ran) -> Vec<Figure> {
    let lags: Vec<f64> =
        ran.courses.iter().flat_map(|course| course.watched.lags_ms.iter().copied()).collect();
    let notices: Vec<f64> = ran
        .courses
        .iter()
        .filter(|course| course.is_on_a_web_socket())
        .filter_map(|course| course.watched.last_lag_ms)
        .collect();
    let row = |id, what, value| Figure::new(id, what, value, "ms");
    vec![
        row("progress_p50_ms", "from a commit to a user's screen, P50", quantile(&lags, 0.5))
            .better(Better::Lower),
        row("progress_p99_ms", "from a commit to a user's screen, P99", quantile(&lags, 0.99))
            .goal(Goal::Under(1000.0)),
        row("progress_max_ms", "from a commit to a user's screen, at most", quantile(&lags, 1.0))
            .better(Better::Lower),
        row("notice_p99_ms", "completion over a WebSocket, P99", quantile(&notices, 0.99))
            .goal(Goal::Under(1000.0)),
    ]
}

/// What each process of a role took; the worst process counts.
fn processes(observed: &Observed) -> Vec<Figure> {
    const ROLES: [&str; 4] = ["producer", "worker", "collector", "mixer"];
    let worst = |roles: &[&str], of: fn(&Usage) -> f64| {
        // What lived for a moment only has no share of a processor that means anything.
        let usages = observed
            .usages
            .iter()
            .filter(|usage| roles.contains(&usage.role.as_str()) && usage.seconds > 3.0);
        usages.map(of).max_by(f64::total_cmp)
    };
    let cpu = |usage: &Usage| usage.cpu_percent;
    let memory = |usage: &Usage| usage.memory_mb;
    let mut rows = vec![
        Figure::new("cpu_percent", "of a core, the busiest process of the fleet", worst(&ROLES, cpu), "%")
            .goal(Goal::Under(70.0)),
        Figure::new("memory_mb", "resident, the largest process of the fleet", worst(&ROLES, memory), "MB")
            .goal(Goal::Under(512.0)),
        Figure::new("worker_memory_mb", "resident, the largest worker", worst(&["worker"], memory), "MB")
            .goal(Goal::Under(64.0)),
    ];
    for (role, id, what) in [
        ("producer", "cpu_producer_percent", "of a core, the busiest producer"),
        ("worker", "cpu_worker_percent", "of a core, the busiest worker"),
        ("collector", "cpu_collector_percent", "of a core, the busiest collector"),
        ("mixer", "cpu_mixer_percent", "of a core, the busiest mixing process"),
    ] {
        rows.push(Figure::new(id, what, worst(&[role], cpu), "%").better(Better::Lower));
    }
    rows
}

fn servers(ran: &Ran, observed: &Observed) -> Vec<Figure> {
    let completed = ran.courses.iter().filter(|course| matches!(course.ended, Ended::Completed(_))).count();
    let each = |count: f64| (completed > 0).then(|| count / completed as f64);
    let rows_written =
        observed.database.rows_inserted + observed.database.rows_updated + observed.database.rows_deleted;
    vec![
        Figure::new(
            "transactions_each",
            "database transactions for a podcast",
            each(observed.database.transactions as f64),
            "",
        )
        .better(Better::Lower),
        Figure::new("rows_written_each", "rows written for a podcast", each(rows_written as f64), "")
            .better(Better::Lower),
        Figure::new("messages_each", "messages published for a podcast", each(observed.published as f64), "")
            .better(Better::Lower),
        Figure::new("restarts", "roles that were killed or told to leave", observed.restarts as f64, ""),
        Figure::new("page_renewals", "renewals of open pages", observed.page_renewals as f64, ""),
    ]
}

fn completed_s(ran: &Ran) -> Vec<f64> {
    let took = |course: &Course| match course.ended {
        Ended::Completed(took) => Some(took.as_secs_f64()),
        Ended::Not(_) => None,
    };
    ran.courses.iter().filter_map(took).collect()
}

fn lates(ran: &Ran) -> Vec<f64> {
    ran.courses.iter().map(|course| course.late.as_secs_f64() * 1000.0).collect()
}

/// The most podcasts that were under way at one moment.
fn at_once(rows: &[CourseRow]) -> Option<f64> {
    let mut changes: Vec<(Timestamp, i32)> = rows
        .iter()
        .flat_map(|row| [Some((row.created_at, 1)), row.finished_at.map(|at| (at, -1))])
        .flatten()
        .collect();
    changes.sort();
    let most = changes.iter().scan(0, |running, (_, change)| {
        *running += change;
        Some(*running)
    });
    most.max().map(f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podcasts_at_once_are_counted() {
        let row = |from: i64, to: Option<i64>| CourseRow {
            id: Uuid::nil(),
            state: "completed".into(),
            created_at: Timestamp::from_second(from).unwrap(),
            finished_at: to.map(|to| Timestamp::from_second(to).unwrap()),
            segments: 25,
            first_audio_at: None,
            last_audio_at: None,
            scripts_ms: None,
            speech_ms: None,
            last_mix_ms: None,
        };
        assert_eq!(at_once(&[row(0, Some(10)), row(5, Some(7)), row(7, None), row(11, Some(12))]), Some(2.0));
        assert_eq!(at_once(&[]), None);
    }

    #[test]
    fn a_load_that_never_repeats_has_no_goal_for_caches() {
        let arrivals = super::super::arrivals::arrivals(&Scenario::named("light").unwrap(), 1);
        let rows = cache(&arrivals, &Observed { cache: (100, 0), ..Observed::default() });
        assert_eq!((rows.len(), rows[0].met), (1, None));
        let repeating = Scenario { articles: Some(2), ..Scenario::named("light").unwrap() };
        let arrivals = super::super::arrivals::arrivals(&repeating, 1);
        let rows = cache(&arrivals, &Observed { cache: (100, 90), ..Observed::default() });
        let possible = rows[1].value.unwrap();
        assert_eq!(rows[2].value, Some(100.0 * 90.0 / possible));
        assert_eq!(rows[0].met, Some(true));
    }
}
