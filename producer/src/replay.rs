//! Replaying one dead letter, whatever it is about: a task or a deadline resumes its podcast, a request is handed to the
//! intake again. However often and by whomever it is wished for, it happens once.

pub(crate) mod many;

use common::request::{self, Fault};
use common::store::audit::{self, NewAudit};
use common::store::dead_letters::reading::{self, Settled, Whole};
use common::store::dead_letters::settling::{self, Decision};
use common::store::replay::difference::{Change, difference};
use common::store::replay::{self, Answer, Impossible, Order, Resumed, bulk};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::accept::{Intake, Refusal, Submission};
use crate::link::Telling;
use crate::{Caller, Env};

/// The wish to replay a letter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) letter: Uuid,
    pub(crate) reason: &'a str,
    /// What takes the place of the payload.
    pub(crate) edited: Option<&'a Value>,
    /// The replay of many that this belongs to.
    pub(crate) many: Option<Uuid>,
}

impl<'a> Wish<'a> {
    fn decision(&self) -> Decision<'a> {
        Decision {
            tenant: &self.caller.tenant,
            principal: &self.caller.principal,
            reason: self.reason,
            replay: self.many,
        }
    }
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Replayed {
    Resumed(Box<Resumed>),
    /// A request is a podcast now.
    Accepted {
        podcast: Uuid,
    },
    Settled(Settled),
    Unknown,
    Impossible(Impossible),
    /// Of an edited payload, or of a request that would be refused again.
    Faulty(Vec<Fault>),
}

/// An error means that nothing is known to have happened; the same wish may be sent again.
pub(crate) async fn one(env: &Env, intake: &Intake, wish: Wish<'_>) -> anyhow::Result<Replayed> {
    let tenant = &wish.caller.tenant;
    let found = env.store.run(async |client| reading::letter(client, tenant, wish.letter).await).await?;
    let replayed = match found {
        None => Replayed::Unknown,
        Some(whole) if whole.letter.source == "message" => request(env, intake, wish, whole).await?,
        Some(_) => podcast(env, wish).await?,
    };
    let result = match &replayed {
        Replayed::Resumed(_) | Replayed::Accepted { .. } => "replayed",
        Replayed::Settled(_) => "settled_before",
        Replayed::Unknown => "unknown",
        Replayed::Impossible(_) => "impossible",
        Replayed::Faulty(_) => "refused",
    };
    metrics::counter!("podfleet_replays_total", "result" => result).increment(1);
    Ok(replayed)
}

async fn podcast(env: &Env, wish: Wish<'_>) -> anyhow::Result<Replayed> {
    let order = Order { letter: wish.letter, decision: wish.decision(), edited: wish.edited };
    let answer = env
        .store
        .run(async |client| {
            let tx = client.transaction().await?;
            let answer = replay::resume(&tx, &env.config, &order, Timestamp::now()).await?;
            if matches!(answer, Answer::Resumed(_)) {
                tx.commit().await?;
            }
            Ok(answer)
        })
        .await?;
    Ok(match answer {
        Answer::Resumed(resumed) => {
            tracing::info!(podcast.id = %resumed.podcast, letter = %wish.letter, tasks = resumed.tasks, "a podcast was replayed");
            env.hub.hint(resumed.podcast);
            env.link.tell(Telling { tickets: Vec::new(), hints: vec![resumed.hint.clone()] });
            Replayed::Resumed(resumed)
        }
        Answer::Settled(settled) => Replayed::Settled(settled),
        Answer::Unknown => Replayed::Unknown,
        Answer::Impossible(impossible) => Replayed::Impossible(impossible),
        Answer::Faulty(faults) => Replayed::Faulty(faults),
    })
}

/// The intake is asked first, under the message's own idempotency key: two who do this at once, or one after a crash, get the
/// same podcast, and then only the first settles the letter.
async fn request(env: &Env, intake: &Intake, wish: Wish<'_>, whole: Whole) -> anyhow::Result<Replayed> {
    if let Some(settled) = whole.letter.settled {
        return Ok(Replayed::Settled(settled));
    }
    if let Some(impossible) = why_not(&whole, wish.edited.is_some()) {
        return Ok(Replayed::Impossible(impossible));
    }
    let original = whole.payload.unwrap_or_default();
    let body = match wish.edited {
        Some(edited) => serde_json::to_vec(edited)?,
        None => original.clone(),
    };
    let now = Timestamp::now();
    let accepted = match request::accept(&body, &env.config, now, now) {
        Ok(accepted) => accepted,
        Err(faults) => return Ok(Replayed::Faulty(faults)),
    };
    let key = whole.letter.message_id.filter(|id| crate::http::checks::is_idempotency_key(id));
    let submission = Submission {
        accepted,
        caller: Caller { principal: whole.principal, ..wish.caller.clone() },
        idempotency_key: Some(key.unwrap_or_else(|| format!("dead-letter-{}", wish.letter))),
        traceparent: None,
    };
    match intake.try_submit(submission).await {
        Ok(receipt) => {
            let difference = wish.edited.map(|edited| changes(&original, edited));
            settle_request(env, wish, receipt.podcast, difference).await
        }
        Err(Refusal::Conflict { podcast }) => conflict(env, wish, podcast).await,
        Err(refusal) => Err(refusal.into()),
    }
}

