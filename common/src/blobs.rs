//! The object store: immutable blobs, named by the hash of everything that makes them, put if absent.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use bytes::Bytes;
use futures_util::Stream;
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};

use crate::config;

mod walk;

pub use walk::{Found, Walk};

/// Holds files that are still being written, and those that are being collected.
const SCRATCH: &str = ".scratch";

#[derive(Clone, Debug)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    folder: PathBuf,
}

/// There is no room for a blob. Nothing of it is visible, and the same may succeed later.
#[derive(Debug, thiserror::Error)]
#[error(
    "the disk of the blobs is full (blobs.folder is {}): make room on it and the work goes on by itself",
    .0.display()
)]
pub struct DiskFull(PathBuf);

/// Whether an error says, itself or by one of its causes, that a disk has no room.
pub fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let full = |cause: &(dyn std::error::Error + 'static)| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    };
    std::iter::successors(Some(error), |cause| cause.source()).any(full)
}

/// The key of a blob: `tenant/what/hash.ending`. Tenant names are checked at acceptance; nothing else comes from outside.
pub fn key(tenant: &str, what: &str, hash: &str, ending: &str) -> String {
    format!("{tenant}/{what}/{hash}.{ending}")
}

/// Endings of the files that belong together and share a stem, by what they are; the mark comes first, so that nobody takes for whole what
/// is being removed. A row names one of them.
const FAMILIES: [(&str, &[&str]); 5] = [
    ("tts", &["json", "wav"]),
    ("mix", &["json", "cues.json", "mp3"]),
    ("episode", &["json", "chapters.json", "txt", "transcript.json", "srt", "vtt", "mp3"]),
    ("source", &["txt"]),
    ("input", &["json"]),
];

/// The files that belong to the one that a row names, itself included. None if it is not one of ours.
pub fn family(key: &str) -> Vec<String> {
    let mut parts = key.splitn(3, '/');
    let (Some(tenant), Some(what), Some(file)) = (parts.next(), parts.next(), parts.next()) else {
        return Vec::new();
    };
    let endings = FAMILIES.iter().find(|(name, _)| *name == what).map_or(&[][..], |(_, endings)| endings);
    let stem = file.split('.').next().unwrap_or_default();
    endings.iter().map(|ending| self::key(tenant, what, stem, ending)).collect()
}

