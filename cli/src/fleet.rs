//! The whole fleet on this machine, for `dev` and `demo`: private servers, and every role as a process of its own.

pub(crate) mod children;
mod roles;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use common::config::{Config, EngineType};
use common::private::{DataLock, MissingPrograms, PrivateServers, ports};
use common::store;
use reqwest::Url;

use crate::client::Client;
use crate::dev_file::Address;
use crate::failure::Failure;
use crate::roles::load;
use roles::{Plan, Role, Roles};

const READY_LIMIT: Duration = Duration::from_secs(60);
/// How long a task in hand may take when everything is stopped. What is cut off goes on at the next start.
const DRAIN_SECONDS: u64 = 5;

#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The servers' data, blobs and logs. Belongs to one podfleet at a time.
    pub(crate) data: PathBuf,
    /// Of the API; 0 takes a free one. Further producers take free ones.
    pub(crate) port: u16,
    pub(crate) producers: u16,
    pub(crate) workers: u16,
    pub(crate) collectors: u16,
    /// The configured servers instead of private ones.
    pub(crate) external: bool,
}

/// Dropping it kills everything; [`Fleet::stop`] is the polite way.
pub(crate) struct Fleet {
    /// Address of the API.
    pub(crate) api: String,
    /// Of every producer's, the first included.
    pub(crate) apis: Vec<String>,
    pub(crate) amqp: Address,
    /// Address of the broker with its password: it stays in this process and its children's environment.
    pub(crate) broker: String,
    /// The same for the database.
    pub(crate) database: String,
    /// Where the roles' logs lie.
    pub(crate) logs: PathBuf,
    // In this order: fields are dropped in order, and roles go before the servers that they use.
    roles: Roles,
    servers: Servers,
}

#[derive(Debug)]
enum Servers {
    Private(Box<PrivateServers>),
    External { _lock: DataLock },
}

impl Fleet {
    /// Starts everything and returns when the API is ready.
    pub(crate) async fn start(file: Option<&Path>, options: &Options) -> anyhow::Result<Fleet> {
        let mut config = load(file)?;
        check_speech(&config)?;
        std::fs::create_dir_all(&options.data)
            .with_context(|| format!("cannot make the folder {}", options.data.display()))?;
        let data = std::fs::canonicalize(&options.data)?;
        // Taken for good with the servers; taken here, a second fleet learns of the first and not of its port.
        drop(DataLock::take(&data)?);
        let ports = api_ports(options.port, options.producers)?;
        let servers = Servers::start(&data, options.external, &mut config).await?;
        let address = |port: &u16| format!("http://127.0.0.1:{port}");
        match start_roles(file, &config, &data, &ports, options).await {
            Ok(roles) => Ok(Fleet {
                api: address(&ports[0]),
                apis: ports.iter().map(address).collect(),
                database: config.database.url,
                amqp: broker_address(&config.broker.url)?,
                broker: config.broker.url,
                logs: data.join("log"),
                roles,
                servers,
            }),
            Err(error) => {
                servers.stop().await?;
                Err(error)
            }
        }
    }

    /// Waits until a role has ended so often that it will never work, and tells why.
    pub(crate) async fn hopeless(&self) -> anyhow::Error {
        self.roles.hopeless().await
    }

    /// One more worker, with these options of its command line.
    pub(crate) fn add_worker(&mut self, name: &str, options: &[&str]) {
        let arguments = std::iter::once("worker").chain(options.iter().copied()).map(str::to_owned).collect();
        self.roles.add(Role { name: name.to_owned(), arguments, own: Vec::new() });
    }

    /// The servers, unless they are somebody else's.
    pub(crate) fn servers(&self) -> Option<&PrivateServers> {
        match &self.servers {
            Servers::Private(servers) => Some(servers),
            Servers::External { .. } => None,
        }
    }

    /// Stops the roles, then the servers; returns when no process is left.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let roles = self.roles.stop().await;
        self.servers.stop().await?;
        roles
    }
}

