//! Dead letters: tasks given up, and messages that nobody could read.

use deadpool_postgres::Transaction;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::class::Class;
use crate::work::Kind;

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
}

/// Equal causes have equal fingerprints: numbers and ids in the message do not count.
pub fn fingerprint(kind: Option<Kind>, class: Class, message: &str) -> String {
    let normal: String = message
        .split_whitespace()
        .map(|word| if word.bytes().any(|b| b.is_ascii_digit()) { "#" } else { word })
        .collect::<Vec<_>>()
        .join(" ");
    let kind = kind.map_or("message", Kind::as_str);
    blake3::hash(format!("{kind}\n{class}\n{normal}").as_bytes()).to_hex()[..16].to_owned()
}

pub async fn insert(tx: &Transaction<'_>, new: &[NewDeadLetter]) -> anyhow::Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    let insert = tx
        .prepare_cached(
            "insert into dead_letters (id, tenant, principal, source, podcast_id, task_id, kind, engine, class, message, chain,
                                       history, payload, fingerprint, version)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
                     coalesce((select jsonb_agg(jsonb_build_object('attempt', a.attempt, 'class', a.class, 'message', a.message,
                                   'worker', a.worker, 'started_at', a.started_at, 'finished_at', a.finished_at)
                                   order by a.recorded_at)
                               from attempts a where a.podcast_id = $5 and a.task_id = $6), '[]'),
                     $12, $13, $14)",
        )
        .await?;
    for letter in new {
        let source = if letter.task_id.is_some() { "task" } else { "message" };
        tx.execute(
            &insert,
            &[
                &Uuid::now_v7(),
                &letter.tenant,
                &letter.principal,
                &source,
                &letter.podcast_id,
                &letter.task_id,
                &letter.kind.map(Kind::as_str),
                &letter.engine,
                &letter.class.as_str(),
                &letter.message,
                &Json(&letter.chain),
                &letter.payload,
                &fingerprint(letter.kind, letter.class, &letter.message),
                &crate::process::VERSION,
            ],
        )
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_do_not_make_a_new_cause() {
        let print = |message| fingerprint(Some(Kind::Tts), Class::Timeout, message);
        assert_eq!(print("no answer from 127.0.0.1:80 in 3s"), print("no answer from 127.0.0.1:81 in 5s"));
        assert_ne!(print("no answer"), print("no route"));
    }
}
