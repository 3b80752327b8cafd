//! A slow walk through the running podcasts. A fan-in that was missed is made up for; counters that do not agree with their rows are
//! told, and left alone: whatever made them wrong has to be found first.

use std::collections::BTreeSet;

use common::crash;
use common::store::inspection::{self, Missed, Place};
use common::store::{podcasts, tasks};
use deadpool_postgres::Client;
use uuid::Uuid;

use crate::{Env, plan, sweep};

/// Podcasts looked at in one round; of some of these the rows are counted, which costs more.
const IN_A_ROUND: usize = 100;
const COUNTED: usize = 10;

#[derive(Debug, Default)]
pub(crate) struct Inspector {
    place: Place,
    /// Found since the walk began.
    drifted: BTreeSet<Uuid>,
}

impl Inspector {
    /// Looks at the next podcasts; after the last one the walk begins again.
    pub(crate) async fn round(&mut self, env: &Env, client: &mut Client) -> anyhow::Result<()> {
        let tx = client.transaction().await?;
        let next = inspection::running_after(&tx, self.place, IN_A_ROUND as i64).await?;
        let ids: Vec<Uuid> = next.iter().map(|(_, id)| *id).collect();
        let missed = inspection::missed_fan_ins(&tx, &ids).await?;
        let drifted = inspection::drifted(&tx, &sample(&ids, fastrand::usize(..))).await?;
        tx.commit().await?;
        for podcast in drifted {
            if self.drifted.insert(podcast) {
                tracing::error!(podcast.id = %podcast, "the counters of a podcast do not agree with its rows; this is a bug");
            }
        }
        self.move_on(&next);
        let podcasts: BTreeSet<Uuid> = missed.into_iter().map(Missed::podcast).collect();
        for podcast in podcasts {
            if let Err(error) = make_up(env, client, podcast).await {
                // The next walk tries again; the others must not wait for this one.
                tracing::warn!(podcast.id = %podcast, error = format!("{error:#}"), "a missed fan-in could not be made");
            }
        }
        Ok(())
    }

    fn move_on(&mut self, looked_at: &[Place]) {
        match looked_at.last() {
            Some(place) if looked_at.len() == IN_A_ROUND => self.place = *place,
            _ => {
                #[allow(clippy::cast_precision_loss)]
                metrics::gauge!("podfleet_drifted_podcasts").set(self.drifted.len() as f64);
                *self = Inspector::default();
            }
        }
    }
}

/// Every n-th, beginning anywhere, so that few are counted and all have their turn.
fn sample(ids: &[Uuid], jitter: usize) -> Vec<Uuid> {
    let step = ids.len().div_ceil(COUNTED).max(1);
    ids.iter().skip(jitter % step).step_by(step).copied().collect()
}

/// Looks again under the podcast's lock, and inserts what is missing. Whoever holds the lock may be doing that right now.
async fn make_up(env: &Env, client: &mut Client, podcast: Uuid) -> anyhow::Result<()> {
    if crash::is_defective() {
        return Ok(());
    }
    let tx = client.transaction().await?;
    if !inspection::try_lock(&tx, podcast).await? {
        return Ok(());
    }
    let mut new = Vec::new();
    let missed = inspection::missed_fan_ins(&tx, &[podcast]).await?;
    for podcast in podcasts::lock(&tx, &[podcast]).await? {
        for missed in &missed {
            match missed {
                Missed::Mix { chapter, .. } if podcast.engines.mixes_chapters() => {
                    new.push(plan::mix(&tx, &podcast, &env.config, *chapter).await?);
                }
                Missed::Mix { .. } => {}
                Missed::Join { .. } => new.push(plan::join(&tx, &podcast, &env.config).await?),
            }
        }
    }
    // None of them is dispatched here, so no publisher is named.
    let inserted = tasks::insert(&tx, &new, Uuid::nil()).await?;
    tx.commit().await?;
    sweep::note("missed_fan_in", inserted.len() as u64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_small_and_leaves_nobody_out() {
        for count in [0, 1, 9, 10, 11, 99, 100] {
            let ids: Vec<Uuid> = (0..count).map(Uuid::from_u128).collect();
            let samples: Vec<Vec<Uuid>> = (0..IN_A_ROUND).map(|jitter| sample(&ids, jitter)).collect();
            assert!(
                samples.iter().all(|sample| sample.len() <= COUNTED && sample.is_empty() == ids.is_empty())
            );
            let all: BTreeSet<Uuid> = samples.into_iter().flatten().collect();
            assert_eq!(all.len(), ids.len(), "{count}");
        }
    }
}
