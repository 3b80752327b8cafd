//! What waits in the lanes and what is on its way, as PostgreSQL knows it: the broker's queues hold only the nearest of it.

use anyhow::Context;
use deadpool_postgres::Client;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::topology::{Lane, lane_queue};
use crate::work::Kind;

/// Nobody counts further: a lane with a million tasks is as cheap to look at as a short one.
pub const COUNTED_TO: i64 = 1_000;

/// How a lane stands.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Queue")]
pub struct Standing {
    /// Its queue in the broker.
    pub queue: String,
    pub kind: &'static str,
    pub lane: &'static str,
    /// Tasks that may be dispatched, as far as they are counted.
    pub waiting: i64,
    /// Tasks whose tickets are out, as far as they are counted.
    pub in_flight: i64,
    /// Age of the oldest task among those that are counted as waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_waiting_seconds: Option<i64>,
}

/// Every lane of every kind, in the order in which a podcast meets them.
pub async fn standings(client: &Client, now: Timestamp) -> anyhow::Result<Vec<Standing>> {
    let kinds = Kind::ALL.map(Kind::as_str);
    let lanes = Lane::ALL.map(Lane::as_str);
    // Each half is one look at an index, cut off where the counting ends.
    let select = client
        .prepare_cached(
            "select k.kind, l.lane, w.waiting, w.oldest, f.in_flight
             from unnest($1::text[]) with ordinality k (kind, at)
                  cross join unnest($2::text[]) with ordinality l (lane, at)
                  cross join lateral (
                      select count(*) as waiting, min(first.id::text)::uuid as oldest
                      from (select id from tasks where kind = k.kind and lane = l.lane and state = 'ready'
                            order by rank limit $3) first) w
                  cross join lateral (
                      select count(*) as in_flight
                      from (select from tasks where kind = k.kind and lane = l.lane and state = 'dispatched' limit $3) counted) f
             order by k.at, l.at",
        )
        .await?;
    let rows = client.query(&select, &[&kinds.as_slice(), &lanes.as_slice(), &COUNTED_TO]).await?;
    rows.iter()
        .map(|row| {
            let (kind, lane): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
            let kind = Kind::parse(kind).context("a kind that was asked for")?;
            let lane = Lane::parse(lane).context("a lane that was asked for")?;
            let oldest: Option<Uuid> = row.try_get(3)?;
            Ok(Standing {
                queue: lane_queue(kind, lane),
                kind: kind.as_str(),
                lane: lane.as_str(),
                waiting: row.try_get(2)?,
                oldest_waiting_seconds: oldest.and_then(|id| age_seconds(id, now)),
                in_flight: row.try_get(4)?,
            })
        })
        .collect()
}

/// Ids of tasks hold the time at which they were made.
fn age_seconds(task: Uuid, now: Timestamp) -> Option<i64> {
    let (seconds, _) = task.get_timestamp()?.to_unix();
    Some((now.as_second() - i64::try_from(seconds).ok()?).max(0))
}

/// A task that somebody has in hand.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "TaskInHand")]
pub struct InHand {
    pub podcast: Uuid,
    pub task: Uuid,
    pub kind: String,
    pub chapter: i32,
    pub segment: i32,
    pub engine: String,
    pub attempt: i32,
}

/// Those of some tasks that are a tenant's.
pub async fn of_tenant(client: &Client, tenant: &str, tasks: &[Uuid]) -> anyhow::Result<Vec<InHand>> {
    let select = client
        .prepare_cached(
            "select podcast_id, id, kind, chapter, segment, engine, attempt from tasks
             where id = any($2) and tenant = $1 order by id",
        )
        .await?;
    let rows = client.query(&select, &[&tenant, &tasks]).await?;
    rows.iter()
        .map(|row| {
            Ok(InHand {
                podcast: row.try_get(0)?,
                task: row.try_get(1)?,
                kind: row.try_get(2)?,
                chapter: row.try_get(3)?,
                segment: row.try_get(4)?,
                engine: row.try_get(5)?,
                attempt: row.try_get(6)?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_as_old_as_its_id_says() {
        let now = Timestamp::now();
        let age = age_seconds(Uuid::now_v7(), now + jiff::SignedDuration::from_secs(90)).unwrap();
        assert!((89..=91).contains(&age), "{age}");
        assert_eq!(age_seconds(Uuid::now_v7(), now - jiff::SignedDuration::from_secs(90)), Some(0));
        assert_eq!(age_seconds(Uuid::nil(), now), None);
    }
}