/// What was no JSON differs as a whole.
fn changes(original: &[u8], edited: &Value) -> Vec<Change> {
    let before = serde_json::from_slice(original)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(original).into_owned()));
    difference(&without_nul(before), edited)
}

/// PostgreSQL keeps no NUL in JSON, and a NUL may be what a request was refused for.
fn without_nul(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace('\0', "\u{fffd}")),
        Value::Array(items) => items.into_iter().map(without_nul).collect(),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (name.replace('\0', "\u{fffd}"), without_nul(value)))
                .collect(),
        ),
        other => other,
    }
}

/// Why a message cannot be handed in again, and what to do instead.
pub(crate) fn why_not(whole: &Whole, is_edited: bool) -> Option<Impossible> {
    let (reason, remedy) = match whole.letter.origin.as_deref() {
        Some("request") => {
            let kept = whole.payload.as_ref().map_or(0, Vec::len);
            let cut = whole
                .payload_bytes
                .is_some_and(|bytes| usize::try_from(bytes).is_ok_and(|bytes| bytes > kept));
            if !cut || is_edited {
                return None;
            }
            (
                "only its first part was kept, because it is so large",
                "Ask its sender to send a shorter text, and discard this",
            )
        }
        Some("ticket" | "outcome") => (
            "it is a message of the fleet's own; the work behind it is dispatched again by itself",
            "Discard it. If there are many: collectors may be older than workers, so upgrade them",
        ),
        _ => (
            "it is not known what this message was meant to be",
            "Look at it with ?payload=true; if it was a request, ask its sender to send it again. Then discard it",
        ),
    };
    Some(Impossible { reason: reason.into(), remedy: remedy.into() })
}

async fn settle_request(
    env: &Env,
    wish: Wish<'_>,
    podcast: Uuid,
    difference: Option<Vec<Change>>,
) -> anyhow::Result<Replayed> {
    let decision = wish.decision();
    let changes = difference.as_ref().map(serde_json::to_value).transpose()?;
    let paths: Option<Vec<&String>> =
        difference.as_ref().map(|list| list.iter().map(|change| &change.path).collect());
    let entry = NewAudit {
        tenant: decision.tenant,
        principal: decision.principal,
        action: if difference.is_some() { "dead_letter.edit_replay" } else { "dead_letter.replay" },
        subject: replay::subject(wish.letter),
        reason: Some(wish.reason),
        before: Some(json!({"letter": "open"})),
        after: Some(json!({"letter": "replayed", "became": podcast, "edited": paths, "replay": wish.many})),
    };
    env.store
        .run(async |client| {
            let tx = client.transaction().await?;
            let first =
                settling::settle(&tx, wish.letter, "replayed", &decision, Some(podcast), changes.as_ref())
                    .await?;
            if !first {
                let settled = settling::settled(&tx, decision.tenant, wish.letter).await?;
                return Ok(settled.map_or(Replayed::Unknown, Replayed::Settled));
            }
            audit::insert(&tx, &entry).await?;
            if let Some(many) = wish.many {
                bulk::mark_replayed(&tx, many, wish.letter).await?;
            }
            tx.commit().await?;
            Ok(Replayed::Accepted { podcast })
        })
        .await
}

/// The key is taken: by somebody who was first with this letter, or by another request.
async fn conflict(env: &Env, wish: Wish<'_>, podcast: Uuid) -> anyhow::Result<Replayed> {
    let tenant = &wish.caller.tenant;
    let found = env.store.run(async |client| reading::letter(client, tenant, wish.letter).await).await?;
    if let Some(settled) = found.and_then(|whole| whole.letter.settled) {
        return Ok(Replayed::Settled(settled));
    }
    Ok(Replayed::Impossible(Impossible {
        reason: format!("its message_id stands for another request already, podcast {podcast}"),
        remedy: "Ask its sender to send it under another message_id, and discard this".into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_can_be_stored_whatever_was_sent() {
        let told = |original: &[u8], edited: Value| serde_json::to_value(changes(original, &edited)).unwrap();
        assert_eq!(
            told(br#"{"title": "a\u0000b", "x\u0000": 1}"#, json!({"title": "ab"})),
            json!([{"path": "/title", "before": "a\u{fffd}b", "after": "ab"}, {"path": "/x\u{fffd}", "before": 1}])
        );
        assert_eq!(
            told(b"{\0\xff", json!({})),
            json!([{"path": "", "before": "{\u{fffd}\u{fffd}", "after": {}}])
        );
    }
}