impl Servers {
    /// Afterwards the configuration names the servers that were started.
    async fn start(data: &Path, external: bool, config: &mut Config) -> anyhow::Result<Servers> {
        if external {
            return Ok(Servers::External { _lock: DataLock::take(data)? });
        }
        let servers = PrivateServers::start(data).await.map_err(missing_program)?;
        config.broker.url = servers.rabbitmq.url();
        config.database.url = servers.postgres.url();
        config.cache.url = servers.redis.url();
        config.blobs.folder = data.join("blobs").display().to_string();
        Ok(Servers::Private(Box::new(servers)))
    }

    async fn stop(self) -> anyhow::Result<()> {
        match self {
            Servers::Private(servers) => servers.stop().await,
            Servers::External { .. } => Ok(()),
        }
    }
}

/// A producer to be.
struct Listener {
    port: u16,
    /// Holds its address once it listens.
    ready_file: PathBuf,
}

async fn start_roles(
    file: Option<&Path>,
    config: &Config,
    data: &Path,
    ports: &[u16],
    options: &Options,
) -> anyhow::Result<Roles> {
    store::migrate(&config.database).await?;
    let producers: Vec<Listener> = ports
        .iter()
        .zip(1..)
        .map(|(port, number)| Listener {
            port: *port,
            ready_file: data.join(format!("producer-{number}.ready")),
        })
        .collect();
    for producer in &producers {
        // One of an earlier run would be taken for this one's.
        let _ = std::fs::remove_file(&producer.ready_file);
    }
    let plan = Plan {
        variables: variables(file, config)?,
        roles: commands(options, &producers),
        logs: data.join("log"),
        // A collector waits for its mixing process, which drains as long as a worker, and 5 s longer.
        patience: Duration::from_secs(DRAIN_SECONDS + 8),
    };
    let roles = Roles::start(plan)?;
    let ready = tokio::select! {
        ready = tokio::time::timeout(READY_LIMIT, until_ready(&producers)) => ready,
        error = roles.hopeless() => Ok(Err(error)),
    };
    match ready {
        Ok(Ok(())) => Ok(roles),
        Ok(Err(error)) => {
            roles.stop().await?;
            Err(error)
        }
        Err(_) => {
            roles.stop().await?;
            bail!(
                "the API was not ready within {READY_LIMIT:?}; read the logs in {}",
                data.join("log").display()
            )
        }
    }
}

