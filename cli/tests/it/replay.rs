//! What was given up goes on where it stopped: once, whoever asks for it, with what is finished left as it is.

pub(crate) mod gate;
pub(crate) mod many;

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use common::amqp;
use common::config::Broker;
use common::topology;
use loadtest::providers::{Misbehaviour, Provider, Rule, Settings};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::audio::expect_every_number_once;
use crate::fleet::{Fleet, Servers, Setup, numbered_article, until};
use gate::Gate;

/// A fleet whose speech goes through a gate.
pub(crate) async fn gated(
    servers: &Arc<Servers>,
    name: &str,
    setup: Setup,
) -> anyhow::Result<(Fleet, Gate, Provider)> {
    let provider = Provider::start(Settings::default()).await?;
    let gate = Gate::start(&provider.url()).await?;
    let fleet = Fleet::start(servers, name, setup.with_speech_server(&gate.url)).await?;
    Ok((fleet, gate, provider))
}

/// An answer that must have this status.
pub(crate) async fn answered(response: reqwest::Response, status: u16) -> anyhow::Result<Value> {
    let (got, path) = (response.status().as_u16(), response.url().path().to_owned());
    let answer: Value = response.json().await?;
    ensure!(got == status, "{path}: {got} {answer:#}");
    Ok(answer)
}

pub(crate) async fn get(fleet: &Fleet, path: &str) -> anyhow::Result<Value> {
    answered(fleet.get(path).await?, 200).await
}

pub(crate) async fn post(fleet: &Fleet, path: &str, body: &Value, status: u16) -> anyhow::Result<Value> {
    answered(fleet.http.post(format!("{}{path}", fleet.api)).json(body).send().await?, status).await
}

/// The one open letter of a podcast.
pub(crate) async fn letter_of(fleet: &Fleet, podcast: &str) -> anyhow::Result<Value> {
    let list = get(fleet, &format!("/v1/dead-letters?podcast={podcast}")).await?;
    let letters = list["dead_letters"].as_array().context("letters")?;
    ensure!(letters.len() == 1, "{list:#}");
    Ok(letters[0].clone())
}

fn id(value: &Value) -> anyhow::Result<String> {
    Ok(value["id"].as_str().with_context(|| format!("an id: {value}"))?.to_owned())
}

/// Audit rows about a letter, by action.
async fn audited(fleet: &Fleet, letter: &str, action: &str) -> anyhow::Result<i64> {
    fleet
        .count(&format!(
            "select count(*) from audit where subject = 'dead_letter/{letter}' and action = '{action}' and principal = 'local'
             and tenant = 'default'"
        ))
        .await
}

/// The client, as support runs it: whether it succeeded, what it printed, what it remarked.
pub(crate) async fn podfleet(fleet: &Fleet, arguments: &[&str]) -> anyhow::Result<(bool, String, String)> {
    podfleet_with(fleet, arguments, "false").await
}

/// With this as the editor.
async fn podfleet_with(
    fleet: &Fleet,
    arguments: &[&str],
    editor: &str,
) -> anyhow::Result<(bool, String, String)> {
    let output = Command::new(env!("CARGO_BIN_EXE_podfleet"))
        .args(arguments)
        .args(["--server", &fleet.api])
        .env("VISUAL", editor)
        .stdin(Stdio::null())
        .current_dir(&fleet.folder)
        .output()
        .await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
}

/// An article under a title of its own, so that no two podcasts share a segment in the cache.
pub(crate) fn article(title: &str, segments: usize) -> Value {
    let text: String = (1..=segments)
        .map(|number| format!("This is sentence {number} of {title}, and it goes on for a while.\n\n"))
        .collect();
    json!({"source": {"text": format!("# {title}\n\n{text}")}, "language": "en", "title": title})
}

