//! The tables of `docs/providers.md`, as they stand there.

use std::collections::BTreeSet;

use std::time::Duration;

use anyhow::{Context, ensure};
use common::class::Class;
use common::config::{Engines, Policy};
use loadtest::providers::{Endpoint, Misbehaviour};
use serde_json::{Value, json};

use super::case::{Stage, retry_after};
use super::course::{Course, course, overcome};

/// A line of a table: what becomes of a misbehaviour that meets every call of a task.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) misbehaviour: Misbehaviour,
    /// Of the attempts that failed.
    pub(super) class: String,
    pub(super) attempts: String,
    pub(super) time: String,
    pub(super) state: String,
    pub(super) reads: String,
}

impl Row {
    pub(super) fn class(&self) -> anyhow::Result<Class> {
        let name = if self.class == "—" { "success" } else { &self.class };
        Ok(serde_json::from_value(Value::String(name.to_owned()))?)
    }

    /// The model answers each time, and not as it was asked to.
    pub(super) fn is_wrong_answer(&self) -> bool {
        self.reads.contains("not once as it was asked to")
    }

    /// Each answer brings the work further although it is wrong, until it is done.
    pub(super) fn is_overcome(&self) -> anyhow::Result<bool> {
        Ok(self.state == "completed" && self.class()? != Class::Success)
    }

    /// The most attempts that the work may take, of those that are stated so.
    pub(super) fn most_attempts(&self) -> anyhow::Result<usize> {
        Ok(self.attempts.strip_prefix("up to ").unwrap_or(&self.attempts).parse()?)
    }

    /// As the time begins; a time-out is that of one call.
    pub(super) fn calls(&self) -> anyhow::Result<Calls> {
        let (most, time) = match self.time.strip_prefix("up to ") {
            Some(rest) => (true, rest),
            None => (false, self.time.as_str()),
        };
        let mut words = time.split(' ');
        match (words.next(), words.next()) {
            (Some(calls), Some("calls" | "×")) if most => Ok(Calls::UpTo(calls.parse()?)),
            (Some(calls), Some("calls" | "call")) => {
                let (calls, attempts) = (calls.parse::<usize>()?, self.attempts.parse::<usize>()?);
                ensure!(calls % attempts == 0, "{calls} calls cannot be {attempts} times the same");
                Ok(Calls::Each(calls / attempts))
            }
            _ => Ok(Calls::Each(1)),
        }
    }
}

/// Calls that an attempt makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Calls {
    Each(usize),
    /// In all, and more than one; how many depends on lengths that the fleet learns.
    UpTo(usize),
}

impl Calls {
    /// Whether so many calls in so many attempts are what is stated.
    pub(super) fn allow(self, calls: usize, attempts: usize) -> bool {
        match self {
            Calls::Each(each) => calls == each * attempts,
            Calls::UpTo(most) => (2..=most).contains(&calls),
        }
    }
}

/// Attempts and times in the rows are those of the policy and the time-outs that are shipped. How many calls an attempt makes
/// the fleet shows.
pub(super) fn check(rows: &[Row], stage: Stage) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for row in rows {
        let class = row.class()?;
        let course = course(&Policy::default(), class, row.is_wrong_answer(), retry_after(row));
        let time = match (class, course, row.calls()?) {
            (Class::Timeout, _, Calls::UpTo(_)) if row.is_overcome()? => {
                let course = overcome(&Policy::default(), row.most_attempts()?);
                format!("up to {}", course.time_outs(shipped_time_out(row, stage)?))
            }
            (Class::Timeout, Course::GivenUp { .. }, _) => course.time_outs(shipped_time_out(row, stage)?),
            (_, Course::Single, Calls::UpTo(most)) => format!("up to {most} calls"),
            (_, _, Calls::UpTo(most)) if row.is_overcome()? => {
                overcome(&Policy::default(), row.most_attempts()?).time_up_to(most)
            }
            (_, _, Calls::UpTo(_)) => "the number of calls".into(),
            (_, _, Calls::Each(calls)) => course.time(calls),
        };
        let attempts =
            if row.is_overcome()? { format!("up to {}", row.most_attempts()?) } else { course.attempts() };
        let cells = (attempts, time);
        let written = (row.attempts.clone(), row.time.clone());
        if cells != written {
            wrong.push(format!("{stage:?} {}: {written:?} should be {cells:?}", row.misbehaviour.name()));
        }
    }
    ensure!(wrong.is_empty(), "docs/providers.md says otherwise:\n{}", wrong.join("\n"));
    Ok(())
}

/// How long the engine waits, as it is shipped.
fn shipped_time_out(row: &Row, stage: Stage) -> anyhow::Result<Duration> {
    let kinds = if stage == Stage::Speech { "tts" } else { "outline,script" };
    let engines: Engines = serde_json::from_value(
        json!({"x": {"type": "openai", "kinds": kinds, "url": "http://127.0.0.1:1", "model": "m"}}),
    )?;
    let engine = engines.get("x").context("an engine")?;
    Ok(match row.misbehaviour {
        Misbehaviour::StallMiddle => Duration::from_millis(engine.idle_timeout_ms),
        _ => engine.first_byte_timeout(),
    })
}

/// The rows below a heading. Fails unless every misbehaviour of the endpoint stands there once.
pub(super) fn rows(heading: &str, endpoint: Endpoint) -> anyhow::Result<Vec<Row>> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/providers.md");
    let text = std::fs::read_to_string(file).context("docs/providers.md")?;
    let section = text.split("\n## ").find(|section| section.starts_with(heading)).context("the section")?;
    let lines = section.lines().filter(|line| line.starts_with("| `") && !line.starts_with("| `do`"));
    let rows: Vec<Row> = lines.map(row).collect::<anyhow::Result<_>>()?;
    let listed: BTreeSet<Misbehaviour> = rows.iter().map(|row| row.misbehaviour).collect();
    let known = Misbehaviour::ALL.into_iter().filter(|known| known.applies_to(endpoint)).collect();
    ensure!(
        listed == known && listed.len() == rows.len(),
        "{heading}: the table lists {listed:?}, not {known:?}"
    );
    Ok(rows)
}

fn row(line: &str) -> anyhow::Result<Row> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [name, _what, class, attempts, time, state, reads] = cells[..] else {
        anyhow::bail!("a row has {} cells: {line}", cells.len());
    };
    let name = serde_json::Value::String(plain(name));
    let misbehaviour = serde_json::from_value(name).with_context(|| line.to_owned())?;
    Ok(Row {
        misbehaviour,
        class: plain(class),
        attempts: plain(attempts),
        time: plain(time),
        state: plain(state),
        reads: plain(reads),
    })
}

fn plain(cell: &str) -> String {
    cell.replace('`', "")
}

/// Whether a text is what a cell says; `…` stands for anything.
pub(super) fn says(cell: &str, text: &str) -> bool {
    let mut parts = cell.split('…');
    let Some(mut rest) = parts.next().and_then(|start| text.strip_prefix(start)) else { return false };
    for part in parts {
        let Some(place) = rest.find(part) else { return false };
        rest = if part.is_empty() { "" } else { &rest[place + part.len()..] };
    }
    rest.is_empty()
}
