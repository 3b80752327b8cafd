//! What was answered in each minute, by tenant and kind of work: counted by collectors in memory, written once a second.

use deadpool_postgres::{Client, Transaction};
use jiff::Timestamp;
use uuid::Uuid;

/// How many sizes of durations are told apart: the last holds all of two minutes and more.
pub const BUCKETS: usize = 18;

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    pub done: i64,
    /// Of these, found and not made again.
    pub cached: i64,
    /// Started and not done.
    pub failed: i64,
    pub units: i64,
    pub cost_micros: i64,
    /// Of those that were done and not found: bucket `i` holds what took less than 2^i ms and is in none before it.
    pub took: Vec<i64>,
}

impl Default for Counts {
    fn default() -> Counts {
        Counts { done: 0, cached: 0, failed: 0, units: 0, cost_micros: 0, took: vec![0; BUCKETS] }
    }
}

impl Counts {
    pub fn add(&mut self, other: &Counts) {
        self.done += other.done;
        self.cached += other.cached;
        self.failed += other.failed;
        self.units += other.units;
        self.cost_micros = self.cost_micros.saturating_add(other.cost_micros);
        for (sum, more) in self.took.iter_mut().zip(&other.took) {
            *sum += more;
        }
    }

    /// The duration in milliseconds that this share of them stayed below, as the end of its bucket. `None`: there are none.
    pub fn quantile_ms(&self, share: f64) -> Option<i64> {
        let all: i64 = self.took.iter().sum();
        let wanted = (share * all as f64).ceil().max(1.0) as i64;
        let mut seen = 0;
        let found = self.took.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        found.map(|bucket| 1 << bucket)
    }
}

/// The bucket of a duration.
pub fn bucket(ms: i64) -> usize {
    let bits = 64 - u64::try_from(ms).unwrap_or_default().leading_zeros();
    usize::try_from(bits).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// Adds to this minute's rows of a collector, and forgets what is older than three days.
pub async fn add(
    tx: &Transaction<'_>,
    collector: Uuid,
    counted: &[(String, &'static str, Counts)],
) -> anyhow::Result<()> {
    if counted.is_empty() {
        return Ok(());
    }
    let upsert = tx
        .prepare_cached(
            "insert into minutes as m (minute, tenant, kind, collector, done, cached, failed, units, cost_micros, took)
             values (date_trunc('minute', now()), $1, $2, $3, $4, $5, $6, $7, $8, $9)
             on conflict (minute, tenant, kind, collector) do update
             set done = m.done + excluded.done, cached = m.cached + excluded.cached, failed = m.failed + excluded.failed,
                 units = m.units + excluded.units, cost_micros = m.cost_micros + excluded.cost_micros,
                 took = array(select coalesce(a, 0) + coalesce(b, 0)
                              from unnest(m.took, excluded.took) with ordinality as both_of (a, b, i) order by i)",
        )
        .await?;
    for (tenant, kind, counts) in counted {
        let Counts { done, cached, failed, units, cost_micros, took } = counts;
        tx.execute(&upsert, &[tenant, kind, &collector, done, cached, failed, units, cost_micros, took])
            .await?;
    }
    let delete = tx.prepare_cached("delete from minutes where minute < now() - interval '3 days'").await?;
    tx.execute(&delete, &[]).await?;
    Ok(())
}

/// A minute of one kind of work, all collectors together.
#[derive(Clone, Debug)]
pub struct Minute {
    pub at: Timestamp,
    pub kind: String,
    pub counts: Counts,
}

/// The last minutes of a tenant, oldest first; the one that is not over is the last.
pub async fn last(client: &Client, tenant: &str, minutes: i32) -> anyhow::Result<Vec<Minute>> {
    let select = client
        .prepare_cached(
            "select minute, kind, done, cached, failed, units, cost_micros, took from minutes
             where tenant = $1 and minute > now() - make_interval(mins => $2) order by minute, kind",
        )
        .await?;
    let rows = client.query(&select, &[&tenant, &minutes]).await?;
    rows.iter()
        .map(|row| {
            let counts = Counts {
                done: row.try_get(2)?,
                cached: row.try_get(3)?,
                failed: row.try_get(4)?,
                units: row.try_get(5)?,
                cost_micros: row.try_get(6)?,
                took: row.try_get(7)?,
            };
            Ok(Minute { at: row.try_get(0)?, kind: row.try_get(1)?, counts })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_buckets_that_double() {
        let buckets = [0, 1, 2, 3, 4, 1_000, 131_071, 131_072, i64::MAX].map(bucket);
        assert_eq!(buckets, [0, 1, 2, 2, 3, 10, 17, 17, 17]);
        assert_eq!(bucket(-5), 0);
    }

    #[test]
    fn a_quantile_is_the_end_of_its_bucket() {
        let mut counts = Counts::default();
        assert_eq!(counts.quantile_ms(0.5), None);
        for ms in [100, 100, 100, 5_000] {
            counts.took[bucket(ms)] += 1;
        }
        assert_eq!((counts.quantile_ms(0.5), counts.quantile_ms(0.95)), (Some(128), Some(8_192)));
        let mut sum = counts.clone();
        sum.add(&counts);
        assert_eq!(sum.took.iter().sum::<i64>(), 8);
    }
}
