//! A fleet for one test: role processes with a database, a virtual host, a cache and blobs of their own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use common::private::{FaultProxy, Postgres, PrivateServers, RabbitMq, Redis};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio_postgres::{NoTls, Row};

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// The servers that tests share, and the folder of everything.
pub(crate) struct Servers {
    shared: Mutex<Option<PrivateServers>>,
    folder: TempDir,
    next: AtomicU32,
}

impl Servers {
    pub(crate) async fn start() -> anyhow::Result<Servers> {
        let folder = tempfile::Builder::new().prefix("podfleet-it-").tempdir()?;
        let shared = PrivateServers::start(&folder.path().join("servers")).await?;
        Ok(Servers { shared: Mutex::new(Some(shared)), folder, next: AtomicU32::new(0) })
    }

    /// The folder stays when a test failed: the logs of its roles are there.
    pub(crate) async fn stop(mut self, keep_folder: bool) -> anyhow::Result<()> {
        if let Some(servers) = self.shared.get_mut().take() {
            servers.stop().await?;
        }
        if keep_folder {
            eprintln!("the logs of the roles are in {}", self.folder.keep().display());
        }
        Ok(())
    }

    /// A folder that no other test has.
    pub(crate) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.path().join(format!("{name}-{number}"));
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

/// How many of each role, and what they are told.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) producers: usize,
    pub(crate) workers: usize,
    pub(crate) collectors: usize,
    pub(crate) environment: Vec<(String, String)>,
    /// A PostgreSQL or a RabbitMQ of this test alone.
    pub(crate) own_postgres: bool,
    pub(crate) own_rabbitmq: bool,
    /// Roles reach the database through a proxy.
    pub(crate) proxied_database: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            producers: 1,
            workers: 1,
            collectors: 1,
            environment: Vec::new(),
            own_postgres: false,
            own_rabbitmq: false,
            proxied_database: false,
        }
    }
}

impl Setup {
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Setup {
        self.environment.push((format!("PODFLEET__{name}"), value.to_string()));
        self
    }

    /// Speech from a server that speaks the OpenAI wire format.
    pub(crate) fn with_speech_server(self, url: &str) -> Setup {
        self.with("ENGINES__TONES__TYPE", "openai")
            .with("ENGINES__TONES__KINDS", "tts")
            .with("ENGINES__TONES__URL", url)
            .with("ENGINES__TONES__MODEL", "tones")
            .with("ENGINES__TONES__EXPECTED_MS", "100")
            .with("DEFAULTS__TTS", "tones")
    }
}

/// A running role.
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) child: Child,
    pub(crate) log: PathBuf,
}

impl Role {
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.child.id() {
            kill(Pid::from_raw(pid as i32), signal).expect("our own child");
        }
    }

    pub(crate) async fn exit(&mut self) -> anyhow::Result<ExitStatus> {
        tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .with_context(|| format!("{} did not end; its log is {}", self.name, self.log.display()))?
            .context("waiting for a role")
    }
}

/// An address that leads through a proxy instead.
pub(crate) async fn behind_proxy(url: &str) -> anyhow::Result<(FaultProxy, String)> {
    let port = url.split("127.0.0.1:").nth(1).context("a local address")?;
    let port = port.split(|c: char| !c.is_ascii_digit()).next().context("a port")?;
    let proxy = FaultProxy::start(format!("127.0.0.1:{port}").parse()?).await?;
    let url = url.replace(&format!("127.0.0.1:{port}"), &proxy.addr().to_string());
    Ok((proxy, url))
}

pub(crate) struct Fleet {
    pub(crate) folder: PathBuf,
    pub(crate) vhost: String,
    pub(crate) api: String,
    pub(crate) apis: Vec<String>,
    pub(crate) roles: Vec<Role>,
    pub(crate) http: reqwest::Client,
    environment: BTreeMap<String, String>,
    database: String,
    pub(crate) redis: Option<Redis>,
    /// Servers of this test alone, when it does things to them: all, or one of them.
    pub(crate) own: Option<PrivateServers>,
    pub(crate) postgres: Option<Postgres>,
    pub(crate) rabbitmq: Option<RabbitMq>,
    /// What stands between the roles and the database, if anything.
    pub(crate) database_proxy: Option<FaultProxy>,
    shared: Option<Arc<Servers>>,
    spawned: usize,
}

