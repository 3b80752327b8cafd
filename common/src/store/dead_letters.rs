//! Dead letters: tasks given up, podcasts out of time, and messages that nobody could read. What is read of them is in
//! [`reading`], what is decided about them in [`settling`].

pub mod advice;
pub mod fingerprint;
pub mod reading;
pub mod redact;
pub mod settling;

use std::collections::BTreeMap;

use deadpool_postgres::Transaction;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::class::Class;
use crate::topology::REQUESTS_QUEUE;
use crate::work::Kind;
use fingerprint::fingerprint;

/// The payload of a message is kept up to this many bytes.
pub const MAX_PAYLOAD: usize = 1024 * 1024;

/// What a dead letter is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A task that was given up.
    Task,
    /// A podcast whose deadline passed.
    Podcast,
    /// A message that nobody could read, or a request that was refused.
    Message,
}

impl Source {
    pub const ALL: [Source; 3] = [Source::Task, Source::Podcast, Source::Message];

    pub fn as_str(self) -> &'static str {
        match self {
            Source::Task => "task",
            Source::Podcast => "podcast",
            Source::Message => "message",
        }
    }

    pub fn parse(name: &str) -> Option<Source> {
        Source::ALL.into_iter().find(|source| source.as_str() == name)
    }
}

/// What a message was meant to be. Only a request can be handed in again: what the fleet tells itself is made anew from the
/// database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Request,
    Ticket,
    Outcome,
    Unknown,
}

impl Origin {
    /// By the queue it died in, or by what the intake says of requests that it refused.
    pub fn of(queue: &str, reason: &str) -> Origin {
        if queue == REQUESTS_QUEUE || reason.starts_with("a request was refused:") {
            Origin::Request
        } else if queue.starts_with("podfleet.outcomes.") {
            Origin::Outcome
        } else if Kind::ALL.iter().any(|kind| queue.starts_with(&format!("podfleet.{kind}."))) {
            Origin::Ticket
        } else {
            Origin::Unknown
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Request => "request",
            Origin::Ticket => "ticket",
            Origin::Outcome => "outcome",
            Origin::Unknown => "unknown",
        }
    }
}

/// What is known of a message beside its bytes.
#[derive(Clone, Debug)]
pub struct Unread {
    pub origin: Origin,
    pub message_id: Option<String>,
    /// Its whole length; the payload may have been cut.
    pub bytes: usize,
}

#[derive(Clone, Debug)]
pub struct NewDeadLetter {
    pub tenant: String,
    pub principal: String,
    pub podcast_id: Option<Uuid>,
    pub task_id: Option<Uuid>,
    pub kind: Option<Kind>,
    pub engine: Option<String>,
    pub class: Class,
    /// The plain sentence that support reads first.
    pub message: String,
    pub chain: Vec<String>,
    pub payload: Option<Vec<u8>>,
    /// Of messages only.
    pub unread: Option<Unread>,
}

impl NewDeadLetter {
    fn source(&self) -> Source {
        match (&self.unread, self.task_id) {
            (Some(_), _) => Source::Message,
            (None, Some(_)) => Source::Task,
            (None, None) => Source::Podcast,
        }
    }

    fn fingerprint(&self) -> String {
        let about = match (self.kind, &self.unread) {
            (Some(kind), _) => kind.as_str(),
            (None, Some(unread)) => unread.origin.as_str(),
            (None, None) => "podcast",
        };
        fingerprint(self.class, about, self.engine.as_deref(), &self.message)
    }
}

/// Counts letters that have been committed.
pub fn count(source: Source, class: Class, letters: usize) {
    if letters > 0 {
        let labels = [("source", source.as_str()), ("class", class.as_str())];
        metrics::counter!("podfleet_dead_letters_total", &labels).increment(letters as u64);
    }
}

