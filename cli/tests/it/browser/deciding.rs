//! Support staff at work: what failed is looked at, edited, replayed, discarded; two of them at once.

use std::sync::Arc;

use anyhow::{Context, ensure};
use loadtest::providers::{Provider, Settings};
use serde_json::{Value, json};

use super::{Browser, fleet};
use crate::access::{get, make_key, submit, until_state};
use crate::fleet::{Fleet, Servers, Setup, numbered_article};
use crate::ops::heeded;
use crate::replay::gate::Gate;

/// A fleet whose speech goes through a gate, and an admin's key.
async fn gated(servers: &Arc<Servers>, name: &str) -> anyhow::Result<(Fleet, String, Gate, Provider)> {
    let provider = Provider::start(Settings::default()).await?;
    let gate = Gate::start(&provider.url()).await?;
    let (fleet, key) = fleet(servers, name, Setup::default().with_speech_server(&gate.url)).await?;
    Ok((fleet, key, gate, provider))
}

async fn failed(fleet: &Fleet, key: &str, body: &Value) -> anyhow::Result<String> {
    let id = submit(fleet, key, body).await?;
    until_state(fleet, key, &id, "failed").await?;
    Ok(id)
}

pub(crate) async fn what_failed_is_edited_and_replayed(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let (fleet, key, gate, _provider) = gated(servers, "browser-edit").await?;
    gate.refuse("sentence 3 ", 400);
    let podcast = failed(&fleet, &key, &numbered_article(1, 5)).await?;
    let other = failed(
        &fleet,
        &key,
        &json!({"source": {"text": "This is sentence 3 of another."}, "language": "en"}),
    )
    .await?;
    let browser = Browser::start(&fleet).await?;
    browser.sign_in(&key).await?;
    browser.open("/dead-letters").await?;
    browser.is_accessible("dead-letters").await?;
    browser.open(&format!("/podcasts/{podcast}")).await?;
    browser.is_accessible("podcast-failed").await?;
    browser.click("#status .notice a").await?;
    browser.until_there("#decide").await?;
    let letter = browser.path().await?;
    let hidden = browser.text("pre").await?;
    ensure!(hidden.contains("redacted") && !hidden.contains("sentence 3"), "{hidden}");
    browser.is_accessible("letter").await?;

    // Somebody else looks at the same letter, and will be second.
    let second = make_key(&fleet, "acme", "support", &["--name", "second"]).await?;
    let late = Browser::start(&fleet).await?;
    late.sign_in(&second).await?;
    late.open(&letter).await?;
    late.until_there("#discard").await?;

    browser.click("form[action$='/edit'] button").await?;
    browser.until_there("#payload").await?;
    let looks = format!(
        "select count(*) from audit where action = 'dead_letter.view_payload' and subject like '%{}'",
        &letter[14..]
    );
    ensure!(fleet.count(&looks).await? == 1, "the look is written down");
    browser.run("const field = document.querySelector('#payload'); field.value = field.value.replace('sentence 3 ', 'the third sentence, number 3, ')").await?;
    browser.fill("#reason", "it cannot be said").await?;
    browser.click("#edit button.second").await?;
    browser.until_there(".difference ins").await?;
    ensure!(browser.text(".difference del").await?.contains("sentence 3 "));
    browser.is_accessible("letter-editing").await?;
    browser.click("button[name='confirmed']").await?;
    browser.until_there("#status").await?;
    ensure!(browser.path().await? == format!("/podcasts/{podcast}"));
    browser.until_there("#status[data-state='completed']").await?;
    browser
        .until_true(
            "the new words",
            "return document.querySelector('.transcript').textContent.includes('the third sentence')",
        )
        .await?;

    late.fill("#discard", "I was too late").await?;
    late.click("form[action$='/discard'] button").await?;
    late.until_there(".notice.bad").await?;
    let told = late.text(".notice.bad").await?;
    ensure!(told.contains("replayed by") && told.contains("it cannot be said"), "{told}");
    late.close().await?;

    browser.open(&format!("/dead-letters?podcast={other}")).await?;
    browser.click("a[href^='/dead-letters/0']").await?;
    browser.fill("#discard", "nobody needs it").await?;
    browser.click("form[action$='/discard'] button").await?;
    browser.until_there(".state.discarded").await?;
    ensure!(get(&fleet, &key, &format!("/v1/podcasts/{other}")).await?["state"] == "failed");
    browser.close().await?;
    fleet.stop().await
}

pub(crate) async fn many_are_replayed_after_a_dry_run(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let (fleet, key, gate, _provider) = gated(servers, "browser-many").await?;
    gate.refuse("broken ", 400);
    let mut podcasts = Vec::new();
    for number in 0..4 {
        let text = format!("This is broken number {number}, and nobody can say it.");
        podcasts.push(failed(&fleet, &key, &json!({"source": {"text": text}, "language": "en"})).await?);
    }
    let browser = Browser::start(&fleet).await?;
    browser.sign_in(&key).await?;
    browser.open("/dead-letters").await?;
    browser.click("button[name='dry_run']").await?;
    browser.until_there("#dry-run .notice").await?;
    ensure!(browser.path().await? == "/dead-letters", "the page stayed");
    let told = browser.text("#dry-run").await?;
    ensure!(told.starts_with("4 letters of 4 podcasts would be replayed"), "{told}");
    ensure!(fleet.count("select count(*) from replays").await? == 0, "nothing has happened");
    browser.is_accessible("dead-letters-dry-run").await?;
    gate.heal();
    browser.fill("#why", "the engine is repaired").await?;
    browser.fill("#rate", "1200").await?;
    browser.click("#replay-all button:not([name])").await?;
    browser.until_there("#replay[data-state='completed']").await?;
    browser.is_accessible("replay").await?;
    browser.open("/replays").await?;
    ensure!(browser.text("tbody").await?.contains("the engine is repaired"));
    browser.is_accessible("replays").await?;
    for podcast in &podcasts {
        until_state(&fleet, &key, podcast, "completed").await?;
    }
    let by = fleet.query("select principal, reason from replays").await?;
    let (by, why): (&str, &str) = (by.first().context("a replay")?.get(0), by[0].get(1));
    ensure!(!by.is_empty() && why == "the engine is repaired", "{by} {why}");
    browser.close().await?;
    fleet.stop().await
}

