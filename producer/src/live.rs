//! Watchers of podcasts. The events exchange is a wake-up call; what is told is always read from the database past what each
//! watcher has seen, for all watched podcasts in one query. Without the broker that happens once a second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::store::events::{self, Event};
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Env;

/// How often everything that is watched is read without a hint.
const POLL: Duration = Duration::from_secs(1);
/// Events read in one query.
const MAX_EVENTS: i64 = 1_000;
/// Events that wait for one watcher. Beyond, it is read for again when it has caught up.
const BUFFER: usize = 64;
/// A watcher that takes nothing for this long is let go; it can come back and resume.
const PATIENCE: Duration = Duration::from_secs(20);
/// Watchers of one process.
const MAX_WATCHERS: usize = 4_096;

/// An event for one watcher.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) event: Arc<Event>,
    /// Nothing follows: the podcast has ended.
    pub(crate) last: bool,
}

/// A watcher's end. When it yields `None` without a last notice, the watcher was too slow or the process is leaving.
#[derive(Debug)]
pub(crate) struct Watch {
    receiver: mpsc::Receiver<Notice>,
}

impl Watch {
    pub(crate) async fn next(&mut self) -> Option<Notice> {
        self.receiver.recv().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        metrics::gauge!("podfleet_watchers").decrement(1.0);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Hub {
    watched: Mutex<Watched>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Watched {
    podcasts: BTreeMap<Uuid, Vec<Watcher>>,
    /// Watched podcasts that have news, or a new watcher.
    hinted: BTreeSet<Uuid>,
    closed: bool,
}

#[derive(Debug)]
struct Watcher {
    sender: mpsc::Sender<Notice>,
    /// The last event it was given.
    seq: i64,
    /// The last event there was when it began to watch: an end before that was undone by a replay.
    newest: i64,
    /// Takes part in the read under way.
    reading: bool,
    full_since: Option<Instant>,
}

impl Hub {
    fn watched(&self) -> MutexGuard<'_, Watched> {
        // A panic in between leaves at worst a watcher that is read for again.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a podcast from after `seq`; `newest` is the number of its last event. `None`: too many watch already.
    pub(crate) fn watch(&self, podcast: Uuid, seq: i64, newest: i64) -> Option<Watch> {
        let (sender, receiver) = mpsc::channel(BUFFER);
        let mut watched = self.watched();
        if watched.podcasts.values().map(Vec::len).sum::<usize>() >= MAX_WATCHERS {
            return None;
        }
        if !watched.closed {
            let watcher = Watcher { sender, seq, newest, reading: false, full_since: None };
            watched.podcasts.entry(podcast).or_default().push(watcher);
            watched.hinted.insert(podcast);
            self.wake.notify_one();
        }
        metrics::gauge!("podfleet_watchers").increment(1.0);
        Some(Watch { receiver })
    }

    /// A podcast has news.
    pub(crate) fn hint(&self, podcast: Uuid) {
        let mut watched = self.watched();
        if watched.podcasts.contains_key(&podcast) {
            watched.hinted.insert(podcast);
            self.wake.notify_one();
        }
    }

    /// Ends all watches.
    fn close(&self) {
        let mut watched = self.watched();
        watched.closed = true;
        watched.podcasts.clear();
    }

    /// The podcasts to read and from where: all, or only those with news.
    fn begin(&self, all: bool, now: Instant) -> (Vec<Uuid>, Vec<i64>) {
        let mut watched = self.watched();
        let Watched { podcasts, hinted, .. } = &mut *watched;
        let hinted = std::mem::take(hinted);
        podcasts.retain(|_, watchers| {
            watchers.retain(|watcher| watcher.is_alive(now));
            !watchers.is_empty()
        });
        podcasts
            .iter_mut()
            .filter(|(podcast, _)| all || hinted.contains(podcast))
            .filter_map(|(podcast, watchers)| {
                for watcher in watchers.iter_mut() {
                    watcher.reading = watcher.sender.capacity() > 0;
                }
                let seq =
                    watchers.iter().filter(|watcher| watcher.reading).map(|watcher| watcher.seq).min()?;
                Some((*podcast, seq))
            })
            .unzip()
    }

    /// Hands each watcher what it has not seen.
    fn deliver(&self, events: Vec<Event>, now: Instant) {
        let mut watched = self.watched();
        for event in events.into_iter().map(Arc::new) {
            let Some(watchers) = watched.podcasts.get_mut(&event.podcast) else { continue };
            watchers.retain_mut(|watcher| watcher.offer(&event, now));
        }
    }
}

impl Watcher {
    fn is_alive(&self, now: Instant) -> bool {
        let patient = self.full_since.is_none_or(|since| now.duration_since(since) < PATIENCE);
        patient && !self.sender.is_closed()
    }

    /// Whether it stays. One that is full is not given later events either, so it misses none.
    fn offer(&mut self, event: &Arc<Event>, now: Instant) -> bool {
        if !self.reading || event.seq <= self.seq {
            return true;
        }
        let last = is_final(&event.event) && event.seq >= self.newest;
        match self.sender.try_send(Notice { event: event.clone(), last }) {
            Ok(()) => {
                self.seq = event.seq;
                self.full_since = None;
                !last
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.reading = false;
                self.full_since.get_or_insert(now);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

fn is_final(event: &str) -> bool {
    matches!(event, "completed" | "failed" | "cancelled")
}

/// Reads for the watchers until shutdown. Asks nothing of the database while nobody watches.
pub(crate) async fn run(env: Arc<Env>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        let all = tokio::select! {
            () = shutdown.cancelled() => break,
            _ = poll.tick() => true,
            () = env.hub.wake.notified() => false,
        };
        let result = read(&env, all).await;
        if let (Err(error), false) = (&result, failing) {
            tracing::warn!(error = format!("{error:#}"), "events cannot be read; watchers wait");
        }
        failing = result.is_err();
    }
    env.hub.close();
    Ok(())
}

async fn read(env: &Env, all: bool) -> anyhow::Result<()> {
    let mut all = all;
    loop {
        let (podcasts, seqs) = env.hub.begin(all, Instant::now());
        if podcasts.is_empty() {
            return Ok(());
        }
        let found =
            env.store.run(async |client| events::after(client, &podcasts, &seqs, MAX_EVENTS).await).await?;
        let more = i64::try_from(found.len()).is_ok_and(|count| count >= MAX_EVENTS);
        env.hub.deliver(found, Instant::now());
        if !more {
            return Ok(());
        }
        all = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(podcast: Uuid, seq: i64, name: &str) -> Event {
        Event {
            podcast,
            seq,
            at: jiff::Timestamp::UNIX_EPOCH,
            event: name.into(),
            data: serde_json::Value::Null,
        }
    }

    fn taken(watch: &mut Watch) -> Vec<(i64, bool)> {
        std::iter::from_fn(|| watch.receiver.try_recv().ok())
            .map(|notice| (notice.event.seq, notice.last))
            .collect()
    }

    #[test]
    fn each_watcher_gets_what_it_has_not_seen_and_the_end_is_the_last() {
        let (hub, podcast, now) = (Hub::default(), Uuid::nil(), Instant::now());
        let mut early = hub.watch(podcast, 0, 2).unwrap();
        let mut late = hub.watch(podcast, 2, 2).unwrap();
        assert_eq!(hub.begin(false, now), (vec![podcast], vec![0]));
        hub.deliver(vec![event(podcast, 1, "accepted"), event(podcast, 2, "progress")], now);
        assert_eq!(taken(&mut early), [(1, false), (2, false)]);
        assert_eq!(taken(&mut late), []);
        assert_eq!(hub.begin(false, now), (vec![], vec![]), "no news, no query");
        hub.hint(podcast);
        assert_eq!(hub.begin(false, now), (vec![podcast], vec![2]));
        hub.deliver(vec![event(podcast, 3, "completed")], now);
        assert_eq!(taken(&mut early), [(3, true)]);
        assert_eq!(taken(&mut late), [(3, true)]);
        assert_eq!(hub.begin(true, now), (vec![], vec![]), "nobody watches any more");
    }

    #[test]
    fn an_end_that_was_undone_is_not_the_last() {
        let (hub, podcast, now) = (Hub::default(), Uuid::nil(), Instant::now());
        let mut watch = hub.watch(podcast, 0, 3).unwrap();
        hub.begin(true, now);
        hub.deliver(
            (1..=3).map(|seq| event(podcast, seq, if seq == 2 { "failed" } else { "progress" })).collect(),
            now,
        );
        assert_eq!(taken(&mut watch), [(1, false), (2, false), (3, false)]);
    }

    #[test]
    fn a_slow_watcher_misses_nothing_and_is_let_go_after_a_while() {
        let (hub, podcast, now) = (Hub::default(), Uuid::nil(), Instant::now());
        let mut watch = hub.watch(podcast, 0, 1).unwrap();
        hub.begin(true, now);
        let many = i64::try_from(BUFFER).unwrap() + 10;
        hub.deliver((1..=many).map(|seq| event(podcast, seq, "progress")).collect(), now);
        assert_eq!(hub.begin(true, now), (vec![], vec![]), "there is no room to read for");
        assert_eq!(taken(&mut watch).len(), BUFFER);
        let next = many - 10;
        assert_eq!(hub.begin(true, now), (vec![podcast], vec![next]));
        hub.begin(true, now + PATIENCE);
        assert!(hub.watched().podcasts.is_empty());
    }
}
