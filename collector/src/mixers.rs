//! Mixing and joining run in a child process, through the same task loop as every worker, so that the process that commits
//! never decodes audio.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use common::backoff::Reconnect;
use common::config::Config;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// Keeps the child running until shutdown, then lets it finish what it has in hand.
pub(crate) async fn supervise(config: Arc<Config>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut reconnect = Reconnect::default();
    while !shutdown.is_cancelled() {
        let started = std::time::Instant::now();
        let mut child = spawn(&config)?;
        tokio::select! {
            status = child.wait() => {
                tracing::warn!(status = ?status.ok(), "the mixing process ended; starting another");
            }
            () = shutdown.cancelled() => return drain(child, config.worker.drain_seconds).await,
        }
        if started.elapsed() > Duration::from_secs(30) {
            reconnect.reset();
        }
        tokio::select! {
            () = tokio::time::sleep(reconnect.next_delay()) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}

/// The same program and environment as this process: it reads the same configuration.
fn spawn(config: &Config) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    if let Some(file) = std::env::var_os("PODFLEET_CONFIG") {
        command.env("PODFLEET_CONFIG", file);
    }
    command
        .args(["worker", "--tasks", "mix,join", "--concurrency", &config.collector.mixers.to_string()])
        .args(["--parent", &std::process::id().to_string()])
        // Its own port: the configured one may be a worker's on this machine.
        .env("PODFLEET__WORKER__HEALTH_BIND", "127.0.0.1:0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command.spawn().context("starting the mixing process")
}

async fn drain(mut child: Child, seconds: u64) -> anyhow::Result<()> {
    if let Some(pid) = child.id() {
        // The child may be gone already, which is what is wanted.
        let _ = kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGTERM);
    }
    if tokio::time::timeout(Duration::from_secs(seconds + 5), child.wait()).await.is_err() {
        child.kill().await.context("ending the mixing process")?;
    }
    Ok(())
}
