//! Queues that the broker lists but cannot serve: consumers and publishers hang on them or are refused. Such a queue is deleted
//! before a session begins; the session finds it missing, declares it anew, and releases what was on its way in it.
//!
//! Two ways lead there, both seen on RabbitMQ 3.10.8. A quorum queue that is killed within about three seconds of its declaration has
//! lost what it held, and stays silent for ever. And a queue that is deleted in the milliseconds in which it elects its leader, as by
//! someone who waits for a broker to start, takes the supervisor of all dead-letter processes along
//! (<https://github.com/rabbitmq/rabbitmq-server/issues/16652>): from then on every new leader that needs one ends at once, until the
//! broker is restarted. Queues are therefore declared without such a process once that has been seen.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;
use common::amqp;
use common::store::fleet;
use common::topology::{self, DEAD_QUEUE, Lane, REQUESTS_QUEUE, lane_queue, outcomes_queue_name};
use common::work::Kind;
use deadpool_postgres::Object;
use futures_util::future::{join_all, try_join_all};
use lapin::options::{BasicGetOptions, BasicNackOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::Connection;

use crate::Env;

/// The reply code of AMQP 0-9-1 with which the broker ends a connection for its own fault.
const INTERNAL_ERROR: u16 = 541;
/// The broker itself gives up a queue without a leader after 65 s (measured on 3.10.8), with the error 541. Silence is enough for
/// queues whose messages can be made again; the others are deleted only on the broker's own word.
const BROKERS_PATIENCE: Duration = Duration::from_secs(75);
/// A queue that is only being made has no leader either: for milliseconds, longer where many begin at once. It must not be deleted:
/// that is how a broker comes to lose leaders.
const BEING_MADE: Duration = Duration::from_secs(6);
/// It is asked for so long at a time, meanwhile, and after such a pause.
const PATIENCE: Duration = Duration::from_secs(2);
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

/// Deletes every queue of ours that has no leader.
pub(crate) async fn delete(env: &Env, connection: &Connection) -> anyhow::Result<()> {
    let broker = &env.config.broker;
    let until = Instant::now() + BEING_MADE;
    let ask = async |queue: String| (ask(connection, &queue, broker.timeout()).await, queue);
    let answers = join_all(queues(env.config.collector.partitions).into_iter().map(ask)).await;
    let suspects: Vec<String> =
        answers.into_iter().filter(|(answer, _)| *answer != Answer::Serves).map(|(_, queue)| queue).collect();
    if !suspects.is_empty() {
        // A second one at the same time would delete what the first has made anew.
        let client = env.store.client().await?;
        let replaced = async {
            anyhow::ensure!(fleet::begin_replacing(&client).await?, "another collector replaces lost queues");
            // An internal error ends the connection, and all that was asked on it: each suspect is asked again on one of its own.
            try_join_all(suspects.into_iter().map(|queue| delete_if_leaderless(env, queue, until)))
                .await?;
            fleet::end_replacing(&client).await
        }
        .await;
        if replaced.is_err() {
            // The lock ends with its connection.
            drop(Object::take(client));
        }
        replaced?;
    }
    anyhow::ensure!(connection.status().connected(), "a queue without a leader ended the connection");
    Ok(())
}

fn queues(partitions: u16) -> Vec<String> {
    let lanes = Kind::ALL.into_iter().flat_map(|kind| Lane::ALL.map(|lane| lane_queue(kind, lane)));
    let outcomes = (0..partitions).map(|partition| outcomes_queue_name(partition, partitions));
    lanes.chain(outcomes).chain([REQUESTS_QUEUE.to_owned(), DEAD_QUEUE.to_owned()]).collect()
}

async fn delete_if_leaderless(env: &Env, queue: String, until: Instant) -> anyhow::Result<()> {
    let broker = &env.config.broker;
    let irreplaceable = queue == REQUESTS_QUEUE || queue == DEAD_QUEUE;
    let patience = if irreplaceable { BROKERS_PATIENCE } else { PATIENCE };
    let ended = loop {
        let connection = amqp::connect(broker, "collector probe").await?;
        let asked = Instant::now();
        let answer = ask(&connection, &queue, patience).await;
        amqp::close(&connection, broker.timeout()).await;
        match answer {
            Answer::Serves => return Ok(()),
            Answer::Nothing if irreplaceable => anyhow::bail!("the queue {queue} does not answer"),
            Answer::Nothing | Answer::InternalError if Instant::now() >= until => {
                break answer == Answer::InternalError && asked.elapsed() < PATIENCE;
            }
            Answer::Nothing | Answer::InternalError => tokio::time::sleep(AGAIN).await,
        }
    };
    if ended {
        env.loses_leaders.store(true, Ordering::Relaxed);
    }
    let connection = amqp::connect(broker, "collector probe").await?;
    let channel = amqp::channel(&connection, broker.timeout()).await?;
    let deletion = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default());
    amqp::bounded(DELETION, "deleting a queue without a leader", deletion)
        .await
        .with_context(|| format!("the queue {queue}"))?;
    // Before a worker or a producer declares it the usual way.
    if ended {
        topology::declare_shared(&connection, &env.config, env.dead_letters()).await?;
    }
    amqp::close(&connection, broker.timeout()).await;
    tracing::warn!(queue, ended, "the broker kept no leader for a queue; it is deleted and declared anew");
    metrics::counter!("podfleet_queues_replaced_total").increment(1);
    Ok(())
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
