//! `podfleet list`

use anyhow::Context;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::args::podcasts::{List, ListFilter};
use crate::client::shapes::{Page, Podcast};
use crate::client::{Client, more};
use crate::output::{clock, columns, print, print_json, relative, remark};

/// As many as the server gives at once.
const PAGE: usize = 100;

pub(crate) async fn run(options: List) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let limit = usize::try_from(options.limit)?;
    let (podcasts, next) = fetch(&client, &options.filter, limit).await?;
    if options.server.json {
        return print_json(&json!({ "podcasts": podcasts, "next": next }));
    }
    if podcasts.is_empty() {
        remark("there are no such podcasts");
        return Ok(());
    }
    let podcasts: Vec<Podcast> =
        serde_json::from_value(Value::Array(podcasts)).context("reading the server's answer")?;
    let now = Timestamp::now();
    print(columns(
        &["ID", "STATE", "TITLE", "LENGTH", "ASKED FOR"],
        podcasts.iter().map(|p| row(p, now)).collect(),
    ))?;
    if next.is_some() {
        remark(format_args!("there are more; `--limit {}` shows them", limit * 5));
    }
    Ok(())
}

async fn fetch(
    client: &Client,
    filter: &ListFilter,
    limit: usize,
) -> anyhow::Result<(Vec<Value>, Option<String>)> {
    let (filter, mut podcasts) = (more(filter)?, Vec::new());
    let mut cursor: Option<String> = None;
    loop {
        let mut path = format!("/v1/podcasts?limit={}{filter}", (limit - podcasts.len()).min(PAGE));
        if let Some(cursor) = &cursor {
            path.push_str(&format!("&cursor={cursor}"));
        }
        let page: Page =
            serde_json::from_value(client.get(&path).await?).context("reading the server's answer")?;
        let empty = page.podcasts.is_empty();
        podcasts.extend(page.podcasts);
        cursor = page.next;
        if empty || cursor.is_none() || podcasts.len() >= limit {
            return Ok((podcasts, cursor));
        }
    }
}

fn row(podcast: &Podcast, now: Timestamp) -> Vec<String> {
    let state = match (podcast.is_finished(), podcast.progress.segments_total) {
        (true, _) => podcast.state.clone(),
        (false, _) if !podcast.paused_by.is_empty() => "paused".into(),
        (false, 0) => podcast.stage.clone(),
        (false, total) => format!("{} {}/{total}", podcast.stage, podcast.progress.segments_done),
    };
    vec![
        podcast.id.to_string(),
        state,
        podcast.title().chars().take(50).collect(),
        podcast.duration().map(clock).unwrap_or_default(),
        relative(podcast.created_at, now),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_what_matters_now() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let check = |more: Value, expected: [&str; 4]| {
            let mut value =
                json!({ "id": uuid::Uuid::nil(), "created_at": "2026-01-01T00:00:00Z", "title": "조수" });
            value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert_eq!(row(&serde_json::from_value(value).unwrap(), now)[1..], expected);
        };
        let progress = json!({ "segments_total": 12, "segments_done": 3 });
        check(json!({ "state": "running", "stage": "outline" }), ["outline", "조수", "", "1 min ago"]);
        check(
            json!({ "state": "running", "stage": "tts", "progress": progress }),
            ["tts 3/12", "조수", "", "1 min ago"],
        );
        check(
            json!({ "state": "running", "stage": "outline", "paused_by": [uuid::Uuid::nil()] }),
            ["paused", "조수", "", "1 min ago"],
        );
        check(
            json!({ "state": "completed", "duration_ms": 61_000 }),
            ["completed", "조수", "1:01", "1 min ago"],
        );
    }
}
