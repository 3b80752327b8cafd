//! The blob store: a folder that every role reaches.

use std::path::Path;
use std::time::{Instant, SystemTime};

use anyhow::{Context, ensure};
use common::blobs::Blobs;
use common::config;
use nix::sys::statfs::{NFS_SUPER_MAGIC, TMPFS_MAGIC, statfs};
use nix::sys::statvfs::statvfs;

use super::{Findings, middle_ms};

/// Blobs that are written, read and removed.
const TRIED: usize = 5;
/// Room for a few hundred hours.
const ROOM: u64 = 10 * 1024 * 1024 * 1024;

pub(super) async fn look(settings: &config::Blobs, found: &mut Findings) {
    let remedy = "Set PODFLEET__BLOBS__FOLDER to a folder that every role can write";
    let blobs = match Blobs::open(settings) {
        Ok(blobs) => blobs,
        Err(error) => return found.failed("folder", &error, "nothing can be stored", remedy),
    };
    found.ok("folder", settings.folder.clone(), "every role must reach the same one");
    match try_out(&blobs).await {
        Ok(ms) => {
            let told =
                format!("written, read and removed; {ms:.1} ms to the disk, the middle one of {TRIED}");
            found.ok("blobs", told, "one has its name when all of it is on the disk");
        }
        Err(error) => found.failed("blobs", &error, "nothing can be stored", remedy),
    }
    let folder = Path::new(&settings.folder);
    // They are empty, unless somebody else looks at the same moment.
    for left in [".doctor/trial", ".doctor"] {
        let _ = std::fs::remove_dir(folder.join(left));
    }
    disk(folder, found);
}

async fn try_out(blobs: &Blobs) -> anyhow::Result<f64> {
    let mut took = Vec::with_capacity(TRIED);
    for _ in 0..TRIED {
        let hash = uuid::Uuid::new_v4().simple().to_string();
        let key = common::blobs::key(".doctor", "trial", &hash, "txt");
        let began = Instant::now();
        ensure!(blobs.put_if_absent(&key, hash.clone().into_bytes().into()).await?, "it was there before");
        took.push(began.elapsed());
        ensure!(blobs.get(&key).await? == hash.as_bytes(), "something else is read than was written");
        ensure!(!blobs.put_if_absent(&key, "x".into()).await?, "one that is there was overwritten");
        let (blobs, name) = (blobs.clone(), key.clone());
        let removed = tokio::task::spawn_blocking(move || blobs.collect(&name, SystemTime::now()));
        ensure!(removed.await?.context("removing it")?, "it could not be removed");
    }
    Ok(middle_ms(took))
}

fn disk(folder: &Path, found: &mut Findings) {
    if let Ok(space) = statvfs(folder) {
        let free = space.blocks_available().saturating_mul(space.fragment_size());
        #[allow(clippy::cast_precision_loss)]
        let told = format!("{:.1} GB free", free as f64 / 1e9);
        if free >= ROOM {
            found.ok(
                "room",
                told,
                "an hour of speech takes 200 MB while it is made, and 30 MB as an episode",
            );
        } else {
            found.note("room", told, "an hour of speech takes 200 MB; work waits while there is no room");
        }
    }
    match statfs(folder).map(|disk| disk.filesystem_type()) {
        Ok(TMPFS_MAGIC) => {
            let remedy = "Put it on a disk, unless this is for tests";
            found.bad("file system", "tmpfs", "episodes are gone when the machine starts again", remedy);
        }
        Ok(NFS_SUPER_MAGIC) => {
            found.note(
                "file system",
                "nfs",
                "it is shared; how durable a blob is depends on the server's export",
            );
        }
        Ok(_) => found.ok(
            "file system",
            "a local one, or one that says nothing special",
            "blobs outlive a restart",
        ),
        Err(error) => found.note("file system", error.to_string(), "it is not known"),
    }
}
