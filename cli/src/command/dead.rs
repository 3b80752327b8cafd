//! `podfleet dead …`: what was given up, and how it goes on.

mod edit;
mod list;
mod many;
mod settle;
mod show;

use serde_json::{Value, json};

use crate::args::dead::{DeadCommand, DeadFilter};
use crate::client::more;

pub(crate) async fn run(command: DeadCommand) -> anyhow::Result<()> {
    match command {
        DeadCommand::List(options) => list::letters(options).await,
        DeadCommand::Groups(options) => list::groups(options).await,
        DeadCommand::Show(options) => show::run(options).await,
        DeadCommand::Replay(options) if options.ids.is_empty() => many::run(options).await,
        DeadCommand::Replay(options) => settle::replay(options).await,
        DeadCommand::Edit(options) => edit::run(options).await,
        DeadCommand::Discard(options) => settle::discard(options).await,
        DeadCommand::Replays(options) => many::list(options).await,
        DeadCommand::Progress(options) => many::progress(options).await,
        DeadCommand::Cancel(options) => many::cancel(options).await,
    }
}

/// What is sent with the wish. The trail needs a reason; nobody is made to type one for a single letter.
fn because(reason: Option<&str>) -> Value {
    json!(reason.unwrap_or("no reason was given"))
}

/// The filter as a query string.
fn query(filter: &DeadFilter, state: &str) -> anyhow::Result<String> {
    Ok(format!("state={state}{}", more(filter)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_query() {
        let filter = DeadFilter {
            engine: Some("a b&c".into()),
            since: Some("2026-01-31T12:00:00Z".parse().unwrap()),
            ..DeadFilter::default()
        };
        let query = query(&filter, "open").unwrap();
        assert!(query.starts_with("state=open&"), "{query}");
        assert!(query.contains("&engine=a%20b%26c"), "{query}");
        assert!(query.contains("&since=2026-01-31T12%3A00%3A00Z"), "{query}");
        assert!(!query.contains("kind"), "{query}");
    }
}
