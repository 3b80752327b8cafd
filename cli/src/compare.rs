//! `podfleet loadtest compare`: whether a new build is slower than an old one.

use loadtest::compare::{Comparison, Runs, State, Thresholds, compare};

use crate::args::loadtest::Compare;
use crate::failure::{Failure, usage};
use crate::output::{columns, print, print_json};

pub(crate) fn run(options: &Compare) -> anyhow::Result<()> {
    let read = || {
        let thresholds =
            options.thresholds.as_deref().map_or_else(|| Ok(Thresholds::default()), Thresholds::read)?;
        compare(&Runs::read(&options.old)?, &Runs::read(&options.new)?, &thresholds)
    };
    let comparison = read().map_err(|error| usage(&error))?;
    if options.json {
        print_json(&serde_json::to_value(&comparison)?)?;
    } else {
        print(table(&comparison, options.all))?;
    }
    if comparison.regression {
        return Err(Failure::Broken(comparison.verdict).into());
    }
    if options.json { Ok(()) } else { print(comparison.verdict) }
}

fn table(comparison: &Comparison, all: bool) -> String {
    let number = |number: Option<f64>| number.map_or_else(|| "–".to_owned(), |number| format!("{number:.4}"));
    let shown = comparison.figures.iter().filter(|figure| all || figure.state != State::Same);
    let rows: Vec<Vec<String>> = shown
        .map(|figure| {
            let interval =
                figure.interval.map(|interval| format!("{:+.1} to {:+.1}", interval.from, interval.to));
            vec![
                figure.id.clone(),
                number(figure.old),
                number(figure.new),
                figure.worse_percent.map_or_else(|| "–".to_owned(), |worse| format!("{worse:+.1}")),
                interval.unwrap_or_else(|| "–".to_owned()),
                format!("{}", figure.threshold_percent),
                format!("{:?}", figure.state).to_lowercase(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    columns(&["FIGURE", "OLD", "NEW", "WORSE BY %", "INTERVAL %", "THRESHOLD %", ""], rows)
}
