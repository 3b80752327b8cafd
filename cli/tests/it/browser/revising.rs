//! Somebody edits a line of a finished podcast.

use std::sync::Arc;

use anyhow::ensure;
use serde_json::json;

use super::{Browser, fleet};
use crate::access::{submit, until_state};
use crate::fleet::{Servers, Setup};

const ARTICLE: &str = "# The tides\n\n## The moon\n\nThe moon pulls at the sea, and the sea follows it slowly around the world. \
     Twice a day the water rises, and twice a day it falls.\n\n## The sun\n\nThe sun pulls as well, though it is far away. \
     When both pull together, the tide is high. Sailors call it a spring tide.\n";

pub(crate) async fn an_edited_line_alone_is_spoken_again(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let (fleet, key) = fleet(servers, "browser-revise", Setup::default()).await?;
    let id = submit(&fleet, &key, &json!({"source": {"text": ARTICLE}, "language": "en"})).await?;
    until_state(&fleet, &key, &id, "completed").await?;
    let browser = Browser::start(&fleet).await?;
    browser.sign_in(&key).await?;
    browser.open(&format!("/podcasts/{id}")).await?;
    browser.click("a[href$='/script']").await?;
    browser.until_there("#text-0-0").await?;
    browser.is_accessible("script").await?;
    browser.click("form.script button[type='submit']").await?;
    browser.until_there(".notice.bad").await?;
    ensure!(browser.text(".notice.bad").await? == "Nothing was changed.");
    browser.fill("#text-0-0", "Good evening. Let us talk about the sea.").await?;
    browser.click("form.script button[type='submit']").await?;
    browser.until_there("#status").await?;
    ensure!(browser.path().await? == format!("/podcasts/{id}"));
    browser.until_there("audio[data-player]").await?;
    browser.until_there("#status[data-state='completed']").await?;
    let said =
        "return document.querySelector('.transcript').textContent.includes('Let us talk about the sea')";
    browser.until_true("the new words", said).await?;
    let made_again = |kind: &str| {
        format!(
            "select count(*) from attempts a join tasks t on t.podcast_id = a.podcast_id and t.id = a.task_id
             where t.generation = 2 and a.kind = '{kind}' and a.class = 'success'"
        )
    };
    for (kind, expected) in [("outline", 0), ("script", 0), ("tts", 1), ("mix", 1), ("join", 1)] {
        let count = fleet.count(&made_again(kind)).await?;
        ensure!(count == expected, "{kind}: {count}");
    }
    browser.close().await?;
    fleet.stop().await
}
