//! `podfleet pause`, `podfleet pauses` and `podfleet resume`: in the database itself, or over the API of a running server.

use std::path::Path;

use anyhow::Context;
use common::pause::Scope;
use common::store::pauses::{self, Act};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::keys::{Place, principal};
use crate::args::acts::{Pause, Pauses, Resume};
use crate::failure::Failure;
use crate::output::{columns, print, print_json, relative, remark};

/// Where the audit trail tells of what is done beside the database.
const TENANT: &str = "default";

pub(crate) async fn pause(config: Option<&Path>, options: Pause) -> anyhow::Result<()> {
    let answer = match Place::of(config, &options.server).await? {
        Place::Api(client) => {
            let wish = json!({
                "kind": options.kind,
                "lane": options.lane,
                "engine": options.engine,
                "tenant": options.tenant,
                "everyone": options.everyone,
                "reason": options.reason,
            });
            client.post("/v1/pauses", &wish).await?
        }
        Place::Database(store) => {
            let known = crate::roles::load(config)?;
            if let Some(engine) = options.engine.as_deref().filter(|name| known.engines.get(name).is_none()) {
                let names: Vec<&str> = known.engines.iter().map(|(name, _)| name).collect();
                let advice = format!("there is no engine {engine:?}; use one of: {}", names.join(", "));
                return Err(Failure::Usage(advice).into());
            }
            let own = || options.tenant.clone().unwrap_or_else(|| TENANT.into());
            let scope = Scope {
                tenant: (!options.everyone).then(own),
                kind: options.kind,
                lane: options.lane,
                engine: options.engine.clone(),
            };
            let principal = principal();
            let act = Act {
                tenant: options.tenant.as_deref().unwrap_or(TENANT),
                principal: &principal,
                reason: &options.reason,
            };
            let (pause, new) = store
                .run(async |client| {
                    let tx = client.transaction().await?;
                    let begun = pauses::pause(&tx, &scope, &act).await?;
                    tx.commit().await?;
                    Ok(begun)
                })
                .await?;
            let mut answer = serde_json::to_value(pause)?;
            answer["new"] = json!(new);
            answer
        }
    };
    if options.server.json {
        return print_json(&answer);
    }
    let id = text(&answer, "id");
    if answer["new"] == true {
        print(format_args!("{id}  {} is held back; `podfleet resume {id}` ends that", what(&answer)))
    } else {
        let (by, reason) = (text(&answer, "by"), text(&answer, "reason"));
        print(format_args!("{id}  {} is held back already, by {by}, because: {reason}", what(&answer)))
    }
}

pub(crate) async fn list(config: Option<&Path>, options: Pauses) -> anyhow::Result<()> {
    let answer = match Place::of(config, &options.server).await? {
        Place::Api(client) => client.get("/v1/pauses").await?,
        Place::Database(store) => {
            json!({ "pauses": store.run(async |client| pauses::list(client, None).await).await? })
        }
    };
    if options.server.json {
        return print_json(&answer);
    }
    let pauses = answer["pauses"].as_array().context("reading the server's answer")?;
    if pauses.is_empty() {
        remark("nothing is held back");
        return Ok(());
    }
    let now = Timestamp::now();
    print(columns(
        &["ID", "HELD BACK", "SINCE", "BY", "REASON"],
        pauses.iter().map(|pause| row(pause, now)).collect(),
    ))
}

pub(crate) async fn resume(config: Option<&Path>, options: Resume) -> anyhow::Result<()> {
    let reason = options.reason.as_deref().unwrap_or("no reason was given");
    let answer = match Place::of(config, &options.server).await? {
        Place::Api(client) => {
            let wish = json!({ "reason": reason });
            client.post(&format!("/v1/pauses/{}/resume", options.id), &wish).await?
        }
        Place::Database(store) => {
            let principal = principal();
            let act = Act { tenant: TENANT, principal: &principal, reason };
            let ended = store
                .run(async |client| {
                    let tx = client.transaction().await?;
                    let ended = pauses::resume(&tx, None, options.id, &act).await?;
                    tx.commit().await?;
                    Ok(ended)
                })
                .await?;
            let (pause, now) = ended
                .with_context(|| format!("there is no pause {}; `podfleet pauses` lists them", options.id))?;
            let mut answer = serde_json::to_value(pause)?;
            answer["now"] = json!(now);
            answer
        }
    };
    if options.server.json {
        return print_json(&answer);
    }
    if answer["now"] == true {
        print(format_args!("{} goes on; what was held back goes out in its order", what(&answer)))
    } else {
        print(format_args!(
            "{} went on already: {} ended the pause",
            what(&answer),
            text(&answer, "resumed_by")
        ))
    }
}

fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or("-")
}

/// What a pause is about: `tts of the engine espeak, low priority, of acme`.
fn what(pause: &Value) -> String {
    let part = |name: &str| pause[name].as_str();
    let mut parts = vec![part("kind").unwrap_or("everything").to_owned()];
    parts.extend(part("engine").map(|engine| format!("of the engine {engine}")));
    parts.extend(part("lane").map(|lane| format!("in the lane {lane}")));
    parts.push(part("tenant").map_or_else(|| "of everyone".into(), |tenant| format!("of {tenant}")));
    parts.join(" ")
}

fn row(pause: &Value, now: Timestamp) -> Vec<String> {
    let since: Option<Timestamp> = pause["since"].as_str().and_then(|time| time.parse().ok());
    vec![
        text(pause, "id").to_owned(),
        what(pause),
        since.map(|time| relative(time, now)).unwrap_or_default(),
        text(pause, "by").to_owned(),
        text(pause, "reason").to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_what_stands_still_and_why() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let pause = json!({
            "id": "p", "kind": "tts", "engine": "espeak", "lane": "low", "tenant": "acme", "by": "anna",
            "reason": "the voices are repaired", "since": "2026-01-01T00:00:00Z",
        });
        assert_eq!(
            row(&pause, now),
            [
                "p",
                "tts of the engine espeak in the lane low of acme",
                "1 min ago",
                "anna",
                "the voices are repaired"
            ]
        );
        assert_eq!(what(&json!({})), "everything of everyone");
    }
}
