//! Acceptance: one task takes whatever requests have arrived, from HTTP and AMQP alike, and commits them in one transaction.
//! While a commit is in flight the next batch gathers, so there is no timer: alone, a request is committed at once; under
//! load, hundreds share a commit.

mod batch;
mod limits;
mod rank;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use common::crash;
use common::publisher::Ledger;
use common::request::Accepted;
use common::store::{self, Store, fleet, tasks::repair};
use common::topology::Lane;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::link::Telling;
use crate::{Caller, Env};
use batch::{Prepared, Stored};
pub(crate) use limits::Limited;
use rank::VirtualClock;

/// Requests in one transaction.
const MAX_BATCH: usize = 256;
/// How often the lease is looked at while no requests come.
const TICK: Duration = Duration::from_millis(500);
/// The lease lasts six seconds; it is renewed well before.
const RENEW: Duration = Duration::from_secs(2);
/// One transaction, as seen from here. It takes milliseconds, and everybody behind it waits: what takes this long is given up, and
/// what became of it shows when the request is sent again under its key.
const TRANSACTION: Duration = Duration::from_secs(3);

/// A request on its way to the database.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) accepted: Accepted,
    pub(crate) caller: Caller,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) traceparent: Option<String>,
}

/// A request that is a podcast now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) podcast: Uuid,
    /// It was one before this request came.
    pub(crate) replayed: bool,
    /// Its first task waits for its turn, in this lane at this rank.
    pub(crate) waits: Option<(Lane, i64)>,
}

/// Why a request is not a podcast.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the idempotency key stands for another request, podcast {podcast}")]
    Conflict { podcast: Uuid },
    #[error("too many requests are waiting to be accepted")]
    Overloaded,
    /// So many podcasts wait, and nobody dispatches.
    #[error("too many podcasts are waiting to be begun")]
    Backlog,
    #[error("the database cannot be reached now")]
    Unavailable,
    /// Of the database or of the blobs.
    #[error("the disk of the {0} is full")]
    DiskFull(&'static str),
    /// Its tenant may not ask for that much.
    #[error("{}", .0.reason)]
    Limited(Box<Limited>),
    /// The database refuses this very request; asking again does not help.
    #[error("the request cannot be stored")]
    Unstorable,
}

type Answer = Result<Receipt, Refusal>;

/// Where requests are handed in.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    env: Arc<Env>,
    sender: mpsc::Sender<(Submission, oneshot::Sender<Answer>)>,
}

impl Intake {
    /// Refuses at once when too many wait.
    pub(crate) async fn try_submit(&self, submission: Submission) -> Answer {
        self.admit()?;
        let (reply, answer) = oneshot::channel();
        self.sender.try_send((submission, reply)).map_err(|_| Refusal::Overloaded)?;
        answer.await.unwrap_or(Err(Refusal::Unavailable))
    }

    /// Waits for its turn behind others that are being accepted. For what lies in the broker already, whose number there is bounded.
    pub(crate) async fn submit(&self, submission: Submission) -> Answer {
        self.admit()?;
        let (reply, answer) = oneshot::channel();
        self.sender.send((submission, reply)).await.map_err(|_| Refusal::Unavailable)?;
        answer.await.unwrap_or(Err(Refusal::Unavailable))
    }

    fn admit(&self) -> Result<(), Refusal> {
        if !self.env.readiness.is_ready() {
            return Err(Refusal::Unavailable);
        }
        let heard = self.env.link.hears_a_dispatcher(Instant::now());
        if self.env.waiting.admits(heard) { Ok(()) } else { Err(Refusal::Backlog) }
    }
}

/// The one task that accepts.
pub(crate) struct Acceptor {
    env: Arc<Env>,
    ledger: Arc<Ledger>,
    /// A connection of its own, so that readers cannot hold it up.
    store: Store,
    receiver: mpsc::Receiver<(Submission, oneshot::Sender<Answer>)>,
    clock: VirtualClock,
    lease: Lease,
}

/// What the database knows of us as a publisher.
struct Lease {
    renewed: Instant,
    /// Confirms up to here are recorded.
    confirmed: i64,
    /// The highest number that a row may bear.
    reserved: i64,
}

impl Acceptor {
    pub(crate) fn new(env: Arc<Env>, ledger: Arc<Ledger>) -> anyhow::Result<(Acceptor, Intake)> {
        let (sender, receiver) = mpsc::channel(env.config.producer.max_in_flight.max(1));
        let store = Store::new(&env.config.database, "producer accept", 1)?;
        let lease = Lease { renewed: Instant::now(), confirmed: 0, reserved: 0 };
        let intake = Intake { env: env.clone(), sender };
        Ok((Acceptor { env, ledger, store, receiver, clock: VirtualClock::default(), lease }, intake))
    }

