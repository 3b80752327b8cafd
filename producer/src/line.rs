//! The line of podcasts that wait for their first turn, for the place that the answer to a request tells. The database is asked at most
//! once a second for each lane, however many requests come; what this producer has accepted since then stands in the line, too.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use common::store::Store;
use common::store::reading::{self, MOST_COUNTED, Queued};
use common::topology::Lane;
use common::work::Kind;
use tokio::sync::Mutex;

/// A look holds this long.
const LOOK: Duration = Duration::from_secs(1);
/// Of each step on the way to a place; an answer goes without rather than late.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(crate) struct Line(Mutex<BTreeMap<Lane, Looked>>);

#[derive(Debug)]
struct Looked {
    at: Instant,
    /// Ascending; at most [`MOST_COUNTED`], and what came since.
    ranks: Vec<i64>,
}

impl Line {
    /// The place of a podcast that was accepted just now. `None`: the database does not tell soon enough.
    pub(crate) async fn place(&self, store: &Store, lane: Lane, rank: i64) -> Option<Queued> {
        let mut lanes = tokio::time::timeout(PATIENCE, self.0.lock()).await.ok()?;
        if lanes.get(&lane).is_none_or(|looked| looked.at.elapsed() > LOOK) {
            match look(store, lane).await {
                Ok(ranks) => lanes.insert(lane, Looked { at: Instant::now(), ranks }),
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "the place of a podcast could not be looked up"
                    );
                    return None;
                }
            };
        }
        let (place, or_behind) = stand(&mut lanes.get_mut(&lane)?.ranks, rank);
        Some(queued(lane, place, or_behind))
    }
}

/// A connection that does not answer in time is not used again.
async fn look(store: &Store, lane: Lane) -> anyhow::Result<Vec<i64>> {
    let client = tokio::time::timeout(PATIENCE, store.client()).await.context("no connection is free")??;
    match tokio::time::timeout(PATIENCE, reading::line(&client, lane)).await {
        Ok(ranks) => ranks,
        Err(_) => {
            store.discard(client);
            bail!("PostgreSQL did not answer within {PATIENCE:?}")
        }
    }
}

fn queued(lane: Lane, place: i64, or_behind: bool) -> Queued {
    Queued { kind: Kind::Outline.as_str(), lane: lane.as_str(), place, or_behind }
}

/// The place of a rank, from 1, which from now on stands in the line; and whether it may be further back, because nobody counted
/// that far.
fn stand(ranks: &mut Vec<i64>, rank: i64) -> (i64, bool) {
    let before = ranks.partition_point(|other| *other < rank);
    let most = usize::try_from(MOST_COUNTED).unwrap_or(usize::MAX);
    if before >= most {
        return (MOST_COUNTED + 1, true);
    }
    if ranks.get(before) != Some(&rank) {
        ranks.insert(before, rank);
    }
    (i64::try_from(before).unwrap_or(i64::MAX) + 1, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_ranks_and_those_who_came_since() {
        let mut ranks = vec![10, 20, 30];
        assert_eq!(stand(&mut ranks, 25), (3, false));
        assert_eq!(stand(&mut ranks, 26), (4, false), "behind the one before");
        assert_eq!(stand(&mut ranks, 5), (1, false), "a lower rank goes first");
        assert_eq!(stand(&mut ranks, 25), (4, false));
        assert_eq!(ranks, [5, 10, 20, 25, 26, 30]);
        assert_eq!(stand(&mut Vec::new(), 7), (1, false));
    }

    #[test]
    fn nobody_counts_without_end() {
        let mut ranks: Vec<i64> = (0..MOST_COUNTED).collect();
        assert_eq!(stand(&mut ranks, MOST_COUNTED), (MOST_COUNTED + 1, true));
        assert_eq!(i64::try_from(ranks.len()).unwrap(), MOST_COUNTED, "nor remembers");
    }
}