pub(crate) async fn a_replayed_podcast_goes_on_where_it_stopped(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let (fleet, gate, provider) =
        gated(servers, "replay", Setup { producers: 2, ..Setup::default() }).await?;
    gate.refuse("sentence 9 ", 503);
    let podcast = fleet.submit(&numbered_article(2, 8)).await?;
    let mixed = "select count(*) from chapters where chapter = 0 and mix is not null";
    fleet.until_count(mixed, |count| count == 1).await?;
    gate.refuse("sentence 9 ", 400);
    let failed = fleet.ended(&podcast).await?;
    ensure!(failed["state"] == "failed" && failed["failure"]["class"] == "permanent_input", "{failed:#}");
    fleet.until_count("select count(*) from tasks where state = 'dispatched'", |count| count == 0).await?;
    let spoken_before = provider.ledger().answered();
    ensure!(spoken_before > 0, "something was finished before it failed");

    let letter = letter_of(&fleet, &podcast).await?;
    let letter_id = id(&letter)?;
    ensure!(
        letter["source"] == "task" && letter["kind"] == "tts" && letter["engine"] == "tones",
        "{letter:#}"
    );
    ensure!(fleet.podcast(&podcast).await?["dead_letters"] == json!([letter_id]));
    the_payload_is_redacted(&fleet, &letter_id).await?;

    gate.heal();
    lose_the_fan_ins(&fleet).await?;
    // Ten people at once, at two producers.
    let path = format!("/v1/dead-letters/{letter_id}/replay");
    let wish = json!({"reason": "the engine is repaired"});
    let at = async |api: &str| anyhow::Ok(fleet.http.post(format!("{api}{path}")).json(&wish).send().await?);
    let answers =
        futures_util::future::try_join_all((0..10).map(|number| at(&fleet.apis[number % 2]))).await?;
    let (winners, losers): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status() == 200);
    ensure!(winners.len() == 1, "{} of 10 replayed it", winners.len());
    for winner in winners {
        let winner = answered(winner, 200).await?;
        ensure!(winner["state"] == "replayed" && winner["podcast"] == podcast.as_str(), "{winner:#}");
    }
    for loser in losers {
        let loser = answered(loser, 409).await?;
        ensure!(loser["type"] == "urn:podfleet:problem:already-settled", "{loser:#}");
        let settled = &loser["settled"];
        ensure!(settled["by"] == "local" && settled["reason"] == "the engine is repaired", "{loser:#}");
    }
    fleet.completed(&podcast).await?;
    expect_every_number_once(&fleet, &podcast).await?;
    let ledger = provider.ledger();
    ensure!(
        ledger.answers_by_text().values().all(|count| *count == 1),
        "a finished segment was paid for again"
    );
    ensure!(fleet.count("select count(*) from dead_letters").await? == 1);
    ensure!(audited(&fleet, &letter_id, "dead_letter.replay").await? == 1);
    let events =
        fleet.query(&format!("select event from events where podcast_id = '{podcast}' order by seq")).await?;
    let ends: Vec<String> =
        events.iter().map(|row| row.get(0)).filter(|event: &String| event != "progress").collect();
    let ends: Vec<&String> = ends.iter().filter(|event| *event != "first_audio").collect();
    ensure!(ends == ["accepted", "failed", "replayed", "completed"], "{ends:?}");
    post(&fleet, &path, &wish, 409).await?;
    post(&fleet, "/v1/dead-letters/0190a000-0000-7000-8000-000000000000/replay", &wish, 404).await?;
    post(&fleet, "/v1/dead-letters/7/replay", &wish, 400).await?;
    let (ok, out, err) = podfleet(&fleet, &["watch", &podcast]).await?;
    ensure!(
        ok && out.contains("failed") && out.contains("replayed") && out.contains("completed"),
        "{out} {err}"
    );
    fleet.at_rest().await?;
    fleet.stop().await
}

/// As if commits had gone wrong: a chapter that is spoken has no mix and no task for it, and the counters know of nothing.
async fn lose_the_fan_ins(fleet: &Fleet) -> anyhow::Result<()> {
    for sql in [
        "delete from tasks where kind in ('mix', 'join')",
        "update chapters set mix = null, written = false, segments_done = 0",
        "update podcasts set chapters_mixed = 0, chapters_written = 0, segments_done = 0",
    ] {
        fleet.query(sql).await?;
    }
    Ok(())
}

