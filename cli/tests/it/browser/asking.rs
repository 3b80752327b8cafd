//! Somebody asks for a podcast, changes his mind, and sees how the fleet is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::sys::signal::Signal;
use serde_json::json;

use super::{Browser, fleet};
use crate::access::{get, make_key, submit};
use crate::fleet::{Servers, Setup};

pub(crate) async fn a_podcast_is_asked_for_and_cancelled(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let (fleet, key) = fleet(servers, "browser-ask", Setup { workers: 0, ..Setup::default() }).await?;
    let browser = Browser::start(&fleet).await?;
    browser.sign_in(&key).await?;
    browser.open("/podcasts/new").await?;
    browser.is_accessible("new").await?;
    browser.fill("#minutes", "3").await?;
    browser.click("form.new button:not(.second)").await?;
    browser.until_there(".notice.bad").await?;
    browser.is_accessible("new-refused").await?;
    ensure!(
        browser.run("return document.querySelector('#minutes').value").await? == "3",
        "what was filled in stays"
    );
    browser
        .fill("#text", "# The moon\n\nThe moon pulls at the sea. The sea follows it around the world.")
        .await?;
    browser.fill("[name='name1']", "Ada <b>").await?;
    browser.click("[formaction='/podcasts/new/estimate']").await?;
    browser.until_there("#estimate .notice").await?;
    let told = browser.text("#estimate").await?;
    ensure!(told.contains("3.0 minutes") && told.contains("costs nothing"), "{told}");
    browser.click("form.new button:not(.second)").await?;
    browser.until_there("#status[data-state='running']").await?;
    let path = browser.path().await?;
    let podcast = get(&fleet, &key, &format!("/v1{path}")).await?;
    ensure!(podcast["state"] == "running" && podcast["language"] == "en", "{podcast:#}");
    ensure!(browser.text("#facts").await?.contains("Ada <b>"), "what people write is text");
    browser.click("#status form button").await?;
    browser.until_there("#status[data-state='cancelled']").await?;
    ensure!(fleet.count("select count(*) from podcasts").await? == 1);

    // Who may only look is offered nothing else.
    let viewer = make_key(&fleet, "acme", "viewer", &[]).await?;
    let looking = Browser::start(&fleet).await?;
    looking.sign_in(&viewer).await?;
    ensure!(
        looking.run("return document.querySelector('a[href=\"/podcasts/new\"]') === null").await? == true
    );
    looking.open("/podcasts/new").await?;
    ensure!(looking.text(".notice.bad").await?.contains("needs the role submit"));
    looking.is_accessible("refused").await?;
    looking.close().await?;
    browser.close().await?;
    fleet.stop().await
}

pub(crate) async fn a_page_goes_on_when_its_producer_comes_back(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let (mut fleet, key) = fleet(servers, "browser-back", Setup { workers: 0, ..Setup::default() }).await?;
    let id =
        submit(&fleet, &key, &json!({"source": {"text": "One sentence. Another one."}, "language": "en"}))
            .await?;
    let browser = Browser::start(&fleet).await?;
    browser.sign_in(&key).await?;
    browser.open(&format!("/podcasts/{id}")).await?;
    browser.run("window.still = 'the same page'").await?;
    let now = Browser::start(&fleet).await?;
    now.sign_in(&key).await?;
    now.open("/now").await?;
    now.until_there("#lanes table").await?;
    now.is_accessible("now-idle").await?;
    let address = fleet.api.trim_start_matches("http://").to_owned();
    let mut producer = fleet.take_role("producer");
    let asked = Instant::now();
    producer.signal(Signal::SIGTERM);
    producer.exit().await?;
    ensure!(asked.elapsed() < Duration::from_secs(8), "open pages kept it for {:?}", asked.elapsed());
    let lost = "return document.querySelector('[data-lost]').hidden === false";
    browser.until_true("the loss to be told", lost).await?;
    let bind = [("PODFLEET_TRUST_LOOPBACK", "false"), ("PODFLEET__PRODUCER__BIND", address.as_str())];
    fleet.spawn_producer(&bind).await?;
    fleet.spawn("worker", &[]).await?;
    browser.until_there("#status[data-state='completed']").await?;
    ensure!(browser.run("return window.still").await? == "the same page", "it was loaded again");
    now.until_true("the work to be seen", "return document.querySelectorAll('#hour rect.good').length > 0")
        .await?;
    now.until_true(
        "the worker to be seen",
        "return document.querySelectorAll('#workers tbody tr').length > 0",
    )
    .await?;
    now.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })").await?;
    now.is_accessible("now").await?;
    now.click("[data-pause]").await?;
    ensure!(
        now.run("return document.querySelector('[data-pause]').getAttribute('aria-pressed')").await?
            == "true"
    );
    now.close().await?;
    browser.close().await?;
    fleet.stop().await
}
