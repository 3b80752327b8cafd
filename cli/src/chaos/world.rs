//! The fleet that is maltreated: private servers behind fault proxies, role processes, and a speech server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use common::private::{Fault, FaultProxy, PrivateServers, ports};
use common::topology::epoch_queue;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::Child;
use tokio_postgres::NoTls;

use super::provider::Replaceable;
use crate::fleet::children::{self, Nursery};
use crate::output::remark;

/// What runs: two producers, two collectors (each with its mixing process), three workers, and one that mixes.
const MEMBERS: [(&str, usize); 4] = [("producer", 2), ("collector", 2), ("worker", 3), ("mixer", 1)];
/// A role that was asked to leave is killed after this long.
const PATIENCE: Duration = Duration::from_secs(10);
const ABORTED: i32 = Signal::SIGABRT as i32;
const TERMINATED: i32 = Signal::SIGTERM as i32;
const KILLED: i32 = Signal::SIGKILL as i32;
pub(super) struct World {
    pub(super) servers: PrivateServers,
    pub(super) broker_network: FaultProxy,
    pub(super) database_network: FaultProxy,
    pub(super) cache_network: FaultProxy,
    /// Addresses of the producers' APIs.
    pub(super) apis: Vec<String>,
    members: Vec<Member>,
    roster: Roster,
    /// Crash points that were passed since somebody asked.
    crashed: Vec<&'static str>,
    /// How members that were asked to leave did so, and how often.
    left: BTreeMap<&'static str, u32>,
    /// Whether nothing is in their way, so that all of them have to leave in order.
    is_calm: bool,
    /// Members that ended by themselves, or did not leave in order.
    complaints: Vec<String>,
    pub(super) provider: Replaceable,
    environment: Vec<(String, String)>,
    nursery: Nursery,
    folder: TempDir,
}

struct Member {
    role: &'static str,
    name: String,
    own: Vec<(String, String)>,
    /// What it is started from the next time.
    program: PathBuf,
    child: Option<Child>,
    /// The point at which it is to crash, and at which passing of it.
    armed: Option<(&'static str, u8)>,
}

/// A collector's child.
pub(super) struct Mixer {
    pub(super) pid: Pid,
}

/// Process ids of the members by name, for those who only look.
pub(super) type Roster = Arc<Mutex<BTreeMap<String, u32>>>;

impl World {
    /// Every member is started from `program`.
    pub(super) async fn start(program: &Path) -> anyhow::Result<World> {
        let folder = tempfile::Builder::new().prefix("podfleet-chaos-").tempdir()?;
        let servers = PrivateServers::start(&folder.path().join("servers")).await?;
        let behind = async |port: u16| FaultProxy::start(SocketAddr::from(([127, 0, 0, 1], port))).await;
        let ports: [u16; 2] = ports::free()?;
        let mut world = World {
            broker_network: behind(servers.rabbitmq.port()).await?,
            database_network: behind(servers.postgres.port()).await?,
            cache_network: behind(servers.redis.port()).await?,
            apis: ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect(),
            members: Vec::new(),
            roster: Roster::default(),
            crashed: Vec::new(),
            left: BTreeMap::new(),
            is_calm: false,
            complaints: Vec::new(),
            provider: Replaceable::start().await?,
            environment: Vec::new(),
            nursery: Nursery::new()?,
            servers,
            folder,
        };
        world.environment = world.variables();
        for (role, count) in MEMBERS {
            for number in 1..=count {
                world.members.push(Member {
                    role,
                    name: format!("{role}-{number}"),
                    own: Vec::new(),
                    program: program.to_owned(),
                    child: None,
                    armed: None,
                });
            }
        }
        let producers = world.members.iter_mut().filter(|member| member.role == "producer");
        for (producer, port) in producers.zip(ports) {
            producer.own.push(("PODFLEET__PRODUCER__BIND".into(), format!("127.0.0.1:{port}")));
        }
        // What one of the producers accepts is written by a language model, part by part.
        if is_this_build(program)? {
            let kinds =
                ["OUTLINE", "SCRIPT"].map(|kind| (format!("PODFLEET__DEFAULTS__{kind}"), "model".into()));
            world.member("producer-2")?.own.extend(kinds);
        }
        world.respawn().await?;
        world.until_ready().await?;
        world.until_queues().await?;
        Ok(world)
    }