pub async fn insert(tx: &Transaction<'_>, new: &[NewDeadLetter]) -> anyhow::Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    let insert = tx
        .prepare_cached(
            "insert into dead_letters (id, tenant, principal, source, podcast_id, task_id, kind, engine, class, message, chain,
                                       history, payload, fingerprint, version, origin, message_id, payload_bytes)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
                     coalesce((select jsonb_agg(jsonb_build_object('attempt', a.attempt, 'class', a.class, 'message', a.message,
                                   'worker', a.worker, 'started_at', a.started_at, 'finished_at', a.finished_at,
                                   'engine', a.engine, 'units', a.units, 'cost_micros', a.cost_micros)
                                   order by a.recorded_at)
                               from (select * from attempts where podcast_id = $5
                                         and (task_id = $6 or $6 is null and class <> 'success')
                                     order by recorded_at desc limit 100) a), '[]'),
                     $12, $13, $14, $15, $16, $17)",
        )
        .await?;
    let mut causes: BTreeMap<(&str, String), i64> = BTreeMap::new();
    for letter in new {
        let fingerprint = letter.fingerprint();
        let unread = letter.unread.as_ref();
        let bytes = unread.map(|unread| unread.bytes).or(letter.payload.as_ref().map(Vec::len));
        tx.execute(
            &insert,
            &[
                &Uuid::now_v7(),
                &letter.tenant,
                &letter.principal,
                &letter.source().as_str(),
                &letter.podcast_id,
                &letter.task_id,
                &letter.kind.map(Kind::as_str),
                &letter.engine,
                &letter.class.as_str(),
                &letter.message,
                &Json(&letter.chain),
                &letter.payload,
                &fingerprint,
                &crate::process::VERSION,
                &unread.map(|unread| unread.origin.as_str()),
                &unread.and_then(|unread| unread.message_id.as_deref()),
                &bytes.map(|bytes| i32::try_from(bytes).unwrap_or(i32::MAX)),
            ],
        )
        .await?;
        *causes.entry((&letter.tenant, fingerprint)).or_default() += 1;
    }
    remember(tx, &causes).await
}

/// Notes when causes were seen. In order of their keys, so that two transactions wait for each other and do not deadlock.
async fn remember(tx: &Transaction<'_>, causes: &BTreeMap<(&str, String), i64>) -> anyhow::Result<()> {
    let upsert = tx
        .prepare_cached(
            "insert into fingerprints as f (tenant, fingerprint, seen, first_version, last_version) values ($1, $2, $3, $4, $4)
             on conflict (tenant, fingerprint) do update
             set last_seen = now(), seen = f.seen + excluded.seen, last_version = excluded.last_version",
        )
        .await?;
    for ((tenant, fingerprint), count) in causes {
        tx.execute(&upsert, &[tenant, fingerprint, count, &crate::process::VERSION]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_by_its_queue() {
        let check =
            |queue: &str, reason: &str, origin| assert_eq!(Origin::of(queue, reason), origin, "{queue}");
        check("podfleet.requests.v1", "could not be read", Origin::Request);
        check("podfleet.dead.v1", "a request was refused: title: it is empty", Origin::Request);
        check("podfleet.tts.alone.v1", "", Origin::Ticket);
        check("podfleet.outcomes.3.v1", "", Origin::Outcome);
        check("somebody.else", "", Origin::Unknown);
    }

    #[test]
    fn a_letter_without_a_task_is_about_its_podcast() {
        let letter = NewDeadLetter {
            tenant: "t".into(),
            principal: "p".into(),
            podcast_id: Some(Uuid::nil()),
            task_id: None,
            kind: None,
            engine: None,
            class: Class::Expired,
            message: "the deadline 2026-01-01T00:00:00Z passed".into(),
            chain: Vec::new(),
            payload: None,
            unread: None,
        };
        assert_eq!(letter.source(), Source::Podcast);
        let later = NewDeadLetter { message: letter.message.replace("01-01", "02-02"), ..letter.clone() };
        assert_eq!(letter.fingerprint(), later.fingerprint());
        let task = NewDeadLetter { task_id: Some(Uuid::nil()), kind: Some(Kind::Tts), ..letter.clone() };
        assert_eq!(task.source(), Source::Task);
        assert_ne!(letter.fingerprint(), task.fingerprint());
    }
}
