//! One podfleet at a time on one data folder.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Holds a data folder until it is dropped. The kernel lets go when the process dies, however it dies.
#[derive(Debug)]
pub struct DataLock {
    _file: Flock<File>,
}

impl DataLock {
    /// Takes the folder, which must exist. Fails at once with the holder's process id when another podfleet has it.
    pub fn take(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("podfleet.lock");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.with_context(|| format!("cannot write in {}", folder.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                file.set_len(0)?;
                file.rewind()?;
                writeln!(file, "{}", std::process::id())?;
                Ok(DataLock { _file: file })
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder)?;
                bail!(
                    "another podfleet is already running on {} (pid {}); stop it, or choose another folder with --data",
                    folder.display(),
                    holder.trim()
                )
            }
            Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_has_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataLock::take(folder.path()).unwrap();
        let refusal = DataLock::take(folder.path()).unwrap_err().to_string();
        let expected =
            format!("already running on {} (pid {});", folder.path().display(), std::process::id());
        assert!(refusal.contains(&expected), "{refusal}");
        drop(held);
        DataLock::take(folder.path()).unwrap();
    }
}
