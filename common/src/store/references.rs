//! Which blobs rows need.

use std::collections::BTreeSet;

use deadpool_postgres::Transaction;

/// What needs the blobs of a recording (its audio's key), of a mixed chapter, of an episode, and of a source text: one look in an
/// index for each key.
const NEEDS: [&str; 4] = [
    "select result ->> 'audio' from tasks
     where kind = 'tts' and result is not null and result ->> 'audio' = any($1)",
    "select mix ->> 'audio' from chapters where mix is not null and mix ->> 'audio' = any($1)",
    "select episode ->> 'audio' from podcasts where episode is not null and episode ->> 'audio' = any($1)",
    "select coalesce(input #>> '{source,blob}', input #>> '{plan,source,blob}') from tasks
     where kind in ('outline', 'script') and coalesce(input #>> '{source,blob}', input #>> '{plan,source,blob}') is not null
           and coalesce(input #>> '{source,blob}', input #>> '{plan,source,blob}') = any($1)",
];

/// Those of the keys that a row names, whatever became of its podcast.
pub async fn needed(tx: &Transaction<'_>, keys: &[String]) -> anyhow::Result<BTreeSet<String>> {
    let mut needed = BTreeSet::new();
    for statement in NEEDS {
        let select = tx.prepare_cached(statement).await?;
        needed.extend(tx.query(&select, &[&keys]).await?.iter().map(|row| row.get::<_, String>(0)));
    }
    Ok(needed)
}