/// What people wrote is shown only on demand, and that somebody looked is written down.
async fn the_payload_is_redacted(fleet: &Fleet, letter: &str) -> anyhow::Result<()> {
    let shown = get(fleet, &format!("/v1/dead-letters/{letter}")).await?;
    let text = shown.to_string();
    ensure!(!text.contains("goes on for a while"), "{shown:#}");
    ensure!(
        shown["payload"]["redacted"] == true && shown["payload"]["value"]["language"] == "en",
        "{shown:#}"
    );
    ensure!(
        shown["replayable"] == true && shown["advice"].as_str().is_some_and(|text| text.contains("Edit")),
        "{shown:#}"
    );
    let history = shown["history"].as_array().context("a history")?;
    let classes: Vec<&Value> = history.iter().map(|attempt| &attempt["class"]).collect();
    ensure!(classes.len() >= 2 && classes[0] == "transient", "{shown:#}");
    ensure!(classes.last().is_some_and(|class| *class == "permanent_input"), "{shown:#}");
    ensure!(audited(fleet, letter, "dead_letter.view_payload").await? == 0);
    let whole = get(fleet, &format!("/v1/dead-letters/{letter}?payload=true")).await?;
    ensure!(
        whole["payload"]["value"]["text"].as_str().is_some_and(|text| text.contains("goes on")),
        "{whole:#}"
    );
    ensure!(audited(fleet, letter, "dead_letter.view_payload").await? == 1);
    Ok(())
}

pub(crate) async fn an_edited_input_takes_the_place_of_the_old_one(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let (fleet, gate, provider) = gated(servers, "edit", Setup::default()).await?;
    gate.refuse("sentence 3 ", 400);
    let podcast = fleet.submit(&numbered_article(1, 6)).await?;
    ensure!(fleet.ended(&podcast).await?["state"] == "failed");
    let letter = id(&letter_of(&fleet, &podcast).await?)?;
    let whole = get(&fleet, &format!("/v1/dead-letters/{letter}?payload=true")).await?;
    let original = whole["payload"]["value"].clone();
    let path = format!("/v1/dead-letters/{letter}/edit-replay");

    let refused = async |payload: &Value, field: &str| -> anyhow::Result<()> {
        let problem = post(&fleet, &path, &json!({"reason": "try", "payload": payload}), 422).await?;
        let fault = &problem["errors"][0];
        ensure!(fault["field"] == field && fault["remedy"] != "", "{payload}: {problem:#}");
        Ok(())
    };
    let with = |field: &str, value: Value| {
        let mut payload = original.clone();
        payload[field] = value;
        payload
    };
    refused(&original, "payload").await?;
    refused(&with("text", json!("")), "payload.text").await?;
    refused(&with("speed", json!(2)), "payload.speed").await?;
    refused(&json!([]), "payload").await?;
    let problem = post(&fleet, &path, &json!({"payload": with("text", json!("x"))}), 422).await?;
    ensure!(problem["errors"][0]["field"] == "reason", "{problem:#}");
    ensure!(fleet.podcast(&podcast).await?["state"] == "failed", "a refused edit changes nothing");

    // The gate refuses the old words still: only the new ones can pass.
    std::fs::write(
        fleet.folder.join("edited.json"),
        with("text", json!("The third sentence, number 3, in other words.")).to_string(),
    )?;
    let arguments = ["dead", "edit", &letter, "--reason", "the engine cannot say it"];
    let (ok, _, err) = podfleet_with(&fleet, &arguments, "true").await?;
    ensure!(!ok && err.contains("nothing was changed"), "{err}");
    let (ok, out, err) = podfleet_with(&fleet, &arguments, "cp edited.json").await?;
    ensure!(ok && out.contains("runs again"), "{out} {err}");
    fleet.completed(&podcast).await?;
    expect_every_number_once(&fleet, &podcast).await?;
    let transcript = fleet.get(&format!("/v1/podcasts/{podcast}/transcript.txt")).await?.text().await?;
    ensure!(transcript.contains("in other words") && !transcript.contains("sentence 3 "), "{transcript}");
    let answers = provider.ledger();
    ensure!(answers.answers_by_text().values().all(|count| *count == 1), "what was finished stayed");

    let shown = get(&fleet, &format!("/v1/dead-letters/{letter}?payload=true")).await?;
    ensure!(shown["payload"]["value"] == original, "the original is kept: {shown:#}");
    let difference = &shown["difference"];
    ensure!(difference[0]["path"] == "/text" && difference[0]["before"] == original["text"], "{shown:#}");
    ensure!(audited(&fleet, &letter, "dead_letter.edit_replay").await? == 1);
    let trail = fleet.query("select before::text || after::text from audit").await?;
    ensure!(
        trail.iter().all(|row| !row.get::<_, Option<String>>(0).unwrap_or_default().contains("sentence"))
    );
    fleet.at_rest().await?;
    fleet.stop().await
}

