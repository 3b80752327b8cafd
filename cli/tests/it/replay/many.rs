//! Many letters at once: in steps, slowly, and no further once the same cause is back.

use std::sync::Arc;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{article, gated, get, id, podfleet, post};
use crate::fleet::{Fleet, Servers, Setup, until};

/// Podcasts that fail for good at one segment each.
async fn failing_podcasts(fleet: &Fleet, count: usize) -> anyhow::Result<Vec<String>> {
    let mut podcasts = Vec::new();
    for number in 0..count {
        let name = ["Ants", "Bees", "Cats", "Dogs", "Eels", "Foxes", "Geese", "Hares"][number];
        podcasts.push(fleet.submit(&article(name, 3)).await?);
    }
    for podcast in &podcasts {
        ensure!(fleet.ended(podcast).await?["state"] == "failed");
    }
    Ok(podcasts)
}

pub(crate) async fn a_replay_of_many_stops_when_the_cause_returns(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let (fleet, gate, provider) = gated(servers, "many", Setup::default()).await?;
    gate.refuse("sentence 2 ", 400);
    let podcasts = failing_podcasts(&fleet, 4).await?;
    let (ok, out, err) = podfleet(&fleet, &["dead", "groups"]).await?;
    ensure!(ok && out.lines().count() == 2, "one cause: {out} {err}");
    let (ok, out, err) = podfleet(&fleet, &["dead", "list", "--kind", "tts", "--json"]).await?;
    ensure!(ok, "{err}");
    ensure!(
        serde_json::from_str::<Value>(&out)?["dead_letters"].as_array().is_some_and(|list| list.len() == 4)
    );
    let page = get(&fleet, "/v1/dead-letters?limit=3").await?;
    let next = page["next"].as_str().context("another page")?;
    let rest = get(&fleet, &format!("/v1/dead-letters?limit=3&cursor={next}")).await?;
    ensure!(
        rest["dead_letters"].as_array().is_some_and(|list| list.len() == 1) && rest["next"].is_null(),
        "{rest:#}"
    );

    let filter = ["dead", "replay", "--kind", "tts", "--class", "permanent_input"];
    let (ok, out, err) = podfleet(&fleet, &[&filter[..], &["--dry-run"]].concat()).await?;
    ensure!(ok && out.contains("4 letters would be replayed: 4 podcasts go on"), "{out} {err}");
    ensure!(out.contains("tts tasks with tones") && out.contains("units"), "{out}");
    ensure!(fleet.count("select count(*) from replays").await? == 0, "a dry run does nothing");

    // Nothing is repaired yet: the first one finds out, and the others are spared.
    let (ok, out, err) = podfleet(&fleet, &[&filter[..], &["--reason", "a try"]].concat()).await?;
    ensure!(!ok && out.contains("stopped: 1 of 4 replayed, 3 waiting"), "{out} {err}");
    ensure!(err.contains("the same cause returned"), "{err}");
    let groups = get(&fleet, "/v1/dead-letters/groups?state=all").await?;
    let group = &groups["groups"][0];
    ensure!(group["letters"] == 5 && group["open"] == 4 && group["seen"] == 5, "both show: {groups:#}");

    gate.heal();
    let wish = json!({"filter": {"kind": "tts"}, "reason": "slowly", "rate_per_minute": 1});
    let slow = id(&post(&fleet, "/v1/dead-letters/replay", &wish, 202).await?)?;
    let (ok, out, err) = podfleet(&fleet, &["dead", "replays"]).await?;
    ensure!(ok && out.contains(&slow) && out.contains("running: "), "{out} {err}");
    let (ok, out, err) = podfleet(&fleet, &["dead", "cancel", &slow]).await?;
    ensure!(ok && out.contains("cancelled"), "{out} {err}");
    let (ok, _, err) = podfleet(&fleet, &["dead", "progress", &slow]).await?;
    ensure!(!ok && err.contains("cancelled by local"), "{err}");

    let (ok, out, err) =
        podfleet(&fleet, &[&filter[..], &["--reason", "repaired", "--rate", "1200"]].concat()).await?;
    ensure!(ok && out.contains("completed"), "{out} {err}");
    for podcast in &podcasts {
        fleet.completed(podcast).await?;
    }
    let steps = fleet
        .query("select i.step, count(*) from replay_items i join replays r on r.id = i.replay_id where r.reason = 'repaired' and i.state = 'replayed' group by i.step order by i.step")
        .await?;
    let sizes: Vec<(i32, i64)> = steps.iter().map(|row| (row.get(0), row.get(1))).collect();
    ensure!(sizes.first() == Some(&(0, 1)), "one first: {sizes:?}");
    ensure!(provider.ledger().answers_by_text().values().all(|count| *count == 1));
    ensure!(fleet.count("select count(*) from audit where action = 'replay.start'").await? == 3);
    ensure!(fleet.count("select count(*) from audit where action = 'dead_letter.replay'").await? == 5);
    ensure!(fleet.count("select count(*) from dead_letters where state = 'open'").await? == 0);
    let (ok, _, err) = podfleet(&fleet, &["dead", "replay"]).await?;
    ensure!(!ok && err.contains("--all"), "{err}");
    fleet.at_rest().await?;
    fleet.stop().await
}

pub(crate) async fn a_replay_of_many_outlives_its_process(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let (mut fleet, gate, provider) = gated(servers, "many-kill", Setup::default()).await?;
    gate.refuse("sentence 2 ", 400);
    let podcasts = failing_podcasts(&fleet, 4).await?;
    gate.heal();
    let wish = json!({"filter": {}, "reason": "repaired", "rate_per_minute": 60});
    let replay = id(&post(&fleet, "/v1/dead-letters/replay", &wish, 202).await?)?;
    fleet
        .until_count("select count(*) from replay_items where state = 'replayed'", |count| count >= 1)
        .await?;
    fleet.role("producer").signal(Signal::SIGKILL);
    ensure!(!fleet.role("producer").exit().await?.success());
    ensure!(
        fleet.count("select count(*) from replay_items where state = 'waiting'").await? > 0,
        "it was killed in between"
    );
    fleet.spawn_producer(&[]).await?;
    let ended = until("the end of the replay", async || {
        let progress = get(&fleet, &format!("/v1/replays/{replay}")).await?;
        Ok((progress["state"] != "running").then_some(progress))
    })
    .await?;
    ensure!(ended["state"] == "completed" && ended["replayed"] == 4, "{ended:#}");
    for podcast in &podcasts {
        fleet.completed(podcast).await?;
    }
    ensure!(fleet.count("select count(*) from audit where action = 'dead_letter.replay'").await? == 4);
    // By the rate alone, which may catch up one second; the other letters of a step would follow the first at once.
    let second =
        "select count(*), extract(epoch from max(at) - min(at))::float8 from replay_items where step = 1";
    let row = fleet.query(second).await?;
    let (letters, seconds): (i64, f64) = (row[0].get(0), row[0].get(1));
    ensure!(letters == 3 && seconds > 0.8, "{letters} letters in {seconds:.1} s at one a second");
    ensure!(provider.ledger().answers_by_text().values().all(|count| *count == 1));
    fleet.at_rest().await?;
    fleet.abandon().await
}