fn sync_folder(folder: &std::path::Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// Of a recording's key, the hash of what it was made of.
pub fn spoken_hash(key: &str) -> Option<&str> {
    let (_, file) = key.split_once("/tts/")?;
    file.strip_suffix(".wav")
}

impl Blobs {
    /// Opens the store; creates the folder when it is missing.
    pub fn open(settings: &config::Blobs) -> anyhow::Result<Blobs> {
        let folder = PathBuf::from(&settings.folder);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("blobs.folder is {}, which cannot be created", folder.display()))?;
        let folder = folder.canonicalize()?;
        let store = LocalFileSystem::new_with_prefix(&folder)?.with_automatic_cleanup(false);
        Ok(Blobs { store: Arc::new(store), folder })
    }

    /// Stores a blob unless its key is taken; one that is there counts as used just now. Returns whether this call stored it. A
    /// reader sees all of it or nothing, also after the machine has lost its power.
    pub async fn put_if_absent(&self, key: &str, bytes: Bytes) -> anyhow::Result<bool> {
        if self.keep(&[key]).await? {
            return Ok(false);
        }
        let (blobs, key) = (self.clone(), key.to_owned());
        tokio::task::spawn_blocking(move || {
            let mut file = blobs.scratch_file()?;
            file.write_all(&bytes).map_err(|error| blobs.unstored(&key, error))?;
            blobs.link(&key, file)
        })
        .await?
    }

    /// Stores a finished file unless its key is taken; streams, so its size does not matter. The file is moved.
    pub async fn adopt_file(&self, key: &str, file: tempfile::NamedTempFile) -> anyhow::Result<bool> {
        let (blobs, key) = (self.clone(), key.to_owned());
        tokio::task::spawn_blocking(move || blobs.link(&key, file)).await?
    }

    /// Gives a written file its name, once its bytes are on the disk; the name is there, too, before a row tells of it.
    fn link(&self, key: &str, file: tempfile::NamedTempFile) -> anyhow::Result<bool> {
        let target = self.path(key)?;
        let folder = target.parent().unwrap_or(&self.folder);
        let linked = || {
            file.as_file().sync_data()?;
            self.make_folder(folder)?;
            let new = match file.persist_noclobber(&target) {
                Ok(_) => true,
                // Whoever was first may not have come to this yet.
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => false,
                Err(error) => return Err(error.error),
            };
            sync_folder(folder)?;
            Ok(new)
        };
        linked().map_err(|error| self.unstored(key, error))
    }

    /// Makes a folder below the store's own, and those above it, such that they are still there after the power was lost.
    fn make_folder(&self, folder: &std::path::Path) -> io::Result<()> {
        if folder == self.folder || folder.is_dir() {
            return Ok(());
        }
        let above = folder.parent().unwrap_or(&self.folder);
        self.make_folder(above)?;
        match std::fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => sync_folder(above),
        }
    }

    fn unstored(&self, key: &str, error: io::Error) -> anyhow::Error {
        let full = is_disk_full(&error);
        let error = anyhow::Error::from(error).context(format!("storing the blob {key}"));
        if full { error.context(DiskFull(self.folder.clone())) } else { error }
    }

    fn path(&self, key: &str) -> anyhow::Result<PathBuf> {
        Ok(self.folder.join(Path::parse(key)?.as_ref()))
    }

    /// Whether all of these are there; they count as used just now, so that none of them is collected before a row names it.
    pub async fn keep(&self, keys: &[&str]) -> anyhow::Result<bool> {
        let paths = keys.iter().map(|key| self.path(key)).collect::<anyhow::Result<Vec<_>>>()?;
        let keep = move || {
            for path in paths {
                if !is_kept(&path).with_context(|| format!("keeping the blob {}", path.display()))? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        tokio::task::spawn_blocking(keep).await?
    }

    /// Removes a blob unless it was used since `unused_since`: whoever uses one says so first ([`Self::keep`]), and either finds it
    /// gone or saves it. Returns whether this call removed it. Blocks.
    pub fn collect(&self, key: &str, unused_since: SystemTime) -> anyhow::Result<bool> {
        let (path, aside) = (self.folder.join(key), self.folder.join(SCRATCH));
        let aside = aside.join(format!("collected-{}", uuid::Uuid::new_v4().simple()));
        let collected = || {
            match std::fs::rename(&path, &aside) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                renamed => renamed?,
            }
            if std::fs::metadata(&aside)?.modified()? > unused_since {
                // Somebody made it anew meanwhile? Then that one stays.
                match std::fs::hard_link(&aside, &path) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    _ => {}
                }
                std::fs::remove_file(&aside)?;
                return Ok(false);
            }
            std::fs::remove_file(&aside).map(|()| true)
        };
        collected().with_context(|| format!("collecting the blob {key}"))
    }

    /// Whether a blob is there. Blocks.
    pub fn is_there(&self, key: &str) -> io::Result<bool> {
        self.folder.join(key).try_exists()
    }

    /// Goes through all files of the store.
    pub fn walk(&self) -> Walk {
        Walk::new(&self.folder)
    }

    /// A file to write a blob into before [`Self::adopt_file`]; vanishes when dropped.
    pub fn scratch_file(&self) -> anyhow::Result<tempfile::NamedTempFile> {
        let folder = self.folder.join(SCRATCH);
        let mut file = tempfile::Builder::new();
        // As readable as any other file that this process makes, by its umask.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        let file =
            std::fs::create_dir_all(&folder).and_then(|()| file.permissions(mode).tempfile_in(&folder));
        file.map_err(|error| self.unstored(SCRATCH, error))
    }

    pub async fn get(&self, key: &str) -> anyhow::Result<Bytes> {
        self.find(key).await?.with_context(|| format!("there is no blob {key}"))
    }

    /// The blob, or `None` when there is none.
    pub async fn find(&self, key: &str) -> anyhow::Result<Option<Bytes>> {
        match self.store.get(&Path::parse(key)?).await {
            Ok(found) => Ok(Some(found.bytes().await.with_context(|| format!("reading the blob {key}"))?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading the blob {key}")),
        }
    }

    /// Size in bytes, or `None` when there is no such blob.
    pub async fn size(&self, key: &str) -> anyhow::Result<Option<u64>> {
        match self.store.head(&Path::parse(key)?).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("looking for the blob {key}")),
        }
    }

    /// Removes a blob; one that is not there is fine.
    pub async fn delete(&self, key: &str) -> anyhow::Result<()> {
        match self.store.delete(&Path::parse(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("removing the blob {key}")),
        }
    }

    /// Bytes `range` of a blob, as they are read.
    pub async fn stream(
        &self,
        key: &str,
        range: std::ops::Range<u64>,
    ) -> anyhow::Result<impl Stream<Item = object_store::Result<Bytes>> + Send + 'static> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..Default::default() };
        let found = self
            .store
            .get_opts(&Path::parse(key)?, options)
            .await
            .with_context(|| format!("reading the blob {key}"))?;
        Ok(found.into_stream())
    }

    /// Opens a blob as a file, for code that reads and seeks. Blocks.
    pub fn open_file(&self, key: &str) -> io::Result<std::fs::File> {
        let path = Path::parse(key).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        std::fs::File::open(self.folder.join(path.as_ref()))
    }
}

