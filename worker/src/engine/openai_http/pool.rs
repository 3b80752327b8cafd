//! Several servers with the same models: the one with the fewest calls in flight is asked, and one that failed rests a while.
//! None is asked more at a time than it was found to take.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::adaptive::{Limit, Seen};

/// How long a server rests after its first failure; doubled with each further one, up to [`LONGEST_REST`].
const REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// A format that failed with a 5xx this many times in a row, where a weaker one worked or an answer had begun, is taken for refused,
const SUSPICIONS: u32 = 2;
/// for so long: it may have been a fault that passes.
pub(crate) const PASSING: Duration = Duration::from_secs(600);
/// Whoever waits for a place looks at least this often: a server's rest may be over, too.
const LOOK: Duration = Duration::from_millis(250);

/// What a server was found not to understand. It is asked without from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quirks {
    pub(crate) format: Format,
    /// It calls the limit `max_completion_tokens`.
    pub(crate) completion_tokens: bool,
    /// It knows no `stream_options`.
    pub(crate) no_stream_options: bool,
    /// It refuses a temperature.
    pub(crate) no_temperature: bool,
}

/// The strongest promise about the form of an answer that a server gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Format {
    #[default]
    JsonSchema,
    JsonObject,
    /// None: the prompt alone asks for it.
    Prompt,
}

impl Format {
    pub(crate) fn weaker(self) -> Option<Format> {
        match self {
            Format::JsonSchema => Some(Format::JsonObject),
            Format::JsonObject => Some(Format::Prompt),
            Format::Prompt => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Pool {
    /// Of the engine, for metrics.
    name: String,
    servers: Mutex<Vec<Server>>,
    /// A call has ended, or a server was found to take more.
    freed: Notify,
}

#[derive(Clone, Debug)]
struct Server {
    base: String,
    in_flight: usize,
    limit: Limit,
    failures: u32,
    rests_until: Option<Instant>,
    /// When it was last chosen, in calls: ties go to the one that waited longest.
    chosen: u64,
    quirks: Quirks,
    /// Until when a weaker format than asked for stands; forever after a refusal that named a fault in the request.
    format_until: Option<Instant>,
    /// How often in a row a fault of its own may have been a refusal of the format.
    suspicions: u32,
}

/// One call to a server; counts as in flight until it is dropped.
#[derive(Debug)]
pub(crate) struct Lease<'a> {
    pool: &'a Pool,
    place: usize,
    pub(crate) base: String,
    began: Instant,
    /// Calls in flight when this one began, itself included.
    in_flight: usize,
}

impl Pool {
    /// `most`: calls to one server at a time, before anything is known of it.
    pub(crate) fn new(name: &str, bases: Vec<String>, most: usize) -> Pool {
        let server = |base| Server {
            base,
            in_flight: 0,
            limit: Limit::new(most),
            failures: 0,
            rests_until: None,
            chosen: 0,
            quirks: Quirks::default(),
            format_until: None,
            suspicions: 0,
        };
        Pool {
            name: name.to_owned(),
            servers: Mutex::new(bases.into_iter().map(server).collect()),
            freed: Notify::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.servers().len()
    }

    fn servers(&self) -> std::sync::MutexGuard<'_, Vec<Server>> {
        // Every change is complete before the lock is let go.
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server to ask, as soon as one has a place; none if that takes longer than `most`, or there is no server.
    pub(crate) async fn place(&self, named: Option<&str>, most: Duration) -> Option<Lease<'_>> {
        let taken = async {
            loop {
                if let Some(lease) = self.choose_free(named, Instant::now()) {
                    return lease;
                }
                let _ = tokio::time::timeout(LOOK, self.freed.notified()).await;
            }
        };
        tokio::time::timeout(most, taken).await.ok()
    }

    /// The server to ask now, whatever it takes: `named`, or the freest. One that rests is asked only if all do: then the one
    /// that wakes first.
    pub(crate) fn choose(&self, named: Option<&str>, now: Instant) -> Option<Lease<'_>> {
        self.choose_among(named, now, |_| true)
    }

    /// The same, among those that have a place.
    fn choose_free(&self, named: Option<&str>, now: Instant) -> Option<Lease<'_>> {
        self.choose_among(named, now, |server| server.in_flight < server.limit.calls())
    }

