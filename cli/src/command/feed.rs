//! `podfleet feed …`: what players read.

use serde_json::{Map, Value, json};

use crate::args::feed::{FeedCommand, FeedSet, FeedShow, FeedToken};
use crate::client::Client;
use crate::output::{columns, print, print_json, remark};

pub(crate) async fn run(command: FeedCommand) -> anyhow::Result<()> {
    match command {
        FeedCommand::Show(FeedShow { server }) => {
            tell(server.json, &Client::new(&server)?.get("/v1/feed").await?)
        }
        FeedCommand::Set(options) => set(options).await,
        FeedCommand::Token(options) => token(options).await,
    }
}

/// The API replaces all of it at once.
async fn set(FeedSet { server, settings, reset }: FeedSet) -> anyhow::Result<()> {
    let client = Client::new(&server)?;
    let before = if reset { json!({}) } else { client.get("/v1/feed").await? };
    let changed = changed(before, serde_json::to_value(settings)?);
    tell(server.json, &client.post("/v1/feed", &changed).await?)
}

fn changed(before: Value, given: Value) -> Value {
    let fields = |value: Value| if let Value::Object(fields) = value { fields } else { Map::new() };
    let mut all = fields(before);
    all.extend(fields(given));
    Value::Object(all)
}

async fn token(FeedToken { server, remove }: FeedToken) -> anyhow::Result<()> {
    let client = Client::new(&server)?;
    if remove {
        client.delete("/v1/feed/token").await?;
        if server.json {
            return print_json(&json!({ "token": null }));
        }
        remark("the feed has no token any more; within 5 s it opens with a key alone");
        return Ok(());
    }
    let made = client.post("/v1/feed/token", &json!({})).await?;
    if server.json {
        return print_json(&made);
    }
    print(made["address"].as_str().unwrap_or_default())
}

fn tell(as_json: bool, feed: &Value) -> anyhow::Result<()> {
    if as_json {
        return print_json(feed);
    }
    let rows = rows(feed);
    if rows.is_empty() {
        remark("it says nothing of its own; `podfleet feed set` changes that");
        return Ok(());
    }
    print(columns(&["FIELD", "WHAT IT SAYS"], rows))
}

fn rows(feed: &Value) -> Vec<Vec<String>> {
    let fields = feed.as_object().into_iter().flatten();
    let said = fields.filter_map(|(name, value)| match value {
        Value::String(text) => Some((name, text.clone())),
        Value::Bool(true) => Some((name, "yes".to_owned())),
        _ => None,
    });
    said.map(|(name, text)| vec![name.clone(), text]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays() {
        let before = json!({"title": "Tides", "author": null, "explicit": true});
        let after = changed(before, json!({"author": "Ada", "explicit": false}));
        assert_eq!(after, json!({"title": "Tides", "author": "Ada", "explicit": false}));
    }

    #[test]
    fn only_what_it_says_is_shown() {
        let feed = json!({"title": "조수", "author": null, "explicit": false});
        assert_eq!(rows(&feed), [["title", "조수"]]);
        assert_eq!(rows(&json!({"explicit": true})), [["explicit", "yes"]]);
    }
}
