//! Requests over AMQP: the same JSON as over HTTP, with `message_id` as the idempotency key. A message is acked only after its
//! podcast is committed, or after it lies in the dead queue with the reason; the sender is told at `reply_to`. Where HTTP answers
//! 503, a message stays in hand until it is accepted: beyond what a producer may have in hand, the others stay in their queue.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use common::access::{Role, is_name};
use common::amqp;
use common::config::Config;
use common::request::{self, Fault, MAX_BODY_BYTES};
use common::topology::{DEAD_EXCHANGE, EVENTS_EXCHANGE};
use jiff::Timestamp;
use lapin::message::Delivery;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use schemars::JsonSchema;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Caller;
use crate::accept::{Intake, Refusal, Submission};
use crate::http::checks;

/// A header holds a reason of this length; what is longer is cut.
pub(crate) const MAX_REASON: usize = 4_000;
/// How soon a message that could not be accepted is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Takes requests from the broker, one call a message.
pub(crate) struct Clerk {
    pub(crate) config: Arc<Config>,
    pub(crate) intake: Intake,
    /// Confirms its publishes.
    pub(crate) dead: Channel,
    pub(crate) replies: Channel,
    pub(crate) timeout: Duration,
    pub(crate) shutdown: CancellationToken,
}

/// What its sender is told of a request, at `reply_to`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Reply {
    accepted: bool,
    /// The podcast that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    podcast: Option<Uuid>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<Fault>>,
}

impl Reply {
    fn accepted(podcast: Uuid) -> Reply {
        Reply { accepted: true, podcast: Some(podcast), errors: None }
    }

    fn refused(errors: Vec<Fault>) -> Reply {
        Reply { accepted: false, podcast: None, errors: Some(errors) }
    }
}

/// What everybody else is told of a request that was refused, as the event `podcast.refused`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Refused {
    tenant: String,
    message_id: Option<String>,
    errors: Vec<Fault>,
}

