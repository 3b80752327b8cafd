//! What is left to do of erasures: cached results are forgotten, and blobs removed that no row needs. Each step may be done twice, so any
//! producer works on any erasure, and what one that is killed leaves behind another one finishes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::blobs::{self, Blobs};
use common::cache::Cache;
use common::store::erasing::{self, Unfinished};
use common::store::references;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::Env;

const LOOK: Duration = Duration::from_secs(2);

pub(crate) async fn run(env: Arc<Env>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let cache = Cache::new(&env.config.cache)?;
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
        if !env.readiness.is_ready() {
            continue;
        }
        if let Err(error) = look(&env, &cache).await {
            tracing::warn!(error = format!("{error:#}"), "erasures could not be looked at; trying again");
        }
    }
    Ok(())
}

async fn look(env: &Env, cache: &Cache) -> anyhow::Result<()> {
    for mut erasure in env.store.run(async |client| erasing::unfinished(client).await).await? {
        let before = (erasure.blobs.len(), erasure.cached);
        // One that cannot be finished holds up no other.
        if let Err(error) = work(env, cache, &mut erasure).await {
            tracing::warn!(erasure = %erasure.id, error = format!("{error:#}"), "an erasure could not be finished; trying again");
            continue;
        }
        if before != (erasure.blobs.len(), erasure.cached) || erasure.blobs.is_empty() {
            env.store.run(async |client| erasing::progress(client, &erasure).await).await?;
        }
        if erasure.blobs.is_empty() && !erasure.cached {
            tracing::info!(erasure = %erasure.id, "everything of an erased podcast is gone");
        }
    }
    Ok(())
}

/// Leaves in `erasure` what could not be done yet.
async fn work(env: &Env, cache: &Cache, erasure: &mut Unfinished) -> anyhow::Result<()> {
    if erasure.cached {
        erasure.cached = !cache.forget_written(&erasure.tenant).await;
    }
    for key in &erasure.blobs {
        if let Some(entry) = blobs::spoken_hash(key) {
            // A pointer to a recording; without it, or with a wrong one, workers look at the recording itself.
            cache.remove(&format!("podfleet:{}:tts:{entry}", erasure.tenant)).await;
        }
    }
    let keys = erasure.blobs.clone();
    let needed = env
        .store
        .run(async |client| {
            let tx = client.transaction().await?;
            let needed = references::needed(&tx, &keys).await?;
            tx.commit().await?;
            Ok(needed)
        })
        .await?;
    // Whoever says that he uses a blob has this long until a row names it.
    let unused_since = SystemTime::now() - Duration::from_secs(env.config.blobs.erase_seconds);
    let store = env.blobs.clone();
    let left = move || remove(&store, keys, &needed, unused_since);
    erasure.blobs = tokio::task::spawn_blocking(left).await??;
    Ok(())
}

/// Removes blobs that no row needs and that nobody has used lately. Returns those that were used too lately. Blocks.
fn remove(
    blobs: &Blobs,
    keys: Vec<String>,
    needed: &BTreeSet<String>,
    unused_since: SystemTime,
) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    for key in keys.into_iter().filter(|key| !needed.contains(key)) {
        let mut all = true;
        for file in blobs::family(&key) {
            all &= blobs.collect(&file, unused_since)? || !blobs.is_there(&file)?;
        }
        if !all {
            left.push(key);
        }
    }
    Ok(left)
}
