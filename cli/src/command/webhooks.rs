//! `podfleet webhooks …`: what was sent to callback addresses.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::args::One;
use crate::args::webhooks::{WebhooksCommand, WebhooksReplay, WebhooksSecret};
use crate::client::Client;
use crate::output::{columns, print, print_json, relative, remark};

pub(crate) async fn run(command: WebhooksCommand) -> anyhow::Result<()> {
    match command {
        WebhooksCommand::List(options) => list(options).await,
        WebhooksCommand::Replay(options) => replay(options).await,
        WebhooksCommand::Secret(options) => secret(options).await,
    }
}

async fn list(One { server, id }: One) -> anyhow::Result<()> {
    let found = Client::new(&server)?.get(&format!("/v1/podcasts/{id}/webhooks")).await?;
    if server.json {
        return print_json(&found);
    }
    let webhooks = found["webhooks"].as_array().cloned().unwrap_or_default();
    if webhooks.is_empty() {
        remark("there are none: it was asked for without a callback_url, or it has not ended");
        return Ok(());
    }
    let now = Timestamp::now();
    let header = ["ID", "EVENT", "STATE", "TRIES", "LAST ANSWER", "NEXT"];
    print(columns(&header, webhooks.iter().map(|webhook| row(webhook, now)).collect()))
}

fn row(webhook: &Value, now: Timestamp) -> Vec<String> {
    let text = |field: &str| webhook[field].as_str().unwrap_or_default().to_owned();
    let last = webhook["history"].as_array().and_then(|history| history.last());
    let next = webhook["next_attempt_at"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
    vec![
        text("id"),
        text("event"),
        text("state"),
        webhook["attempts"].to_string(),
        last.and_then(|last| last["result"].as_str()).unwrap_or_default().to_owned(),
        next.map(|next| relative(next, now)).unwrap_or_default(),
    ]
}

async fn replay(WebhooksReplay { server, id }: WebhooksReplay) -> anyhow::Result<()> {
    let answer = Client::new(&server)?.post(&format!("/v1/webhooks/{id}/replay"), &json!({})).await?;
    if server.json {
        return print_json(&answer);
    }
    remark("It is sent again; `podfleet webhooks list` shows what comes of it");
    Ok(())
}

async fn secret(WebhooksSecret { server, rotate }: WebhooksSecret) -> anyhow::Result<()> {
    let client = Client::new(&server)?;
    let answer = if rotate {
        client.post("/v1/webhooks/secret/rotate", &json!({})).await?
    } else {
        client.get("/v1/webhooks/secret").await?
    };
    if server.json {
        return print_json(&answer);
    }
    for secret in answer["secrets"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        print(secret)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_what_came_of_the_last_attempt() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let webhook = json!({
            "id": "w", "event": "completed", "state": "waiting", "attempts": 2, "next_attempt_at": "2026-01-01T00:01:00Z",
            "history": [{"result": "500 Internal Server Error"}, {"result": "it did not answer in time"}],
        });
        assert_eq!(
            row(&webhook, now),
            ["w", "completed", "waiting", "2", "it did not answer in time", "in 1 min"]
        );
    }
}
