//! What was learnt of how long work takes, and what the fleet can do at a time: for estimates.

use std::collections::BTreeMap;

use deadpool_postgres::{Client, Transaction};
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::durations::{Doer, Line};
use crate::work::Kind;

pub async fn load(client: &Client) -> anyhow::Result<Vec<(Doer, Line)>> {
    let select = client.prepare_cached("select kind, engine, voice, line from durations").await?;
    let rows = client.query(&select, &[]).await?;
    // A newer version may do, and have timed, what this one does not know.
    rows.iter()
        .filter_map(|row| Some((row, Kind::parse(row.get(0))?)))
        .map(|(row, kind)| {
            Ok((Doer::new(kind, row.try_get(1)?, row.try_get(2)?), row.try_get::<_, Json<Line>>(3)?.0))
        })
        .collect()
}

/// The last one who writes wins: each collector sees a fair share of the same work.
pub async fn save(tx: &Transaction<'_>, learnt: &[(Doer, Line)]) -> anyhow::Result<()> {
    if learnt.is_empty() {
        return Ok(());
    }
    let upsert = tx
        .prepare_cached(
            "insert into durations (kind, engine, voice, line)
             select * from unnest($1::text[], $2::text[], $3::text[], $4::jsonb[])
             on conflict (kind, engine, voice) do update set line = excluded.line, updated_at = now()",
        )
        .await?;
    tx.execute(
        &upsert,
        &[
            &learnt.iter().map(|(doer, _)| doer.kind.as_str()).collect::<Vec<_>>(),
            &learnt.iter().map(|(doer, _)| &doer.engine).collect::<Vec<_>>(),
            &learnt.iter().map(|(doer, _)| &doer.voice).collect::<Vec<_>>(),
            &learnt.iter().map(|(_, line)| Json(line)).collect::<Vec<_>>(),
        ],
    )
    .await?;
    Ok(())
}

/// How many tasks of each kind the workers that were seen lately do at a time.
pub async fn permits(client: &Client) -> anyhow::Result<BTreeMap<Kind, u32>> {
    let select = client
        .prepare_cached(
            "select p.key, sum(p.value::int)::bigint from workers w, jsonb_each_text(w.pulse -> 'permits') p
             where w.seen_at > now() - interval '90 seconds' group by p.key",
        )
        .await?;
    let rows = client.query(&select, &[]).await?;
    let read = |row: &tokio_postgres::Row| {
        let (kind, permits): (&str, i64) = (row.get(0), row.get(1));
        Some((Kind::parse(kind)?, u32::try_from(permits).unwrap_or(u32::MAX)))
    };
    Ok(rows.iter().filter_map(read).collect())
}

/// Podcasts that share the fleet at the moment.
pub async fn running(client: &Client) -> anyhow::Result<u32> {
    let select = client.prepare_cached("select count(*) from podcasts where state = 'running'").await?;
    let count: i64 = client.query_one(&select, &[]).await?.try_get(0)?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The segments of a podcast that are not spoken yet: speaker and characters.
pub async fn unspoken(client: &Client, podcast: Uuid, generation: i32) -> anyhow::Result<Vec<(String, i32)>> {
    let select = client
        .prepare_cached(
            "select s.speaker, char_length(s.text) from segments s
             join tasks t on t.podcast_id = $1 and t.generation = $2 and t.kind = 'tts' and t.chapter = s.chapter
                         and t.segment = s.segment
             where s.podcast_id = $1 and s.generation = $2 and t.state <> 'done'",
        )
        .await?;
    let rows = client.query(&select, &[&podcast, &generation]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
