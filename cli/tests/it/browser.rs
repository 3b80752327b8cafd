//! The dashboard in a real browser: Debian's Chromium, driven over WebDriver. Each test has its own, with a profile of its own.

mod asking;
mod deciding;
mod driver;
mod revising;
mod watching;

use std::sync::Arc;

use anyhow::{Context, ensure};
use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Test;
use crate::fleet::{Fleet, Servers, Setup, until};
use driver::Driver;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("browser::deciding::what_failed_is_edited_and_replayed", |s| {
        Box::pin(deciding::what_failed_is_edited_and_replayed(s))
    }),
    ("browser::deciding::many_are_replayed_after_a_dry_run", |s| {
        Box::pin(deciding::many_are_replayed_after_a_dry_run(s))
    }),
    ("browser::deciding::a_podcast_is_held_back_hurried_finished_without_and_erased", |s| {
        Box::pin(deciding::a_podcast_is_held_back_hurried_finished_without_and_erased(s))
    }),
    ("browser::revising::an_edited_line_alone_is_spoken_again", |s| {
        Box::pin(revising::an_edited_line_alone_is_spoken_again(s))
    }),
    ("browser::watching::a_podcast_is_watched_heard_and_left", |s| {
        Box::pin(watching::a_podcast_is_watched_heard_and_left(s))
    }),
    ("browser::asking::a_podcast_is_asked_for_and_cancelled", |s| {
        Box::pin(asking::a_podcast_is_asked_for_and_cancelled(s))
    }),
    ("browser::asking::a_page_goes_on_when_its_producer_comes_back", |s| {
        Box::pin(asking::a_page_goes_on_when_its_producer_comes_back(s))
    }),
];

/// Accessibility, judged by axe-core 4.14.1 as published (MPL-2.0; SHA-256
/// `29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c`). Only tests use it.
const AXE: &str = include_str!("browser/axe-4.14.1.min.js");

/// A browser that looks at a fleet.
pub(crate) struct Browser {
    driver: Driver,
    api: String,
    _profile: TempDir,
}

impl Browser {
    /// Looks at the fleet's first producer.
    pub(crate) async fn start(fleet: &Fleet) -> anyhow::Result<Browser> {
        let profile = tempfile::Builder::new().prefix("podfleet-it-browser-").tempdir()?;
        let driver = Driver::start(profile.path()).await?;
        Ok(Browser { driver, api: fleet.api.clone(), _profile: profile })
    }

    pub(crate) async fn open(&self, path: &str) -> anyhow::Result<()> {
        self.driver.post("url", json!({"url": format!("{}{path}", self.api)})).await.map(drop)
    }

    pub(crate) async fn sign_in(&self, key: &str) -> anyhow::Result<()> {
        self.open("/login").await?;
        self.fill("#key", key).await?;
        self.click("form.stack button").await?;
        self.until_there("form[action='/logout']").await
    }

    /// The path that the browser is at, with its query.
    pub(crate) async fn path(&self) -> anyhow::Result<String> {
        let path = self.run("return location.pathname + location.search").await?;
        Ok(path.as_str().unwrap_or_default().to_owned())
    }

    /// Clicks what is there, or comes to be there; what has just been exchanged is found again.
    pub(crate) async fn click(&self, css: &str) -> anyhow::Result<()> {
        until(&format!("{css} to be clicked"), async || {
            let Ok(element) = self.driver.find(css).await else { return Ok(None) };
            Ok(self.driver.post(&format!("{element}/click"), json!({})).await.ok().map(drop))
        })
        .await
    }

    pub(crate) async fn fill(&self, css: &str, text: &str) -> anyhow::Result<()> {
        let field = self.driver.find(css).await?;
        self.driver.post(&format!("{field}/clear"), json!({})).await?;
        self.driver.post(&format!("{field}/value"), json!({"text": text})).await.map(drop)
    }

    /// Chooses what a list offers, as somebody does with the keyboard.
    pub(crate) async fn choose(&self, css: &str, value: &str) -> anyhow::Result<()> {
        self.click(&format!("{css} option[value='{value}']")).await
    }

