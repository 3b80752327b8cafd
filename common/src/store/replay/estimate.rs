//! What a replay of many letters would come to, before it is begun.

use deadpool_postgres::Client;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_postgres::types::ToSql;

use super::bulk::{MOST_LETTERS, REPLAYABLE};
use crate::store::dead_letters::reading::Filter;

/// Count and cost of a replay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "ReplayEstimate")]
pub struct Estimate {
    /// Letters that would be replayed.
    pub letters: i64,
    /// Open letters that match and cannot be replayed: messages of the fleet's own.
    pub not_replayable: i64,
    /// Podcasts that would go on.
    pub podcasts: i64,
    /// Requests that would be handed in again.
    pub requests: i64,
    pub work: Vec<Work>,
    /// In millionths of the currency of the configuration, for the work that is known now. `None`: nothing of the kind was
    /// paid for in these podcasts yet, so there is no price to go by.
    pub cost_micros: Option<i64>,
}

/// Unfinished tasks of one kind and engine in these podcasts.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "ReplayWork")]
pub struct Work {
    pub kind: String,
    pub engine: String,
    pub tasks: i64,
    /// What the engine counts, such as characters: of speech from the texts, else as much for each task as those before took.
    pub units: Option<i64>,
    /// At the price of the units that these podcasts have paid for.
    pub cost_micros: Option<i64>,
}

pub async fn estimate(client: &Client, tenant: &str, filter: &Filter) -> anyhow::Result<Estimate> {
    let condition = filter.condition(&tenant);
    let sql = &condition.sql;
    let counts = client
        .prepare_cached(&format!(
            "select count(*) filter (where {REPLAYABLE}), count(*) filter (where not {REPLAYABLE}),
                    count(distinct d.podcast_id) filter (where {REPLAYABLE}),
                    count(*) filter (where d.source = 'message' and {REPLAYABLE})
             from dead_letters d where {sql} and d.state = 'open'"
        ))
        .await?;
    let row = client.query_one(&counts, &condition.parameters).await?;
    let mut estimate = Estimate {
        letters: row.get::<_, i64>(0).min(MOST_LETTERS),
        not_replayable: row.get(1),
        podcasts: row.get(2),
        requests: row.get(3),
        work: work(client, tenant, filter).await?,
        cost_micros: None,
    };
    estimate.cost_micros = total(&estimate.work);
    Ok(estimate)
}

async fn work(client: &Client, tenant: &str, filter: &Filter) -> anyhow::Result<Vec<Work>> {
    let condition = filter.condition(&tenant);
    let (sql, limit_at) = (&condition.sql, condition.next(1));
    let select = client
        .prepare_cached(&format!(
            "with concerned as (
                 select p.id, p.generation from podcasts p
                 where p.state = 'failed' and p.id in (
                     select d.podcast_id from dead_letters d where {sql} and d.state = 'open' order by d.id limit ${limit_at})),
             unfinished as (
                 select t.kind, t.engine, count(*) as tasks,
                        sum(length(t.input ->> 'text')) filter (where t.kind = 'tts')::bigint as units
                 from tasks t join concerned c on t.podcast_id = c.id and t.generation = c.generation
                 where t.state <> 'done' group by t.kind, t.engine),
             paid as (
                 select a.kind, a.engine, count(*) as tasks, sum(a.units)::bigint as units, sum(a.cost_micros)::bigint as cost
                 from attempts a join concerned c on a.podcast_id = c.id
                 where a.class = 'success' and not a.cached group by a.kind, a.engine)
             select u.kind, u.engine, u.tasks, u.units, p.tasks, p.units, p.cost
             from unfinished u left join paid p on p.kind = u.kind and p.engine = u.engine order by u.kind, u.engine"
        ))
        .await?;
    let mut parameters = condition.parameters;
    parameters.push(&MOST_LETTERS as &(dyn ToSql + Sync));
    let rows = client.query(&select, &parameters).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let tasks: i64 = row.get(2);
            let paid = match (row.get(4), row.get(5), row.get(6)) {
                (Some(tasks), Some(units), Some(cost)) => Some(Paid { tasks, units, cost }),
                _ => None,
            };
            let (units, cost_micros) = price(tasks, row.get(3), paid);
            Work { kind: row.get(0), engine: row.get(1), tasks, units, cost_micros }
        })
        .collect())
}

/// What work of the same kind and engine has taken so far.
#[derive(Clone, Copy, Debug)]
struct Paid {
    tasks: i64,
    units: i64,
    cost: i64,
}

/// Units and cost of `tasks` tasks, whose units may be known.
fn price(tasks: i64, known_units: Option<i64>, paid: Option<Paid>) -> (Option<i64>, Option<i64>) {
    let ratio = |amount: i64, times: i64, of: i64| {
        let scaled = i128::from(amount) * i128::from(times) / i128::from(of.max(1));
        i64::try_from(scaled).unwrap_or(i64::MAX)
    };
    let Some(paid) = paid.filter(|paid| paid.tasks > 0) else { return (known_units, None) };
    let units = known_units.unwrap_or_else(|| ratio(paid.units, tasks, paid.tasks));
    let cost = if paid.units > 0 {
        ratio(paid.cost, units, paid.units)
    } else {
        ratio(paid.cost, tasks, paid.tasks)
    };
    (Some(units), Some(cost))
}

/// Of the kinds whose price is known; mixing and joining cost nothing outside.
fn total(work: &[Work]) -> Option<i64> {
    let known: Vec<i64> = work.iter().filter_map(|work| work.cost_micros).collect();
    if known.is_empty() { None } else { Some(known.iter().fold(0, |sum, cost| sum.saturating_add(*cost))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_is_that_of_what_was_paid() {
        let paid = |tasks, units, cost| Some(Paid { tasks, units, cost });
        assert_eq!(price(3, Some(300), paid(10, 1_000, 5_000)), (Some(300), Some(1_500)));
        assert_eq!(price(3, None, paid(10, 1_000, 5_000)), (Some(300), Some(1_500)));
        assert_eq!(price(3, None, paid(2, 0, 100)), (Some(0), Some(150)));
        assert_eq!(price(3, Some(300), None), (Some(300), None));
        assert_eq!(price(i64::MAX, None, paid(1, i64::MAX, 1)).0, Some(i64::MAX));
    }

    #[test]
    fn an_unknown_price_is_not_nothing() {
        let work =
            |cost_micros| Work { kind: "tts".into(), engine: "e".into(), tasks: 1, units: None, cost_micros };
        assert_eq!(total(&[work(None)]), None);
        assert_eq!(total(&[work(None), work(Some(5)), work(Some(7))]), Some(12));
    }
}
