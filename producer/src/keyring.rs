//! The keys that open, and the limits of tenants, in memory: every request is judged without asking the database, and a flood of wrong keys costs it
//! nothing. They are read again often enough that a revoked key is refused within five seconds, in every producer.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::access;
use common::config::Limits;
use common::store::Store;
use common::store::keys::{self, Key};
use common::store::sessions::{self, Session};
use common::store::tenants::{self, OwnLimits};
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often the keys are read.
const READ: Duration = Duration::from_millis(1_500);
/// Keys that were read longer ago open nothing: one of them may have been revoked.
const STALE: Duration = Duration::from_secs(5);
/// Between two reads that unknown keys ask for.
const PAUSE: Duration = Duration::from_millis(250);
/// How long an unknown key waits for such a read.
const WAIT: Duration = Duration::from_secs(2);
/// How often it is written down that a key was used.
const TOUCH: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Keyring {
    keys: watch::Sender<Keys>,
    /// Somebody has shown a key that is not there: it may have been made a moment ago.
    asked: Notify,
    used: Mutex<HashSet<Uuid>>,
}

/// Comparing hashes takes the same time wherever they differ.
#[derive(Debug, Default)]
struct Keys {
    by_hash: HashMap<blake3::Hash, Arc<Key>>,
    /// Of tenants that have limits of their own.
    limits: HashMap<String, OwnLimits>,
    /// Whoever signed in to the dashboard.
    sessions: HashMap<blake3::Hash, Session>,
    /// When the read of these began.
    read: Option<Instant>,
}

/// Why a key does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// It has not the shape of a key.
    Malformed,
    /// Nobody made it, or it was revoked, or it has expired.
    Unknown,
    /// The database cannot be asked.
    Unreadable,
}

impl Keyring {
    /// The key that somebody shows.
    pub(crate) async fn open(&self, shown: &str) -> Result<Arc<Key>, Closed> {
        if !access::has_shape(shown) {
            return Err(Closed::Malformed);
        }
        let hash = access::hash(shown);
        self.look(|keys, time, now| keys.find(&hash, time, now)).await
    }

    /// The key that somebody has signed in with.
    pub(crate) async fn open_session(&self, cookie: &str) -> Result<Arc<Key>, Closed> {
        if !access::is_secret(cookie) {
            return Err(Closed::Malformed);
        }
        let hash = access::hash(cookie);
        self.look(|keys, time, now| keys.find_session(&hash, time, now)).await
    }

    /// A key or a session that is not here may have been made a moment ago.
    async fn look(
        &self,
        find: impl Fn(&Keys, Timestamp, Instant) -> Result<Arc<Key>, Closed>,
    ) -> Result<Arc<Key>, Closed> {
        let now = Instant::now();
        let mut found = find(&self.keys.borrow(), Timestamp::now(), now);
        if found.is_err() {
            self.asked.notify_one();
            let mut keys = self.keys.subscribe();
            let fresh = keys.wait_for(|keys| keys.read.is_some_and(|read| read >= now));
            if tokio::time::timeout(WAIT, fresh).await.is_ok() {
                found = find(&self.keys.borrow(), Timestamp::now(), Instant::now());
            }
        }
        let key = found?;
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(key.id);
        Ok(key)
    }

    /// A session that was ended here opens nothing here any more; other producers read it within five seconds.
    pub(crate) fn forget_session(&self, hash: &blake3::Hash) {
        self.keys.send_modify(|keys| {
            keys.sessions.remove(hash);
        });
    }

    /// Returns when the key does not open any more: what was begun with it has to end.
    pub(crate) async fn closed(&self, id: Uuid) {
        let mut keys = self.keys.subscribe();
        let gone = |keys: &Keys| keys.read.is_some() && !keys.by_hash.values().any(|key| key.id == id);
        // The sender lives as long as this.
        let _ = keys.wait_for(gone).await;
    }

    /// What a tenant may ask for.
    pub(crate) fn limits(&self, tenant: &str, configured: Limits) -> Limits {
        self.keys.borrow().limits.get(tenant).copied().unwrap_or_default().over(configured)
    }

    fn replace(
        &self,
        read: Instant,
        keys: Vec<Key>,
        sessions: Vec<Session>,
        limits: HashMap<String, OwnLimits>,
    ) {
        let by_hash = keys.into_iter().map(|key| (key.hash, Arc::new(key))).collect();
        let sessions = sessions.into_iter().map(|session| (session.hash, session)).collect();
        self.keys.send_replace(Keys { by_hash, sessions, limits, read: Some(read) });
    }

