//! Child processes that cannot outlive this one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A log larger than this is set aside when its role starts.
const LOG_LIMIT_BYTES: u64 = 5 * 1024 * 1024;

type Order = (Command, oneshot::Sender<io::Result<Child>>);

/// Starts children. When it is dropped, or this process ends however it ends, the kernel kills them.
///
/// It does so when the *thread* that started them ends (that is how `PR_SET_PDEATHSIG` works), and a runtime may end its
/// threads at any time. So one thread of our own starts all of them, and lives as long as this.
#[derive(Clone, Debug)]
pub(crate) struct Nursery {
    orders: mpsc::Sender<Order>,
}

impl Nursery {
    pub(crate) fn new() -> anyhow::Result<Nursery> {
        let (orders, received) = mpsc::channel::<Order>();
        let runtime = Handle::current();
        let work = move || {
            let _entered = runtime.enter();
            for (mut command, reply) in received {
                // Nobody waits for it any more: the child is dropped, which kills it.
                let _ = reply.send(command.spawn());
            }
        };
        thread::Builder::new().name("nursery".into()).spawn(work).context("starting a thread")?;
        Ok(Nursery { orders })
    }

    pub(crate) async fn start(&self, command: Command) -> anyhow::Result<Child> {
        let (reply, child) = oneshot::channel();
        self.orders.send((command, reply)).ok().context("the thread that starts processes has ended")?;
        child.await.context("the thread that starts processes has ended")?.context("starting a process")
    }
}

/// A program with what it prints kept in `log`. It has a process group of its own, so that a terminal's Ctrl-C reaches
/// this process only, which then ends the others in order.
pub(crate) fn command(program: &Path, log: &Path) -> anyhow::Result<Command> {
    let file = open_log(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}

/// Asks a child to end, waits, and kills what has not ended by then, with everything it has started. Returns how it ended; `None`:
/// that was known already.
pub(crate) async fn end(
    name: &str,
    mut child: Child,
    patience: Duration,
) -> anyhow::Result<Option<ExitStatus>> {
    let Some(pid) = child.id() else { return Ok(None) };
    let pid = Pid::from_raw(pid.cast_signed());
    // It has not been awaited yet, so the number is still its own.
    kill(pid, Signal::SIGTERM).with_context(|| format!("ending {name}"))?;
    if let Ok(ended) = tokio::time::timeout(patience, child.wait()).await {
        return ended.map(Some).with_context(|| format!("waiting for {name}"));
    }
    tracing::warn!(role = name, ?patience, "did not stop when asked, so it is killed");
    killpg(pid, Signal::SIGKILL).with_context(|| format!("killing {name}"))?;
    child.wait().await.map(Some).with_context(|| format!("waiting for {name}"))
}

/// Its last words.
pub(crate) fn last_line(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing");
    line.chars().take(300).collect()
}

fn open_log(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|log| log.len() > LOG_LIMIT_BYTES) {
        std::fs::rename(path, path.with_extension("log.old"))?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn shell(script: &str, log: &Path) -> Command {
        let mut command = command(Path::new("sh"), log).unwrap();
        command.args(["-c", script]);
        command
    }

    async fn until(what: impl Fn() -> bool) {
        let started = Instant::now();
        while !what() {
            assert!(started.elapsed() < Duration::from_secs(10), "it did not happen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn is_alive(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    #[tokio::test]
    async fn children_die_with_the_nursery() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let nursery = Nursery::new().unwrap();
        let child = nursery.start(shell("echo ready; sleep 60", &log)).await.unwrap();
        let pid = child.id().unwrap();
        until(|| last_line(&log) == "ready").await;
        drop(nursery);
        until(|| !is_alive(pid)).await;
    }

    #[tokio::test]
    async fn who_does_not_listen_is_killed_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let nursery = Nursery::new().unwrap();
        let child = nursery.start(shell("trap '' TERM; sleep 60 & echo $!; wait; wait", &log)).await.unwrap();
        let pid = child.id().unwrap();
        until(|| last_line(&log).parse::<u32>().is_ok()).await;
        let below: u32 = last_line(&log).parse().unwrap();
        end("sh", child, Duration::from_millis(50)).await.unwrap();
        until(|| !is_alive(pid) && !is_alive(below)).await;
    }

    #[tokio::test]
    async fn who_listens_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let nursery = Nursery::new().unwrap();
        let script = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
        let child = nursery.start(shell(script, &log)).await.unwrap();
        until(|| last_line(&log) == "ready").await;
        end("sh", child, Duration::from_secs(10)).await.unwrap();
        assert_eq!(last_line(&log), "bye");
    }
}