impl Fleet {
    /// On the servers that all tests share.
    pub(crate) async fn start(servers: &Arc<Servers>, name: &str, setup: Setup) -> anyhow::Result<Fleet> {
        let folder = servers.folder(name)?;
        let database = folder.file_name().and_then(|n| n.to_str()).context("a name")?.replace('-', "_");
        let data = folder.join("own");
        let postgres = if setup.own_postgres { Some(Postgres::start(&data).await?) } else { None };
        let rabbitmq = if setup.own_rabbitmq { Some(RabbitMq::start(&data).await?) } else { None };
        let (mut database_url, broker_url) = {
            let shared = servers.shared.lock().await;
            let shared = shared.as_ref().context("the servers are stopped")?;
            let postgres = postgres.as_ref().unwrap_or(&shared.postgres);
            let rabbitmq = rabbitmq.as_ref().unwrap_or(&shared.rabbitmq);
            postgres.create_database(&database).await?;
            rabbitmq.create_vhost(&database).await?;
            (postgres.database_url(&database), rabbitmq.vhost_url(&database))
        };
        let direct = database_url.clone();
        let mut database_proxy = None;
        if setup.proxied_database {
            let (proxy, url) = behind_proxy(&database_url).await?;
            (database_proxy, database_url) = (Some(proxy), url);
        }
        let redis = Redis::start(&folder.join("redis")).await?;
        let mut fleet = Fleet::prepare(folder, &database_url, &broker_url, &redis.url(), &setup)?;
        fleet.database = direct;
        fleet.redis = Some(redis);
        (fleet.postgres, fleet.rabbitmq, fleet.database_proxy) = (postgres, rabbitmq, database_proxy);
        fleet.vhost = database;
        fleet.shared = Some(servers.clone());
        fleet.start_roles(&setup).await?;
        Ok(fleet)
    }

    /// Does something with the broker of this fleet, shared or not.
    pub(crate) async fn with_rabbitmq<T>(
        &self,
        work: impl AsyncFnOnce(&RabbitMq) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        if let Some(own) = &self.own {
            return work(&own.rabbitmq).await;
        }
        if let Some(own) = &self.rabbitmq {
            return work(own).await;
        }
        let shared = self.shared.as_ref().context("no servers")?.shared.lock().await;
        work(&shared.as_ref().context("the servers are stopped")?.rabbitmq).await
    }

    /// The number of messages in a queue, as a client sees it: the management API lags behind.
    pub(crate) async fn messages(&self, queue: &str) -> anyhow::Result<u32> {
        let connection = self.connect().await?;
        let channel = connection.create_channel().await?;
        let options = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
        let found = channel.queue_declare(queue.into(), options, Default::default()).await?;
        connection.close(200, "looked".into()).await?;
        Ok(found.message_count())
    }

    /// Waits until requests over AMQP find their queue.
    pub(crate) async fn until_intake(&self) -> anyhow::Result<()> {
        until("a queue for requests", async || {
            // What a collector declares last.
            let select = "select 'podfleet.epoch.' || translate(epoch::text, '-', '') || '.v1' from fleet";
            let epoch: String = self.query(select).await?.first().context("a row")?.get(0);
            Ok(self.messages(&epoch).await.is_ok().then_some(()))
        })
        .await
    }

    /// A connection to the broker, as a role has one.
    pub(crate) async fn connect(&self) -> anyhow::Result<lapin::Connection> {
        let url = self.environment["PODFLEET__BROKER__URL"].clone();
        common::amqp::connect(&common::config::Broker { url, ..Default::default() }, "test").await
    }

    /// Where a role serves its health and metrics; its log tells.
    pub(crate) async fn health(&mut self, role: &str) -> anyhow::Result<String> {
        let log = self.role(role).log.clone();
        until("a health address in the log", async || {
            let log = std::fs::read_to_string(&log)?;
            let line = log.lines().find(|line| line.contains("health and metrics"));
            let found = line.and_then(|line| line.find("127.0.0.1").map(|at| &line[at..]));
            let address = |text: &str| -> String {
                text.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect()
            };
            Ok(found.map(|text| format!("http://{}", address(text).trim_end_matches(':'))))
        })
        .await
    }

