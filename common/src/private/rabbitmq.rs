//! A private RabbitMQ with its management API, and the epmd it needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use super::process::{Process, command, find};
use super::rabbitmq_admin::Admin;
use super::{MissingPrograms, folder, must_be_down, password, ports, write_private};

const NAME: &str = "RabbitMQ";
pub(super) const USER: &str = "podfleet";
/// The same in every folder and at every start, because RabbitMQ's data belongs to a node name. Two nodes do not meet:
/// each has an epmd of its own.
pub(super) const NODE: &str = "podfleet@localhost";
const START_LIMIT: Duration = Duration::from_secs(120);
const EPMD_LIMIT: Duration = Duration::from_secs(10);
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Stopping the management plugin hangs for 5 s (measured on 3.10) when queues and messages are long safe on disk.
const ERLANG_SHUTDOWN_MS: u32 = 3_000;

/// A RabbitMQ of our own. All its listeners are on the loopback interface, its user has a random password.
#[derive(Debug)]
pub struct RabbitMq {
    pub(super) data: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) programs: Programs,
    pub(super) password: String,
    pub(super) ports: Ports,
    pub(super) admin: Admin,
    // In this order: fields are dropped in order, and the node needs epmd to its end.
    node: Option<Process>,
    epmd: Option<Process>,
}

#[derive(Debug, Clone)]
pub(super) struct Programs {
    server: PathBuf,
    pub(super) ctl: PathBuf,
    epmd: PathBuf,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ports {
    pub(super) amqp: u16,
    /// Unless it is chosen, it is the AMQP port + 20000, which may be a neighbour's.
    distribution: u16,
    pub(super) epmd: u16,
    pub(super) management: u16,
}

impl RabbitMq {
    /// Starts it on free ports, with its files in `data/rabbitmq`.
    pub async fn start(data: &Path) -> anyhow::Result<Self> {
        let programs = Self::programs().ok_or_else(|| MissingPrograms(vec!["rabbitmq-server"]))?;
        let folder = folder(data, "rabbitmq")?;
        let password = password(&folder)?;
        let admin = Admin::new()?;
        let ports = Ports::default();
        let mut rabbitmq = RabbitMq {
            data: data.to_owned(),
            folder,
            programs,
            password,
            ports,
            admin,
            node: None,
            epmd: None,
        };
        for last in [false, false, true] {
            let [amqp, distribution, epmd, management] = ports::free()?;
            rabbitmq.ports = Ports { amqp, distribution, epmd, management };
            let outcome = rabbitmq.restart().await;
            if outcome.is_ok() {
                return Ok(rabbitmq);
            }
            rabbitmq.stop().await?;
            // Somebody may have taken a port between finding it and listening on it.
            let taken = ![amqp, distribution, epmd, management].into_iter().all(ports::is_free);
            if last || !taken {
                return outcome.map(|()| rabbitmq);
            }
        }
        unreachable!("the last round returns")
    }

    /// Debian's wrapper in /usr/sbin changes user and folder and logs to /var/log, so the script behind it is preferred.
    pub(super) fn programs() -> Option<Programs> {
        let server = find("rabbitmq-server", &[PathBuf::from("/usr/lib/rabbitmq/bin")])?;
        let server = fs::canonicalize(server).ok()?;
        let ctl = server.with_file_name("rabbitmqctl");
        let epmd = find("epmd", &[])?;
        Some(Programs { server, ctl, epmd })
    }

    /// The virtual host `/`.
    pub fn url(&self) -> String {
        self.vhost_url("%2f")
    }

    /// `amqp://podfleet:password@127.0.0.1:port/name`
    pub fn vhost_url(&self, name: &str) -> String {
        format!("amqp://{USER}:{}@127.0.0.1:{}/{name}", self.password, self.ports.amqp)
    }

    pub fn port(&self) -> u16 {
        self.ports.amqp
    }

    /// The broker's process, not epmd's; `None` while it is down.
    pub fn pid(&self) -> Option<u32> {
        self.node.as_ref().and_then(Process::pid)
    }

    /// Starts it again on the same ports with the same data. One that is still running is killed first.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill().await?;
        self.start_epmd().await?;
        self.write_configuration()?;
        let node = Process::start(NAME, self.server_command()?, &self.folder.join("server.log"))?;
        node.until_ready(START_LIMIT, async || self.probe().await).await?;
        self.node = Some(node);
        Ok(())
    }

