//! `podfleet dead list` and `podfleet dead groups`

use anyhow::Context;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::query;
use crate::args::dead::DeadList;
use crate::client::Client;
use crate::output::{columns, own_name, print, print_json, relative, remark};

/// As many as the server gives at once.
const PAGE: usize = 100;
/// A cause is cut after this many characters; `show` tells all of it.
const CAUSE: usize = 80;

#[derive(Debug, Deserialize)]
struct Page {
    dead_letters: Vec<Value>,
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Letter {
    id: Uuid,
    #[serde(default)]
    cause: String,
    #[serde(default)]
    class: String,
    #[serde(default)]
    source: String,
    kind: Option<String>,
    engine: Option<String>,
    #[serde(default)]
    state: String,
    created_at: Timestamp,
}

#[derive(Debug, Deserialize)]
struct Group {
    fingerprint: String,
    #[serde(default)]
    cause: String,
    #[serde(default)]
    class: String,
    #[serde(default)]
    source: String,
    kind: Option<String>,
    engine: Option<String>,
    #[serde(default)]
    open: i64,
    #[serde(default)]
    letters: i64,
    first_seen: Timestamp,
    last_seen: Timestamp,
}

pub(super) async fn letters(options: DeadList) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let limit = usize::try_from(options.limit)?;
    let query = query(&options.filter, &options.state)?;
    let (letters, next) = fetch(&client, &query, limit).await?;
    if options.server.json {
        return print_json(&json!({ "dead_letters": letters, "next": next }));
    }
    if letters.is_empty() {
        remark("there are no such dead letters");
        return Ok(());
    }
    let letters: Vec<Letter> =
        serde_json::from_value(Value::Array(letters)).context("reading the server's answer")?;
    let now = Timestamp::now();
    print(columns(
        &["ID", "STATE", "WHAT", "CLASS", "ENGINE", "WHEN", "CAUSE"],
        letters.iter().map(|letter| row(letter, now)).collect(),
    ))?;
    if next.is_some() {
        remark(format_args!("there are more; `--limit {}` shows them", limit * 5));
    }
    Ok(())
}

async fn fetch(client: &Client, query: &str, limit: usize) -> anyhow::Result<(Vec<Value>, Option<String>)> {
    let mut letters = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut path = format!("/v1/dead-letters?{query}&limit={}", (limit - letters.len()).min(PAGE));
        if let Some(cursor) = &cursor {
            path.push_str(&format!("&cursor={cursor}"));
        }
        let page: Page =
            serde_json::from_value(client.get(&path).await?).context("reading the server's answer")?;
        let empty = page.dead_letters.is_empty();
        letters.extend(page.dead_letters);
        cursor = page.next;
        if empty || cursor.is_none() || letters.len() >= limit {
            return Ok((letters, cursor));
        }
    }
}

fn row(letter: &Letter, now: Timestamp) -> Vec<String> {
    vec![
        letter.id.to_string(),
        letter.state.clone(),
        letter.kind.clone().unwrap_or_else(|| letter.source.clone()),
        letter.class.clone(),
        letter.engine.clone().unwrap_or_default(),
        relative(letter.created_at, now),
        cut(&letter.cause),
    ]
}

pub(super) async fn groups(options: DeadList) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let query = query(&options.filter, &options.state)?;
    let limit = usize::try_from(options.limit)?.min(PAGE);
    let answer = client.get(&format!("/v1/dead-letters/groups?{query}&limit={limit}")).await?;
    if options.server.json {
        return print_json(&answer);
    }
    let groups: Vec<Group> =
        serde_json::from_value(answer["groups"].clone()).context("reading the server's answer")?;
    if groups.is_empty() {
        remark("there are no such dead letters");
        return Ok(());
    }
    let now = Timestamp::now();
    print(columns(
        &["FINGERPRINT", "OPEN", "ALL", "WHAT", "CLASS", "ENGINE", "FIRST SEEN", "LAST SEEN", "CAUSE"],
        groups.iter().map(|group| group_row(group, now)).collect(),
    ))?;
    let first = groups.first().map(|group| group.fingerprint.as_str()).unwrap_or_default();
    remark(format_args!(
        "`{} dead replay --fingerprint {first} --dry-run` tells what a replay of the first would come to",
        own_name()
    ));
    Ok(())
}

fn group_row(group: &Group, now: Timestamp) -> Vec<String> {
    vec![
        group.fingerprint.clone(),
        group.open.to_string(),
        group.letters.to_string(),
        group.kind.clone().unwrap_or_else(|| group.source.clone()),
        group.class.clone(),
        group.engine.clone().unwrap_or_default(),
        relative(group.first_seen, now),
        relative(group.last_seen, now),
        cut(&group.cause),
    ]
}

/// One line of the cause.
fn cut(cause: &str) -> String {
    let line: String = cause.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= CAUSE {
        return line;
    }
    line.chars().take(CAUSE - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_what_failed_and_why() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let letter = json!({
            "id": Uuid::nil(), "cause": "no answer\nin 3 s", "class": "timeout", "source": "task", "kind": "tts",
            "engine": "tones", "state": "open", "created_at": "2026-01-01T00:00:00Z", "new_field": 1
        });
        let row = row(&serde_json::from_value(letter).unwrap(), now);
        assert_eq!(row[1..], ["open", "tts", "timeout", "tones", "1 min ago", "no answer in 3 s"]);
        assert_eq!(cut(&"가".repeat(81)).chars().count(), 80);
    }
}
