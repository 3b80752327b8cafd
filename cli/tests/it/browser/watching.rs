//! Somebody signs in, watches a podcast being made, listens to it, and leaves.

use std::sync::Arc;

use anyhow::ensure;
use serde_json::json;

use super::{Browser, fleet};
use crate::access::submit;
use crate::fleet::{Servers, Setup};

const ARTICLE: &str = "# The tides\n\n## The moon\n\nThe moon pulls at the sea, and the sea follows it slowly around the world. \
     Twice a day the water rises, and twice a day it falls. Fishermen have known this for a very long time.\n\n\
     ## The sun\n\nThe sun pulls as well, though it is far away and its pull is weaker. When both pull together, the tide is high. \
     Sailors call it a spring tide.\n";

pub(crate) async fn a_podcast_is_watched_heard_and_left(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let (mut fleet, key) = fleet(servers, "browser", Setup { workers: 0, ..Setup::default() }).await?;
    let browser = Browser::start(&fleet).await?;
    browser.open("/podcasts?state=running").await?;
    ensure!(browser.path().await?.starts_with("/login?next="), "{}", browser.path().await?);
    browser.is_accessible("sign-in").await?;
    browser.fill("#key", "podfleet_wrong").await?;
    browser.click("form.stack button").await?;
    browser.until_there(".notice.bad").await?;
    browser.fill("#key", &key).await?;
    browser.click("form.stack button").await?;
    browser.until_there("form[action='/logout']").await?;
    ensure!(browser.path().await? == "/podcasts?state=running", "{}", browser.path().await?);
    browser.is_accessible("podcasts-empty").await?;
    ensure!(browser.run("return document.cookie").await? == "", "no script can read the cookies");

    let id = submit(&fleet, &key, &json!({"source": {"text": ARTICLE}, "language": "en"})).await?;
    browser
        .until_true(
            "the list to show it by itself",
            "return document.querySelectorAll('#podcasts tbody tr').length === 1",
        )
        .await?;
    browser.click("#podcasts tbody a").await?;
    browser.until_there("#status[data-state='running']").await?;
    browser.run("window.still = 'the same page'").await?;
    browser.is_accessible("podcast-running").await?;
    fleet.spawn("worker", &[]).await?;
    browser.until_there("#status[data-state='completed']").await?;
    browser.until_there("audio[data-player]").await?;
    ensure!(browser.run("return window.still").await? == "the same page", "the page was loaded again");

    ensure!(browser.text("h1").await? == "The tides", "it has got its title meanwhile");

    browser.run("document.querySelector('audio').play()").await?;
    browser
        .until_true("the sound to go on", "return document.querySelector('audio').currentTime > 0.3")
        .await?;
    browser.until_there(".line.now").await?;
    browser.click(".transcript .line:last-child button").await?;
    let last = "const line = document.querySelector('.transcript .line:last-child');
        return line.classList.contains('now') && document.querySelector('audio').currentTime >= +line.dataset.start";
    browser.until_true("the last line to be heard", last).await?;
    browser.run("document.querySelector('details').open = true").await?;
    browser.is_accessible("podcast-finished").await?;

    // In Korean, as whoever wants that.
    browser.click("footer button[value='ko']").await?;
    browser.until_true("Korean", "return document.documentElement.lang === 'ko'").await?;
    ensure!(browser.path().await? == format!("/podcasts/{id}"));
    ensure!(browser.text("nav a").await? == "팟캐스트");
    browser.open("/podcasts/0190a000-0000-7000-8000-000000000000").await?;
    let told = browser.text(".notice.bad").await?;
    ensure!(told.starts_with("찾을 수 없습니다.") && told.contains("There is no podcast 0190a000"), "{told}");
    ensure!(browser.text("nav a").await? == "팟캐스트", "one goes on from there as from any page");
    browser.is_accessible("not-found-korean").await?;
    browser.open(&format!("/podcasts/{id}")).await?;
    browser.click("form[action='/logout'] button").await?;
    browser.until_there("#key").await?;
    browser.open("/podcasts").await?;
    ensure!(browser.path().await?.starts_with("/login"), "signed out");
    let complaints = browser.complaints().await?;
    // The wrong key was answered with 403, the podcast that is not there with 404.
    let known = |line: &&String| line.contains("403 (Forbidden)") || line.contains("404 (Not Found)");
    let others: Vec<&String> = complaints.iter().filter(|line| !known(line)).collect();
    ensure!(others.is_empty(), "{others:#?}");
    browser.close().await?;
    fleet.stop().await
}