    /// `kill -9` for the broker. Its epmd stays, as it would on a machine of its own.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        match self.node.take() {
            Some(node) => node.kill().await,
            None => Ok(()),
        }
    }

    /// Stops the broker as an operator would, then epmd.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(node) = self.node.take() {
            node.end(Signal::SIGTERM, STOP_LIMIT).await?;
        }
        match self.epmd.take() {
            Some(epmd) => epmd.end(Signal::SIGTERM, EPMD_LIMIT).await,
            None => Ok(()),
        }
    }

    /// Freezes the broker: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.node.iter().for_each(Process::pause);
    }

    pub fn resume(&self) {
        self.node.iter().for_each(Process::resume);
    }

    /// Removes all data of a stopped broker, virtual hosts included, so that the next start is that of a new one.
    pub async fn wipe(&mut self) -> anyhow::Result<()> {
        must_be_down(NAME, self.pid())?;
        match fs::remove_dir_all(self.database()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.database().display()))
            }
            _ => Ok(()),
        }
    }

    /// RabbitMQ would start an epmd that outlives it. In the foreground, and started first, it is ours to end.
    async fn start_epmd(&mut self) -> anyhow::Result<()> {
        if self.epmd.as_ref().is_some_and(|epmd| epmd.exit_status().is_none()) {
            return Ok(());
        }
        let mut command = command(&self.programs.epmd, &[], &self.data, &self.folder)?;
        command.args(["-port", &self.ports.epmd.to_string(), "-address", "127.0.0.1"]);
        let epmd = Process::start("RabbitMQ's epmd", command, &self.folder.join("epmd.log"))?;
        let port = self.ports.epmd;
        epmd.until_ready(EPMD_LIMIT, async || Ok(TcpStream::connect(("127.0.0.1", port)).await.map(drop)?))
            .await?;
        self.epmd = Some(epmd);
        Ok(())
    }

    fn write_configuration(&self) -> anyhow::Result<()> {
        let Ports { amqp, management, .. } = self.ports;
        let configuration = format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp}\n\
             management.tcp.ip = 127.0.0.1\n\
             management.tcp.port = {management}\n\
             collect_statistics_interval = 1000\n\
             default_user = {USER}\n\
             default_pass = {}\n",
            self.password
        );
        write_private(&self.folder.join("rabbitmq.conf"), &configuration)?;
        // Dead letters that found no queue are tried again after so long; the default is three minutes.
        let advanced = "[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 15000}]}].\n";
        write_private(&self.folder.join("advanced.config"), advanced)?;
        write_private(&self.folder.join("enabled_plugins"), "[rabbitmq_management].\n")
    }

    fn server_command(&self) -> anyhow::Result<Command> {
        let mut command = self.erlang_command(&self.programs.server)?;
        let folder = |name: &str| self.folder.join(name);
        command
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.to_string())
            .env("RABBITMQ_MNESIA_BASE", self.database())
            .env("RABBITMQ_LOG_BASE", &self.folder)
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_CONFIG_FILE", folder("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", folder("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder("enabled_plugins"))
            .env("RABBITMQ_PID_FILE", folder("pid"))
            // With it the script becomes the broker (`exec`) and does not stay above it as a shell, so the broker is
            // our own child: it dies when we die, and its process id is the one to kill.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                format!("-kernel inet_dist_use_interface {{127,0,0,1}} -shutdown_time {ERLANG_SHUTDOWN_MS}"),
            );
        Ok(command)
    }

    /// What every Erlang program of this broker needs to know.
    pub(super) fn erlang_command(&self, program: &Path) -> anyhow::Result<Command> {
        let mut command = command(program, &[], &self.data, &self.folder)?;
        command
            .env("RABBITMQ_NODENAME", NODE)
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("ERL_EPMD_PORT", self.ports.epmd.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            // Not even its short-lived helpers may start an epmd, or one might be left behind.
            .env("ERL_ZFLAGS", "-start_epmd false");
        Ok(command)
    }

    /// An open port proves little: a message must go through a quorum queue and back, and management must answer.
    async fn probe(&self) -> anyhow::Result<()> {
        let connection = Connection::connect(&self.url(), ConnectionProperties::default()).await?;
        let outcome = send_and_get(&connection).await;
        let _ = connection.close(200, "probed".into()).await;
        outcome?;
        self.queues("/").await.map(drop)
    }

    fn database(&self) -> PathBuf {
        self.folder.join("database")
    }
}

async fn send_and_get(connection: &Connection) -> anyhow::Result<()> {
    const QUEUE: &str = "podfleet.ready";
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(QUEUE.into(), QueueDeclareOptions::durable(), arguments).await?;
    let properties = BasicProperties::default().with_delivery_mode(2);
    let sent = channel
        .basic_publish("".into(), QUEUE.into(), BasicPublishOptions::default(), b"ready?", properties)
        .await?;
    ensure!(sent.await?.is_ack(), "the broker refused a message");
    let got = channel.basic_get(QUEUE.into(), BasicGetOptions { no_ack: true }).await?;
    ensure!(got.is_some(), "the broker lost a message");
    channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?;
    Ok(())
}
