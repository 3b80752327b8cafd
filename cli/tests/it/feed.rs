//! Feeds: whether players can read them, and to whom their tokens open what.

use std::sync::Arc;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::access::{submit, until_state, with_keys};
use crate::clients::{run, script};
use crate::fleet::{Fleet, Servers, Setup, until};

async fn admin_post(fleet: &Fleet, key: &str, path: &str, body: Value) -> anyhow::Result<Value> {
    let request = fleet.http.post(format!("{}{path}", fleet.api)).bearer_auth(key).json(&body);
    Ok(request.send().await?.error_for_status()?.json().await?)
}

async fn status(fleet: &Fleet, address: &str) -> anyhow::Result<u16> {
    Ok(fleet.http.get(address).send().await?.status().as_u16())
}

pub(crate) async fn a_player_reads_the_feed_and_all_that_it_names(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let (fleet, key) = with_keys(servers, "feed", Setup::default()).await?;
    let cover = "https://example.org/cover.png";
    let asked = json!({
        "title": "Ebbe & <Flut>", "cover_url": cover,
        "source": {"text": "# Low\n\nThe sea falls.\n\n# High\n\nThe sea rises \"again\"."}
    });
    let first = submit(&fleet, &key, &asked).await?;
    until_state(&fleet, &key, &first, "completed").await?;
    let second = submit(&fleet, &key, &json!({"source": {"text": "조수는 하루에 두 번 바뀝니다."}})).await?;
    until_state(&fleet, &key, &second, "completed").await?;
    let settings = json!({"title": "Tides & Moons", "email": "tides@example.org", "image_url": cover});
    ensure!(admin_post(&fleet, &key, "/v1/feed", settings).await?["title"] == "Tides & Moons");
    let made = admin_post(&fleet, &key, "/v1/feed/token", json!({})).await?;
    let address = made["address"].as_str().context("an address")?;
    let output = run(&fleet, "python", &[&script("feed.py"), address]).await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(read["title"] == "Tides & Moons" && read["image"] == cover, "{read}");
    let items = read["items"].as_array().context("items")?;
    ensure!(items.len() == 2, "{read}");
    ensure!(items[1]["title"] == "Ebbe & <Flut>" && items[1]["image"] == cover, "{read}");
    ensure!(items[1]["chapters"].as_u64() >= Some(2) && items[0]["image"].is_null(), "{read}");
    fleet.stop().await
}

/// A token opens its tenant's feed and files to whoever has the address, and nothing else to anybody.
pub(crate) async fn a_feeds_token_opens_nothing_else(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let (fleet, key) = with_keys(servers, "feed-token", Setup::default()).await?;
    let id =
        submit(&fleet, &key, &json!({"source": {"text": "Only for those who have the address."}})).await?;
    until_state(&fleet, &key, &id, "completed").await?;
    let rival = crate::access::make_key(&fleet, "rival", "admin", &[]).await?;
    let token = async |key: &str| -> anyhow::Result<String> {
        let made = admin_post(&fleet, key, "/v1/feed/token", json!({})).await?;
        Ok(made["token"].as_str().context("a token")?.to_owned())
    };
    let (own, theirs) = (token(&key).await?, token(&rival).await?);
    let audio = format!("{}/v1/podcasts/{id}/audio", fleet.api);
    let feed = format!("{}/feed.xml", fleet.api);
    ensure!(status(&fleet, &format!("{audio}?token={own}")).await? == 200);
    ensure!(status(&fleet, &format!("{audio}?token={theirs}")).await? == 404, "another tenant's");
    let rivals: String = fleet.http.get(format!("{feed}?token={theirs}")).send().await?.text().await?;
    ensure!(!rivals.contains(&id) && !rivals.contains("acme"), "{rivals}");
    for bad in ["", "feed_", &format!("feed_{}", "0".repeat(64)), &key] {
        ensure!(status(&fleet, &format!("{feed}?token={bad}")).await? == 401, "{bad}");
    }
    for other in [
        "/v1/podcasts",
        &format!("/v1/podcasts/{id}"),
        &format!("/v1/podcasts/{id}/events"),
        "/v1/feed",
        "/metrics",
    ] {
        ensure!(status(&fleet, &format!("{}{other}?token={own}", fleet.api)).await? == 401, "{other}");
    }
    // A new token ends the old one, and without one there is none.
    let fresh = token(&key).await?;
    ensure!(status(&fleet, &format!("{feed}?token={own}")).await? == 401);
    ensure!(status(&fleet, &format!("{feed}?token={fresh}")).await? == 200);
    let away = fleet.http.delete(format!("{}/v1/feed/token", fleet.api)).bearer_auth(&key);
    ensure!(away.send().await?.status() == 204);
    ensure!(status(&fleet, &format!("{feed}?token={fresh}")).await? == 401);
    let with_key = fleet.http.get(&feed).bearer_auth(&key).send().await?;
    ensure!(with_key.status() == 200 && !with_key.text().await?.contains("token="));
    for table in ["feeds", "audit"] {
        let found = format!(
            "select count(*) from {table} t where t::text like '%{}%'",
            fresh.trim_start_matches("feed_")
        );
        ensure!(fleet.count(&found).await? == 0, "{table} holds a token");
    }
    let done = until("the audit", async || {
        let count = fleet
            .count("select count(*) from audit where action in ('feed.new_token', 'feed.no_token')")
            .await?;
        Ok((count == 4).then_some(()))
    });
    done.await?;
    fleet.stop().await
}
