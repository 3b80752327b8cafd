//! Messages that nobody could read become dead letters, with their bytes, and are acked only then.

use std::time::Duration;

use common::amqp;
use common::class::Class;
use common::store::Store;
use common::store::dead_letters::{self, MAX_PAYLOAD, NewDeadLetter, Origin, Source, Unread};
use common::wire::{self, Outcome, Ticket, VERSION};
use lapin::message::Delivery;
use lapin::types::AMQPValue;
use serde::de::DeserializeOwned;

/// A header is kept up to this many characters.
const MAX_HEADER: usize = 4_000;

/// Writes one dead letter.
pub(crate) async fn bury(store: &Store, delivery: Delivery, timeout: Duration) -> anyhow::Result<()> {
    let letter = letter(&delivery);
    store
        .run(async |client| {
            let tx = client.transaction().await?;
            dead_letters::insert(&tx, std::slice::from_ref(&letter)).await?;
            tx.commit().await?;
            Ok(())
        })
        .await?;
    tracing::warn!(reason = letter.message, "a message that nobody could read is a dead letter now");
    dead_letters::count(Source::Message, letter.class, 1);
    amqp::ack(&delivery.acker, false, timeout).await
}

fn letter(delivery: &Delivery) -> NewDeadLetter {
    let header = |name: &str| {
        delivery.properties.headers().as_ref().and_then(|headers| match headers.inner().get(name) {
            Some(AMQPValue::LongString(text)) => Some(storable(&String::from_utf8_lossy(text.as_bytes()))),
            _ => None,
        })
    };
    let queue = header("x-first-death-queue").unwrap_or_else(|| storable(delivery.routing_key.as_str()));
    let reason =
        header("x-podfleet-reason").unwrap_or_else(|| match header("x-first-death-reason").as_deref() {
            Some("rejected") | None => why_rejected(&queue, &delivery.data),
            Some(reason) => format!("the broker gave up a message in {queue}: {reason}"),
        });
    let unread = Unread {
        origin: Origin::of(&queue, &reason),
        message_id: delivery.properties.message_id().as_ref().map(|id| storable(id.as_str())),
        bytes: delivery.data.len(),
    };
    let mut payload = delivery.data.clone();
    payload.truncate(MAX_PAYLOAD);
    NewDeadLetter {
        tenant: header("x-podfleet-tenant").unwrap_or_else(|| "default".into()),
        principal: header("x-podfleet-principal").unwrap_or_else(|| "unknown".into()),
        podcast_id: None,
        task_id: None,
        kind: None,
        engine: None,
        class: Class::PermanentInput,
        message: reason,
        chain: Vec::new(),
        payload: Some(payload),
        unread: Some(unread),
    }
}

/// Whoever rejected it cannot leave a reason with it. It is read once more here, as its reader did.
fn why_rejected(queue: &str, body: &[u8]) -> String {
    let fault = match Origin::of(queue, "") {
        Origin::Ticket => fault::<Ticket>(body),
        Origin::Outcome => fault::<Outcome>(body).or_else(|| newer(body)),
        Origin::Request | Origin::Unknown => return format!("a message in {queue} could not be read"),
    };
    match fault {
        Some(fault) => format!("a message in {queue} could not be read: {fault}"),
        None => format!(
            "a message in {queue} was set aside: the database refused it, or it was in hand each time that its reader ended; its log tells"
        ),
    }
}

fn newer(body: &[u8]) -> Option<String> {
    let outcomes = wire::decode::<Outcome>(body).ok()?.items;
    let newest = outcomes.iter().map(|outcome| outcome.v).max().filter(|version| *version > VERSION)?;
    Some(format!("it is of version {newest}, and this build knows {VERSION}"))
}

/// Of the first element that cannot be read.
fn fault<T: DeserializeOwned>(body: &[u8]) -> Option<String> {
    match wire::decode::<T>(body) {
        Err(fault) => Some(fault),
        Ok(decoded) => decoded.unreadable.into_iter().next().map(|(_, fault)| fault),
    }
}

/// Anybody who may publish writes headers: PostgreSQL keeps no NUL in texts, and nobody reads what is longer.
fn storable(text: &str) -> String {
    text.chars().take(MAX_HEADER).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_says_why_its_message_could_not_be_read() {
        let said = |queue: &str, body: &str| why_rejected(queue, body.as_bytes());
        let lane = "podfleet.tts.normal.v1";
        assert!(said(lane, "{}").starts_with(
            "a message in podfleet.tts.normal.v1 could not be read: the message is not a JSON list"
        ));
        assert!(said(lane, "[{}]").contains("missing field"), "{}", said(lane, "[{}]"));
        assert!(
            said("podfleet.outcomes.v1", "[7]").contains("expected"),
            "{}",
            said("podfleet.outcomes.v1", "[7]")
        );
        assert!(said("podfleet.outcomes.v1", "[]").contains("the database refused it"));
        assert_eq!(said("elsewhere", "[7]"), "a message in elsewhere could not be read");
    }

    #[test]
    fn headers_of_others_can_be_stored() {
        assert_eq!(storable("a\0b"), "a\u{fffd}b");
        assert_eq!(storable(&"가".repeat(9_000)).chars().count(), MAX_HEADER);
    }
}
