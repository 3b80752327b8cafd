//! Figure by figure, and in one sentence.

use anyhow::ensure;
use serde::Serialize;

use super::interval::{Interval, change, interval};
use super::runs::{Observations, Runs};
use super::thresholds::Thresholds;
use crate::report::{Better, median};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Worse by more than the threshold, and surely worse.
    Worse,
    /// It was measured before and is not any more: nobody knows.
    Missing,
    /// Worse by more than the threshold, but the runs differ so much among themselves that it may be chance.
    Unsure,
    Same,
    Better,
}

/// One figure of both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    pub id: String,
    pub what: String,
    pub old: Option<f64>,
    pub new: Option<f64>,
    /// Of the medians, in percent; above zero the new one is worse.
    pub worse_percent: Option<f64>,
    /// Where there are several runs on both sides.
    pub interval: Option<Interval>,
    pub threshold_percent: f64,
    pub state: State,
}

#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub scenario: String,
    pub old_runs: usize,
    pub new_runs: usize,
    pub figures: Vec<Compared>,
    pub regression: bool,
    pub verdict: String,
}

pub fn compare(old: &Runs, new: &Runs, thresholds: &Thresholds) -> anyhow::Result<Comparison> {
    ensure!(
        old.scenario == new.scenario,
        "the old runs are of `{}` and the new ones of `{}`; compare runs of one load",
        old.scenario,
        new.scenario
    );
    let mut random = fastrand::Rng::with_seed(thresholds.seed);
    let (before, after) = (old.observations(), new.observations());
    let nothing = Vec::new();
    let figures: Vec<Compared> = before
        .iter()
        .filter(|(_, observations)| !observations.values.is_empty())
        .map(|(id, observations)| {
            let now = after.get(id).map_or(&nothing, |observations| &observations.values);
            one(id, observations, now, thresholds, &mut random)
        })
        .collect();
    ensure!(!figures.is_empty(), "the old runs measured nothing that could become worse");
    let mut comparison = Comparison {
        scenario: old.scenario.clone(),
        old_runs: old.count(),
        new_runs: new.count(),
        regression: figures.iter().any(|figure| matches!(figure.state, State::Worse | State::Missing)),
        figures,
        verdict: String::new(),
    };
    comparison.verdict = comparison.sentence();
    Ok(comparison)
}

fn one(
    id: &str,
    old: &Observations,
    new: &[f64],
    thresholds: &Thresholds,
    random: &mut fastrand::Rng,
) -> Compared {
    let (before, now) = (median(&old.values), median(new));
    // Turned so that more is worse.
    let sign = if old.better == Better::Higher { -1.0 } else { 1.0 };
    let worse = change(&old.values, new).map(|percent| sign * percent);
    let interval = interval(&old.values, new, thresholds.confidence, thresholds.resamples, random).map(
        |Interval { from, to }| {
            if sign > 0.0 { Interval { from, to } } else { Interval { from: -to, to: -from } }
        },
    );
    let threshold = thresholds.percent_of(id);
    let apart = before.zip(now).map(|(before, now)| sign * (now - before));
    let state = match apart {
        None => State::Missing,
        Some(apart) if apart.abs() <= thresholds.least_of(id) => State::Same,
        // From nothing at all, anything beyond the least difference is too much.
        Some(apart) => judge(worse.unwrap_or(apart.signum() * f64::INFINITY), interval, threshold),
    };
    Compared {
        id: id.to_owned(),
        what: old.what.clone(),
        old: before,
        new: now,
        worse_percent: worse,
        interval,
        threshold_percent: threshold,
        state,
    }
}

fn judge(worse: f64, interval: Option<Interval>, threshold: f64) -> State {
    if worse > threshold {
        // Without repeated runs the threshold alone has to decide.
        let sure = interval.is_none_or(|interval| interval.from > 0.0);
        return if sure { State::Worse } else { State::Unsure };
    }
    let surely_better = interval.is_none_or(|interval| interval.to < 0.0);
    if worse < -threshold && surely_better { State::Better } else { State::Same }
}

