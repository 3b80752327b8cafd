//! The fleet that is maltreated: private servers behind fault proxies, role processes, and a speech server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use common::private::{Fault, FaultProxy, PrivateServers, ports};
use loadtest::providers::{Latency, Ledger, Provider, Settings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::Child;
use tokio_postgres::NoTls;

use crate::fleet::children::{self, Nursery};

/// What runs: two producers, two collectors (each with its mixing process), three workers.
const MEMBERS: [(&str, usize); 3] = [("producer", 2), ("collector", 2), ("worker", 3)];
/// A role that was asked to leave is killed after this long.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct World {
    pub(super) servers: PrivateServers,
    pub(super) broker_network: FaultProxy,
    pub(super) database_network: FaultProxy,
    pub(super) cache_network: FaultProxy,
    /// Addresses of the producers' APIs.
    pub(super) apis: Vec<String>,
    members: Vec<Member>,
    provider: Option<Provider>,
    provider_at: SocketAddr,
    /// Of the speech servers before this one.
    ledgers: Vec<Ledger>,
    environment: Vec<(String, String)>,
    nursery: Nursery,
    program: PathBuf,
    folder: TempDir,
}

struct Member {
    role: &'static str,
    name: String,
    own: Vec<(String, String)>,
    child: Option<Child>,
}

impl World {
    pub(super) async fn start() -> anyhow::Result<World> {
        let folder = tempfile::Builder::new().prefix("podfleet-chaos-").tempdir()?;
        let servers = PrivateServers::start(&folder.path().join("servers")).await?;
        let behind = async |port: u16| FaultProxy::start(SocketAddr::from(([127, 0, 0, 1], port))).await;
        let provider = Provider::start(settings()).await?;
        let ports: [u16; 2] = ports::free()?;
        let mut world = World {
            broker_network: behind(servers.rabbitmq.port()).await?,
            database_network: behind(servers.postgres.port()).await?,
            cache_network: behind(servers.redis.port()).await?,
            apis: ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect(),
            members: Vec::new(),
            provider_at: provider.address(),
            provider: Some(provider),
            ledgers: Vec::new(),
            environment: Vec::new(),
            nursery: Nursery::new()?,
            program: std::env::current_exe().context("finding this program")?,
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
                    child: None,
                });
            }
        }
        let producers = world.members.iter_mut().filter(|member| member.role == "producer");
        for (producer, port) in producers.zip(ports) {
            producer.own.push(("PODFLEET__PRODUCER__BIND".into(), format!("127.0.0.1:{port}")));
        }
        world.respawn(None).await?;
        world.until_ready().await?;
        Ok(world)
    }

    fn variables(&self) -> Vec<(String, String)> {
        let through = |url: String, port: u16, proxy: &FaultProxy| {
            url.replace(&format!(":{port}"), &format!(":{}", proxy.addr().port()))
        };
        let servers = &self.servers;
        let provider = format!("http://{}", self.provider_at);
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
            ("DEFAULTS__TTS", "tones"),
        ]
        .iter()
        .map(|(name, value)| (format!("PODFLEET__{name}"), (*value).to_owned()))
        // Applications here have no keys.
        .chain([("PODFLEET_TRUST_LOOPBACK".to_owned(), "true".to_owned())])
        .collect()
    }

    /// Starts every member that does not run. `wish` is an additional variable for the named one.
    pub(super) async fn respawn(&mut self, wish: Option<(&str, &str, &str)>) -> anyhow::Result<()> {
        for member in &mut self.members {
            if let Some(child) = &mut member.child
                && child.try_wait()?.is_none()
            {
                continue;
            }
            let log = self.folder.path().join(format!("{}.log", member.name));
            let mut command = children::command(&self.program, &log)?;
            command.arg(member.role).envs(self.environment.iter().cloned()).envs(member.own.iter().cloned());
            command.env_remove("PODFLEET_CRASH_AT").env("NO_COLOR", "1");
            if let Some((name, variable, value)) = wish
                && name == member.name
            {
                command.env(variable, value);
            }
            member.child = Some(self.nursery.start(command).await?);
        }
        Ok(())
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

    /// Waits until a member has ended by itself; `false` when it is still there in the end.
    pub(super) async fn ends_within(&mut self, name: &str, patience: Duration) -> anyhow::Result<bool> {
        let Some(child) = &mut self.member(name)?.child else { return Ok(true) };
        match tokio::time::timeout(patience, child.wait()).await {
            Ok(status) => status.map(|_| true).context("waiting for a role"),
            Err(_) => Ok(false),
        }
    }

    /// Asks a member to leave, and insists.
    pub(super) async fn end(&mut self, name: &str) -> anyhow::Result<()> {
        if let Some(child) = self.member(name)?.child.take() {
            children::end(name, child, PATIENCE).await?;
        }
        Ok(())
    }

    /// The mixing process of a collector.
    pub(super) fn mixer_of(&mut self, collector: &str) -> anyhow::Result<Option<Pid>> {
        let Some(parent) = self.member(collector)?.child.as_ref().and_then(Child::id) else {
            return Ok(None);
        };
        // Children are listed by the thread that started them, and any of them may have. A thread that is gone has none.
        let threads = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        let children =
            threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        let first = children.collect::<String>().split_whitespace().next().and_then(|pid| pid.parse().ok());
        Ok(first.map(Pid::from_raw))
    }

    pub(super) fn provider(&self) -> anyhow::Result<&Provider> {
        self.provider.as_ref().context("the speech server is down")
    }

    pub(super) async fn stop_provider(&mut self) {
        if let Some(provider) = self.provider.take() {
            self.ledgers.push(provider.stop().await);
        }
    }

    pub(super) async fn start_provider(&mut self) -> anyhow::Result<()> {
        if self.provider.is_none() {
            self.provider = Some(Provider::bind(self.provider_at, settings()).await?);
        }
        Ok(())
    }

    pub(super) fn ledgers(&self) -> Vec<Ledger> {
        self.ledgers.iter().cloned().chain(self.provider.as_ref().map(Provider::ledger)).collect()
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
        self.start_provider().await?;
        self.provider()?.clear_rules();
        for member in &self.members {
            if let Some(pid) = member.child.as_ref().and_then(Child::id) {
                kill(Pid::from_raw(pid.cast_signed()), Signal::SIGCONT).ok();
            }
        }
        self.respawn(None).await?;
        self.until_ready().await
    }

    async fn until_ready(&self) -> anyhow::Result<()> {
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

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends everything; returns the folder of the logs if they are kept.
    pub(super) async fn stop(mut self, keep_logs: bool) -> anyhow::Result<Option<PathBuf>> {
        for name in self.members.iter().map(|member| member.name.clone()).collect::<Vec<_>>() {
            self.signal(&name, Signal::SIGCONT)?;
            self.end(&name).await?;
        }
        self.servers.stop().await?;
        Ok(keep_logs.then(|| self.folder.keep()))
    }
}

/// Short recordings, so that many podcasts fit into the time.
fn settings() -> Settings {
    Settings::default().speech_latency(Latency::fixed_ms(150))
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
