//! Blobs that no row needs: what a lost race, a withdrawn mix or an edited segment left behind, or rows that are gone. They are
//! removed when nobody has used them for days. Any collector may; several at once do no harm.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::blobs::{Blobs, Found, Walk};
use common::config::{self, Config, Sweep};
use common::store::{Store, references};
use tokio_util::sync::CancellationToken;

/// Files looked at in one round.
const IN_A_ROUND: usize = 1_000;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Looks at the next files every `blobs.sweep_seconds`, until shutdown.
pub(crate) async fn sweep(
    store: Store,
    blobs: Blobs,
    config: Arc<Config>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let settings = &config.blobs;
    if settings.sweep == Sweep::Off {
        shutdown.cancelled().await;
        return Ok(());
    }
    let pause = Duration::from_secs(settings.sweep_seconds);
    let mut walk = blobs.walk();
    while shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        match round(&store, &blobs, settings, walk).await {
            Ok(walked) => walk = walked,
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "blobs could not be looked through; trying again"
                );
                walk = blobs.walk();
            }
        }
    }
    Ok(())
}

/// One look. Returns where the next one goes on.
async fn round(
    store: &Store,
    blobs: &Blobs,
    settings: &config::Blobs,
    mut walk: Walk,
) -> anyhow::Result<Walk> {
    let (found, walk) =
        tokio::task::spawn_blocking(move || walk.take(IN_A_ROUND).map(|found| (found, walk))).await??;
    if found.is_empty() {
        return Ok(blobs.walk());
    }
    let unused_since = SystemTime::now() - DAY * settings.keep_days;
    let old = unused(found, unused_since);
    let keys: Vec<String> = old.iter().filter_map(|(_, need)| need.clone()).collect();
    if old.is_empty() {
        return Ok(walk);
    }
    let needed = store
        .run(async |client| {
            let tx = client.transaction().await?;
            let needed = references::needed(&tx, &keys).await?;
            tx.commit().await?;
            Ok(needed)
        })
        .await?;
    let orphans = orphans(old, &needed);
    let (blobs, dry) = (blobs.clone(), settings.sweep == Sweep::Dry);
    tokio::task::spawn_blocking(move || collect(&blobs, &orphans, unused_since, dry)).await??;
    Ok(walk)
}

fn collect(blobs: &Blobs, orphans: &[Found], unused_since: SystemTime, dry: bool) -> anyhow::Result<()> {
    for orphan in orphans {
        if dry {
            tracing::info!(
                blob = orphan.key,
                bytes = orphan.bytes,
                "no row needs this blob; a sweep would remove it"
            );
        } else if blobs.collect(&orphan.key, unused_since)? {
            tracing::debug!(
                blob = orphan.key,
                bytes = orphan.bytes,
                "no row needed this blob; it is removed"
            );
            metrics::counter!("podfleet_orphans_total").increment(1);
            metrics::counter!("podfleet_orphan_bytes_total").increment(orphan.bytes);
        }
    }
    Ok(())
}

/// The files of ours that nobody has used for long, each with the key that a row would name if it needed the file.
fn unused(found: Vec<Found>, unused_since: SystemTime) -> Vec<(Found, Option<String>)> {
    let old = found.into_iter().filter(|found| found.modified <= unused_since);
    old.filter_map(|found| match need(&found.key) {
        Need::Row(key) => Some((found, Some(key))),
        Need::Nobody => Some((found, None)),
        Need::Unknown => None,
    })
    .collect()
}

/// Those that no row needs.
fn orphans(old: Vec<(Found, Option<String>)>, needed: &BTreeSet<String>) -> Vec<Found> {
    let orphan = |need: &Option<String>| need.as_ref().is_none_or(|key| !needed.contains(key));
    old.into_iter().filter(|(_, need)| orphan(need)).map(|(found, _)| found).collect()
}

/// Who may need a file.
#[derive(Debug, PartialEq, Eq)]
enum Need {
    /// A row that names this key.
    Row(String),
    /// Nobody, once it is old: whoever needs it makes it anew.
    Nobody,
    /// It is none of ours, or of a later version: not to be touched.
    Unknown,
}

/// Rows name one file of those that belong together and share a stem: the audio.
fn need(key: &str) -> Need {
    let parts: Vec<&str> = key.split('/').collect();
    match parts.as_slice() {
        // Of a process that died while it wrote.
        [".scratch", _] => Need::Nobody,
        [tenant, what, file] => {
            let Some((stem, _)) = file.split_once('.') else { return Need::Unknown };
            if stem.len() != 64 || !stem.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Need::Unknown;
            }
            match *what {
                "tts" => Need::Row(format!("{tenant}/tts/{stem}.wav")),
                "mix" | "episode" => Need::Row(format!("{tenant}/{what}/{stem}.mp3")),
                "source" => Need::Row(format!("{tenant}/source/{stem}.txt")),
                // A ticket's copy of what its row says: whoever sends the ticket again stores it again.
                "input" => Need::Nobody,
                _ => Need::Unknown,
            }
        }
        _ => Need::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn files_that_belong_together_are_needed_by_the_same_row() {
        let check = |key: &str, expected: Option<&str>| {
            let expected = expected.map(|key| Need::Row(key.replace('#', HASH)));
            assert_eq!(need(&key.replace('#', HASH)), expected.unwrap_or(Need::Nobody), "{key}");
        };
        check("t/tts/#.wav", Some("t/tts/#.wav"));
        check("t/tts/#.json", Some("t/tts/#.wav"));
        for ending in ["mp3", "cues.json", "json"] {
            check(&format!("t/mix/#.{ending}"), Some("t/mix/#.mp3"));
        }
        for ending in ["mp3", "vtt", "srt", "transcript.json", "txt", "chapters.json", "json"] {
            check(&format!("t/episode/#.{ending}"), Some("t/episode/#.mp3"));
        }
        check("t/source/#.txt", Some("t/source/#.txt"));
        check("t/input/#.json", None);
        check(".scratch/.tmpAbC", None);
    }

    #[test]
    fn what_is_not_ours_is_not_touched() {
        for strange in [
            "notes.txt",
            "t/tts/readme.md",
            "t/new/#.bin",
            "t/tts/#",
            "t/tts/deep/#.wav",
            "t/episode/short.mp3",
        ] {
            assert_eq!(need(&strange.replace('#', HASH)), Need::Unknown, "{strange}");
        }
    }

    #[test]
    fn only_what_is_old_and_unneeded_goes() {
        let limit = SystemTime::UNIX_EPOCH + DAY * 100;
        let file = |digit: char, modified| Found {
            key: format!("t/tts/{}.wav", digit.to_string().repeat(64)),
            modified,
            bytes: 1,
        };
        let (old, needed, young) =
            (file('1', limit), file('2', limit), file('3', limit + Duration::from_secs(1)));
        let candidates = unused(vec![old.clone(), needed.clone(), young], limit);
        assert_eq!(candidates.len(), 2);
        assert_eq!(orphans(candidates, &BTreeSet::from([needed.key])), [old]);
    }
}
