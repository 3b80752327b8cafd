//! How the fleet is right now. Every question is bounded: none costs more the more there is.

use deadpool_postgres::Client;
use jiff::Timestamp;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::topology::Lane;
use crate::wire::WorkerPulse;
use crate::work::Kind;

/// Nobody counts further than this.
pub const MOST_COUNTED: i64 = 1_000;

/// A lane of the whole fleet.
#[derive(Clone, Debug)]
pub struct LaneNow {
    pub kind: String,
    pub lane: String,
    /// Up to [`MOST_COUNTED`].
    pub waiting: i64,
    /// Dispatched: in the broker, or in the hands of a worker. Up to [`MOST_COUNTED`].
    pub under_way: i64,
    /// When the first in line was made. `None`: nobody waits.
    pub since: Option<Timestamp>,
}

pub async fn lanes(client: &Client) -> anyhow::Result<Vec<LaneNow>> {
    let select = client
        .prepare_cached(
            "select k.kind, l.lane,
                    (select count(*) from (select from tasks t where t.kind = k.kind and t.lane = l.lane and t.state = 'ready'
                                           limit $3) waiting),
                    (select count(*) from (select from tasks t where t.kind = k.kind and t.lane = l.lane and t.state = 'dispatched'
                                           limit $3) under_way),
                    (select t.id from tasks t where t.kind = k.kind and t.lane = l.lane and t.state = 'ready'
                     order by t.rank limit 1)
             from unnest($1::text[]) with ordinality as k (kind, i) cross join unnest($2::text[]) with ordinality as l (lane, i)
             order by k.i, l.i",
        )
        .await?;
    let kinds = Kind::ALL.map(Kind::as_str).to_vec();
    let lanes = [Lane::High, Lane::Normal, Lane::Low, Lane::Alone].map(Lane::as_str).to_vec();
    let rows = client.query(&select, &[&kinds, &lanes, &MOST_COUNTED]).await?;
    Ok(rows
        .iter()
        .map(|row| LaneNow {
            kind: row.get(0),
            lane: row.get(1),
            waiting: row.get(2),
            under_way: row.get(3),
            since: row.get::<_, Option<Uuid>>(4).and_then(made_at),
        })
        .collect())
}

/// When an id was made (UUID v7, RFC 9562: its first 48 bits are milliseconds since 1970).
fn made_at(id: Uuid) -> Option<Timestamp> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()
}

/// A tenant's podcasts of the last day by state, each up to [`MOST_COUNTED`]; those that run are counted however old they are.
pub async fn podcasts(client: &Client, tenant: &str) -> anyhow::Result<Vec<(String, i64)>> {
    let running = client
        .prepare_cached(
            "select count(*) from (select from podcasts where tenant = $1 and state = 'running' limit $2) running",
        )
        .await?;
    let ended = client
        .prepare_cached(
            "select state, count(*) from (
                 select state from podcasts where tenant = $1 and id >= uuid_floor(now() - interval '1 day')
                 order by id desc limit $2) newest
             where state <> 'running' group by state",
        )
        .await?;
    let running: i64 = client.query_one(&running, &[&tenant, &MOST_COUNTED]).await?.get(0);
    let ended = client.query(&ended, &[&tenant, &MOST_COUNTED]).await?;
    let mut counts = vec![("running".to_owned(), running)];
    counts.extend(ended.iter().map(|row| (row.get(0), row.get(1))));
    Ok(counts)
}

/// A worker as it last told of itself.
#[derive(Clone, Debug)]
pub struct WorkerNow {
    pub pulse: WorkerPulse,
    pub seen_at: Timestamp,
}

/// Workers of the last two minutes: each is written down every half minute.
pub async fn workers(client: &Client) -> anyhow::Result<Vec<WorkerNow>> {
    let select = client
        .prepare_cached(
            "select pulse, seen_at from workers where seen_at > now() - interval '2 minutes' order by host, id limit 500",
        )
        .await?;
    let rows = client.query(&select, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(WorkerNow { pulse: row.try_get::<_, Json<WorkerPulse>>(0)?.0, seen_at: row.try_get(1)? })
        })
        .collect()
}

/// What a task is about, for whoever owns it.
#[derive(Clone, Debug)]
pub struct Held {
    pub task: Uuid,
    pub podcast: Uuid,
    pub kind: String,
    pub chapter: i32,
    pub segment: i32,
}

/// Those of these tasks that are a tenant's own.
pub async fn held(client: &Client, tenant: &str, tasks: &[Uuid]) -> anyhow::Result<Vec<Held>> {
    let select = client
        .prepare_cached(
            "select id, podcast_id, kind, chapter, segment from tasks where id = any($2) and tenant = $1",
        )
        .await?;
    let rows = client.query(&select, &[&tenant, &tasks]).await?;
    Ok(rows
        .iter()
        .map(|row| Held {
            task: row.get(0),
            podcast: row.get(1),
            kind: row.get(2),
            chapter: row.get(3),
            segment: row.get(4),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_when_it_was_made() {
        let before = Timestamp::now();
        let made = made_at(Uuid::now_v7()).unwrap();
        assert!((before.as_millisecond() - made.as_millisecond()).abs() < 5_000);
        assert_eq!(made_at(Uuid::nil()), None);
    }
}
