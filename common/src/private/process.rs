//! A child process that cannot outlive us, can be killed, frozen and awaited, and writes to a log file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::census;

const LOG_LIMIT_BYTES: u64 = 5 * 1024 * 1024;
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// A running child. Dropping it kills it, with everything below it, and reaps it.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    log: PathBuf,
    first_pid: u32,
    /// `None` from the moment the child is reaped: its number may then belong to somebody else.
    pid: Arc<Mutex<Option<u32>>>,
    ended: watch::Receiver<Option<ExitStatus>>,
    keeper: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts a command made by [`command`] and keeps what it prints in `log`.
    ///
    /// The kernel kills the child when the *thread* that started it ends (that is how `PR_SET_PDEATHSIG` works), and
    /// an async runtime may end its threads at any time. So each child has a thread of its own, which starts it, waits
    /// for it and reaps it: the thread lives as long as the child, and no runtime is involved.
    pub(crate) fn start(name: &'static str, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let file = open_log(log).with_context(|| format!("cannot write {}", log.display()))?;
        // A group of its own keeps the terminal's Ctrl-C from the servers: they are stopped in order, by us.
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let pid = Arc::new(Mutex::new(None));
        let (report_end, ended) = watch::channel(None);
        let (report_start, started) = mpsc::channel();
        let shared = Arc::clone(&pid);
        let keeper = thread::Builder::new().name(format!("keeper of {name}")).spawn(move || {
            match command.spawn() {
                Ok(child) => {
                    *lock(&shared) = Some(child.id());
                    let _ = report_start.send(Ok(child.id()));
                    report_end.send_replace(keep(child, &shared));
                }
                Err(error) => {
                    let _ = report_start.send(Err(error));
                }
            };
        })?;
        let first_pid = started.recv()?.with_context(|| format!("{name} could not be started"))?;
        Ok(Process { name, log: log.to_owned(), first_pid, pid, ended, keeper: Some(keeper) })
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        *lock(&self.pid)
    }

    /// How the child ended, once it has.
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    /// Waits until the child has ended by itself.
    pub(crate) async fn wait(&self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let mut ended = self.ended.clone();
        let ended = timeout(limit, ended.wait_for(Option::is_some)).await;
        let ended = ended.map_err(|_| anyhow!("{} did not end within {limit:?}", self.name))?;
        ended.ok().and_then(|status| *status).with_context(|| format!("{} could not be awaited", self.name))
    }

    /// Asks the child to end, waits, and kills what has not ended by then.
    pub(crate) async fn end(self, request: Signal, limit: Duration) -> anyhow::Result<()> {
        let below = self.below();
        self.signal(request);
        if self.wait(limit).await.is_err() {
            tracing::warn!(server = self.name, ?limit, "did not stop when asked, so it is killed");
            return self.kill().await;
        }
        self.until_gone(below).await
    }

    /// `kill -9` for the child and everything below it; returns when all are gone.
    pub(crate) async fn kill(self) -> anyhow::Result<()> {
        let below = self.kill_all();
        self.wait(KILL_LIMIT).await?;
        self.until_gone(below).await
    }

    /// Freezes the child and everything below it.
    pub(crate) fn pause(&self) {
        self.stop_all();
    }

    /// Lets a frozen child go on.
    pub(crate) fn resume(&self) {
        for pid in self.below() {
            census::signal(pid, Signal::SIGCONT);
        }
        self.signal(Signal::SIGCONT);
    }

    /// Tries `probe` until it succeeds. Fails early when the child ends, and at `limit`.
    pub(crate) async fn until_ready<F>(&self, limit: Duration, mut probe: F) -> anyhow::Result<()>
    where
        F: AsyncFnMut() -> anyhow::Result<()>,
    {
        let deadline = Instant::now() + limit;
        loop {
            let cause = match timeout(Duration::from_secs(5), probe()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => format!("{error:#}"),
                Err(_) => "no answer within 5 s".to_owned(),
            };
            let log = self.log.display();
            if let Some(status) = self.exit_status() {
                let last = last_line(&self.log);
                bail!("{} stopped while starting ({status}): {last}; read its log, {log}", self.name);
            }
            if Instant::now() > deadline {
                bail!("{} was not ready within {limit:?}: {cause}; read its log, {log}", self.name);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Signals the child alone, and only while it is ours to signal.
    fn signal(&self, signal: Signal) {
        if let Some(pid) = *lock(&self.pid) {
            census::signal(pid, signal);
        }
    }

    /// What stands below the child. Helpers open sessions of their own, so its process group would miss them.
    fn below(&self) -> Vec<u32> {
        self.pid().map(census::descendants).unwrap_or_default()
    }

    fn stop_all(&self) -> Vec<u32> {
        // The child first: once it stands still it starts nothing new.
        self.signal(Signal::SIGSTOP);
        let below = self.below();
        for pid in &below {
            census::signal(*pid, Signal::SIGSTOP);
        }
        below
    }

    fn kill_all(&self) -> Vec<u32> {
        let below = self.stop_all();
        self.signal(Signal::SIGKILL);
        for pid in &below {
            census::signal(*pid, Signal::SIGKILL);
        }
        below
    }

    async fn until_gone(&self, below: Vec<u32>) -> anyhow::Result<()> {
        let deadline = Instant::now() + KILL_LIMIT;
        while let Some(pid) = below.iter().find(|pid| census::is_alive(**pid)) {
            if Instant::now() > deadline {
                bail!("process {pid} of {} (pid {}) does not end", self.name, self.first_pid);
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let killed = if self.pid().is_some() { self.kill_all() } else { Vec::new() };
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
        // Killed processes are gone in milliseconds; this blocks so long, so that nothing is left when it returns.
        let deadline = std::time::Instant::now() + Duration::from_secs(2);
        while killed.iter().any(|pid| census::is_alive(*pid)) && std::time::Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A command which the kernel kills when we die, started in `folder` with an environment that holds nothing of ours
/// but PATH, so that a user's `PGHOST` or `RABBITMQ_NODENAME` cannot bend a private server.
pub(crate) fn command(
    program: &Path,
    privileges: &[String],
    data: &Path,
    folder: &Path,
) -> anyhow::Result<Command> {
    let setpriv = find("setpriv", &[])
        .context("setpriv was not found; install util-linux (private servers need Linux)")?;
    let mut command = Command::new(setpriv);
    command
        .args(["--pdeathsig", "KILL"])
        .args(privileges)
        .arg("--")
        .arg(program)
        .current_dir(folder)
        .env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()));
    command.env("HOME", folder).env("LANG", "C.UTF-8").env(census::MARKER, data);
    Ok(command)
}

/// Runs a command to its end; an error names its last words and its log.
pub(crate) async fn run(
    name: &'static str,
    command: Command,
    log: &Path,
    limit: Duration,
) -> anyhow::Result<()> {
    let process = Process::start(name, command, log)?;
    let status = process.wait(limit).await?;
    if !status.success() {
        bail!("{name} failed ({status}): {}; read its log, {}", last_line(log), log.display());
    }
    Ok(())
}

/// Looks for a program in `folders`, then on PATH, then where a user's PATH often does not reach.
pub(crate) fn find(program: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let folders = folders.iter().cloned().chain(std::env::split_paths(&path)).chain(system);
    folders.map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

/// Waits for the child's end and reaps it. Between the two its number cannot be given to another process, and the lock
/// is held while it is given up, so nobody signals a stranger.
fn keep(mut child: Child, pid: &Mutex<Option<u32>>) -> Option<ExitStatus> {
    let number = Pid::from_raw(child.id().cast_signed());
    while waitid(Id::Pid(number), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
    let mut pid = lock(pid);
    let status = child.wait();
    *pid = None;
    status.ok()
}

fn lock(pid: &Mutex<Option<u32>>) -> MutexGuard<'_, Option<u32>> {
    pid.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_log(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|log| log.len() > LOG_LIMIT_BYTES) {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn last_line(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing");
    line.chars().take(300).collect()
}
