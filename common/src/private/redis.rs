//! A private Redis: a cache, so it keeps nothing on disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::process::{Process, command, find};
use super::{MissingPrograms, folder, password, ports, write_private};

const NAME: &str = "Redis";
const START_LIMIT: Duration = Duration::from_secs(15);
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A Redis of our own on 127.0.0.1, protected by a password.
#[derive(Debug)]
pub struct Redis {
    data: PathBuf,
    folder: PathBuf,
    program: PathBuf,
    password: String,
    port: u16,
    process: Option<Process>,
}

impl Redis {
    /// Starts it on a free port, with its files in `data/redis`.
    pub async fn start(data: &Path) -> anyhow::Result<Self> {
        let program = Self::program().ok_or_else(|| MissingPrograms(vec!["redis-server"]))?;
        let folder = folder(data, "redis")?;
        let password = password(&folder)?;
        let mut redis = Redis { data: data.to_owned(), folder, program, password, port: 0, process: None };
        for last in [false, false, true] {
            [redis.port] = ports::free()?;
            match redis.restart().await {
                // Somebody took the port between finding it and listening on it.
                Err(_) if !last && !ports::is_free(redis.port) => continue,
                outcome => return outcome.map(|()| redis),
            }
        }
        unreachable!("the last round returns")
    }

    pub(crate) fn program() -> Option<PathBuf> {
        find("redis-server", &[])
    }

    /// `redis://:password@127.0.0.1:port/`
    pub fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}/", self.password, self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `None` while it is down.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::pid)
    }

    /// Starts it again on the same port; it is empty then. One that is still running is killed first.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill().await?;
        let configuration = format!(
            "bind 127.0.0.1\nport {}\nrequirepass {}\nsave \"\"\nappendonly no\ndaemonize no\n",
            self.port, self.password
        );
        // A file, because a command line can be read by everybody.
        let path = self.folder.join("redis.conf");
        write_private(&path, &configuration)?;
        let mut command = command(&self.program, &[], &self.data, &self.folder)?;
        command.arg(path);
        let process = Process::start(NAME, command, &self.folder.join("server.log"))?;
        let client = redis::Client::open(self.url())?;
        process.until_ready(START_LIMIT, async || ping(&client).await).await?;
        self.process = Some(process);
        Ok(())
    }

    /// `kill -9`; everything in it is lost.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        match self.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Stops it as an operator would; everything in it is lost all the same.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        match self.process.take() {
            Some(process) => process.end(Signal::SIGTERM, STOP_LIMIT).await,
            None => Ok(()),
        }
    }

    /// Freezes it: it keeps its connections and answers nothing.
    pub fn pause(&self) {
        self.process.iter().for_each(Process::pause);
    }

    pub fn resume(&self) {
        self.process.iter().for_each(Process::resume);
    }

    /// For a stopped server, so that all three can be treated alike: a Redis that was down is empty anyway.
    pub async fn wipe(&mut self) -> anyhow::Result<()> {
        super::must_be_down(NAME, self.pid())
    }
}

async fn ping(client: &redis::Client) -> anyhow::Result<()> {
    let mut connection = client.get_multiplexed_async_connection().await?;
    Ok(redis::cmd("PING").exec_async(&mut connection).await?)
}