    fn variables(&self) -> Vec<(String, String)> {
        let through = |url: String, port: u16, proxy: &FaultProxy| {
            url.replace(&format!(":{port}"), &format!(":{}", proxy.addr().port()))
        };
        let servers = &self.servers;
        let provider = format!("http://{}", self.provider.address);
        let blobs = self.folder.path().join("blobs").display().to_string();
        let broker = through(servers.rabbitmq.url(), servers.rabbitmq.port(), &self.broker_network);
        let database = through(servers.postgres.url(), servers.postgres.port(), &self.database_network);
        let cache = through(servers.redis.url(), servers.redis.port(), &self.cache_network);
        [
            ("BROKER__URL", broker.as_str()),
            ("DATABASE__URL", &database),
            ("CACHE__URL", &cache),
            ("BLOBS__FOLDER", &blobs),
            ("WORKER__HEALTH_BIND", "127.0.0.1:0"),
            ("WORKER__DRAIN_SECONDS", "8"),
            ("COLLECTOR__HEALTH_BIND", "127.0.0.1:0"),
            // Both collectors work at the same time.
            ("COLLECTOR__SINGLE_ACTIVE", "false"),
            ("POLICY__BASE_MS", "100"),
            ("POLICY__CAP_MS", "3000"),
            ("POLICY__INTERRUPTED_MS", "500"),
            // The nemesis is worse than any provider: what fails here has to be able to succeed later.
            ("POLICY__MAX_FAILURES", "60"),
            ("ENGINES__TONES__TYPE", "openai"),
            ("ENGINES__TONES__KINDS", "tts"),
            ("ENGINES__TONES__URL", &provider),
            ("ENGINES__TONES__MODEL", "tones"),
            ("ENGINES__TONES__TIMEOUT_MS", "4000"),
            ("ENGINES__TONES__EXPECTED_MS", "100"),
            ("ENGINES__TONES__BREAKER__OPEN_MS", "500"),
            ("ENGINES__TONES__BREAKER__OPEN_CAP_MS", "3000"),
            ("DEFAULTS__TTS", "tones"),
            ("ENGINES__MODEL__TYPE", "openai"),
            ("ENGINES__MODEL__KINDS", "outline,script"),
            ("ENGINES__MODEL__URL", &provider),
            ("ENGINES__MODEL__MODEL", "model"),
            ("ENGINES__MODEL__TIMEOUT_MS", "8000"),
            ("ENGINES__MODEL__EXPECTED_MS", "500"),
            ("ENGINES__MODEL__BREAKER__OPEN_MS", "500"),
            ("ENGINES__MODEL__BREAKER__OPEN_CAP_MS", "3000"),
        ]
        .iter()
        .map(|(name, value)| (format!("PODFLEET__{name}"), (*value).to_owned()))
        // Applications here have no keys.
        .chain([("PODFLEET_TRUST_LOOPBACK".to_owned(), "true".to_owned())])
        .collect()
    }

    /// Starts every member that does not run.
    pub(super) async fn respawn(&mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            if let Some(child) = &mut member.child {
                let Some(status) = child.try_wait()? else { continue };
                match (member.armed, status.signal()) {
                    (Some((point, _)), Some(ABORTED)) => {
                        self.crashed.push(point);
                        member.armed = None;
                    }
                    // By the nemesis.
                    (_, Some(KILLED)) => {}
                    _ => self.complaints.push(format!(
                        "{} ended by itself ({status}): {}",
                        member.name,
                        children::last_line(&log_of(&self.folder, &member.name))
                    )),
                }
            }
            let log = log_of(&self.folder, &member.name);
            let mut command = children::command(&member.program, &log)?;
            // An older build refuses settings that it does not know.
            let is_this_build = is_this_build(&member.program)?;
            let known = |name: &str| is_this_build || !name.contains("__BREAKER__");
            let environment = self.environment.iter().filter(|(name, _)| known(name));
            match member.role {
                "mixer" => command.args(["worker", "--tasks", "mix,join"]),
                role => command.arg(role),
            };
            command.envs(environment.cloned()).envs(member.own.iter().cloned());
            command.env_remove("PODFLEET_CRASH_AT").env("NO_COLOR", "1");
            if let Some((point, nth)) = member.armed {
                command.env("PODFLEET_CRASH_AT", format!("{point}:{nth}"));
            }
            let child = self.nursery.start(command).await?;
            if let Some(pid) = child.id() {
                self.roster.lock().unwrap_or_else(PoisonError::into_inner).insert(member.name.clone(), pid);
            }
            member.child = Some(child);
        }
        Ok(())
    }

