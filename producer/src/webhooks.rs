//! Tells tenants' own servers that podcasts have ended. The schedule lies in the database: any producer sends what is due, and
//! what one had in hand when it died is sent by another, under the same id.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::outbound::{Address, NotAllowed, Outbound};
use common::store::webhooks::{self, Due, Outcome};
use common::webhook::{self, Answer, Next};
use jiff::Timestamp;
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::Env;

/// How often it is looked for what is due.
const LOOK: Duration = Duration::from_millis(500);
/// Webhooks that are being sent at a time.
const AT_ONCE: usize = 32;
/// Longer than any attempt, its result in the database included.
const GRACE: Duration = Duration::from_secs(30);

/// Until shutdown; what is being sent then is finished.
pub(crate) async fn run(env: Arc<Env>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let outbound = Outbound::new(&env.config.outbound)?;
    let mut sending = JoinSet::new();
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = shutdown.cancelled() => break,
        }
        while let Some(ended) = sending.try_join_next() {
            ended?;
        }
        if !env.readiness.is_ready() || sending.len() >= AT_ONCE {
            continue;
        }
        let room = i64::try_from(AT_ONCE - sending.len()).unwrap_or(1);
        let lease = env.config.outbound.timeout() + GRACE;
        let taken = env.store.run(async |client| webhooks::take_due(client, room, lease).await).await;
        if let (Err(error), false) = (&taken, failing) {
            tracing::warn!(error = format!("{error:#}"), "webhooks cannot be read; they wait");
        }
        failing = taken.is_err();
        for due in taken.unwrap_or_default() {
            sending.spawn(deliver(env.clone(), outbound.clone(), due));
        }
    }
    while let Some(ended) = sending.join_next().await {
        ended?;
    }
    Ok(())
}

/// One attempt and what comes of it. An error of the database leaves it to the lease: it is sent again.
async fn deliver(env: Arc<Env>, outbound: Outbound, due: Due) {
    let started = Instant::now();
    let sent = send(&env, &outbound, &due).await;
    let (answer, result) = match sent {
        Ok(sent) => sent,
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "a webhook cannot be signed; it waits");
            return;
        }
    };
    let attempt = u32::try_from(due.attempt).unwrap_or(u32::MAX);
    let (state, next_in) = match webhook::next(attempt, answer, jitter(&due)) {
        Next::Delivered => ("delivered", Duration::ZERO),
        Next::Again(wait) => ("waiting", wait),
        Next::GivenUp => ("failed", Duration::ZERO),
        Next::Gone => ("disabled", Duration::ZERO),
    };
    metrics::counter!("podfleet_webhooks_total", "result" => state).increment(1);
    // Its address may hold a secret.
    tracing::info!(podcast.id = %due.podcast, webhook = %due.id, attempt, state, result, "a webhook was sent");
    let outcome = Outcome { state, next_in, result: &result, took: started.elapsed() };
    if let Err(error) = env.store.run(async |client| webhooks::settle(client, &due, &outcome).await).await {
        tracing::warn!(error = format!("{error:#}"), webhook = %due.id, "what came of a webhook is not written down; it is sent again");
    }
}

/// The answer, and how it is told. The error is the database's.
async fn send(env: &Env, outbound: &Outbound, due: &Due) -> anyhow::Result<(Answer, String)> {
    let address = match Address::parse(&due.url, &env.config.outbound) {
        Ok(address) => address,
        Err(bad) => return Ok((Answer::Forbidden, format!("the address is not allowed: {}", bad.reason))),
    };
    let secrets = env.store.run(async |client| webhooks::secrets(client, &due.tenant).await).await?;
    let body = webhook::body(due.podcast, &due.event, due.seq, due.at, &due.data);
    let (id, now) = (webhook::message_id(due.id), Timestamp::now());
    let request = outbound
        .post(&address)
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-timestamp", now.as_second())
        .header("webhook-signature", webhook::signatures(&secrets, &id, now, &body))
        .header("webhook-id", id)
        .body(body);
    Ok(match request.send().await {
        Ok(answer) => {
            let result = answer.status().to_string();
            (Answer::Status { code: answer.status().as_u16(), retry_after: retry_after(&answer) }, result)
        }
        Err(error) => unanswered(&error),
    })
}

fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds: u64 = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn unanswered(error: &reqwest::Error) -> (Answer, String) {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut last = String::new();
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<NotAllowed>() {
            return (Answer::Forbidden, refused.to_string());
        }
        last = inner.to_string();
        cause = inner.source();
    }
    let told = if error.is_timeout() {
        "it did not answer in time".into()
    } else {
        format!("it cannot be reached: {last}")
    };
    (Answer::None, told)
}

/// From the webhook itself, so that those of one moment spread, and a decision can be told again.
fn jitter(due: &Due) -> f64 {
    f64::from(due.id.as_bytes()[15]) / 255.0
}
