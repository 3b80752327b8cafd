//! WebDriver (W3C), as far as the tests need it: a session of chromedriver's, and what it is asked.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub(super) struct Driver {
    child: Child,
    http: reqwest::Client,
    session: String,
}

impl Driver {
    /// Starts a Chromium with a profile in this folder.
    pub(super) async fn start(profile: &Path) -> anyhow::Result<Driver> {
        let (child, port) = start_chromedriver().await?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?;
        let mut driver = Driver { child, http, session: format!("http://127.0.0.1:{port}/session") };
        let profile = format!("--user-data-dir={}", profile.display());
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--mute-audio",
            "--autoplay-policy=no-user-gesture-required",
            "--lang=en-US",
            "--window-size=1200,900",
            &profile,
        ];
        let options =
            json!({"goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL"}});
        let wanted = json!({"capabilities": {"alwaysMatch": options}});
        let answer = driver.ask(driver.http.post(&driver.session).json(&wanted)).await?;
        let id = answer["sessionId"].as_str().context("chromedriver started no Chromium")?;
        driver.session = format!("{}/{id}", driver.session);
        Ok(driver)
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.ask(self.http.post(format!("{}/{path}", self.session)).json(&body)).await
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(self.http.get(format!("{}/{path}", self.session))).await
    }

    /// A command of Chromium's own.
    pub(super) async fn devtools(&self, command: &str, parameters: Value) -> anyhow::Result<Value> {
        self.post("goog/cdp/execute", json!({"cmd": command, "params": parameters})).await
    }

    /// The path of the first element that matches.
    pub(super) async fn find(&self, css: &str) -> anyhow::Result<String> {
        let found = self.post("element", json!({"using": "css selector", "value": css})).await?;
        let id = found[ELEMENT].as_str().with_context(|| format!("there is no {css}"))?;
        Ok(format!("element/{id}"))
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let response = request.send().await?;
        let status = response.status();
        let mut answer: Value = response.json().await?;
        ensure!(status.is_success(), "{status}: {}", answer["value"]["message"]);
        Ok(answer["value"].take())
    }

    pub(super) async fn close(mut self) -> anyhow::Result<()> {
        self.ask(self.http.delete(&self.session)).await?;
        self.child.kill().await.context("ending chromedriver")
    }
}

/// On a port of its own choice, which it tells. It takes one that is free on 127.0.0.1, and ends if somebody has it on `::1`.
async fn start_chromedriver() -> anyhow::Result<(Child, u16)> {
    let mut told = Vec::new();
    for _ in 0..5 {
        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("chromedriver does not start; scripts/setup test installs it")?;
        let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        told.clear();
        while let Some(line) = lines.next_line().await? {
            let port = line.rsplit_once("successfully on port ").map(|(_, port)| port.trim_end_matches('.'));
            if let Some(port) = port.and_then(|port| port.parse().ok()) {
                // It says more, now and then, and must not find nobody who reads it.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok((child, port));
            }
            told.push(line);
        }
        if !told.iter().any(|line| line.contains("port not available")) {
            break;
        }
    }
    bail!("chromedriver ended before it told its port: {}", told.join("; "))
}
