//! An engine as the fleet knows it: whether it is asked at all. The state of its [breaker](super::breaker) lies in Redis, where
//! every worker reads it before a call and changes it after one; while Redis does not answer, each worker goes on with what
//! it knew last.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::cache::Cache;
use common::class::Class;
use common::config::{Engine, EngineType};
use common::wire::Ticket;
use jiff::Timestamp;

use super::breaker::{Answer, Breaker, Ended, Open, Pass, Rules};
use crate::failure::Failure;

/// Compares and sets the state: nobody's change is lost, and what follows from a state is decided in one place, here. With an
/// empty second argument it reads. Gives Redis's time, whether it was set, and the state otherwise.
const EXCHANGE: &str = "
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local state = redis.call('GET', KEYS[1]) or ''
    if ARGV[2] ~= '' and state == ARGV[1] then
        redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
        return {now, 1, ''}
    end
    return {now, 0, state}";

/// What nobody asked for so long is forgotten.
const KEPT_MS: &str = "3600000";
/// When so many others were faster, the state is left to them. What they do not know of is taken for a probe that was superseded:
/// its failure says nothing, its success closes the breaker.
const TRIES: usize = 5;
/// The longest lease of a probe: its worker may be dead.
const LONGEST_PROBE: Duration = Duration::from_secs(60);

pub(crate) struct Health {
    name: String,
    /// None: the engine is a program on this machine, which says nothing of others.
    shared: Option<(Cache, String)>,
    local: Mutex<Breaker>,
    rules: Rules,
}

/// A task that may ask, until it tells how that went.
pub(crate) struct Admission {
    pass: Pass,
    task: u64,
}

impl Health {
    pub(crate) fn new(name: &str, settings: &Engine, longest_asked: Duration, cache: &Cache) -> Health {
        let shared = matches!(settings.r#type, EngineType::OpenAi)
            .then(|| (cache.clone(), format!("podfleet:engine:{}:breaker", account(name, settings))));
        let rules =
            Rules { settings: settings.breaker, probe: settings.timeout().min(LONGEST_PROBE), longest_asked };
        Health { name: name.to_owned(), shared, local: Mutex::default(), rules }
    }

    /// Lets the task through, or tells when to come again.
    pub(crate) async fn admit(&self, ticket: &Ticket) -> Result<Admission, Failure> {
        let task = hash(ticket);
        if self.rules.settings.failures == 0 {
            return Ok(Admission { pass: Pass::Closed, task });
        }
        let left = ticket.deadline.duration_since(Timestamp::now());
        let left = Duration::try_from(left).unwrap_or_default();
        let (answer, state) = self.change(|breaker, now_ms| breaker.ask(&self.rules, left, now_ms)).await;
        match answer {
            Answer::Ask(pass) => Ok(Admission { pass, task }),
            Answer::Wait(wait) => {
                metrics::counter!("podfleet_engine_parked_total", "engine" => self.name.clone()).increment(1);
                Err(self.parked(state.open.as_ref(), wait))
            }
        }
    }

    /// How the call went.
    pub(crate) async fn settle<T>(&self, admission: Admission, result: &Result<T, Failure>) {
        if self.rules.settings.failures == 0 {
            return;
        }
        let ended = result.as_ref().map_or_else(said, |_| Ended::Well);
        let Admission { pass, task } = admission;
        self.change(|breaker, now_ms| ((), breaker.told(&self.rules, task, pass, &ended, now_ms))).await;
    }

    fn parked(&self, open: Option<&Open>, wait: Duration) -> Failure {
        let since = open.map_or(Timestamp::UNIX_EPOCH, |open| time(open.since_ms));
        let cause = open.map_or("", |open| open.cause.as_str());
        let message = format!("engine {} has been left alone since {since:.0}: {cause}", self.name);
        Failure::parked(message, wait)
    }

    /// Decides by the fleet's state, or by this worker's; gives the state that is in force then.
    async fn change<T>(&self, decide: impl Fn(&Breaker, i64) -> (T, Option<Breaker>)) -> (T, Breaker) {
        if let Some((cache, key)) = &self.shared
            && let Some(decided) = self.exchange(cache, key, &decide).await
        {
            return decided;
        }
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, next) = decide(&local, Timestamp::now().as_millisecond());
        if let Some(next) = next {
            self.observe(&local, &next);
            *local = next;
        }
        (answer, local.clone())
    }

    async fn exchange<T>(
        &self,
        cache: &Cache,
        key: &str,
        decide: &impl Fn(&Breaker, i64) -> (T, Option<Breaker>),
    ) -> Option<(T, Breaker)> {
        let (mut now_ms, _, mut seen): (i64, i64, String) =
            cache.run(EXCHANGE, &[key], &["", "", KEPT_MS]).await?;
        for tried in 1.. {
            // What another version wrote, and cannot be read, is written anew.
            let state: Breaker = serde_json::from_str(&seen).unwrap_or_default();
            let (answer, next) = decide(&state, now_ms);
            let Some(next) = next.filter(|_| tried <= TRIES) else {
                *self.local.lock().unwrap_or_else(PoisonError::into_inner) = state.clone();
                self.show(&state);
                return Some((answer, state));
            };
            let json = serde_json::to_string(&next).ok()?;
            let (now, set, other): (i64, i64, String) =
                cache.run(EXCHANGE, &[key], &[&seen, &json, KEPT_MS]).await?;
            if set == 1 {
                *self.local.lock().unwrap_or_else(PoisonError::into_inner) = next.clone();
                self.observe(&state, &next);
                return Some((answer, next));
            }
            (now_ms, seen) = (now, other);
        }
        None
    }

    /// Tells of what this worker changed: once in the fleet, as only one worker's change counts.
    fn observe(&self, before: &Breaker, after: &Breaker) {
        match (&before.open, &after.open) {
            (None, Some(open)) => {
                tracing::warn!(
                    engine = self.name,
                    cause = open.cause,
                    "an engine is left alone until it works again"
                );
                metrics::counter!("podfleet_engine_opens_total", "engine" => self.name.clone()).increment(1);
            }
            (Some(_), None) => tracing::info!(engine = self.name, "an engine works again"),
            _ => {}
        }
        self.show(after);
    }

    fn show(&self, state: &Breaker) {
        metrics::gauge!("podfleet_engine_open", "engine" => self.name.clone()).set(if state.open.is_some() {
            1.0
        } else {
            0.0
        });
    }
}

/// What a failure says of the engine.
fn said(failure: &Failure) -> Ended {
    let (cause, asked) = (failure.message.clone(), failure.retry_after);
    match failure.class {
        Class::Success => Ended::Well,
        // It is there, and has said something.
        _ if failure.wrong_answer => Ended::Silently,
        Class::Transient | Class::Timeout | Class::Throttled => Ended::Badly { cause, asked },
        Class::PermanentConfig => Ended::Misconfigured { cause, asked },
        Class::Parked
        | Class::Interrupted
        | Class::Returned
        | Class::PermanentInput
        | Class::Unsupported
        | Class::Expired => Ended::Silently,
    }
}

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn hash(ticket: &Ticket) -> u64 {
    let hash = blake3::hash(ticket.task.as_bytes());
    hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Names an engine with its servers and its key: what is known of one account does not count for another. The key cannot be
/// found from it.
pub(crate) fn account(name: &str, settings: &Engine) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("podfleet account of an engine");
    let key = settings.api_key.as_deref().unwrap_or_default();
    for part in settings.addresses().into_iter().chain([key]) {
        hasher.update(part.as_bytes()).update(b"\0");
    }
    format!("{name}:{}", &hasher.finalize().to_hex()[..16])
}