    fn choose_among(
        &self,
        named: Option<&str>,
        now: Instant,
        may: impl Fn(&Server) -> bool,
    ) -> Option<Lease<'_>> {
        let mut servers = self.servers();
        let turn = servers.iter().map(|server| server.chosen).max().unwrap_or(0) + 1;
        let rest = |server: &Server| server.rests_until.filter(|until| *until > now);
        // Whether one that rests is asked does not depend on who has a place: one that works will have one soon.
        let all_rest = servers.iter().all(|server| rest(server).is_some());
        let is_named = |server: &Server| named == Some(server.base.as_str());
        let place = (0..servers.len())
            .filter(|place| {
                let server = &servers[*place];
                may(server) && (all_rest || rest(server).is_none() || is_named(server))
            })
            .min_by_key(|place| {
                let server = &servers[*place];
                (named.is_some() && !is_named(server), rest(server), server.in_flight, server.chosen)
            })?;
        let server = servers.get_mut(place)?;
        server.in_flight += 1;
        server.chosen = turn;
        let (base, in_flight) = (server.base.clone(), server.in_flight);
        Some(Lease { pool: self, place, base, began: now, in_flight })
    }
}

impl Lease<'_> {
    fn with<T>(&self, change: impl FnOnce(&mut Server) -> T) -> Option<T> {
        self.pool.servers().get_mut(self.place).map(change)
    }

    /// It began to answer, or refused the call because it has too many.
    pub(crate) fn seen(&self, refused: bool, now: Instant) {
        let seen = Seen { began: self.began, now, in_flight: self.in_flight, refused };
        let calls = self.with(|server| {
            server.limit.see(seen);
            server.limit.calls()
        });
        self.pool.freed.notify_one();
        #[allow(clippy::cast_precision_loss)]
        metrics::gauge!("podfleet_engine_limit", "engine" => self.pool.name.clone(), "server" => self.place.to_string())
            .set(calls.unwrap_or_default() as f64);
    }

    /// It answered as a server does that works.
    pub(crate) fn worked(&self) {
        self.with(|server| (server.failures, server.rests_until) = (0, None));
    }

    /// It did not answer, or said that it cannot at the moment.
    pub(crate) fn failed(&self, now: Instant) {
        self.with(|server| {
            let rest = REST * 2u32.saturating_pow(server.failures.min(10));
            server.failures = server.failures.saturating_add(1);
            server.rests_until = now.checked_add(rest.min(LONGEST_REST));
        });
    }

    pub(crate) fn quirks(&self, now: Instant) -> Quirks {
        let quirks = self.with(|server| {
            if server.format_until.is_some_and(|until| until <= now) {
                server.format_until = None;
                server.quirks.format = Format::default();
            }
            server.quirks
        });
        quirks.unwrap_or_default()
    }

    /// This form of asking worked where a stronger one was refused. `until`: as long as that may have been a passing fault.
    pub(crate) fn remember(&self, quirks: Quirks, until: Option<Instant>) {
        self.with(|server| {
            if quirks.format != server.quirks.format {
                server.format_until = until;
            }
            server.quirks = quirks;
        });
    }

    /// This form may be the one to ask in: a stronger one met a fault of the server. It becomes that if this goes on.
    pub(crate) fn suspect(&self, quirks: Quirks, now: Instant) {
        self.with(|server| {
            server.suspicions += 1;
            if server.suspicions >= SUSPICIONS {
                server.suspicions = 0;
                server.format_until = now.checked_add(PASSING);
                server.quirks = quirks;
            }
        });
    }

    /// It answered in the form that it is asked in first: no fault before was about that.
    pub(crate) fn understood(&self, format: Format) {
        self.with(|server| {
            if server.quirks.format == format {
                server.suspicions = 0;
            }
        });
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.with(|server| server.in_flight = server.in_flight.saturating_sub(1));
        self.pool.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Pool {
        Pool::new("e", vec!["a".into(), "b".into(), "c".into()], 4)
    }

    #[test]
    fn the_server_with_the_fewest_calls_is_asked() {
        let (pool, now) = (pool(), Instant::now());
        let (first, second) = (pool.choose(None, now).unwrap(), pool.choose(None, now).unwrap());
        let third = pool.choose(None, now).unwrap();
        assert_eq!([&first.base, &second.base, &third.base], ["a", "b", "c"]);
        drop(second);
        assert_eq!(pool.choose(None, now).unwrap().base, "b");
        drop((first, third));
        assert_eq!(pool.choose(Some("c"), now).unwrap().base, "c");
        // All idle: the one that waited longest.
        assert_eq!(pool.choose(None, now).unwrap().base, "a");
    }

    #[test]
    fn a_server_that_failed_rests_longer_each_time_and_is_not_given_up() {
        let (pool, now) = (Pool::new("e", vec!["a".into(), "b".into()], 4), Instant::now());
        pool.choose(None, now).unwrap().failed(now);
        for _ in 0..3 {
            assert_eq!(pool.choose(None, now).unwrap().base, "b");
        }
        let later = now + REST + Duration::from_millis(1);
        let again = pool.choose(None, later).unwrap();
        assert_eq!(again.base, "a");
        again.failed(later);
        drop(again);
        assert_eq!(pool.choose(None, later + REST).unwrap().base, "b");
        pool.choose(None, later).unwrap().failed(later);
        // Both rest: the one that wakes first.
        assert_eq!(pool.choose(None, later).unwrap().base, "b");
    }

    #[test]
    fn a_weaker_format_is_remembered_for_its_time() {
        let (pool, now) = (Pool::new("e", vec!["a".into()], 4), Instant::now());
        let lease = pool.choose(None, now).unwrap();
        let weaker = Quirks { format: Format::JsonObject, no_temperature: true, ..Quirks::default() };
        lease.suspect(weaker, now);
        assert_eq!(lease.quirks(now), Quirks::default(), "once may have been a passing fault");
        lease.suspect(weaker, now);
        assert_eq!(lease.quirks(now), weaker);
        assert_eq!(lease.quirks(now + PASSING), Quirks { format: Format::JsonSchema, ..weaker });
        lease.remember(weaker, None);
        assert_eq!(lease.quirks(now + PASSING * 100), weaker);
    }

    #[test]
    fn an_answer_in_the_stronger_format_ends_the_suspicion() {
        let (pool, now) = (Pool::new("e", vec!["a".into()], 4), Instant::now());
        let lease = pool.choose(None, now).unwrap();
        let weaker = Quirks { format: Format::JsonObject, ..Quirks::default() };
        for _ in 0..5 {
            lease.suspect(weaker, now);
            lease.understood(Format::JsonObject);
            lease.understood(Format::JsonSchema);
        }
        assert_eq!(lease.quirks(now), Quirks::default());
    }

    #[tokio::test]
    async fn a_server_that_refused_is_asked_no_more_than_it_takes() {
        let (pool, now) = (Pool::new("e", vec!["a".into()], 3), Instant::now());
        let most = Duration::from_millis(300);
        let leases: Vec<Lease<'_>> = (0..3).map(|_| pool.choose_free(None, now).unwrap()).collect();
        assert!(pool.place(None, most).await.is_none(), "three are in flight");
        leases[2].seen(true, now + REST);
        drop(leases);
        let two: Vec<Lease<'_>> = std::iter::from_fn(|| pool.choose_free(None, now)).collect();
        assert_eq!(two.len(), 2);
        let (waiting, ()) = tokio::join!(pool.place(None, most), async { drop(two) });
        assert!(waiting.is_some(), "whoever waits is told of a place");
    }
}