impl Comparison {
    fn sentence(&self) -> String {
        let of = |state: State| self.figures.iter().filter(move |figure| figure.state == state);
        let count = |state| of(state).count();
        let runs = format!("{} against {} runs of {}", self.new_runs, self.old_runs, self.scenario);
        let worst = of(State::Worse).max_by(|a, b| over(a).total_cmp(&over(b)));
        match (worst, of(State::Missing).next()) {
            (Some(worst), _) => {
                let sure = worst.interval.map_or_else(
                    || "; there are no repeated runs to tell how sure that is".to_owned(),
                    |interval| format!(" (between {:.0} and {:.0} %)", interval.from, interval.to),
                );
                let by =
                    worst.worse_percent.map_or("worse".to_owned(), |percent| format!("{percent:.0} % worse"));
                let more = count(State::Worse) + count(State::Missing) - 1;
                let more = if more > 0 { format!(", and {more} more became worse") } else { String::new() };
                format!("Regression: {} ({}) is {by}{sure}{more}; {runs}.", worst.id, worst.what)
            }
            (None, Some(missing)) => {
                format!("Regression: {} ({}) is not measured any more; {runs}.", missing.id, missing.what)
            }
            (None, None) => format!(
                "No regression: of {} figures {} became better, {} may have become worse but that may be chance; {runs}.",
                self.figures.len(),
                count(State::Better),
                count(State::Unsure)
            ),
        }
    }
}

