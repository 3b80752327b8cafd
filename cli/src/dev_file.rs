//! `.podfleet/dev.json`: where a running `podfleet dev` can be found. It holds no secret.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Where client commands look, below the current folder.
const FOLDER: &str = ".podfleet";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DevFile {
    /// Address of the API.
    pub(crate) api: String,
    pub(crate) amqp: Address,
    /// The process to ask for everything to stop.
    pub(crate) pid: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// The `podfleet dev` of the current folder, while it runs.
pub(crate) fn running() -> Option<DevFile> {
    read(Path::new(FOLDER)).filter(|dev| Path::new(&format!("/proc/{}", dev.pid)).exists())
}

fn read(data: &Path) -> Option<DevFile> {
    serde_json::from_slice(&std::fs::read(path(data)).ok()?).ok()
}

pub(crate) fn write(data: &Path, dev: &DevFile) -> anyhow::Result<()> {
    let path = path(data);
    std::fs::write(&path, format!("{}\n", serde_json::to_string_pretty(dev)?))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Only a hint for clients: that it cannot be removed is no reason to fail.
pub(crate) fn remove(data: &Path) {
    let _ = std::fs::remove_file(path(data));
}

fn path(data: &Path) -> PathBuf {
    data.join("dev.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), None);
        let amqp = Address { host: "127.0.0.1".into(), port: 5672 };
        let dev = DevFile { api: "http://127.0.0.1:8080".into(), amqp, pid: 1 };
        write(folder.path(), &dev).unwrap();
        assert_eq!(read(folder.path()), Some(dev));
        remove(folder.path());
        assert_eq!(read(folder.path()), None);
    }
}