pub(crate) async fn what_ran_out_of_time_gets_its_time_again(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    provider.add_rules(vec![Rule::new(Misbehaviour::ServerError)])?;
    let setup = Setup { workers: 0, ..Setup::default() }.with("POLICY__BASE_MS", 20_000);
    let mut fleet = Fleet::start(servers, "late", setup.with_speech_server(&provider.url())).await?;
    let mut request = numbered_article(1, 2);
    request["deadline_seconds"] = json!(3_600);
    let podcast = fleet.submit(&request).await?;
    let other = fleet.submit(&article("Another", 2)).await?;
    fleet.spawn("worker", &[]).await?;
    let failed = "select count(distinct podcast_id) from attempts where class = 'transient'";
    fleet.until_count(failed, |podcasts| podcasts == 2).await?;
    let mut worker = fleet.take_role("worker");
    worker.signal(Signal::SIGTERM);
    ensure!(worker.exit().await?.success(), "a worker leaves in order");
    provider.clear_rules();
    fleet.query("update podcasts set deadline = now() - interval '1 second'").await?;
    for podcast in [&podcast, &other] {
        let failed = fleet.ended(podcast).await?;
        ensure!(failed["failure"]["class"] == "expired", "{failed:#}");
    }
    let letter = letter_of(&fleet, &podcast).await?;
    ensure!(
        letter["source"] == "podcast" && letter["class"] == "expired" && letter["kind"].is_null(),
        "{letter:#}"
    );
    let whole = get(&fleet, &format!("/v1/dead-letters/{}", id(&letter)?)).await?;
    let cause = whole["chain"][0].as_str().unwrap_or_default();
    ensure!(cause.contains("not done; the last failure: engine tones answered 500"), "{whole:#}");
    ensure!(whole["history"][0]["class"] == "transient", "what failed is told: {whole:#}");
    counted_by_source_and_class(&mut fleet).await?;
    let groups = get(&fleet, "/v1/dead-letters/groups?source=podcast").await?;
    ensure!(groups["groups"].as_array().is_some_and(|groups| groups.len() == 1), "one cause: {groups:#}");
    ensure!(groups["groups"][0]["open"] == 2 && groups["groups"][0]["podcasts"] == 2, "{groups:#}");

    let wish = json!({"reason": "we were late", "payload": {}});
    let letter = id(&letter)?;
    let problem = post(&fleet, &format!("/v1/dead-letters/{letter}/edit-replay"), &wish, 409).await?;
    ensure!(
        problem["errors"][0]["remedy"].as_str().is_some_and(|text| text.contains("as it is")),
        "{problem:#}"
    );
    let wish = json!({"reason": "we were late"});
    let answer = post(&fleet, &format!("/v1/dead-letters/{letter}/replay"), &wish, 200).await?;
    ensure!(answer["detail"].as_str().is_some_and(|text| text.contains("Its time was over")), "{answer:#}");
    let left = fleet
        .count(&format!(
            "select extract(epoch from deadline - now())::bigint from podcasts where id = '{podcast}'"
        ))
        .await?;
    ensure!((3_500..=3_600).contains(&left), "the time that was asked for, and not more: {left} s");
    // What a repair puts aside just after a replay does not stay there.
    fleet.query(&format!("update tasks set state = 'held' where podcast_id = '{podcast}'")).await?;
    fleet.spawn("worker", &[]).await?;
    fleet.completed(&podcast).await?;

    // The other one is nobody's business any more.
    let letter = id(&letter_of(&fleet, &other).await?)?;
    let discard = format!("/v1/dead-letters/{letter}/discard");
    let problem = post(&fleet, &discard, &json!({}), 422).await?;
    ensure!(problem["errors"][0]["field"] == "reason", "{problem:#}");
    let (ok, out, err) =
        podfleet(&fleet, &["dead", "discard", &letter, "--reason", "nobody waits for it"]).await?;
    ensure!(ok && out.contains("discarded"), "{out} {err}");
    let problem = post(&fleet, &format!("/v1/dead-letters/{letter}/replay"), &wish, 409).await?;
    ensure!(
        problem["settled"]["state"] == "discarded" && problem["settled"]["reason"] == "nobody waits for it"
    );
    ensure!(audited(&fleet, &letter, "dead_letter.discard").await? == 1);
    ensure!(fleet.podcast(&other).await?["state"] == "failed");
    fleet.at_rest().await?;
    fleet.stop().await
}

