//! A private PostgreSQL, as durable as a real one: `fsync` and `synchronous_commit` stay on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use tokio_postgres::{Client, NoTls};

use super::postgres_home::Home;
use super::process::{Process, run};
use super::{folder, must_be_down, password, ports, write_private};

const NAME: &str = "PostgreSQL";
const USER: &str = "podfleet";
const INITDB_LIMIT: Duration = Duration::from_secs(60);
// Recovery after a crash under load is included.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A PostgreSQL of our own on 127.0.0.1, protected by a password.
#[derive(Debug)]
pub struct Postgres {
    home: Home,
    folder: PathBuf,
    password: String,
    port: u16,
    process: Option<Process>,
}

impl Postgres {
    /// Starts it on a free port, with its files in `data/postgres`; makes the database `podfleet` unless it is there.
    pub async fn start(data: &Path) -> anyhow::Result<Self> {
        let folder = folder(data, "postgres")?;
        let password = password(&folder)?;
        let home = Home::prepare(data, &folder).await?;
        let mut postgres = Postgres { home, folder, password, port: 0, process: None };
        for last in [false, false, true] {
            [postgres.port] = ports::free()?;
            match postgres.restart().await {
                // Somebody took the port between finding it and listening on it.
                Err(_) if !last && !ports::is_free(postgres.port) => continue,
                outcome => return outcome.map(|()| postgres),
            }
        }
        unreachable!("the last round returns")
    }

    /// The database `podfleet`, with the right to do anything.
    pub fn url(&self) -> String {
        self.database_url("podfleet")
    }

    /// `postgres://podfleet:password@127.0.0.1:port/name`
    pub fn database_url(&self, name: &str) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/{name}", self.password, self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `None` while it is down.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::pid)
    }

    /// Makes an empty database; its name is made of a-z, 0-9 and `_`.
    pub async fn create_database(&self, name: &str) -> anyhow::Result<()> {
        self.create_database_from("template1", name).await
    }

    /// Makes a database that starts as a copy of another, to which nobody may be connected.
    pub async fn create_database_from(&self, template: &str, name: &str) -> anyhow::Result<()> {
        let (template, name) = (identifier(template)?, identifier(name)?);
        self.execute(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await
    }

    /// Removes a database and closes whatever is connected to it.
    pub async fn drop_database(&self, name: &str) -> anyhow::Result<()> {
        self.execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(name)?)).await
    }

    /// Starts it again on the same port with the same data. One that is still running is killed first.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill().await?;
        if !self.home.is_initialised() {
            self.initialise().await?;
        }
        self.home.forget_dead_server()?;
        let mut command = self.home.command("postgres")?;
        command.arg("-D").arg(self.home.cluster());
        for setting in [
            "listen_addresses=127.0.0.1",
            &format!("port={}", self.port),
            "unix_socket_directories=",
            "max_connections=200",
            "fsync=on",
            "synchronous_commit=on",
            "logging_collector=off",
            // Inside the data folder: what a killed server leaves in /dev/shm stays there until the machine restarts.
            "dynamic_shared_memory_type=mmap",
        ] {
            command.args(["-c", setting]);
        }
        if self.home.major_version().is_some_and(|version| version >= 14) {
            // As durable as the default, which opens and syncs every file of every database: 4 to 7 s instead of 0.5 s
            // after a kill, measured with a few databases.
            command.args(["-c", "recovery_init_sync_method=syncfs"]);
        }
        let process = Process::start(NAME, command, &self.log())?;
        let admin = self.database_url("postgres");
        process.until_ready(START_LIMIT, async || query_number(&admin, "SELECT 1").await.map(drop)).await?;
        self.process = Some(process);
        let named = "SELECT count(*) FROM pg_database WHERE datname = 'podfleet'";
        if query_number(&admin, named).await? == 0 {
            self.create_database("podfleet").await?;
        }
        Ok(())
    }

    /// `kill -9` for the server and all its backends at once, as when its machine stops.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        match self.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// A fast shutdown: open transactions are rolled back, connections closed, a checkpoint written.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        match self.process.take() {
            Some(process) => process.end(Signal::SIGINT, STOP_LIMIT).await,
            None => Ok(()),
        }
    }

    /// Freezes the server and its backends: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.process.iter().for_each(Process::pause);
    }

    pub fn resume(&self) {
        self.process.iter().for_each(Process::resume);
    }

    /// Removes all data of a stopped server, so that the next start is that of a new one.
    pub async fn wipe(&mut self) -> anyhow::Result<()> {
        must_be_down(NAME, self.pid())?;
        self.home.clear()
    }

    async fn initialise(&self) -> anyhow::Result<()> {
        // What an interrupted initdb left is not a database.
        self.home.clear()?;
        // Beside the cluster: where the server's user may write it may also read.
        let secret = self.home.cluster().with_extension("password");
        write_private(&secret, &self.password)?;
        self.home.give(&secret)?;
        let mut command = self.home.command("initdb")?;
        command.arg("-D").arg(self.home.cluster()).arg(format!("--pwfile={}", secret.display()));
        command.args(["--username", USER, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]);
        // The server syncs what it writes. A power cut in its first half minute may cost a database as good as empty.
        command.arg("--no-sync");
        let outcome = run("initdb", command, &self.log(), INITDB_LIMIT).await;
        fs::remove_file(&secret)?;
        outcome?;
        self.home.mark_initialised()
    }

    async fn execute(&self, statement: &str) -> anyhow::Result<()> {
        let (client, connection) = connect(&self.database_url("postgres")).await?;
        client.batch_execute(statement).await.with_context(|| format!("cannot run: {statement}"))?;
        drop(client);
        Ok(connection.await??)
    }

    fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }
}

type Connection = tokio::task::JoinHandle<Result<(), tokio_postgres::Error>>;

async fn connect(url: &str) -> anyhow::Result<(Client, Connection)> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    Ok((client, tokio::spawn(connection)))
}

async fn query_number(url: &str, query: &str) -> anyhow::Result<i64> {
    let (client, connection) = connect(url).await?;
    // The simple protocol answers in text, so any integer type will do.
    let rows = client.simple_query(query).await?;
    drop(client);
    connection.await??;
    let row = rows.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    Ok(row.context("no row")?.parse()?)
}

fn identifier(name: &str) -> anyhow::Result<&str> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let valid = !name.is_empty()
        && name.len() <= 63
        && !name.as_bytes()[0].is_ascii_digit()
        && name.bytes().all(plain);
    ensure!(valid, "`{name}` cannot be a database: use a-z, 0-9 and _, no digit first, at most 63");
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::identifier;

    #[test]
    fn names_that_need_quoting_are_refused() {
        for good in ["podfleet", "t_018f", "_x"] {
            assert_eq!(identifier(good).unwrap(), good);
        }
        for bad in ["", "1a", "a-b", "A", "a\"b", "a b", &"x".repeat(64)] {
            assert!(identifier(bad).is_err(), "{bad}");
        }
    }
}
