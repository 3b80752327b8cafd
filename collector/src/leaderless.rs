//! Queues that the broker lists but cannot serve: consumers and publishers hang on them, or are refused. What they held is gone or out
//! of reach, so such a queue is deleted before a session begins, and declared anew ([`crate::queues`]).
//!
//! Two ways lead there, both seen on RabbitMQ 3.10.8. A quorum queue that is killed within about three seconds of its declaration has
//! lost what it held, and stays silent for ever. And a queue that is deleted in the milliseconds in which it elects its leader, as by
//! someone who waits for a broker to start, takes the supervisor of all dead-letter processes along
//! (<https://github.com/rabbitmq/rabbitmq-server/issues/16652>): from then on every new leader that needs one ends at once, until the
//! broker is restarted. Queues are declared without such a process once that has been seen.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use common::amqp;
use common::topology::{DEAD_QUEUE, Lane, REQUESTS_QUEUE, lane_queue};
use common::work::Kind;
use futures_util::future::{join_all, try_join_all};
use lapin::Connection;
use lapin::options::{BasicGetOptions, BasicNackOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;

use crate::Env;

/// The reply code of AMQP 0-9-1 with which the broker ends a connection for its own fault.
const INTERNAL_ERROR: u16 = 541;
/// The broker itself gives up a queue without a leader after 65 s (measured on 3.10.8), with that code. What is in `requests` and
/// `dead` is nowhere else: these are deleted only on the broker's own word, and what they held is lost with it.
const BROKERS_PATIENCE: Duration = Duration::from_secs(75);
/// Outcomes can be had again, at a price. A queue that has many of them is silent while it reads its log after a restart.
const OUTCOMES_PATIENCE: Duration = Duration::from_secs(20);
/// Tickets cost nothing. But a lane that is only being made has no leader either: for milliseconds, longer where many begin at once.
const LANE_PATIENCE: Duration = Duration::from_secs(6);
/// So long for a queue that was declared just now.
const NEW: Duration = Duration::from_secs(3);
/// A queue whose leader has ended says so at once, one that has none is silent: it is asked for so long at a time, and after such a
/// pause.
const AT_ONCE: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(250);
/// Deleting such a queue took 5 s.
const DELETION: Duration = Duration::from_secs(20);

/// What an empty queue answers when it is asked for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It works, holds messages (then it has a leader), or does not exist.
    Serves,
    Nothing,
    InternalError,
}

/// Those that do not answer on this connection, which an internal error ends: each of them has to be asked again on one of its own.
pub(crate) async fn silent(connection: &Connection, queues: Vec<String>, patience: Duration) -> Vec<String> {
    let ask = async |queue: String| (ask(connection, &queue, patience).await, queue);
    let answers = join_all(queues.into_iter().map(ask)).await;
    answers.into_iter().filter(|(answer, _)| *answer != Answer::Serves).map(|(_, queue)| queue).collect()
}

/// Deletes those of these queues that really have no leader.
pub(crate) async fn delete(env: &Env, suspects: Vec<String>) -> anyhow::Result<()> {
    try_join_all(suspects.into_iter().map(|queue| delete_if_leaderless(env, queue))).await.map(drop)
}

async fn delete_if_leaderless(env: &Env, queue: String) -> anyhow::Result<()> {
    let is_lane =
        Kind::ALL.into_iter().any(|kind| Lane::ALL.into_iter().any(|lane| lane_queue(kind, lane) == queue));
    let patience = match queue.as_str() {
        REQUESTS_QUEUE | DEAD_QUEUE => BROKERS_PATIENCE,
        _ if is_lane => LANE_PATIENCE,
        _ => OUTCOMES_PATIENCE,
    };
    let (answer, took) = insist(env, &queue, patience).await?;
    let ended = answer == Answer::InternalError && took < AT_ONCE;
    match (answer, patience) {
        (Answer::Serves, _) => return Ok(()),
        (Answer::Nothing, BROKERS_PATIENCE) => bail!("the queue {queue} does not answer"),
        _ => {}
    }
    let connection = amqp::connect(&env.config.broker, "collector probe").await?;
    let removed = remove(&connection, &queue).await;
    amqp::close(&connection, env.config.broker.timeout()).await;
    removed?;
    tracing::warn!(queue, ended, "the broker kept no leader for a queue; it is deleted and declared anew");
    metrics::counter!("podfleet_queues_replaced_total").increment(1);
    Ok(())
}

/// Whether a queue that was declared just now works, or its leader ends again and again. Silence is an error: nothing is known then.
pub(crate) async fn works(env: &Env, queue: &str) -> anyhow::Result<bool> {
    match insist(env, queue, NEW).await?.0 {
        Answer::Serves => Ok(true),
        Answer::InternalError => Ok(false),
        Answer::Nothing => bail!("the new queue {queue} does not answer"),
    }
}

/// Whether the broker ended a call for its own fault, as it does when a queue that it declares cannot lead.
pub(crate) fn is_internal(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<lapin::Error>().and_then(amqp::reply_code) == Some(INTERNAL_ERROR))
}

pub(crate) async fn remove(connection: &Connection, queue: &str) -> anyhow::Result<()> {
    let channel = amqp::channel(connection, DELETION).await?;
    let deletion = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
    amqp::bounded(DELETION, "deleting a queue without a leader", deletion)
        .await
        .with_context(|| format!("the queue {queue}"))?;
    Ok(())
}

/// Asks until the queue serves or the time is over, which is short for a queue that answers with an error each time: the last answer,
/// and how long that took.
async fn insist(env: &Env, queue: &str, patience: Duration) -> anyhow::Result<(Answer, Duration)> {
    let broker = &env.config.broker;
    let longest = if patience == BROKERS_PATIENCE { patience } else { AT_ONCE };
    let began = Instant::now();
    loop {
        let connection = amqp::connect(broker, "collector probe").await?;
        let asked = Instant::now();
        let answer = ask(&connection, queue, longest).await;
        let took = asked.elapsed();
        amqp::close(&connection, broker.timeout()).await;
        let is_over = match answer {
            Answer::Serves => true,
            Answer::Nothing => began.elapsed() >= patience,
            Answer::InternalError => took > AT_ONCE || began.elapsed() >= patience.min(LANE_PATIENCE),
        };
        if is_over {
            return Ok((answer, took));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Asks an empty queue for a message: no message is touched, unless one comes in between, and goes back then.
async fn ask(connection: &Connection, queue: &str, patience: Duration) -> Answer {
    let asked = async {
        let channel = connection.create_channel().await?;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let found = channel.queue_declare(queue.into(), passive, FieldTable::default()).await?;
        if found.message_count() == 0
            && let Some(got) = channel.basic_get(queue.into(), BasicGetOptions::default()).await?
        {
            got.delivery.acker.nack(BasicNackOptions { requeue: true, ..Default::default() }).await?;
        }
        channel.close(200, "asked".into()).await
    };
    match tokio::time::timeout(patience, asked).await {
        Err(_) => Answer::Nothing,
        Ok(Ok(())) => Answer::Serves,
        Ok(Err(error)) => match amqp::reply_code(&error) {
            Some(INTERNAL_ERROR) => Answer::InternalError,
            // Missing, or locked by a single active consumer: a queue without a leader answers neither.
            Some(_) => Answer::Serves,
            None => Answer::Nothing,
        },
    }
}