/// One podcast, and what support decides about it from its first to its last day, without a look at anything but pages.
pub(crate) async fn a_podcast_is_held_back_hurried_finished_without_and_erased(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let (fleet, key, gate, _provider) = gated(servers, "browser-decide").await?;
    gate.refuse("sentence 3 ", 400);
    let browser = Browser::start(&fleet).await?;
    browser.sign_in(&key).await?;
    browser.open("/now").await?;
    browser.click("#pauses summary").await?;
    browser.choose("#pauses select[name='kind']", "tts").await?;
    browser.fill("form[action='/pauses'] input[name='reason']", "the account is empty").await?;
    browser.click("form[action='/pauses'] button").await?;
    browser.until_there("#pauses .notice.warn").await?;
    ensure!(browser.path().await? == "/now", "where one was");
    ensure!(browser.text("#pauses .notice.warn").await?.contains("the account is empty"));
    browser.is_accessible("now-paused").await?;
    heeded(&fleet).await?;
    let podcast = submit(&fleet, &key, &numbered_article(1, 5)).await?;
    let held = "select count(*) from tasks where kind = 'tts' and run_at > '8999-01-01'";
    fleet.until_count(held, |count| count > 0).await?;

    // It is found by what it is, and goes before others.
    let rows =
        |count: usize| format!("return document.querySelectorAll('#podcasts tbody tr').length === {count}");
    browser.open("/podcasts?state=running&priority=normal&language=en&since=2026-01-01").await?;
    browser.until_true("the podcast in the list", &rows(1)).await?;
    browser.is_accessible("podcasts").await?;
    browser.choose("#priority", "high").await?;
    browser.until_there("#podcasts .empty").await?;
    ensure!(browser.path().await?.contains("priority=high"), "{}", browser.path().await?);
    browser.open(&format!("/podcasts/{podcast}")).await?;
    browser.choose("#new-priority", "high").await?;
    browser.click("form[action$='/priority'] button").await?;
    browser
        .until_true(
            "the new priority",
            "return document.querySelector('#facts').textContent.includes('High')",
        )
        .await?;
    browser.open("/podcasts?priority=high").await?;
    browser.until_true("the podcast in its new place", &rows(1)).await?;

    browser.open("/now").await?;
    browser.fill("form[action$='/resume'] input[name='reason']", "it is full again").await?;
    browser.click("form[action$='/resume'] button").await?;
    let resumed = "return document.querySelector('#pauses .notice') === null && document.querySelector('#pauses .hint') !== null";
    browser.until_true("nothing to be paused", resumed).await?;
    until_state(&fleet, &key, &podcast, "failed").await?;
    fleet.until_count("select count(*) from tasks where state = 'dispatched'", |count| count == 0).await?;

    browser.open(&format!("/podcasts/{podcast}")).await?;
    browser.fill("#why-finish-without", "nobody can say it").await?;
    browser.click("form[action$='/finish-without'] button").await?;
    browser.until_there("#status[data-state='completed']").await?;
    browser.until_there(".transcript .line").await?;
    let said = browser.text(".transcript").await?;
    ensure!(said.contains("missing here") && said.contains("sentence 2 "), "the gap is told: {said}");
    ensure!(!said.contains("sentence 3 "), "{said}");

    browser.open(&format!("/podcasts/{podcast}")).await?;
    browser.fill("#why-erase", "its subject asked for it").await?;
    browser.click("form[action$='/erase'] button").await?;
    browser.until_there("button[name='confirmed']").await?;
    browser.is_accessible("erase").await?;
    ensure!(
        get(&fleet, &key, &format!("/v1/podcasts/{podcast}")).await?["state"] == "completed",
        "it is there yet"
    );
    browser.click("button[name='confirmed']").await?;
    browser.until_there("#podcasts .empty").await?;
    ensure!(browser.path().await? == "/podcasts");
    browser.open(&format!("/podcasts/{podcast}")).await?;
    ensure!(browser.text("h1").await? == "Not found");
    let trail = fleet
        .query("select action, reason from audit where reason is not null order by id")
        .await?
        .iter()
        .map(|row| format!("{}: {}", row.get::<_, &str>(0), row.get::<_, &str>(1)))
        .collect::<Vec<_>>();
    let expected = [
        "pause: the account is empty",
        "resume: it is full again",
        "podcast.finish_without: nobody can say it",
        "podcast.erase: its subject asked for it",
    ];
    ensure!(trail == expected, "{trail:#?}");
    browser.close().await?;
    fleet.stop().await
}
