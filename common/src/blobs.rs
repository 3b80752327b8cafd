//! The object store: immutable blobs, named by the hash of everything that makes them, put if absent.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use futures_util::Stream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::config;

#[derive(Clone, Debug)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    folder: PathBuf,
}

/// The key of a blob: `tenant/what/hash.ending`. Tenant names are checked at acceptance; nothing else comes from outside.
pub fn key(tenant: &str, what: &str, hash: &str, ending: &str) -> String {
    format!("{tenant}/{what}/{hash}.{ending}")
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

    /// Stores a blob unless its key is taken. Returns whether this call stored it. A reader sees all of it or nothing.
    pub async fn put_if_absent(&self, key: &str, bytes: Bytes) -> anyhow::Result<bool> {
        let options = PutOptions { mode: PutMode::Create, ..Default::default() };
        match self.store.put_opts(&Path::parse(key)?, PutPayload::from(bytes), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("storing the blob {key}")),
        }
    }

    /// Stores a finished file unless its key is taken; streams, so its size does not matter. The file is moved.
    pub async fn adopt_file(&self, key: &str, file: tempfile::NamedTempFile) -> anyhow::Result<bool> {
        let path = Path::parse(key)?;
        let target = self.folder.join(path.as_ref());
        tokio::task::spawn_blocking(move || {
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent)?;
            }
            match file.persist_noclobber(&target) {
                Ok(_) => Ok(true),
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error.error),
            }
        })
        .await?
        .with_context(|| format!("storing the blob {key}"))
    }

    /// A file to write a blob into before [`Self::adopt_file`]; vanishes when dropped.
    pub fn scratch_file(&self) -> anyhow::Result<tempfile::NamedTempFile> {
        let folder = self.folder.join(".scratch");
        std::fs::create_dir_all(&folder)?;
        tempfile::NamedTempFile::new_in(&folder).context("creating a scratch file beside the blobs")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_put_wins() {
        let folder = tempfile::tempdir().unwrap();
        let settings = config::Blobs { folder: folder.path().join("b").to_str().unwrap().to_owned() };
        let blobs = Blobs::open(&settings).unwrap();
        let key = key("t", "tts", "abc", "wav");
        assert!(blobs.put_if_absent(&key, Bytes::from_static(b"one")).await.unwrap());
        assert!(!blobs.put_if_absent(&key, Bytes::from_static(b"two")).await.unwrap());
        assert_eq!(blobs.get(&key).await.unwrap(), "one");
        let file = blobs.scratch_file().unwrap();
        assert!(!blobs.adopt_file(&key, file).await.unwrap());
        assert!(blobs.find("t/tts/none.wav").await.unwrap().is_none());
        assert!(blobs.get("t/../../etc/passwd").await.is_err());
    }
}