    /// Until `stop`; then answers what has been handed in, and gives up the lease.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut waiting = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.receiver.is_closed() => self.receiver.close(),
                count = self.receiver.recv_many(&mut waiting, MAX_BATCH) => {
                    if count == 0 {
                        break;
                    }
                    self.accept(std::mem::take(&mut waiting)).await;
                }
                _ = tick.tick() => self.keep_lease().await,
            }
        }
        self.leave().await
    }

    /// Answers every one of them.
    async fn accept(&mut self, waiting: Vec<(Submission, oneshot::Sender<Answer>)>) {
        // Whoever has hung up was promised nothing.
        let waiting: Vec<_> = waiting.into_iter().filter(|(_, reply)| !reply.is_closed()).collect();
        if !self.env.readiness.is_ready() {
            reply_all(waiting, &Refusal::Unavailable);
            return;
        }
        let prepared = batch::prepare(&self.env, waiting).await;
        metrics::counter!("podfleet_accept_commits_total").increment(1);
        match self.store(&prepared).await {
            Ok(stored) => self.answer(prepared, stored),
            Err(error) if store::is_refused(&error) && prepared.len() > 1 => {
                self.accept_each_alone(prepared).await
            }
            Err(error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    requests = prepared.len(),
                    "requests could not be accepted"
                );
                if store::code(&error).is_none() {
                    // It did not answer. Whoever comes next need not wait to find that out.
                    self.env.readiness.set(false);
                }
                refuse_all(prepared, &batch::refusal(&error));
            }
        }
    }

    /// One of them cannot be stored; the others must not suffer for it.
    async fn accept_each_alone(&mut self, prepared: Vec<Prepared>) {
        let mut left = prepared.into_iter();
        while let Some(one) = left.next() {
            let one = vec![one];
            match self.store(&one).await {
                Ok(stored) => self.answer(one, stored),
                Err(error) if store::is_refused(&error) => {
                    tracing::error!(error = format!("{error:#}"), "a request cannot be stored");
                    refuse_all(one, &Refusal::Unstorable);
                }
                Err(error) => {
                    tracing::error!(error = format!("{error:#}"), "requests could not be accepted");
                    refuse_all(one.into_iter().chain(left), &batch::refusal(&error));
                    return;
                }
            }
        }
    }

    /// After an error nothing of the batch is known to be committed: its numbers count as failed, and the next checkpoint
    /// releases their rows, if there are any.
    async fn store(&mut self, prepared: &[Prepared]) -> anyhow::Result<Stored> {
        if prepared.is_empty() {
            return Ok(Stored::default());
        }
        let mut client = within(self.store.client()).await?;
        let mut reserved = Vec::new();
        let work = batch::transaction(
            &self.env,
            &self.ledger,
            &mut client,
            &mut self.clock,
            prepared,
            &mut reserved,
        );
        let result = within(work).await;
        self.lease.reserved = reserved.last().copied().unwrap_or(self.lease.reserved);
        match &result {
            Ok(stored) => self.recorded(&stored.checkpoint),
            Err(_) => {
                self.store.discard(client);
                self.ledger.fail(&reserved);
                for one in prepared {
                    self.clock.forget(&one.caller.tenant);
                }
            }
        }
        result
    }

    fn recorded(&mut self, checkpoint: &common::publisher::Checkpoint) {
        self.ledger.recorded(checkpoint);
        self.lease.renewed = Instant::now();
        self.lease.confirmed = checkpoint.confirmed;
    }

    /// Replies first: what is committed is accepted, whether the broker is there or not.
    fn answer(&self, prepared: Vec<Prepared>, stored: Stored) {
        crash::point("producer.after_commit_before_reply");
        for (one, answer) in prepared.into_iter().zip(stored.answers) {
            one.reply.send(answer).ok();
        }
        self.env.link.tell(Telling { tickets: stored.outgoing, hints: stored.hints });
    }

    /// While rows may refer to numbers that are not recorded as confirmed, the lease must not end.
    async fn keep_lease(&mut self) {
        let owes = self.lease.confirmed < self.lease.reserved;
        let news = self.ledger.has_news_since(self.lease.confirmed);
        if !(news || owes && self.lease.renewed.elapsed() > RENEW) {
            return;
        }
        if let Err(error) = self.checkpoint(false).await {
            tracing::warn!(error = format!("{error:#}"), "the lease of this publisher could not be renewed");
        }
    }

    async fn checkpoint(&mut self, leaving: bool) -> anyhow::Result<()> {
        let checkpoint = self.ledger.checkpoint();
        let id = self.ledger.id;
        let mut client = within(self.store.client()).await?;
        let result = within(async {
            let tx = client.transaction().await?;
            if !checkpoint.failed.is_empty() {
                repair::unpublished(&tx, id, &checkpoint.failed).await?;
            }
            fleet::checkpoint(&tx, id, "producer", &checkpoint).await?;
            if leaving {
                fleet::end_lease(&tx, id).await?;
            }
            tx.commit().await?;
            Ok(())
        })
        .await;
        match result {
            Ok(()) => self.recorded(&checkpoint),
            Err(_) => self.store.discard(client),
        }
        result
    }

    /// Leaves in order: what was published is confirmed or recorded as not, and the lease is given up.
    async fn leave(mut self) -> anyhow::Result<()> {
        if self.lease.reserved > 0
            && let Err(error) = self.checkpoint(true).await
        {
            tracing::warn!(
                error = format!("{error:#}"),
                "the lease of this publisher could not be given up; it ends by itself"
            );
        }
        Ok(())
    }
}

fn reply_all(waiting: Vec<(Submission, oneshot::Sender<Answer>)>, refusal: &Refusal) {
    for (_, reply) in waiting {
        reply.send(Err(refusal.clone())).ok();
    }
}

fn refuse_all(prepared: impl IntoIterator<Item = Prepared>, refusal: &Refusal) {
    for one in prepared {
        one.reply.send(Err(refusal.clone())).ok();
    }
}

async fn within<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(TRANSACTION, work)
        .await
        .context("PostgreSQL did not finish a transaction in time")?
}