    /// Crash points that were passed since the last call.
    pub(super) fn crashed(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.crashed)
    }

    pub(super) fn is_unarmed(&self, name: &str) -> bool {
        self.members.iter().any(|member| member.name == name && member.armed.is_none())
    }

    /// Puts a fresh process in a member's place that aborts when it passes the point for the `nth` time. So does whoever
    /// follows it, until one has done so.
    pub(super) async fn arm(&mut self, name: &str, point: &'static str, nth: u8) -> anyhow::Result<()> {
        self.end(name).await?;
        self.member(name)?.armed = Some((point, nth));
        self.respawn().await
    }

    /// Nobody crashes by himself any more.
    pub(super) async fn disarm(&mut self) -> anyhow::Result<()> {
        for name in self.names() {
            if self.member(&name)?.armed.take().is_some() {
                self.end(&name).await?;
            }
        }
        self.respawn().await
    }

    /// From now on a member is started from this program; the one that runs is asked to leave.
    pub(super) async fn replace(&mut self, name: &str, program: &Path) -> anyhow::Result<()> {
        program.clone_into(&mut self.member(name)?.program);
        self.end(name).await?;
        self.respawn().await
    }

    fn names(&self) -> Vec<String> {
        self.members.iter().map(|member| member.name.clone()).collect()
    }

    pub(super) fn roster(&self) -> Roster {
        self.roster.clone()
    }

    /// Names of the members with a role.
    pub(super) fn members(&self, role: &str) -> Vec<String> {
        self.members.iter().filter(|member| member.role == role).map(|member| member.name.clone()).collect()
    }

    fn member(&mut self, name: &str) -> anyhow::Result<&mut Member> {
        self.members.iter_mut().find(|member| member.name == name).context("a member of the fleet")
    }

    pub(super) fn signal(&mut self, name: &str, signal: Signal) -> anyhow::Result<()> {
        if let Some(pid) = self.member(name)?.child.as_ref().and_then(Child::id) {
            kill(Pid::from_raw(pid.cast_signed()), signal).with_context(|| format!("{signal} to {name}"))?;
        }
        Ok(())
    }

    /// Kills a member, and waits until it is gone: who looks for the dead must find it.
    pub(super) async fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        if let Some(child) = &mut self.member(name)?.child {
            child.start_kill()?;
            child.wait().await?;
        }
        Ok(())
    }

    /// Asks a member to leave, and insists.
    pub(super) async fn end(&mut self, name: &str) -> anyhow::Result<()> {
        let Some(child) = self.member(name)?.child.take() else { return Ok(()) };
        let Some(status) = children::end(name, child, PATIENCE).await? else { return Ok(()) };
        let how = match (status.success(), status.signal()) {
            (true, _) => "in order",
            (_, Some(KILLED)) => "only when killed",
            // It was asked before it listened.
            (_, Some(TERMINATED)) => "before they had begun",
            _ => "with an error",
        };
        *self.left.entry(how).or_default() += 1;
        if self.is_calm && !status.success() && status.signal() != Some(TERMINATED) {
            let last = children::last_line(&log_of(&self.folder, name));
            self.complaints.push(format!("{name} was asked to leave and did so {how} ({status}): {last}"));
        }
        Ok(())
    }

    /// From here on one fault happens at a time: who is asked to leave has nothing in his way.
    pub(super) fn expect_order(&mut self) {
        self.is_calm = true;
    }

    pub(super) fn left(&self) -> &BTreeMap<&'static str, u32> {
        &self.left
    }

    /// What members did that nobody had asked them to do.
    pub(super) fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// The mixing process of a collector.
    pub(super) fn mixer_of(&mut self, collector: &str) -> anyhow::Result<Option<Mixer>> {
        let parent = self.member(collector)?.child.as_ref().and_then(Child::id);
        Ok(parent.and_then(first_child_of).map(|pid| Mixer { pid: Pid::from_raw(pid.cast_signed()) }))
    }

    /// Starts the servers that do not run.
    pub(super) async fn raise_servers(&mut self) -> anyhow::Result<()> {
        if self.servers.rabbitmq.pid().is_none() {
            self.servers.rabbitmq.restart().await?;
        }
        if self.servers.postgres.pid().is_none() {
            self.servers.postgres.restart().await?;
        }
        if self.servers.redis.pid().is_none() {
            self.servers.redis.restart().await?;
        }
        Ok(())
    }

    /// A connection past the proxy.
    pub(super) async fn database(&self) -> anyhow::Result<tokio_postgres::Client> {
        connect(&self.servers.postgres.url()).await
    }

    /// Everything as at the beginning.
    pub(super) async fn heal(&mut self) -> anyhow::Result<()> {
        for network in [&self.broker_network, &self.database_network, &self.cache_network] {
            network.set(Fault::Pass);
        }
        self.servers.redis.resume();
        self.raise_servers().await?;
        self.provider.restore().await?;
        for name in self.names() {
            self.signal(&name, Signal::SIGCONT)?;
            if let Some(Mixer { pid }) = self.mixer_of(&name)? {
                // It may have left meanwhile.
                kill(pid, Signal::SIGCONT).ok();
            }
        }
        self.respawn().await?;
        self.until_ready().await
    }

    pub(super) async fn until_ready(&self) -> anyhow::Result<()> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
        let started = Instant::now();
        for api in &self.apis {
            while !client.get(format!("{api}/readyz")).send().await.is_ok_and(|answer| answer.status() == 200)
            {
                if started.elapsed() > Duration::from_secs(90) {
                    bail!("{api} is not ready; the logs are in {}", self.folder.path().display());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// A queue that is deleted while it is declared for the first time cannot be declared again before its broker is restarted
    /// (RabbitMQ 3.10.8): the first fault waits until all of them are there, the epoch's last.
    async fn until_queues(&self) -> anyhow::Result<()> {
        let database = self.database().await?;
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(90) {
            // The first process of a build that is older makes the table.
            if let Ok(row) = database.query_one("select epoch from fleet", &[]).await {
                let epoch = epoch_queue(row.get(0));
                if self.servers.rabbitmq.queues("/").await?.iter().any(|queue| queue.name == epoch) {
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("no collector declares the queues; the logs are in {}", self.folder.path().display())
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends everything; returns the folder of the logs if they are kept. What does not leave in order is killed with this process.
    pub(super) async fn stop(mut self, keep_logs: bool) -> Option<PathBuf> {
        let members = self.end_all().await;
        if let Err(error) = members.and(self.servers.stop().await) {
            remark(format!("not everything has ended in order: {error:#}"));
        }
        keep_logs.then(|| self.folder.keep())
    }

    /// All are asked to leave.
    pub(super) async fn end_all(&mut self) -> anyhow::Result<()> {
        for name in self.names() {
            self.signal(&name, Signal::SIGCONT)?;
            self.end(&name).await?;
        }
        Ok(())
    }
}

fn log_of(folder: &TempDir, member: &str) -> PathBuf {
    folder.path().join(format!("{member}.log"))
}

fn is_this_build(program: &Path) -> anyhow::Result<bool> {
    Ok(program == std::env::current_exe().context("the path of this program")?)
}

/// The first child of a process, and no other role has more than one.
pub(super) fn first_child_of(parent: u32) -> Option<u32> {
    // Children are listed by the thread that started them, and any of them may have. A thread that is gone has none.
    let threads = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    children.collect::<String>().split_whitespace().next().and_then(|pid| pid.parse().ok())
}

/// A connection whose end ends its task.
pub(super) async fn connect(url: &str) -> anyhow::Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move {
        // Its user learns of an error from its own call.
        let _ = connection.await;
    });
    Ok(client)
}