/// Says that a file is used, and whether it is there. Whoever puts it aside later sees that; whoever has done so already, and may have
/// looked at its time before, is noticed because the file has no name any more.
fn is_kept(path: &std::path::Path) -> io::Result<bool> {
    let (now, follow) = (TimeSpec::UTIME_NOW, UtimensatFlags::FollowSymlink);
    match utimensat(AT_FDCWD, path, &now, &now, follow) {
        Ok(()) => path.try_exists(),
        Err(Errno::ENOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_put_wins() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = opened(&folder.path().join("b"));
        let key = key("t", "tts", "abc", "wav");
        assert!(blobs.put_if_absent(&key, Bytes::from_static(b"one")).await.unwrap());
        assert!(!blobs.put_if_absent(&key, Bytes::from_static(b"two")).await.unwrap());
        assert_eq!(blobs.get(&key).await.unwrap(), "one");
        let file = blobs.scratch_file().unwrap();
        assert!(!blobs.adopt_file(&key, file).await.unwrap());
        assert!(blobs.find("t/tts/none.wav").await.unwrap().is_none());
        assert!(blobs.get("t/../../etc/passwd").await.is_err());
        assert!(blobs.keep(&["t/../../etc/passwd"]).await.is_err());
    }

    #[test]
    fn files_that_belong_together_go_together() {
        assert_eq!(family("t/tts/ab.wav"), ["t/tts/ab.json", "t/tts/ab.wav"]);
        assert_eq!(family("t/source/ab.txt"), ["t/source/ab.txt"]);
        assert!(family("t/episode/ab.mp3").contains(&"t/episode/ab.transcript.json".to_owned()));
        assert!(family("t/new/ab.bin").is_empty() && family("notes.txt").is_empty());
        assert_eq!(spoken_hash("t/tts/ab.wav"), Some("ab"));
        assert_eq!(spoken_hash("t/mix/ab.mp3"), None);
    }

    fn opened(folder: &std::path::Path) -> Blobs {
        Blobs::open(&config::Blobs {
            folder: folder.to_str().unwrap().to_owned(),
            ..config::Blobs::default()
        })
        .unwrap()
    }

    #[tokio::test]
    async fn what_is_used_is_not_collected() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = opened(folder.path());
        let (used, unused) = ("t/tts/used.wav", "t/tts/unused.wav");
        let past = SystemTime::now() - std::time::Duration::from_secs(3_600);
        for key in [used, unused] {
            blobs.put_if_absent(key, Bytes::from_static(b"x")).await.unwrap();
            std::fs::File::open(blobs.path(key).unwrap()).unwrap().set_modified(past).unwrap();
        }
        let since = SystemTime::now() - std::time::Duration::from_secs(60);
        assert!(blobs.keep(&[used]).await.unwrap());
        assert!(!blobs.keep(&[used, "t/tts/none.wav"]).await.unwrap());
        assert!(!blobs.collect(used, since).unwrap());
        assert!(blobs.collect(unused, since).unwrap());
        assert!(!blobs.collect(unused, since).unwrap(), "it is gone");
        assert_eq!(blobs.get(used).await.unwrap(), "x");
        assert!(!blobs.put_if_absent(used, Bytes::from_static(b"y")).await.unwrap());
        let names: Vec<String> = blobs.walk().take(10).unwrap().into_iter().map(|found| found.key).collect();
        assert_eq!(names, [used], "and nothing is left aside");
    }

    /// Users and collectors of the same blob, at once: whoever is told that it is there finds it there.
    #[tokio::test]
    async fn a_blob_that_was_promised_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = opened(folder.path());
        let key = "t/tts/raced.wav";
        let past = SystemTime::now() - std::time::Duration::from_secs(3_600);
        let since = SystemTime::now() - std::time::Duration::from_secs(60);
        let (mut kept, mut collected) = (0, 0);
        for round in 0..100 {
            blobs.put_if_absent(key, Bytes::from_static(b"x")).await.unwrap();
            std::fs::File::open(blobs.path(key).unwrap()).unwrap().set_modified(past).unwrap();
            let path = blobs.path(key).unwrap();
            let (promised, gone) = std::thread::scope(|scope| {
                let keep = || scope.spawn(|| is_kept(&path).unwrap());
                let collect = || scope.spawn(|| blobs.collect(key, since).unwrap());
                // Who is started first is likely to be first: half of the time it is each of them.
                let (promised, one) = if round % 2 == 0 {
                    let promised = keep();
                    (promised, collect())
                } else {
                    let one = collect();
                    (keep(), one)
                };
                let two = collect();
                (promised.join().unwrap(), one.join().unwrap() | two.join().unwrap())
            });
            assert!(!(promised && gone), "it was promised, and collected all the same");
            assert_eq!(blobs.size(key).await.unwrap().is_some(), !gone);
            kept += i32::from(promised);
            collected += i32::from(gone);
        }
        assert!(kept > 0 && collected > 0, "{kept} kept, {collected} collected: no race at all");
    }
}
