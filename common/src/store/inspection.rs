//! Looks at running podcasts, a few at a time: was a fan-in missed, do the counters agree with the rows? Each question is one
//! statement, so it sees one moment, and counters and rows change together.

use deadpool_postgres::Transaction;
use jiff::Timestamp;
use uuid::Uuid;

/// How far a walk through the running podcasts has come: they are walked in the order of their deadlines.
pub type Place = (Timestamp, Uuid);

/// The next running podcasts behind a place.
pub async fn running_after(tx: &Transaction<'_>, place: Place, limit: i64) -> anyhow::Result<Vec<Place>> {
    let select = tx
        .prepare_cached(
            "select deadline, id from podcasts
             where state = 'running' and deadline >= $1 and (deadline, id) > ($1, $2) order by deadline, id limit $3",
        )
        .await?;
    let rows = tx.query(&select, &[&place.0, &place.1, &limit]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// A task that should be there and is not: everything before it is done, as counters and rows say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    Mix { podcast: Uuid, chapter: i32 },
    Join { podcast: Uuid },
}

impl Missed {
    pub fn podcast(self) -> Uuid {
        match self {
            Missed::Mix { podcast, .. } | Missed::Join { podcast } => podcast,
        }
    }
}

pub async fn missed_fan_ins(tx: &Transaction<'_>, podcasts: &[Uuid]) -> anyhow::Result<Vec<Missed>> {
    let mixes = tx
        .prepare_cached(
            "select c.podcast_id, c.chapter from podcasts p
             join chapters c on c.podcast_id = p.id and c.generation = p.generation
             where p.id = any($1) and p.state = 'running' and c.written and c.mix is null
                   and c.segments_done = c.segments_total
                   and c.segments_total = (select count(*) from tasks t
                       where t.podcast_id = p.id and t.generation = p.generation and t.kind = 'tts' and t.chapter = c.chapter
                             and t.state = 'done')
                   and not exists (select from tasks t
                       where t.podcast_id = p.id and t.generation = p.generation and t.kind = 'mix' and t.chapter = c.chapter)",
        )
        .await?;
    let joins = tx
        .prepare_cached(
            "select p.id from podcasts p
             where p.id = any($1) and p.state = 'running' and p.chapters_total > 0 and p.chapters_mixed = p.chapters_total
                   and p.chapters_total = (select count(c.mix) from chapters c
                       where c.podcast_id = p.id and c.generation = p.generation)
                   and not exists (select from tasks t
                       where t.podcast_id = p.id and t.generation = p.generation and t.kind = 'join')",
        )
        .await?;
    let mixes = tx.query(&mixes, &[&podcasts]).await?;
    let joins = tx.query(&joins, &[&podcasts]).await?;
    let mixes = mixes.iter().map(|row| Missed::Mix { podcast: row.get(0), chapter: row.get(1) });
    Ok(mixes.chain(joins.iter().map(|row| Missed::Join { podcast: row.get(0) })).collect())
}

/// Running podcasts whose counters do not say what their rows say.
pub async fn drifted(tx: &Transaction<'_>, podcasts: &[Uuid]) -> anyhow::Result<Vec<Uuid>> {
    let select = tx
        .prepare_cached(
            "select p.id from podcasts p
             cross join lateral (
                 select count(*) as total, count(*) filter (where c.written) as written, count(c.mix) as mixed,
                        coalesce(sum(c.segments_total), 0) as segments, coalesce(sum(c.segments_done), 0) as done
                 from chapters c where c.podcast_id = p.id and c.generation = p.generation) c
             cross join lateral (
                 select count(*) as total from segments s where s.podcast_id = p.id and s.generation = p.generation) s
             cross join lateral (
                 select count(*) as done from tasks t
                 where t.podcast_id = p.id and t.generation = p.generation and t.kind = 'tts' and t.state = 'done') t
             where p.id = any($1) and p.state = 'running'
                   and (p.chapters_total, p.chapters_written, p.chapters_mixed, p.segments_total, p.segments_total,
                        p.segments_done, p.segments_done)
                       is distinct from (c.total, c.written, c.mixed, s.total, c.segments, t.done, c.done)",
        )
        .await?;
    Ok(tx.query(&select, &[&podcasts]).await?.iter().map(|row| row.get(0)).collect())
}

/// Whether a podcast is there and nobody holds its lock; holds it until the transaction ends.
pub async fn try_lock(tx: &Transaction<'_>, podcast: Uuid) -> anyhow::Result<bool> {
    let select = tx.prepare_cached("select from podcasts where id = $1 for update skip locked").await?;
    Ok(tx.query_opt(&select, &[&podcast]).await?.is_some())
}
