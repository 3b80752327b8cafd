//! Reads /proc: which processes descend from one, and which serve a data folder.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

/// Every private server and all it starts carry this variable, holding the data folder.
pub(crate) const MARKER: &str = "PODFLEET_PRIVATE_DATA";

/// The processes below `root`, not `root` itself.
pub(super) fn descendants(root: u32) -> Vec<u32> {
    let all: Vec<(u32, u32)> = living().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&ancestor) = found.get(next) {
        found.extend(all.iter().filter(|(_, parent)| *parent == ancestor).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// The private servers' processes of a data folder, helpers such as epmd included.
///
/// They are known by `PODFLEET_PRIVATE_DATA` in their environment. PostgreSQL writes its process titles over that, so its processes
/// are known by standing inside the data folder, or in `elsewhere` when its data had to be kept there.
pub fn serving(data: &Path, elsewhere: Option<&Path>) -> Vec<u32> {
    let marker = [MARKER.as_bytes(), b"=", data.as_os_str().as_bytes()].concat();
    living()
        .filter(|&pid| {
            let environment = fs::read(of(pid, "environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == marker)
                || is_postgres_in(pid, data)
                || elsewhere.is_some_and(|elsewhere| is_postgres_in(pid, elsewhere))
        })
        .collect()
}

/// Kills what an earlier run left behind on this data folder. Call it only while holding the folder's lock.
pub(crate) async fn end_leftovers(data: &Path, elsewhere: Option<&Path>) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let left = serving(data, elsewhere);
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "processes of an earlier run on {} do not end: {left:?}; end them and start again",
                data.display()
            );
        }
        tracing::info!(processes = ?left, "ending what an earlier run left behind");
        for pid in left {
            signal(pid, Signal::SIGKILL);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Sends a signal; a process that has already ended is no error.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Err(error) = kill(Pid::from_raw(pid.cast_signed()), signal)
        && error != nix::errno::Errno::ESRCH
    {
        tracing::warn!(pid, %signal, %error, "cannot signal a private server");
    }
}

/// Whether a process exists and is not merely waiting for its parent to take note of its end.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

fn living() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| is_alive(*pid))
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid).map(|(_, parent)| parent)
}

fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(of(pid, "stat")).ok()?;
    // The command name stands in brackets and may itself hold brackets and spaces.
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Whether a living process is a PostgreSQL that stands in this folder or below.
pub(super) fn is_postgres_in(pid: u32, folder: &Path) -> bool {
    let named = is_alive(pid)
        && fs::read_link(of(pid, "exe")).is_ok_and(|exe| exe.file_name() == Some(OsStr::new("postgres")));
    named && fs::read_link(of(pid, "cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
}

fn of(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn descendants_are_found_and_the_dead_are_not() {
        let mut shell = Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let sleeper = loop {
            if let [sleeper] = descendants(shell.id())[..] {
                break sleeper;
            }
        };
        assert!(descendants(std::process::id()).contains(&sleeper));
        signal(sleeper, Signal::SIGKILL);
        shell.wait().unwrap();
        assert!(!is_alive(sleeper) && !is_alive(shell.id()));
        assert!(descendants(shell.id()).is_empty());
    }

    #[test]
    fn servers_are_known_by_their_marker() {
        let data = tempfile::tempdir().unwrap();
        let mut child = Command::new("sleep").arg("60").env(MARKER, data.path()).spawn().unwrap();
        assert_eq!(serving(data.path(), None), [child.id()]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(serving(data.path(), None), [0u32; 0]);
    }
}
