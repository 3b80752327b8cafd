//! The tables of `docs/providers.md`, as they stand there.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use loadtest::providers::{Endpoint, Misbehaviour};

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