async fn counted_by_source_and_class(fleet: &mut Fleet) -> anyhow::Result<()> {
    let log = fleet.role("collector").log.clone();
    let text = std::fs::read_to_string(&log)?;
    let rest = text.split("address").nth(1).context("the health address")?;
    let start = rest.find("127.0.0.1").context("the health address")?;
    let address =
        rest[start..].split(|c: char| c.is_whitespace() || c == '\u{1b}').next().context("a word")?;
    let metrics = fleet.http.get(format!("http://{address}/metrics")).send().await?.text().await?;
    let line = r#"podfleet_dead_letters_total{source="podcast",class="expired"} 2"#;
    ensure!(metrics.contains(line), "{metrics}");
    Ok(())
}

pub(crate) async fn a_refused_request_is_repaired(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    let fleet = Fleet::start(servers, "repair", Setup::default().with_speech_server(&provider.url())).await?;
    let broker = Broker { url: fleet.environment()["PODFLEET__BROKER__URL"].clone(), ..Broker::default() };
    fleet.until_intake().await?;
    let connection = amqp::connect(&broker, "test").await?;
    let channel = amqp::confirming_channel(&connection, broker.timeout()).await?;
    let timeout = Duration::from_secs(10);
    let mut request = numbered_article(1, 2);
    request["target_minutes"] = json!(600);
    request["title"] = json!("Num\0bers");
    let properties = amqp::persistent_json().with_message_id("order-7".into());
    let body = serde_json::to_vec(&request)?;
    let confirm =
        amqp::publish(&channel, topology::REQUESTS_EXCHANGE, "", &body, properties, timeout).await?;
    amqp::confirmed(confirm, timeout).await?;
    let confirm =
        amqp::publish(&channel, "", "podfleet.outcomes.v1", b"[[[", amqp::persistent_json(), timeout).await?;
    amqp::confirmed(confirm, timeout).await?;
    fleet.until_count("select count(*) from dead_letters", |count| count == 2).await?;

    let list = get(&fleet, "/v1/dead-letters?source=message").await?;
    let letters = list["dead_letters"].as_array().context("letters")?;
    let of = |origin: &str| {
        letters
            .iter()
            .find(|letter| letter["origin"] == origin)
            .with_context(|| format!("{origin}: {list:#}"))
    };
    // What the fleet tells itself is not handed in again.
    let outcome = id(of("outcome")?)?;
    let wish = json!({"reason": "why not"});
    let problem = post(&fleet, &format!("/v1/dead-letters/{outcome}/replay"), &wish, 409).await?;
    let fault = &problem["errors"][0];
    ensure!(fault["reason"].as_str().is_some_and(|text| text.contains("fleet's own")), "{problem:#}");
    ensure!(fault["remedy"].as_str().is_some_and(|text| text.contains("Discard")), "{problem:#}");
    let dry = post(&fleet, "/v1/dead-letters/replay", &json!({"filter": {}, "dry_run": true}), 200).await?;
    ensure!(dry["letters"] == 1 && dry["requests"] == 1 && dry["not_replayable"] == 1, "{dry:#}");

    // The request is judged as the first time, until it is repaired.
    let letter = of("request")?;
    ensure!(letter["message_id"] == "order-7", "{letter:#}");
    let path = format!("/v1/dead-letters/{}", id(letter)?);
    let problem = post(&fleet, &format!("{path}/replay"), &wish, 422).await?;
    let fields: Vec<_> =
        problem["errors"].as_array().into_iter().flatten().map(|fault| &fault["field"]).collect();
    ensure!(fields == ["title", "target_minutes"], "{problem:#}");
    request["title"] = json!("Numbers");
    request.as_object_mut().context("an object")?.remove("target_minutes");
    let wish = json!({"reason": "they meant no length", "payload": request});
    let edit = format!("{path}/edit-replay");
    let (one, two) = tokio::join!(
        fleet.http.post(format!("{}{edit}", fleet.api)).json(&wish).send(),
        fleet.http.post(format!("{}{edit}", fleet.api)).json(&wish).send()
    );
    let (one, two) = (one?, two?);
    let (winner, loser) = if one.status() == 200 { (one, two) } else { (two, one) };
    let winner = answered(winner, 200).await?;
    let podcast = winner["podcast"].as_str().context("a podcast")?;
    let loser = answered(loser, 409).await?;
    ensure!(loser["settled"]["became"] == podcast, "{loser:#}");
    fleet.completed(podcast).await?;
    ensure!(fleet.count("select count(*) from podcasts").await? == 1);
    ensure!(fleet.count("select count(*) from podcasts where idempotency_key = 'order-7'").await? == 1);
    let shown = get(&fleet, &path).await?;
    let changed = shown["difference"].as_array().context("a difference")?;
    ensure!(
        changed.len() == 2 && changed[0] == json!({"path": "/target_minutes", "before": 600}),
        "{shown:#}"
    );
    ensure!(
        changed[1]["path"] == "/title" && changed[1]["before"].to_string().contains("redacted"),
        "{shown:#}"
    );
    the_letters_of_others_do_not_exist(&fleet, &outcome).await?;
    connection.close(200, "bye".into()).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Another tenant's letter is answered like one that is not there, whatever is asked of it.
async fn the_letters_of_others_do_not_exist(fleet: &Fleet, letter: &str) -> anyhow::Result<()> {
    fleet.query("update dead_letters set tenant = 'other'").await?;
    let (list, dry) = ("/v1/dead-letters?state=all", json!({"filter": {}, "dry_run": true}));
    ensure!(get(fleet, list).await?["dead_letters"] == json!([]));
    ensure!(get(fleet, "/v1/dead-letters/groups?state=all").await?["groups"] == json!([]));
    let dry = post(fleet, "/v1/dead-letters/replay", &dry, 200).await?;
    ensure!(dry["letters"] == 0 && dry["not_replayable"] == 0, "{dry:#}");
    let path = format!("/v1/dead-letters/{letter}");
    answered(fleet.get(&format!("{path}?payload=true")).await?, 404).await?;
    let wish = json!({"reason": "mine?", "payload": {}});
    post(fleet, &format!("{path}/edit-replay"), &wish, 404).await?;
    for action in ["replay", "discard"] {
        post(fleet, &format!("{path}/{action}"), &json!({"reason": "mine?"}), 404).await?;
    }
    ensure!(fleet.count("select count(*) from audit where reason = 'mine?'").await? == 0);
    ensure!(fleet.count("select count(*) from dead_letters where state = 'open'").await? == 1);
    Ok(())
}

pub(crate) async fn show_tells_the_next_attempt_and_the_last_failure(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let (fleet, gate, _provider) = gated(servers, "next", Setup::default()).await?;
    // With the gate's advice to come back after 4 s.
    gate.refuse("sentence 2 ", 503);
    let podcast = fleet.submit(&numbered_article(1, 3)).await?;
    let text = until("a retry that waits", async || {
        let (ok, out, err) = podfleet(&fleet, &["show", &podcast]).await?;
        ensure!(ok, "{err}");
        Ok(out.contains("; next attempt in ").then_some(out))
    })
    .await?;
    ensure!(text.contains("In its way:") && text.contains("attempt 1 failed: "), "{text}");
    ensure!(text.contains("503") && text.contains("a simulated fault"), "why: {text}");
    let shown = fleet.podcast(&podcast).await?;
    let trouble = &shown["troubles"][0];
    ensure!(trouble["kind"] == "tts" && trouble["class"] == "transient", "{shown:#}");
    ensure!(trouble["next_attempt_at"].is_string() || trouble["state"] != "scheduled", "{shown:#}");
    gate.heal();
    fleet.completed(&podcast).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}
