//! Celery and BullMQ on the same workflow and the same servers: the programs in `loadtest/peers`, installed once below `.podfleet/peers`.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use common::private::PrivateServers;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

use crate::failure::Failure;
use crate::fleet::children::{self, Nursery};
use crate::output::remark;

const CELERY: (&str, &str) = ("celery.py", include_str!("../../../loadtest/peers/celery.py"));
const BULLMQ: (&str, &str) = ("bullmq.js", include_str!("../../../loadtest/peers/bullmq.js"));
/// BullMQ leaves the client of Redis to be chosen.
const PACKAGES: [&str; 3] = ["celery[redis]==5.7.0", "bullmq@6.7.0", "ioredis@5.11.1"];
const INSTALLING: Duration = Duration::from_secs(600);
const MEASURING: Duration = Duration::from_secs(300);
const LEAVING: Duration = Duration::from_secs(15);
/// Workflows one after another, and all at once: so many that each takes some seconds.
const CELERY_AMOUNT: [&str; 2] = ["20", "60"];
const BULLMQ_AMOUNT: [&str; 2] = ["50", "200"];
const VHOST: &str = "peers";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Celery,
    BullMq,
}

/// What a peer's program prints.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Speed {
    /// Median.
    pub(super) alone_ms: f64,
    pub(super) per_second: f64,
}

/// Their workers, running.
pub(super) struct Peers {
    folder: PathBuf,
    variables: Vec<(String, String)>,
    workers: Vec<(&'static str, Child)>,
    _nursery: Nursery,
}

impl Peers {
    pub(super) async fn start(servers: &PrivateServers, logs: &Path) -> anyhow::Result<Peers> {
        let folder = std::path::absolute(".podfleet/peers")?;
        install(&folder).await?;
        servers.rabbitmq.create_vhost(VHOST).await?;
        let variables = vec![
            ("PEER_BROKER".to_owned(), servers.rabbitmq.vhost_url(VHOST)),
            ("PEER_REDIS".to_owned(), servers.redis.url()),
        ];
        let nursery = Nursery::new()?;
        let mut peers = Peers { folder, variables, workers: Vec::new(), _nursery: nursery };
        for peer in [Peer::Celery, Peer::BullMq] {
            let name = peer.name();
            let (program, arguments) = peer.program(&peers.folder);
            let mut command = children::command(&program, &logs.join(format!("{name}.log")))?;
            command
                .args(arguments)
                .arg("worker")
                .current_dir(&peers.folder)
                .envs(peers.variables.iter().cloned());
            let child = peers._nursery.start(command).await?;
            peers.workers.push((name, child));
        }
        Ok(peers)
    }

    pub(super) async fn measure(&self, peer: Peer) -> anyhow::Result<Speed> {
        let (program, arguments) = peer.program(&self.folder);
        let mut command = Command::new(program);
        command.args(arguments).arg("measure").args(peer.amount()).current_dir(&self.folder);
        command.envs(self.variables.iter().cloned());
        let output = finished(peer.name(), command, MEASURING).await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or_default();
        serde_json::from_str(last).with_context(|| format!("{} printed: {text}", peer.name()))
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        for (name, worker) in self.workers {
            children::end(name, worker, LEAVING).await?;
        }
        Ok(())
    }
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Peer::Celery => "celery",
            Peer::BullMq => "bullmq",
        }
    }

    fn amount(self) -> [&'static str; 2] {
        match self {
            Peer::Celery => CELERY_AMOUNT,
            Peer::BullMq => BULLMQ_AMOUNT,
        }
    }

    fn program(self, folder: &Path) -> (PathBuf, [String; 1]) {
        match self {
            Peer::Celery => (folder.join("venv/bin/python"), [CELERY.0.to_owned()]),
            Peer::BullMq => (PathBuf::from("node"), [BULLMQ.0.to_owned()]),
        }
    }
}

/// Programs are written each time, packages are installed once.
async fn install(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for (name, text) in [CELERY, BULLMQ] {
        std::fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    let installed = folder.join("installed");
    if std::fs::read_to_string(&installed).is_ok_and(|text| text == PACKAGES.join("\n")) {
        return Ok(());
    }
    remark("installing Celery and BullMQ below .podfleet/peers, once");
    let here = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder);
        command
    };
    finished("python3", here("python3", &["-m", "venv", "venv"]), INSTALLING).await?;
    finished("pip", here("venv/bin/pip", &["install", "--quiet", PACKAGES[0]]), INSTALLING).await?;
    let npm = ["install", "--silent", "--no-audit", "--no-fund", "--prefix", ".", PACKAGES[1], PACKAGES[2]];
    finished("npm", here("npm", &npm), INSTALLING).await?;
    std::fs::write(&installed, PACKAGES.join("\n"))
        .with_context(|| format!("cannot write {}", installed.display()))
}

async fn finished(name: &str, mut command: Command, limit: Duration) -> anyhow::Result<Output> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(limit, command.output())
        .await
        .with_context(|| format!("{name} did not end within {limit:?}"))?
        .map_err(|error| {
            Failure::MissingProgram(format!(
                "{name} could not be started ({error}); the peers need python3 and npm"
            ))
        })?;
    ensure!(output.status.success(), "{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(output)
}
