//! All files of the store, a few at a time.

use std::fs::ReadDir;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its path below the folder.
    pub key: String,
    pub modified: SystemTime,
    pub bytes: u64,
}

/// Holds open folders, and never a list of what is in them: a store of millions of files costs no more memory than a small one.
#[derive(Debug)]
pub struct Walk {
    root: PathBuf,
    open: Vec<ReadDir>,
    begun: bool,
}

impl Walk {
    pub(super) fn new(root: &Path) -> Walk {
        Walk { root: root.to_owned(), open: Vec::new(), begun: false }
    }

    /// The next files, at most so many; none when all were seen. Blocks.
    pub fn take(&mut self, most: usize) -> io::Result<Vec<Found>> {
        if !self.begun {
            self.begun = true;
            self.open.push(std::fs::read_dir(&self.root)?);
        }
        let mut found = Vec::new();
        while found.len() < most
            && let Some(folder) = self.open.last_mut()
        {
            let Some(entry) = folder.next() else {
                self.open.pop();
                continue;
            };
            let path = entry?.path();
            // Others write and remove meanwhile. Links are not followed.
            let metadata = match path.symlink_metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if metadata.is_dir() {
                self.open.push(std::fs::read_dir(&path)?);
            } else if metadata.is_file()
                && let Ok(below) = path.strip_prefix(&self.root)
                && let Some(key) = below.to_str()
            {
                found.push(Found {
                    key: key.to_owned(),
                    modified: metadata.modified()?,
                    bytes: metadata.len(),
                });
            }
        }
        Ok(found)
    }
}