/// What became of a message that was decided, with the word for the metrics.
enum Verdict {
    Accepted(Uuid, &'static str),
    Refused(Vec<Fault>, &'static str),
}

impl Clerk {
    /// Settles one message. An error means that it is not settled and the session is over: the broker delivers it again, as it does
    /// with a message that could not be decided before shutdown.
    pub(crate) async fn handle(&self, delivery: Delivery) -> anyhow::Result<()> {
        let started = std::time::Instant::now();
        let caller = caller(&delivery.properties);
        let Some(verdict) = self.decide(&delivery, &caller).await else { return Ok(()) };
        let (result, settled) = match verdict {
            Verdict::Accepted(podcast, result) => {
                self.reply(&delivery, &Reply::accepted(podcast)).await?;
                (result, amqp::ack(&delivery.acker, false, self.timeout).await)
            }
            Verdict::Refused(faults, result) => (result, self.refuse(&delivery, &caller, &faults).await),
        };
        metrics::counter!("podfleet_requests_total", "via" => "amqp", "result" => result).increment(1);
        metrics::histogram!("podfleet_accept_duration_seconds", "via" => "amqp")
            .record(started.elapsed().as_secs_f64());
        settled
    }

    /// Tries again until it is known, and gives up only at shutdown. Giving the message back instead would use up its deliveries.
    async fn decide(&self, delivery: &Delivery, caller: &Caller) -> Option<Verdict> {
        let mut told = false;
        loop {
            let refusal = match self.submit(delivery, caller).await {
                Ok(verdict) => return Some(verdict),
                Err(refusal) => refusal,
            };
            if !told {
                tracing::warn!(reason = %refusal, "a request over AMQP waits");
                told = true;
            }
            self.shutdown.run_until_cancelled(tokio::time::sleep(AGAIN)).await?;
        }
    }

    /// An error is none of the message's, and may be over when it is tried again.
    async fn submit(&self, delivery: &Delivery, caller: &Caller) -> Result<Verdict, Refusal> {
        let refused = |fault: Fault, result| Ok(Verdict::Refused(vec![fault], result));
        let key = match message_id(&delivery.properties) {
            Ok(key) => key,
            Err(fault) => return refused(fault, "refused"),
        };
        if delivery.data.len() > MAX_BODY_BYTES {
            let reason = format!("it has {} bytes", delivery.data.len());
            let remedy = format!("Send at most {MAX_BODY_BYTES}");
            return refused(Fault { field: "body".into(), reason, remedy }, "refused");
        }
        let now = Timestamp::now();
        let accepted =
            match request::accept(&delivery.data, &self.config, now, since(&delivery.properties, now)) {
                Ok(accepted) => accepted,
                Err(faults) => return Ok(Verdict::Refused(faults, "refused")),
            };
        let submission = Submission {
            accepted,
            caller: caller.clone(),
            idempotency_key: Some(key),
            traceparent: traceparent(&delivery.properties),
        };
        let fault = |field: &str, refusal: &Refusal, remedy: &str| Fault {
            field: field.into(),
            reason: refusal.to_string(),
            remedy: remedy.into(),
        };
        match self.intake.submit(submission).await {
            Ok(receipt) => {
                Ok(Verdict::Accepted(receipt.podcast, if receipt.replayed { "replayed" } else { "accepted" }))
            }
            Err(refusal @ Refusal::Conflict { .. }) => refused(
                fault("message_id", &refusal, "Send another request under another message_id"),
                "conflict",
            ),
            // The queue must not wait for one tenant; support may replay the letter, and the sender may send again.
            Err(Refusal::Limited(limited)) => refused(limited.fault(), "limited"),
            Err(refusal @ Refusal::Unstorable) => {
                refused(fault("body", &refusal, "Look for characters that are not text"), "unstorable")
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// The message lies in the dead queue, confirmed, before it is acked; support finds it there with its reason.
    async fn refuse(&self, delivery: &Delivery, caller: &Caller, faults: &[Fault]) -> anyhow::Result<()> {
        let text = faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ");
        let mut headers = FieldTable::default();
        let values = [
            ("x-podfleet-reason", cut(&format!("a request was refused: {text}"), MAX_REASON)),
            ("x-podfleet-tenant", caller.tenant.as_str()),
            ("x-podfleet-principal", caller.principal.as_str()),
        ]
        .map(|(name, value)| (name, AMQPValue::LongString(value.into())));
        for (name, value) in values {
            headers.insert(name.into(), value);
        }
        let mut properties = amqp::persistent_json().with_headers(headers);
        let message_id = delivery.properties.message_id().as_ref();
        if let Some(id) = message_id {
            properties = properties.with_message_id(id.clone());
        }
        let confirm =
            amqp::publish(&self.dead, DEAD_EXCHANGE, "", &delivery.data, properties, self.timeout).await?;
        amqp::confirmed(confirm, self.timeout).await.context("setting a refused request aside")?;
        self.reply(delivery, &Reply::refused(faults.to_vec())).await?;
        let told = Refused {
            tenant: caller.tenant.clone(),
            message_id: message_id.as_ref().map(|id| id.as_str().to_owned()),
            errors: faults.to_vec(),
        };
        let told = serde_json::to_vec(&told)?;
        amqp::broadcast(&self.replies, EVENTS_EXCHANGE, "podcast.refused", &told, self.timeout).await?;
        // Reasons may quote the request; the dead letter has them.
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        tracing::info!(tenant = caller.tenant, ?fields, "a request over AMQP was refused");
        amqp::ack(&delivery.acker, false, self.timeout).await
    }

    /// Tells the sender, if it wants to know. Its queue may be gone by now: that is its own affair.
    async fn reply(&self, delivery: &Delivery, answer: &Reply) -> anyhow::Result<()> {
        let asked = &delivery.properties;
        let Some(to) = asked.reply_to() else { return Ok(()) };
        let mut properties = BasicProperties::default().with_content_type("application/json".into());
        if let Some(id) = asked.correlation_id().as_ref().or(asked.message_id().as_ref()) {
            properties = properties.with_correlation_id(id.clone());
        }
        let body = serde_json::to_vec(answer)?;
        let publish = self.replies.basic_publish(
            "".into(),
            to.clone(),
            BasicPublishOptions::default(),
            &body,
            properties,
        );
        amqp::bounded(self.timeout, "answering a request", publish).await.map(drop)
    }
}

/// The broker vouches for `user_id`. Names that could not be a folder's name are not taken as tenants.
pub(crate) fn caller(properties: &BasicProperties) -> Caller {
    let user = properties.user_id().as_ref().map(|user| user.as_str()).filter(|user| is_name(user));
    Caller {
        tenant: user.unwrap_or("default").to_owned(),
        principal: user.unwrap_or("amqp").to_owned(),
        role: Role::Submit,
        key: None,
        requests_per_minute: None,
    }
}

pub(crate) fn message_id(properties: &BasicProperties) -> Result<String, Fault> {
    let fault = |reason: &str| {
        Fault {
        field: "message_id".into(),
        reason: reason.into(),
        remedy: "Set the property message_id to a unique text of 1 to 255 visible ASCII characters; it is the idempotency key"
            .into(),
    }
    };
    let id = properties.message_id().as_ref().ok_or_else(|| fault("the message has none"))?;
    if checks::is_idempotency_key(id.as_str()) {
        Ok(id.as_str().to_owned())
    } else {
        Err(fault("it is not usable as a key"))
    }
}

/// When the deadline began to run: when the message was sent, as far as its sender says so and that is not in the future.
pub(crate) fn since(properties: &BasicProperties, now: Timestamp) -> Timestamp {
    let seconds = properties.timestamp().and_then(|seconds| i64::try_from(seconds).ok());
    seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()).map_or(now, |sent| sent.min(now))
}

pub(crate) fn traceparent(properties: &BasicProperties) -> Option<String> {
    let headers = properties.headers().as_ref()?;
    let text = match headers.inner().get("traceparent")? {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        AMQPValue::ShortString(text) => text.as_str().to_owned(),
        _ => return None,
    };
    checks::is_traceparent(&text).then_some(text)
}

pub(crate) fn cut(text: &str, longest: usize) -> &str {
    let mut end = longest.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenant_is_the_brokers_user_when_it_is_a_name() {
        let tenant = |user: &str| caller(&BasicProperties::default().with_user_id(user.into())).tenant;
        assert_eq!(tenant("studio-7"), "studio-7");
        for odd in ["", "..", "a/b", "a b", "가", &"x".repeat(65)] {
            assert_eq!(tenant(odd), "default", "{odd}");
        }
        assert_eq!(caller(&BasicProperties::default()).tenant, "default");
    }

    #[test]
    fn the_message_id_is_required() {
        assert_eq!(message_id(&BasicProperties::default().with_message_id("a-1".into())).unwrap(), "a-1");
        assert!(message_id(&BasicProperties::default()).unwrap_err().reason.contains("none"));
        assert!(message_id(&BasicProperties::default().with_message_id("a b".into())).is_err());
    }

    #[test]
    fn the_deadline_runs_since_the_message_was_sent() {
        let now = Timestamp::from_second(1_000).unwrap();
        let at = |seconds| since(&BasicProperties::default().with_timestamp(seconds), now).as_second();
        assert_eq!(at(900), 900);
        assert_eq!(at(2_000), 1_000);
        assert_eq!(at(u64::MAX), 1_000);
        assert_eq!(since(&BasicProperties::default(), now), now);
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(cut("가나다", 4), "가");
        assert_eq!(cut("ab", 4), "ab");
    }
}