    fn take_used(&self) -> HashSet<Uuid> {
        std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Keys {
    fn find(&self, hash: &blake3::Hash, time: Timestamp, now: Instant) -> Result<Arc<Key>, Closed> {
        self.check_age(now)?;
        still_open(self.by_hash.get(hash), time)
    }

    fn find_session(&self, hash: &blake3::Hash, time: Timestamp, now: Instant) -> Result<Arc<Key>, Closed> {
        self.check_age(now)?;
        let session = self.sessions.get(hash).filter(|session| session.expires_at > time);
        let session = session.ok_or(Closed::Unknown)?;
        still_open(self.by_hash.values().find(|key| key.id == session.key), time)
    }

    fn check_age(&self, now: Instant) -> Result<(), Closed> {
        let stale = self.read.is_none_or(|read| now.saturating_duration_since(read) > STALE);
        if stale { Err(Closed::Unreadable) } else { Ok(()) }
    }
}

fn still_open(key: Option<&Arc<Key>>, time: Timestamp) -> Result<Arc<Key>, Closed> {
    let key = key.ok_or(Closed::Unknown)?;
    match key.expires_at {
        Some(end) if end <= time => Err(Closed::Unknown),
        _ => Ok(key.clone()),
    }
}

/// Reads the keys until shutdown, over a connection of its own: what is busy elsewhere must not shut everybody out.
pub(crate) async fn run(
    keyring: Arc<Keyring>,
    store: Store,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(READ);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut touched, mut failing) = (HashMap::new(), false);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = keyring.asked.notified() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        let read = read(&keyring, &store, &mut touched);
        let Some(result) = shutdown.run_until_cancelled(read).await else { return Ok(()) };
        if let (Err(error), false) = (&result, failing) {
            tracing::warn!(error = format!("{error:#}"), "keys cannot be read");
        }
        failing = result.is_err();
        shutdown.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

async fn read(keyring: &Keyring, store: &Store, touched: &mut HashMap<Uuid, Instant>) -> anyhow::Result<()> {
    let begun = Instant::now();
    let read = async |client: &mut deadpool_postgres::Object| {
        Ok((keys::valid(client).await?, sessions::valid(client).await?, tenants::limits(client).await?))
    };
    let (valid, signed_in, limits) = store.run(read).await?;
    keyring.replace(begun, valid, signed_in, limits);
    touched.retain(|_, at| begun.duration_since(*at) < TOUCH);
    let due: Vec<Uuid> = keyring.take_used().into_iter().filter(|id| !touched.contains_key(id)).collect();
    if !due.is_empty() {
        store.run(async |client| keys::touch(client, &due).await).await?;
        touched.extend(due.into_iter().map(|id| (id, begun)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use common::access::{FreshKey, Role};

    use super::*;

    fn key(fresh: &FreshKey, expires_at: Option<Timestamp>) -> Key {
        Key {
            id: Uuid::now_v7(),
            hash: fresh.hash,
            tenant: "acme".into(),
            principal: "app".into(),
            role: Role::Submit,
            expires_at,
            requests_per_minute: None,
        }
    }

    #[test]
    fn a_key_opens_until_it_expires_or_could_have_been_revoked() {
        let (fresh, other) = (FreshKey::make().unwrap(), FreshKey::make().unwrap());
        let (now, time) = (Instant::now(), Timestamp::from_second(1_000).unwrap());
        let keyring = Keyring::default();
        let find =
            |hash, time, now| keyring.keys.borrow().find(hash, time, now).map(|key| key.principal.clone());
        assert_eq!(find(&fresh.hash, time, now), Err(Closed::Unreadable), "nothing was read yet");
        keyring.replace(
            now,
            vec![key(&fresh, Some(Timestamp::from_second(2_000).unwrap()))],
            Vec::new(),
            HashMap::new(),
        );
        assert_eq!(find(&fresh.hash, time, now).as_deref(), Ok("app"));
        assert_eq!(find(&other.hash, time, now), Err(Closed::Unknown));
        assert_eq!(find(&fresh.hash, Timestamp::from_second(2_000).unwrap(), now), Err(Closed::Unknown));
        assert_eq!(find(&fresh.hash, time, now + STALE).as_deref(), Ok("app"));
        let late = now + STALE + Duration::from_millis(1);
        assert_eq!(find(&fresh.hash, time, late), Err(Closed::Unreadable));
        assert!(READ + PAUSE < STALE);
    }

    #[tokio::test]
    async fn an_unknown_key_waits_for_the_next_read() {
        let fresh = FreshKey::make().unwrap();
        let keyring = Arc::new(Keyring::default());
        keyring.replace(Instant::now(), Vec::new(), Vec::new(), HashMap::new());
        let opened_after = async |shown: &str, keys: Vec<Key>| {
            let (opening, shown) = (keyring.clone(), shown.to_owned());
            let opened = tokio::spawn(async move { opening.open(&shown).await.map(|key| key.id) });
            keyring.asked.notified().await;
            keyring.replace(Instant::now(), keys, Vec::new(), HashMap::new());
            opened.await.unwrap()
        };
        let made = key(&fresh, None);
        let id = made.id;
        assert_eq!(opened_after(&fresh.text, vec![made.clone()]).await, Ok(id), "it was made a moment ago");
        assert_eq!(keyring.take_used(), HashSet::from([id]));
        let unknown = FreshKey::make().unwrap().text;
        assert_eq!(opened_after(&unknown, vec![made]).await, Err(Closed::Unknown));
        assert_eq!(keyring.open("podfleet_x").await.map(|key| key.id), Err(Closed::Malformed));
    }

    #[tokio::test]
    async fn what_was_begun_ends_when_its_key_is_revoked() {
        let fresh = FreshKey::make().unwrap();
        let keyring = Arc::new(Keyring::default());
        let (kept, revoked) = (key(&fresh, None), key(&FreshKey::make().unwrap(), None));
        keyring.replace(Instant::now(), vec![kept.clone(), revoked.clone()], Vec::new(), HashMap::new());
        let ended = tokio::spawn({
            let keyring = keyring.clone();
            async move { keyring.closed(revoked.id).await }
        });
        keyring.replace(Instant::now(), vec![kept.clone()], Vec::new(), HashMap::new());
        ended.await.unwrap();
        let still = tokio::time::timeout(Duration::from_millis(20), keyring.closed(kept.id)).await;
        assert!(still.is_err());
    }
}