    pub(crate) async fn text(&self, css: &str) -> anyhow::Result<String> {
        let element = self.driver.find(css).await?;
        let text = self.driver.get(&format!("{element}/text")).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    pub(crate) async fn run(&self, script: &str) -> anyhow::Result<Value> {
        self.driver.post("execute/sync", json!({"script": script, "args": []})).await
    }

    pub(crate) async fn until_true(&self, what: &str, script: &str) -> anyhow::Result<()> {
        until(what, async || {
            // A page that is just being left cannot answer.
            let answer = self.run(script).await.unwrap_or(Value::Null);
            Ok((answer == Value::Bool(true)).then_some(()))
        })
        .await
    }

    pub(crate) async fn until_there(&self, css: &str) -> anyhow::Result<()> {
        self.until_true(css, &format!("return document.querySelector({}) !== null", json!(css))).await
    }

    /// Nothing serious, in the light and in the dark, on a wide screen and on a phone.
    pub(crate) async fn is_accessible(&self, name: &str) -> anyhow::Result<()> {
        self.run(AXE).await?;
        for (width, height) in [(1200, 900), (390, 800)] {
            self.size(width, height).await?;
            for scheme in ["light", "dark"] {
                self.colour(scheme).await?;
                let found = self.driver.post("execute/async", json!({"script": SERIOUS, "args": []})).await?;
                let none = found.as_array().is_some_and(Vec::is_empty);
                ensure!(none, "{name}, {scheme}, {width} wide: {found:#}");
                self.keep_picture(&format!("{name}-{scheme}-{width}")).await?;
            }
            let wider = self.run("return document.documentElement.scrollWidth > innerWidth").await?;
            ensure!(wider == false, "{name} is wider than a window of {width}");
        }
        self.colour("light").await?;
        self.size(1200, 900).await
    }

    async fn size(&self, width: u32, height: u32) -> anyhow::Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.driver.devtools("Emulation.setDeviceMetricsOverride", size).await.map(drop)
    }

    async fn colour(&self, scheme: &str) -> anyhow::Result<()> {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.driver.devtools("Emulation.setEmulatedMedia", features).await.map(drop)
    }

    /// With `PODFLEET_PICTURES` naming a folder, what the test sees is kept there.
    pub(crate) async fn keep_picture(&self, name: &str) -> anyhow::Result<()> {
        let Some(folder) = std::env::var_os("PODFLEET_PICTURES") else { return Ok(()) };
        let shot = self.driver.get("screenshot").await?;
        let bytes = base64::prelude::BASE64_STANDARD.decode(shot.as_str().unwrap_or_default())?;
        let file = std::path::Path::new(&folder).join(format!("{name}.png"));
        Ok(std::fs::write(file, bytes)?)
    }

    /// What the browser had to say: a policy that was broken, a script that failed.
    pub(crate) async fn complaints(&self) -> anyhow::Result<Vec<String>> {
        let log = self.driver.post("se/log", json!({"type": "browser"})).await?;
        let lines = log.as_array().context("a list of lines")?.iter();
        let severe = lines.filter(|line| line["level"] == "SEVERE");
        Ok(severe.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect())
    }

    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.driver.close().await
    }
}

/// What axe-core finds that is serious, one line each.
const SERIOUS: &str = "const done = arguments[arguments.length - 1];
    const line = (v) => v.id + ': ' + v.nodes.slice(0, 3).map((n) => n.html + ' ' + (n.failureSummary || '')).join(' | ');
    axe.run(document, {resultTypes: ['violations']}).then(
        (result) => done(result.violations.filter((v) => ['serious', 'critical'].includes(v.impact)).map(line)),
        (error) => done(['axe failed: ' + error]));";

/// A fleet that opens with keys alone, and an admin's key.
pub(crate) async fn fleet(
    servers: &Arc<Servers>,
    name: &str,
    setup: Setup,
) -> anyhow::Result<(Fleet, String)> {
    crate::access::with_keys(servers, name, setup).await
}
