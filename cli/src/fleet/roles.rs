//! Keeps the roles running: one that ends is started again, until all are told to stop.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use common::backoff::Reconnect;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::children::{self, Nursery, last_line};

/// A role that has run this long has worked; if it ends then, it is started again at once.
const WORKED: Duration = Duration::from_secs(10);
/// After so many ends in a row without having worked, a role is hopeless. It is still started again.
const HOPELESS: u32 = 5;

/// What is to run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Set for every role. A variable's `…_FILE` variant is taken away, or it would win.
    pub(super) variables: Vec<(String, String)>,
    pub(super) roles: Vec<Role>,
    pub(super) logs: PathBuf,
    /// How long a role may take to stop.
    pub(super) patience: Duration,
}

/// A process to be.
#[derive(Clone, Debug)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    /// Variables that it alone is given.
    pub(super) own: Vec<(String, String)>,
}

/// The running roles. Dropping them kills them.
#[derive(Debug)]
pub(super) struct Roles {
    supervisors: JoinSet<anyhow::Result<()>>,
    shared: Arc<Shared>,
    hopeless: watch::Receiver<Option<String>>,
}

#[derive(Debug)]
struct Shared {
    program: PathBuf,
    plan: Plan,
    nursery: Nursery,
    stop: CancellationToken,
    hopeless: watch::Sender<Option<String>>,
}

impl Roles {
    pub(super) fn start(plan: Plan) -> anyhow::Result<Roles> {
        // Asked once: after a new build the running program has no path any more.
        let program = std::env::current_exe().context("finding this program")?;
        Roles::start_program(program, plan)
    }

    fn start_program(program: PathBuf, plan: Plan) -> anyhow::Result<Roles> {
        std::fs::create_dir_all(&plan.logs)
            .with_context(|| format!("cannot make the folder {}", plan.logs.display()))?;
        let (sender, hopeless) = watch::channel(None);
        let (nursery, stop) = (Nursery::new()?, CancellationToken::new());
        let shared = Arc::new(Shared { program, plan, nursery, stop, hopeless: sender });
        let mut supervisors = JoinSet::new();
        for role in shared.plan.roles.clone() {
            supervisors.spawn(supervise(shared.clone(), role));
        }
        Ok(Roles { supervisors, shared, hopeless })
    }

    /// One more, which is kept running like the others.
    pub(super) fn add(&mut self, role: Role) {
        self.supervisors.spawn(supervise(self.shared.clone(), role));
    }

    /// Waits until a role is hopeless, and tells why.
    pub(super) async fn hopeless(&self) -> anyhow::Error {
        let mut hopeless = self.hopeless.clone();
        match hopeless.wait_for(Option::is_some).await {
            Ok(reason) => anyhow::Error::msg(reason.clone().unwrap_or_default()),
            // The sender lives in `shared`, as long as we do.
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops all of them at once; returns when none is left.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.shared.stop.cancel();
        let mut result = Ok(());
        while let Some(ended) = self.supervisors.join_next().await {
            result = result.and(ended.map_err(anyhow::Error::from).and_then(|ended| ended));
        }
        result
    }
}

async fn supervise(shared: Arc<Shared>, role: Role) -> anyhow::Result<()> {
    let name = &role.name;
    let log = shared.plan.logs.join(format!("{name}.log"));
    let mut backoff = Reconnect::default();
    let mut ends_in_a_row = 0;
    loop {
        let started = Instant::now();
        let mut child = shared.nursery.start(shared.command(&role, &log)?).await?;
        let status = tokio::select! {
            status = child.wait() => status.with_context(|| format!("waiting for {name}"))?,
            () = shared.stop.cancelled() => {
                return children::end(name, child, shared.plan.patience).await.map(drop);
            }
        };
        if started.elapsed() > WORKED {
            backoff.reset();
            ends_in_a_row = 0;
        }
        ends_in_a_row += 1;
        if ends_in_a_row >= HOPELESS {
            shared.hopeless.send_replace(Some(why_hopeless(name, status, &log)));
        }
        let delay = backoff.next_delay();
        tracing::warn!(role = %name, %status, ?delay, log = %log.display(), "a role ended; starting it again");
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = shared.stop.cancelled() => return Ok(()),
        }
    }
}

impl Shared {
    fn command(&self, role: &Role, log: &Path) -> anyhow::Result<Command> {
        let mut command = children::command(&self.program, log)?;
        command.args(&role.arguments);
        for (variable, value) in self.plan.variables.iter().chain(&role.own) {
            command.env_remove(format!("{variable}_FILE")).env(variable, value);
        }
        Ok(command)
    }
}

fn why_hopeless(name: &str, status: ExitStatus, log: &Path) -> String {
    let (last, log) = (last_line(log), log.display());
    format!("{name} ended {HOPELESS} times in a row ({status}): {last}; read its log, {log}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(script: &str, logs: &Path) -> Plan {
        Plan {
            variables: vec![("GREETING".into(), "hello".into())],
            roles: vec![Role {
                name: "worker-1".into(),
                arguments: vec!["-c".into(), script.into()],
                own: Vec::new(),
            }],
            logs: logs.to_owned(),
            patience: Duration::from_secs(5),
        }
    }

    #[tokio::test]
    async fn a_role_that_ends_is_started_again_and_at_last_called_hopeless() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("log");
        let roles = Roles::start_program("/bin/sh".into(), plan("echo $GREETING; exit 7", &logs)).unwrap();
        let reason = roles.hopeless().await.to_string();
        assert!(
            reason.starts_with("worker-1 ended 5 times in a row (exit status: 7): hello; read its log"),
            "{reason}"
        );
        roles.stop().await.unwrap();
        let said = std::fs::read_to_string(logs.join("worker-1.log")).unwrap();
        assert!(said.lines().count() >= 5, "{said}");
    }

    #[tokio::test]
    async fn a_role_that_runs_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let roles = Roles::start_program("/bin/sh".into(), plan("exec sleep 60", folder.path())).unwrap();
        let stopped = Instant::now();
        roles.stop().await.unwrap();
        assert!(stopped.elapsed() < Duration::from_secs(5));
    }
}