/// What roles are told through their environment, never on their command lines, which everybody can read.
fn variables(file: Option<&Path>, config: &Config) -> anyhow::Result<Vec<(String, String)>> {
    let free = "127.0.0.1:0".to_owned();
    let mut variables = vec![
        ("PODFLEET__BROKER__URL", config.broker.url.clone()),
        ("PODFLEET__DATABASE__URL", config.database.url.clone()),
        ("PODFLEET__CACHE__URL", config.cache.url.clone()),
        ("PODFLEET__BLOBS__FOLDER", config.blobs.folder.clone()),
        // There may be several of each.
        ("PODFLEET__WORKER__HEALTH_BIND", free.clone()),
        ("PODFLEET__COLLECTOR__HEALTH_BIND", free),
        ("PODFLEET__WORKER__DRAIN_SECONDS", DRAIN_SECONDS.min(config.worker.drain_seconds).to_string()),
        // Logs go to files.
        ("NO_COLOR", "1".to_owned()),
    ];
    if let Some(file) = file {
        variables.push(("PODFLEET_CONFIG", std::path::absolute(file)?.display().to_string()));
    }
    Ok(variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Every role, with what it alone is told.
fn commands(options: &Options, producers: &[Listener]) -> Vec<Role> {
    let mut roles: Vec<Role> = producers
        .iter()
        .zip(1..)
        .map(|(producer, number)| Role {
            name: format!("producer-{number}"),
            // Whoever starts it on this machine is signed in.
            arguments: [
                "producer",
                "--trust-loopback",
                "--ready-file",
                &producer.ready_file.display().to_string(),
            ]
            .map(str::to_owned)
            .to_vec(),
            own: vec![("PODFLEET__PRODUCER__BIND".to_owned(), format!("127.0.0.1:{}", producer.port))],
        })
        .collect();
    for (role, count) in [("collector", options.collectors), ("worker", options.workers)] {
        roles.extend((1..=count).map(|number| Role {
            name: format!("{role}-{number}"),
            arguments: vec![role.to_owned()],
            own: Vec::new(),
        }));
    }
    roles
}

/// The ready file proves that it is our producer that listens, and `/readyz` that it has what it needs.
async fn until_ready(producers: &[Listener]) -> anyhow::Result<()> {
    for Listener { port, ready_file } in producers {
        let expected = format!("127.0.0.1:{port}");
        let client = Client::at(&format!("http://{expected}"), None)?;
        let listens = || std::fs::read_to_string(ready_file).is_ok_and(|address| address.trim() == expected);
        while !(listens() && client.stream("/readyz").await.is_ok()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// The wanted one first.
fn api_ports(wanted: u16, count: u16) -> anyhow::Result<Vec<u16>> {
    let mut found = vec![api_port(wanted)?];
    while found.len() < usize::from(count) {
        let [port] = ports::free()?;
        if !found.contains(&port) {
            found.push(port);
        }
    }
    Ok(found)
}

fn api_port(wanted: u16) -> anyhow::Result<u16> {
    if wanted == 0 {
        let [port] = ports::free()?;
        return Ok(port);
    }
    if !ports::is_free(wanted) {
        bail!("port {wanted} of 127.0.0.1 is taken; choose another with --port, or --port 0 for a free one");
    }
    Ok(wanted)
}

/// A missing program is found out before anything is started, not by a worker that ends again and again.
fn check_speech(config: &Config) -> anyhow::Result<()> {
    const PROGRAM: &str = "espeak-ng";
    let engine = config.engines.get(&config.defaults.tts);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = || std::env::split_paths(&path).any(|folder| folder.join(PROGRAM).is_file());
    if engine.is_some_and(|engine| engine.r#type == EngineType::Espeak) && !found() {
        return Err(Failure::MissingProgram(MissingPrograms(vec![PROGRAM]).to_string()).into());
    }
    Ok(())
}

/// Has an exit code of its own.
fn missing_program(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<MissingPrograms>() {
        Some(missing) => Failure::MissingProgram(missing.to_string()).into(),
        None => error,
    }
}

fn broker_address(url: &str) -> anyhow::Result<Address> {
    let url = Url::parse(url).ok().and_then(|url| Some((url.host_str()?.to_owned(), url.port())));
    let (host, port) =
        url.context("broker.url is not an address such as amqp://user:password@host:5672/%2f")?;
    Ok(Address { host, port: port.unwrap_or(5672) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_travel_in_the_environment_only() {
        let mut config = Config::load(None).unwrap();
        config.broker.url = "amqp://podfleet:s3cret@127.0.0.1:1/%2f".into();
        let options =
            Options { data: "x".into(), port: 0, producers: 1, workers: 2, collectors: 1, external: false };
        let producer = Listener { port: 8080, ready_file: "/data/producer-1.ready".into() };
        let commands = commands(&options, &[producer]);
        let names: Vec<&str> = commands.iter().map(|role| role.name.as_str()).collect();
        assert_eq!(names, ["producer-1", "collector-1", "worker-1", "worker-2"]);
        assert!(commands.iter().all(|role| role.arguments.iter().all(|word| !word.contains("s3cret"))));
        let variables = variables(Some(Path::new("podfleet.toml")), &config).unwrap();
        assert!(
            variables.iter().any(|(name, value)| name == "PODFLEET__BROKER__URL" && value.contains("s3cret"))
        );
        let file = &variables.iter().find(|(name, _)| name == "PODFLEET_CONFIG").unwrap().1;
        assert!(Path::new(file).is_absolute());
    }

    #[test]
    fn the_broker_is_named_without_its_password() {
        let address = broker_address("amqp://podfleet:s3cret@127.0.0.1:12345/%2f").unwrap();
        assert_eq!(address, Address { host: "127.0.0.1".into(), port: 12345 });
        assert_eq!(broker_address("amqp://rabbit/").unwrap().port, 5672);
        assert!(!broker_address("s3cret").unwrap_err().to_string().contains("s3cret"));
    }

    #[test]
    fn a_taken_port_is_refused_with_a_way_out() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = api_port(listener.local_addr().unwrap().port()).unwrap_err().to_string();
        assert!(error.contains("--port 0"), "{error}");
        assert_ne!(api_port(0).unwrap(), 0);
    }
}
