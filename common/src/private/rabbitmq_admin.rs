//! What tests, chaos and `dev` ask of a private RabbitMQ's management API and of `rabbitmqctl`.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::rabbitmq::{NODE, RabbitMq, USER};

const HTTP_LIMIT: Duration = Duration::from_secs(15);
const CTL_LIMIT: Duration = Duration::from_secs(120);

/// A queue as the management API shows it. Its numbers lag behind by a second or two.
#[derive(Debug, Clone, Deserialize)]
pub struct QueueInfo {
    pub name: String,
    #[serde(default)]
    pub messages: u64,
    #[serde(default)]
    pub messages_ready: u64,
    #[serde(default)]
    pub messages_unacknowledged: u64,
    #[serde(default)]
    pub consumers: u64,
}

#[derive(Debug)]
pub(super) struct Admin(Client);

impl Admin {
    pub(super) fn new() -> anyhow::Result<Self> {
        // The client wants a TLS provider even for plain HTTP. An error only says that one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Admin(Client::builder().no_proxy().timeout(HTTP_LIMIT).build()?))
    }
}

impl RabbitMq {
    /// `http://podfleet:password@127.0.0.1:port/`, for a browser or the management API.
    pub fn management_url(&self) -> String {
        format!("http://{USER}:{}@127.0.0.1:{}/", self.password, self.ports.management)
    }

    /// Makes a virtual host and lets our user do anything in it.
    pub async fn create_vhost(&self, name: &str) -> anyhow::Result<()> {
        self.call(Method::PUT, &["vhosts", name], json!({})).await?;
        let everything = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        self.call(Method::PUT, &["permissions", name, USER], everything).await.map(drop)
    }

    /// Removes a virtual host with everything in it, and closes its connections. One that is not there is no error.
    pub async fn delete_vhost(&self, name: &str) -> anyhow::Result<()> {
        self.call(Method::DELETE, &["vhosts", name], Value::Null).await.map(drop)
    }

    pub async fn queues(&self, vhost: &str) -> anyhow::Result<Vec<QueueInfo>> {
        Ok(self.call(Method::GET, &["queues", vhost], Value::Null).await?.json().await?)
    }

    /// Removes a queue with its messages. One that is not there is no error.
    pub async fn delete_queue(&self, vhost: &str, name: &str) -> anyhow::Result<()> {
        self.call(Method::DELETE, &["queues", vhost, name], Value::Null).await.map(drop)
    }

    /// Removes the messages of a queue that nobody has taken.
    pub async fn purge_queue(&self, vhost: &str, name: &str) -> anyhow::Result<()> {
        self.call(Method::DELETE, &["queues", vhost, name, "contents"], Value::Null).await.map(drop)
    }

    /// Raises or ends the memory alarm. While it lasts the broker reads nothing from connections that have published.
    pub async fn set_memory_alarm(&self, on: bool) -> anyhow::Result<()> {
        self.set_alarm("memory", on).await
    }

    /// The same for the disk: publishers are blocked as by the memory alarm.
    pub async fn set_disk_alarm(&self, on: bool) -> anyhow::Result<()> {
        self.set_alarm("disk", on).await
    }

    async fn set_alarm(&self, resource: &str, on: bool) -> anyhow::Result<()> {
        let expression = match on {
            true => format!("rabbit_alarm:set_alarm({{{{resource_limit, {resource}, node()}}, []}})."),
            false => format!("rabbit_alarm:clear_alarm({{resource_limit, {resource}, node()}})."),
        };
        self.ctl(&["eval", &expression]).await.map(drop)
    }

    /// Runs `rabbitmqctl` on this broker and returns what it prints. Takes about a second.
    pub async fn ctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = tokio::process::Command::from(self.erlang_command(&self.programs.ctl)?);
        command.args(["--quiet", "--node", NODE]).args(arguments);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output =
            timeout(CTL_LIMIT, command.output()).await.context("rabbitmqctl did not end in time")??;
        if !output.status.success() {
            bail!("rabbitmqctl failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn call(&self, method: Method, path: &[&str], body: Value) -> anyhow::Result<Response> {
        let mut url = Url::parse(&self.management_url())?.join("api/")?;
        // Each part is escaped: the virtual host `/` becomes %2F.
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path);
        }
        let what = format!("{method} /api/{}", path.join("/"));
        let deleting = method == Method::DELETE;
        let mut request = self.admin.0.request(method, url);
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer =
            request.send().await.map_err(reqwest::Error::without_url).with_context(|| what.clone())?;
        if answer.status().is_success() || deleting && answer.status() == StatusCode::NOT_FOUND {
            return Ok(answer);
        }
        bail!("{what}: RabbitMQ answered {}", answer.status())
    }
}