    /// Takes a role out of the fleet, to end it.
    pub(crate) fn take_role(&mut self, name: &str) -> Role {
        let at = self.roles.iter().position(|role| role.name.starts_with(name));
        self.roles.remove(at.unwrap_or_else(|| panic!("no {name}")))
    }

    /// On servers of its own, to which the test may do what it likes.
    pub(crate) async fn start_with_own_servers(
        servers: &Arc<Servers>,
        name: &str,
        setup: Setup,
    ) -> anyhow::Result<Fleet> {
        let folder = servers.folder(name)?;
        let own = PrivateServers::start(&folder.join("servers")).await?;
        let mut fleet =
            Fleet::prepare(folder, &own.postgres.url(), &own.rabbitmq.url(), &own.redis.url(), &setup)?;
        fleet.own = Some(own);
        fleet.start_roles(&setup).await?;
        Ok(fleet)
    }

    fn prepare(
        folder: PathBuf,
        database: &str,
        broker: &str,
        redis: &str,
        setup: &Setup,
    ) -> anyhow::Result<Fleet> {
        let mut environment: BTreeMap<String, String> = [
            ("PODFLEET__DATABASE__URL", database.to_owned()),
            ("PODFLEET__BROKER__URL", broker.to_owned()),
            ("PODFLEET__CACHE__URL", redis.to_owned()),
            ("PODFLEET__BLOBS__FOLDER", folder.join("blobs").display().to_string()),
            ("PODFLEET__PRODUCER__BIND", "127.0.0.1:0".to_owned()),
            // Requests without a key are the local admin's.
            ("PODFLEET_TRUST_LOOPBACK", "true".to_owned()),
            ("PODFLEET__POLICY__INTERRUPTED_MS", "500".to_owned()),
            ("PODFLEET__POLICY__BASE_MS", "200".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        environment.extend(setup.environment.iter().cloned());
        Ok(Fleet {
            folder,
            vhost: "/".into(),
            api: String::new(),
            apis: Vec::new(),
            roles: Vec::new(),
            // Idle connections are given up before the server does, as a good client: a POST must not meet its closing.
            http: reqwest::Client::builder()
                .timeout(Duration::from_secs(30))
                .pool_idle_timeout(Duration::from_secs(10))
                .build()?,
            environment,
            database: database.to_owned(),
            redis: None,
            own: None,
            postgres: None,
            rabbitmq: None,
            database_proxy: None,
            shared: None,
            spawned: 0,
        })
    }

    async fn start_roles(&mut self, setup: &Setup) -> anyhow::Result<()> {
        for _ in 0..setup.collectors {
            self.spawn("collector", &[]).await?;
        }
        for _ in 0..setup.workers {
            self.spawn("worker", &[]).await?;
        }
        for _ in 0..setup.producers {
            self.spawn_producer(&[]).await?;
        }
        Ok(())
    }

    pub(crate) async fn spawn_producer(&mut self, environment: &[(&str, &str)]) -> anyhow::Result<()> {
        let ready = self.folder.join(format!("producer-{}.address", self.spawned));
        let arguments = ["--ready-file".to_owned(), ready.display().to_string()];
        self.spawn_with("producer", &arguments, environment).await?;
        let address = until("the producer's address", async || {
            Ok(std::fs::read_to_string(&ready).ok().filter(|address| !address.is_empty()))
        })
        .await?;
        self.api = format!("http://{}", address.trim());
        self.apis.push(self.api.clone());
        until("a ready producer", async || {
            let ready = self.get("/readyz").await.is_ok_and(|response| response.status() == 200);
            Ok(ready.then_some(()))
        })
        .await
    }

    /// Starts one more of a role.
    pub(crate) async fn spawn(&mut self, role: &str, environment: &[(&str, &str)]) -> anyhow::Result<()> {
        self.spawn_with(role, &[], environment).await
    }

    pub(crate) async fn spawn_with(
        &mut self,
        role: &str,
        arguments: &[String],
        environment: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let name = format!("{role}-{}", self.spawned);
        self.spawned += 1;
        let log = self.folder.join(format!("{name}.log"));
        let file = std::fs::File::create(&log)?;
        let child = Command::new(env!("CARGO_BIN_EXE_podfleet"))
            .arg(role)
            .args(arguments)
            .envs(&self.environment)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()?;
        self.roles.push(Role { name, child, log });
        Ok(())
    }

    pub(crate) fn role(&mut self, name: &str) -> &mut Role {
        self.roles.iter_mut().find(|role| role.name.starts_with(name)).unwrap_or_else(|| panic!("no {name}"))
    }

    /// The Redis of this fleet alone.
    pub(crate) fn redis(&mut self) -> &mut Redis {
        self.redis.as_mut().expect("a fleet on shared servers has its own Redis")
    }

    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    pub(crate) async fn post(&self, body: &Value) -> anyhow::Result<reqwest::Response> {
        Ok(self.http.post(format!("{}/v1/podcasts", self.api)).json(body).send().await?)
    }

    /// Submits a request that must be accepted; returns the podcast's id.
    pub(crate) async fn submit(&self, body: &Value) -> anyhow::Result<String> {
        let response = self.post(body).await?;
        let status = response.status();
        let answer: Value = response.json().await?;
        ensure!(status == 202, "{status}: {answer}");
        Ok(answer["id"].as_str().context("an id")?.to_owned())
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<reqwest::Response> {
        Ok(self.http.get(format!("{}{path}", self.api)).send().await?)
    }

    pub(crate) async fn podcast(&self, id: &str) -> anyhow::Result<Value> {
        Ok(self.get(&format!("/v1/podcasts/{id}")).await?.error_for_status()?.json().await?)
    }

    /// Waits until the podcast has ended, in whichever state.
    pub(crate) async fn ended(&self, id: &str) -> anyhow::Result<Value> {
        until("the end of a podcast", async || {
            // The producer may be the one that is being restarted.
            let Ok(podcast) = self.podcast(id).await else { return Ok(None) };
            Ok((podcast["state"] != "running").then_some(podcast))
        })
        .await
        .with_context(|| format!("podcast {id}; the logs are in {}", self.folder.display()))
    }

    pub(crate) async fn completed(&self, id: &str) -> anyhow::Result<Value> {
        let podcast = self.ended(id).await?;
        ensure!(podcast["state"] == "completed", "{podcast:#}");
        Ok(podcast)
    }

    pub(crate) async fn audio(&self, id: &str) -> anyhow::Result<PathBuf> {
        let response = self.get(&format!("/v1/podcasts/{id}/audio")).await?.error_for_status()?;
        let file = self.folder.join(format!("{id}.mp3"));
        std::fs::write(&file, response.bytes().await?)?;
        Ok(file)
    }

    /// A connection of the test's own.
    pub(crate) async fn client(&self) -> anyhow::Result<tokio_postgres::Client> {
        let (client, connection) = tokio_postgres::connect(&self.database, NoTls).await?;
        // It ends with its client, who learns of errors from his own calls.
        tokio::spawn(connection);
        Ok(client)
    }

    pub(crate) async fn query(&self, sql: &str) -> anyhow::Result<Vec<Row>> {
        let (client, connection) = tokio_postgres::connect(&self.database, NoTls).await?;
        let connection = tokio::spawn(connection);
        let rows = client.query(sql, &[]).await?;
        drop(client);
        connection.await??;
        Ok(rows)
    }

    /// Several statements, as one transaction.
    pub(crate) async fn execute(&self, sql: &str) -> anyhow::Result<()> {
        let (client, connection) = tokio_postgres::connect(&self.database, NoTls).await?;
        let connection = tokio::spawn(connection);
        client.batch_execute(sql).await?;
        drop(client);
        Ok(connection.await??)
    }

    /// One statement that cannot be part of a transaction.
    pub(crate) async fn statement(&self, sql: &str) -> anyhow::Result<()> {
        self.query(sql).await.map(drop)
    }

    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// Roles that are started from now on use another database of the same server.
    pub(crate) fn move_to_database(&mut self, name: &str) -> anyhow::Result<()> {
        let (server, _) = self.database.rsplit_once('/').context("an address")?;
        self.database = format!("{server}/{name}");
        self.environment.insert("PODFLEET__DATABASE__URL".into(), self.database.clone());
        Ok(())
    }

    pub(crate) async fn count(&self, sql: &str) -> anyhow::Result<i64> {
        Ok(self.query(sql).await?.first().context("a row")?.get(0))
    }

    /// Waits until a count has the value that is wanted.
    pub(crate) async fn until_count(&self, sql: &str, wanted: impl Fn(i64) -> bool) -> anyhow::Result<()> {
        until(sql, async || {
            let count = self.count(sql).await.unwrap_or(-1);
            Ok(wanted(count).then_some(()))
        })
        .await
    }

    /// Nothing is on its way any more, and what has ended is whole.
    pub(crate) async fn at_rest(&self) -> anyhow::Result<()> {
        for (what, sql) in [
            ("podcasts still running", "select count(*) from podcasts where state = 'running'"),
            ("tasks still on their way", "select count(*) from tasks where state in ('ready', 'scheduled', 'dispatched')"),
            (
                "segments of completed podcasts that are not spoken exactly once",
                "select count(*) from podcasts p where state = 'completed' and (
                    segments_done <> segments_total
                    or segments_total <> (select count(*) from segments s where s.podcast_id = p.id and s.generation = p.generation)
                    or segments_total <> (select count(*) from tasks t where t.podcast_id = p.id and t.generation = p.generation
                                                 and kind = 'tts' and t.state = 'done')
                    or (select count(*) from tasks t where t.podcast_id = p.id and t.generation = p.generation and kind = 'join') <> 1)",
            ),
            (
                "podcasts whose events have gaps",
                "select count(*) from podcasts p where event_seq <> (select count(*) from events e where e.podcast_id = p.id)",
            ),
            (
                "attempts that were recorded twice",
                "select count(*) from (select from attempts group by podcast_id, task_id, attempt, part, class, worker, started_at
                                       having count(*) > 1) as twice",
            ),
        ] {
            self.until_count(sql, |count| count == 0).await.with_context(|| what.to_owned())?;
        }
        let full = async || {
            let queues = self.with_rabbitmq(async |rabbitmq| rabbitmq.queues(&self.vhost).await).await?;
            let full = queues.into_iter().filter(|queue| queue.name.ends_with(".v1") && queue.messages > 0);
            anyhow::Ok(full.collect::<Vec<_>>())
        };
        let empty = until("empty queues", async || Ok(full().await?.is_empty().then_some(()))).await;
        match empty {
            Ok(()) => Ok(()),
            Err(error) => Err(error.context(format!("{:?}", full().await?))),
        }
    }

    /// Asks every role to leave, which each must do in order.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        for role in &self.roles {
            role.signal(Signal::SIGTERM);
        }
        for role in &mut self.roles {
            let status = role.exit().await?;
            ensure!(status.success(), "{} ended with {status}; its log is {}", role.name, role.log.display());
        }
        self.stop_servers().await
    }

    async fn stop_servers(mut self) -> anyhow::Result<()> {
        if let Some(redis) = &mut self.redis {
            redis.stop().await?;
        }
        if let Some(postgres) = &mut self.postgres {
            postgres.stop().await?;
        }
        if let Some(rabbitmq) = &mut self.rabbitmq {
            rabbitmq.stop().await?;
        }
        if let Some(own) = self.own.take() {
            own.stop().await?;
        }
        Ok(())
    }

    /// Stops without minding how roles end: some were killed.
    pub(crate) async fn abandon(mut self) -> anyhow::Result<()> {
        for role in &mut self.roles {
            role.signal(Signal::SIGTERM);
        }
        for role in &mut self.roles {
            role.exit().await?;
        }
        self.stop_servers().await
    }
}

/// Looks again until there is an answer.
pub(crate) async fn until<T>(
    what: &str,
    look: impl AsyncFn() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if started.elapsed() > PATIENCE {
            bail!("waited {PATIENCE:?} for {what}");
        }
        tokio::time::sleep(POLL).await;
    }
}

/// An article with numbered sentences: the speech server speaks the numbers as tones. Sections of `per_chapter` paragraphs, one
/// sentence each.
pub(crate) fn numbered_article(chapters: usize, per_chapter: usize) -> Value {
    let mut text = String::from("# Numbers\n\n");
    let mut number = 1;
    for chapter in 0..chapters {
        text.push_str(&format!(
            "## Part {}\n\n",
            ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"][chapter % 10]
        ));
        for _ in 0..per_chapter {
            text.push_str(&format!(
                "This is sentence {number} of the article, and it goes on for a while.\n\n"
            ));
            number += 1;
        }
    }
    json!({"source": {"text": text}, "language": "en", "format": "dialogue"})
}