fn over(figure: &Compared) -> f64 {
    figure.worse_percent.unwrap_or(f64::INFINITY) / figure.threshold_percent.max(1e-9)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::Value;

    use super::*;
    use crate::probe::Machine;
    use crate::report::{Document, Figure, Goal};

    /// A run with a figure of which less is better, and one of which more is.
    fn run(latency: Option<f64>, rate: f64, errors: f64) -> Document {
        Document {
            scenario: "medium".into(),
            seed: 1,
            at: Timestamp::UNIX_EPOCH,
            version: "1".into(),
            machine: Machine::default(),
            setup: Value::Null,
            results: vec![
                Figure::new("latency_s", "latency", latency, "s").goal(Goal::Under(100.0)),
                Figure::new("rate", "rate", rate, "/s").better(Better::Higher),
                Figure::new("errors_percent", "errors", errors, "%").goal(Goal::Under(1.0)),
                Figure::new("requests", "requests", latency.unwrap_or(0.0), ""),
            ],
            details: Value::Null,
        }
    }

    fn runs(latencies: &[f64], rate: f64) -> Runs {
        Runs::of(latencies.iter().map(|latency| run(Some(*latency), rate, 0.0)).collect()).unwrap()
    }

    fn state(comparison: &Comparison, id: &str) -> State {
        comparison.figures.iter().find(|figure| figure.id == id).unwrap().state
    }

    const STEADY: [f64; 5] = [10.0, 10.2, 9.9, 10.1, 10.05];

    #[test]
    fn what_became_worse_for_certain_is_a_regression() {
        let slower = STEADY.map(|latency| latency * 1.2);
        let found = compare(&runs(&STEADY, 5.0), &runs(&slower, 5.0), &Thresholds::default()).unwrap();
        assert!(found.regression);
        assert_eq!((state(&found, "latency_s"), state(&found, "rate")), (State::Worse, State::Same));
        assert!(
            found.verdict.starts_with("Regression: latency_s (latency) is 20 % worse (between "),
            "{}",
            found.verdict
        );
        // What only describes the load does not count.
        assert!(found.figures.iter().all(|figure| figure.id != "requests"));
        let fewer = compare(&runs(&STEADY, 5.0), &runs(&STEADY, 4.0), &Thresholds::default()).unwrap();
        assert_eq!((fewer.regression, state(&fewer, "rate")), (true, State::Worse));
    }

    #[test]
    fn small_changes_and_improvements_are_none() {
        let check = |factor: f64, expected: State| {
            let new = STEADY.map(|latency| latency * factor);
            let found = compare(&runs(&STEADY, 5.0), &runs(&new, 5.0), &Thresholds::default()).unwrap();
            assert_eq!((found.regression, state(&found, "latency_s")), (false, expected), "{factor}");
            assert!(found.verdict.starts_with("No regression"), "{}", found.verdict);
        };
        check(1.0, State::Same);
        check(1.05, State::Same);
        check(0.95, State::Same);
        check(0.7, State::Better);
    }

    #[test]
    fn what_may_be_chance_is_no_regression() {
        let noisy = [8.0, 16.0, 9.0, 15.0, 10.0];
        let worse = [14.0, 7.0, 13.0, 12.0, 8.5];
        let found = compare(&runs(&noisy, 5.0), &runs(&worse, 5.0), &Thresholds::default()).unwrap();
        assert_eq!((found.regression, state(&found, "latency_s")), (false, State::Unsure), "{found:?}");
        assert!(found.verdict.contains("1 may have become worse"), "{}", found.verdict);
    }

    #[test]
    fn a_single_run_is_judged_by_the_threshold_alone() {
        let found = compare(&runs(&[10.0], 5.0), &runs(&[11.5], 5.0), &Thresholds::default()).unwrap();
        assert!(found.regression && found.verdict.contains("no repeated runs"), "{}", found.verdict);
        let found = compare(&runs(&[10.0], 5.0), &runs(&[10.9], 5.0), &Thresholds::default()).unwrap();
        assert!(!found.regression);
    }

    #[test]
    fn thresholds_are_those_of_the_file() {
        let mut thresholds = Thresholds::default();
        thresholds.figures.insert("latency_s".into(), 30.0);
        let slower = STEADY.map(|latency| latency * 1.2);
        assert!(!compare(&runs(&STEADY, 5.0), &runs(&slower, 5.0), &thresholds).unwrap().regression);
        thresholds.percent = 1.0;
        thresholds.figures.clear();
        let slower = STEADY.map(|latency| latency * 1.05);
        assert!(compare(&runs(&STEADY, 5.0), &runs(&slower, 5.0), &thresholds).unwrap().regression);
    }

    #[test]
    fn errors_from_nothing_count_beyond_the_least_difference() {
        let with = |errors: f64| Runs::of(vec![run(Some(10.0), 5.0, errors)]).unwrap();
        let found = compare(&with(0.0), &with(2.0), &Thresholds::default()).unwrap();
        assert_eq!((found.regression, state(&found, "errors_percent")), (true, State::Worse));
        let found = compare(&with(0.0), &with(0.4), &Thresholds::default()).unwrap();
        assert_eq!((found.regression, state(&found, "errors_percent")), (false, State::Same));
    }

    #[test]
    fn what_is_not_measured_any_more_is_a_regression() {
        let without = Runs::of(vec![run(None, 5.0, 0.0)]).unwrap();
        let found = compare(&runs(&STEADY, 5.0), &without, &Thresholds::default()).unwrap();
        assert_eq!((found.regression, state(&found, "latency_s")), (true, State::Missing));
        assert!(found.verdict.contains("not measured any more"), "{}", found.verdict);
        // What was never measured is not missed.
        assert!(!compare(&without, &runs(&STEADY, 5.0), &Thresholds::default()).unwrap().regression);
    }

    #[test]
    fn runs_of_different_loads_are_not_compared() {
        let heavy = Document { scenario: "heavy".into(), ..run(Some(1.0), 1.0, 0.0) };
        let both = Runs::of(vec![run(Some(1.0), 1.0, 0.0), heavy.clone()]);
        assert!(both.unwrap_err().to_string().contains("`medium` and of `heavy`"));
        let heavy = Runs::of(vec![heavy]).unwrap();
        assert!(compare(&runs(&STEADY, 5.0), &heavy, &Thresholds::default()).is_err());
    }
}
