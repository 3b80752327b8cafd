//! `podfleet dead replay ID…` and `podfleet dead discard ID…`

use serde_json::{Value, json};
use uuid::Uuid;

use super::because;
use crate::args::dead::{DeadDiscard, DeadReplay};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{print, print_json, remark};

pub(super) async fn replay(options: DeadReplay) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let wish = json!({ "reason": because(options.reason.as_deref()) });
    each(&client, &options.ids, "replay", &wish, options.server.json).await
}

pub(super) async fn discard(options: DeadDiscard) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    if options.dry_run {
        return trial(&client, &options.ids, options.server.json).await;
    }
    each(&client, &options.ids, "discard", &json!({ "reason": options.reason }), options.server.json).await
}

/// What would be discarded, and what would not because it is settled.
async fn trial(client: &Client, ids: &[Uuid], as_json: bool) -> anyhow::Result<()> {
    let mut letters = Vec::with_capacity(ids.len());
    for id in ids {
        let letter = client.get(&format!("/v1/dead-letters/{id}")).await?;
        let (state, cause) =
            (letter["state"].as_str().unwrap_or_default(), letter["cause"].as_str().unwrap_or_default());
        if !as_json {
            let would =
                if state == "open" { "would be discarded".into() } else { format!("is {state} already") };
            print(format_args!("{id}  {would}: {cause}"))?;
        }
        letters.push(json!({ "id": id, "state": state, "would_discard": state == "open" }));
    }
    if as_json { print_json(&json!({ "dry_run": true, "letters": letters })) } else { Ok(()) }
}

/// One after the other; one that is refused does not keep the others back, but the command fails.
async fn each(
    client: &Client,
    ids: &[Uuid],
    action: &str,
    wish: &Value,
    as_json: bool,
) -> anyhow::Result<()> {
    let mut answers = Vec::with_capacity(ids.len());
    let mut failed = Vec::new();
    for id in ids {
        match client.post(&format!("/v1/dead-letters/{id}/{action}"), wish).await {
            Ok(answer) if as_json => answers.push(answer),
            Ok(answer) => print(format_args!("{id}  {}", sentence(&answer)))?,
            // With one letter the error is the command's own.
            Err(error) if ids.len() == 1 => return Err(error),
            Err(error) => {
                if !matches!(error.downcast_ref(), Some(Failure::Refused(_))) {
                    return Err(error);
                }
                remark(format_args!("{id}  {error:#}"));
                failed.push(id);
            }
        }
    }
    if as_json {
        print_json(&if ids.len() == 1 { answers.pop().unwrap_or_default() } else { json!(answers) })?;
    }
    anyhow::ensure!(failed.is_empty(), "{} of {} letters were refused", failed.len(), ids.len());
    Ok(())
}

/// What came of it, in the server's words.
pub(super) fn sentence(answer: &Value) -> String {
    let text = |name: &str| answer[name].as_str();
    text("detail").or_else(|| text("state")).unwrap_or("done").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::stand_in::StandIn;

    fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn one_refusal_does_not_keep_the_others_back() {
        let server = StandIn::start(vec![
            answer("409 Conflict", r#"{"detail": "It was replayed by Anna"}"#),
            answer("200 OK", r#"{"state": "replayed"}"#),
        ])
        .await;
        let client = Client::at(&server.address, None).unwrap();
        let ids = [Uuid::now_v7(), Uuid::now_v7()];
        let error = each(&client, &ids, "replay", &json!({"reason": "x"}), false).await.unwrap_err();
        assert_eq!(error.to_string(), "1 of 2 letters were refused");
        let requests = server.requests().await;
        assert_eq!(requests.len(), 2);
        assert!(
            requests[1].starts_with(&format!("POST /v1/dead-letters/{}/replay", ids[1])),
            "{}",
            requests[1]
        );
        assert!(requests[1].ends_with(r#"{"reason":"x"}"#), "{}", requests[1]);
    }
}
