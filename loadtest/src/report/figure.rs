//! One figure with its goal, and whether it is met.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// What a figure should be. A ratio is the figure divided by its reference, measured in the same run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    None,
    Under(f64),
    AtMost(f64),
    AtLeast(f64),
    Over(f64),
    RatioUnder(f64),
    RatioAtMost(f64),
    RatioAtLeast(f64),
}

/// Which way is an improvement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    Lower,
    Higher,
    /// It describes the load or the machine.
    Neither,
}

/// A row of every report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub id: Cow<'static, str>,
    pub what: Cow<'static, str>,
    /// `None`: it could not be measured in this run, and `reason` says why.
    pub value: Option<f64>,
    pub unit: Cow<'static, str>,
    pub reference: Option<f64>,
    pub ratio: Option<f64>,
    pub goal: Option<String>,
    pub met: Option<bool>,
    pub better: Better,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Goal {
    /// Whether a value, or its ratio to the reference, is as it should be. `None` where there is nothing to judge.
    pub fn met(self, value: Option<f64>, ratio: Option<f64>) -> Option<bool> {
        match self {
            Goal::None => None,
            Goal::Under(most) => value.map(|value| value < most),
            Goal::AtMost(most) => value.map(|value| value <= most),
            Goal::AtLeast(least) => value.map(|value| value >= least),
            Goal::Over(least) => value.map(|value| value > least),
            Goal::RatioUnder(most) => ratio.map(|ratio| ratio < most),
            Goal::RatioAtMost(most) => ratio.map(|ratio| ratio <= most),
            Goal::RatioAtLeast(least) => ratio.map(|ratio| ratio >= least),
        }
    }

    fn words(self, unit: &str) -> Option<String> {
        let of = |sign: &str, limit: f64| format!("{sign} {limit} {unit}").trim_end().to_owned();
        match self {
            Goal::None => None,
            Goal::Under(limit) => Some(of("<", limit)),
            Goal::AtMost(limit) => Some(of("≤", limit)),
            Goal::AtLeast(limit) => Some(of("≥", limit)),
            Goal::Over(limit) => Some(of(">", limit)),
            Goal::RatioUnder(limit) => Some(format!("< {limit} × reference")),
            Goal::RatioAtMost(limit) => Some(format!("≤ {limit} × reference")),
            Goal::RatioAtLeast(limit) => Some(format!("≥ {limit} × reference")),
        }
    }

    fn better(self) -> Better {
        match self {
            Goal::None => Better::Neither,
            Goal::Under(_) | Goal::AtMost(_) | Goal::RatioUnder(_) | Goal::RatioAtMost(_) => Better::Lower,
            Goal::AtLeast(_) | Goal::Over(_) | Goal::RatioAtLeast(_) => Better::Higher,
        }
    }
}

impl Figure {
    /// Without a reference, a goal or a reason.
    pub fn new(
        id: impl Into<Cow<'static, str>>,
        what: impl Into<Cow<'static, str>>,
        value: impl Into<Option<f64>>,
        unit: impl Into<Cow<'static, str>>,
    ) -> Figure {
        Figure {
            id: id.into(),
            what: what.into(),
            value: value.into().filter(|value| value.is_finite()),
            unit: unit.into(),
            reference: None,
            ratio: None,
            goal: None,
            met: None,
            better: Better::Neither,
            reason: None,
        }
    }

    /// What it is compared with; to be given before the goal.
    #[must_use]
    pub fn against(mut self, reference: Option<f64>) -> Figure {
        self.reference = reference;
        self.ratio = self.value.zip(reference.filter(|reference| *reference != 0.0)).map(|(v, r)| v / r);
        self
    }

    #[must_use]
    pub fn goal(mut self, goal: Goal) -> Figure {
        self.goal = goal.words(&self.unit);
        self.met = goal.met(self.value, self.ratio);
        self.better = goal.better();
        self
    }

    /// Where there is no goal, but one way is better.
    #[must_use]
    pub fn better(mut self, better: Better) -> Figure {
        self.better = better;
        self
    }

    /// Why there is no value, or what has to be known about it.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Figure {
        self.reason = Some(reason.into());
        self
    }

    /// Cells of a table: what, value, reference, ratio, goal, met.
    pub fn cells(&self) -> Vec<String> {
        let number = |number: Option<f64>| number.map_or_else(|| "–".to_owned(), rounded);
        let value = match self.value {
            Some(value) => format!("{} {}", rounded(value), self.unit).trim_end().to_owned(),
            None => self.reason.clone().unwrap_or_else(|| "not measured".to_owned()),
        };
        let met = match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let cells = [
            self.what.to_string(),
            value,
            number(self.reference),
            number(self.ratio),
            self.goal.clone().unwrap_or_default(),
            met.to_owned(),
        ];
        cells.to_vec()
    }
}

/// Three digits that count.
pub(super) fn rounded(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 0.01 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_judged_by_the_value_or_by_the_ratio() {
        let check = |goal: Goal, value: f64, reference: f64, met: bool| {
            let figure = Figure::new("x", "x", value, "s").against(Some(reference)).goal(goal);
            assert_eq!(figure.met, Some(met), "{goal:?} {value} {reference}");
        };
        check(Goal::Under(2.0), 2.0, 1.0, false);
        check(Goal::AtMost(2.0), 2.0, 1.0, true);
        check(Goal::Over(2.0), 2.0, 1.0, false);
        check(Goal::AtLeast(2.0), 2.0, 1.0, true);
        check(Goal::RatioUnder(0.5), 5.0, 10.0, false);
        check(Goal::RatioAtMost(0.5), 5.0, 10.0, true);
        check(Goal::RatioAtLeast(5.0), 50.0, 10.0, true);
        check(Goal::RatioAtLeast(5.0), 49.0, 10.0, false);
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let figure = Figure::new("x", "x", None, "s").against(Some(1.0)).goal(Goal::Under(1.0));
        assert_eq!((figure.met, figure.ratio), (None, None));
        let figure = Figure::new("x", "x", f64::NAN, "s").goal(Goal::Under(1.0));
        assert_eq!((figure.value, figure.met), (None, None));
        let figure = Figure::new("x", "x", 1.0, "s").against(Some(0.0)).goal(Goal::RatioUnder(1.0));
        assert_eq!((figure.ratio, figure.met), (None, None));
    }

    #[test]
    fn numbers_keep_the_digits_that_count() {
        for (number, text) in
            [(1234.56, "1235"), (12.345, "12.3"), (1.2345, "1.23"), (0.00123, "0.0012"), (7.0, "7")]
        {
            assert_eq!(rounded(number), text);
        }
    }
}
