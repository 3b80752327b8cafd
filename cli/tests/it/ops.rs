//! What support and operators decide: replays of whole podcasts, priorities, pauses, other takes, gaps.

use std::sync::Arc;

use anyhow::{Context, ensure};
use loadtest::providers::{Provider, Settings, decode_numbers};
use serde_json::{Value, json};

use crate::audio::{RATE, decode, expect_every_number_once};
use crate::fleet::{Fleet, Servers, Setup, numbered_article, until};
use crate::replay::{article, gated, get, letter_of, podfleet, post};

/// Audit rows of an action about a subject.
async fn audited(fleet: &Fleet, subject: &str, action: &str) -> anyhow::Result<i64> {
    let sql = format!("select count(*) from audit where subject = '{subject}' and action = '{action}'");
    fleet.count(&sql).await
}

fn text<'a>(value: &'a Value, name: &str) -> anyhow::Result<&'a str> {
    value[name].as_str().with_context(|| format!("{name} in {value}"))
}

pub(crate) async fn a_podcast_is_replayed_as_a_whole(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let (fleet, gate, provider) = gated(servers, "whole", Setup::default()).await?;
    gate.refuse("sentence", 400);
    let podcast = fleet.submit(&numbered_article(2, 4)).await?;
    ensure!(fleet.ended(&podcast).await?["state"] == "failed");
    fleet.until_count("select count(*) from tasks where state = 'dispatched'", |count| count == 0).await?;
    let letters = fleet.count("select count(*) from dead_letters where state = 'open'").await?;
    ensure!(letters >= 1);
    gate.heal();
    let path = format!("/v1/podcasts/{podcast}/replay");
    let problem = post(&fleet, &path, &json!({}), 422).await?;
    ensure!(problem["errors"][0]["field"] == "reason", "{problem:#}");
    let (ok, out, err) = podfleet(&fleet, &["replay", &podcast, "--reason", "it is repaired"]).await?;
    ensure!(ok && out.contains("runs again"), "{out} {err}");
    fleet.completed(&podcast).await?;
    expect_every_number_once(&fleet, &podcast).await?;
    ensure!(provider.ledger().answers_by_text().values().all(|count| *count == 1));
    ensure!(fleet.count("select count(*) from dead_letters where state = 'open'").await? == 0);
    ensure!(audited(&fleet, &format!("podcast/{podcast}"), "podcast.replay").await? == 1);
    let settled = "select count(*) from dead_letters where settled_reason = 'it is repaired'";
    ensure!(fleet.count(settled).await? == letters, "all of its letters, by one act");
    let problem = post(&fleet, &path, &json!({"reason": "again"}), 409).await?;
    ensure!(problem["errors"][0]["reason"] == "it is completed", "{problem:#}");
    fleet.at_rest().await?;
    fleet.stop().await
}

pub(crate) async fn a_changed_priority_moves_what_waits(servers: &Arc<Servers>) -> anyhow::Result<()> {
    // Nobody dispatches at first, so all of them wait.
    let setup = Setup { workers: 0, collectors: 0, ..Setup::default() };
    let mut fleet = Fleet::start(servers, "priority", setup).await?;
    let mut ids = Vec::new();
    for place in 1..=3 {
        let answer: Value = fleet.post(&article(&format!("Waits {place}"), 2)).await?.json().await?;
        let queued = &answer["queued"];
        ensure!(queued["place"] == place && queued["lane"] == "normal", "{answer:#}");
        ids.push(text(&answer, "id")?.to_owned());
    }
    let shown = fleet.podcast(&ids[2]).await?;
    ensure!(shown["queued"]["place"] == 3 && shown["queued"]["kind"] == "outline", "{shown:#}");
    let (ok, out, err) = podfleet(&fleet, &["priority", &ids[2], "high", "--reason", "it is news"]).await?;
    ensure!(ok && out.contains("1 task that waits has gone there"), "{out} {err}");
    let shown = fleet.podcast(&ids[2]).await?;
    ensure!(shown["priority"] == "high" && shown["queued"]["lane"] == "high", "{shown:#}");
    ensure!(shown["queued"]["place"] == 1, "{shown:#}");
    let (ok, out, err) = podfleet(&fleet, &["show", &ids[2]]).await?;
    ensure!(ok && out.contains("next for outline, high priority"), "{out} {err}");
    ensure!(fleet.podcast(&ids[1]).await?["queued"]["place"] == 2);
    ensure!(audited(&fleet, &format!("podcast/{}", ids[2]), "podcast.priority").await? == 1);
    let path = format!("/v1/podcasts/{}/priority", ids[2]);
    for (wish, field) in [(json!({}), "priority"), (json!({"priority": "urgent"}), "priority")] {
        let problem = post(&fleet, &path, &wish, 422).await?;
        ensure!(problem["errors"][0]["field"] == field, "{problem:#}");
    }
    fleet.spawn("collector", &[]).await?;
    fleet.spawn("worker", &[]).await?;
    for id in &ids {
        fleet.completed(id).await?;
    }
    let lanes = format!("select count(*) from tasks where podcast_id = '{}' and lane <> 'high'", ids[2]);
    ensure!(fleet.count(&lanes).await? == 0, "what comes later goes there, too");
    post(&fleet, &path, &json!({"priority": "low"}), 409).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Dispatchers look at pauses five times a second, and tell producers of them: when one has looked a second after the last pause began,
/// all of them keep to it.
pub(crate) async fn heeded(fleet: &Fleet) -> anyhow::Result<()> {
    let looked = "select count(*) from publishers where role = 'collector'
                  and lease_until - interval '7 seconds' > (select max(created_at) from pauses)";
    fleet.until_count(looked, |count| count > 0).await
}

pub(crate) async fn what_is_paused_waits_and_is_not_lost(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    let setup = Setup::default().with_speech_server(&provider.url());
    let mut fleet = Fleet::start(servers, "paused", setup).await?;
    let wish = json!({"engine": "tones", "reason": "the account is empty"});
    let pause = post(&fleet, "/v1/pauses", &wish, 201).await?;
    ensure!(pause["new"] == true && pause["tenant"] == "default", "{pause:#}");
    let again = post(&fleet, "/v1/pauses", &json!({"engine": "tones", "reason": "me too"}), 200).await?;
    ensure!(again["id"] == pause["id"] && again["reason"] == "the account is empty", "{again:#}");
    for (wish, field) in [
        (json!({"engine": "nobody", "reason": "x"}), "engine"),
        (json!({"kind": "sing", "reason": "x"}), "kind"),
        (json!({"lane": "fast", "reason": "x"}), "lane"),
        (json!({"tenant": "a b", "reason": "x"}), "tenant"),
        (json!({"kind": "tts"}), "reason"),
    ] {
        let problem = post(&fleet, "/v1/pauses", &wish, 422).await?;
        ensure!(problem["errors"][0]["field"] == field, "{problem:#}");
    }
    heeded(&fleet).await?;
    let podcast = fleet.submit(&numbered_article(2, 4)).await?;
    // Everything but speech is done, and speech is put aside, not sent.
    let held = "select count(*) from tasks where kind = 'tts' and run_at > '8999-01-01'";
    let unsent = "select count(*) from tasks where kind = 'tts' and attempt > 0";
    fleet.until_count("select count(*) from chapters where written", |count| count == 2).await?;
    let segments = fleet.count("select count(*) from tasks where kind = 'tts'").await?;
    fleet.until_count(held, |count| count == segments).await?;
    let shown = fleet.podcast(&podcast).await?;
    ensure!(shown["state"] == "running" && shown["paused_by"] == json!([pause["id"]]), "{shown:#}");
    let (ok, out, err) = podfleet(&fleet, &["list"]).await?;
    ensure!(ok && out.contains("paused"), "{out} {err}");
    let queues = get(&fleet, "/v1/queues").await?;
    ensure!(queues["pauses"][0]["id"] == pause["id"], "{queues:#}");
    let (ok, out, err) = podfleet(&fleet, &["pauses"]).await?;
    ensure!(ok && out.contains("the account is empty") && out.contains("engine tones"), "{out} {err}");
    let (ok, out, err) = podfleet(&fleet, &["queues"]).await?;
    ensure!(ok && out.contains("podfleet.tts.normal.v1") && err.contains("1 pauses"), "{out} {err}");
    until("a heartbeat of a worker that speaks", async || {
        let (ok, out, err) = podfleet(&fleet, &["workers"]).await?;
        ensure!(ok, "{err}");
        Ok((out.contains(env!("CARGO_PKG_VERSION")) && out.contains(" tts")).then_some(()))
    })
    .await?;
    // It lies in the database: whoever dispatches next keeps to it.
    fleet.take_role("collector").child.kill().await?;
    fleet.spawn("collector", &[]).await?;
    // A kind stands still for everyone, beside the first one; the podcast meets both.
    let everyone = json!({"kind": "mix", "everyone": true, "reason": "the disk is slow"});
    let mixes = post(&fleet, "/v1/pauses", &everyone, 201).await?;
    ensure!(mixes["tenant"].is_null(), "{mixes:#}");
    heeded(&fleet).await?;
    let other = fleet.submit(&article("Beside it", 2)).await?;
    fleet.until_count(&format!("{held} and podcast_id = '{other}'"), |count| count > 0).await?;
    ensure!(fleet.count(unsent).await? == 0 && provider.ledger().answered() == 0, "nothing was asked");

    let (ok, out, err) = podfleet(&fleet, &["cancel", &other, "--dry-run"]).await?;
    ensure!(
        ok && out.contains("would cancel") && fleet.podcast(&other).await?["state"] == "running",
        "{out} {err}"
    );
    let id = text(&pause, "id")?;
    let (ok, out, err) = podfleet(&fleet, &["resume", id, "--reason", "it is full again"]).await?;
    ensure!(ok && out.contains("goes on"), "{out} {err}");
    let spoken = "select count(*) from tasks where kind = 'tts' and state <> 'done'";
    fleet.until_count(spoken, |count| count == 0).await?;
    let waiting = "select count(*) from tasks where kind = 'mix' and state = 'ready' and attempt = 0";
    fleet.until_count(waiting, |count| count == 3).await?;
    ensure!(fleet.podcast(&podcast).await?["paused_by"] == json!([mixes["id"]]));
    let path = format!("/v1/pauses/{}/resume", text(&mixes, "id")?);
    ensure!(post(&fleet, &path, &json!({"reason": "quick again"}), 200).await?["now"] == true);
    ensure!(post(&fleet, &path, &json!({"reason": "quick again"}), 200).await?["now"] == false);
    for podcast in [&podcast, &other] {
        let shown = fleet.completed(podcast).await?;
        ensure!(shown["paused_by"].is_null(), "{shown:#}");
    }
    expect_every_number_once(&fleet, &podcast).await?;
    // What is put aside in one lane goes on in another that does not stand still.
    let low = post(&fleet, "/v1/pauses", &json!({"lane": "low", "reason": "the night is over"}), 201).await?;
    heeded(&fleet).await?;
    let mut request = article("Moved", 1);
    request["priority"] = json!("low");
    let moved = fleet.submit(&request).await?;
    let aside = format!("select count(*) from tasks where podcast_id = '{moved}' and run_at > '8999-01-01'");
    fleet.until_count(&aside, |count| count == 1).await?;
    post(&fleet, &format!("/v1/podcasts/{moved}/priority"), &json!({"priority": "high"}), 200).await?;
    fleet.completed(&moved).await?;
    let path = format!("/v1/pauses/{}/resume", text(&low, "id")?);
    post(&fleet, &path, &json!({"reason": "it is night again"}), 200).await?;
    ensure!(get(&fleet, "/v1/pauses").await?["pauses"] == json!([]));
    for action in ["pause", "resume"] {
        ensure!(audited(&fleet, &format!("pause/{id}"), action).await? == 1, "{action}");
    }
    post(&fleet, "/v1/pauses/0190a000-0000-7000-8000-000000000000/resume", &json!({"reason": "x"}), 404)
        .await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

async fn heard(fleet: &Fleet, podcast: &str) -> anyhow::Result<Vec<u16>> {
    let samples = decode(&fleet.audio(podcast).await?).await?;
    Ok(decode_numbers(&samples, RATE).iter().map(|mark| mark.number).collect())
}

/// The place of the segment that says this, both from 0.
async fn place_of(fleet: &Fleet, podcast: &str, words: &str) -> anyhow::Result<(u64, u64)> {
    let script = get(fleet, &format!("/v1/podcasts/{podcast}/script")).await?;
    for chapter in script["chapters"].as_array().context("chapters")? {
        for segment in chapter["segments"].as_array().context("segments")? {
            if text(segment, "text")?.contains(words) {
                let number = |value: &Value| value.as_u64().context("a number");
                return Ok((number(&chapter["chapter"])?, number(&segment["segment"])?));
            }
        }
    }
    anyhow::bail!("nobody says {words:?}: {script:#}")
}

pub(crate) async fn another_take_makes_only_its_chapter_again(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let (fleet, gate, provider) = gated(servers, "takes", Setup::default()).await?;
    let podcast = fleet.submit(&numbered_article(3, 4)).await?;
    let first = fleet.completed(&podcast).await?;
    ensure!(first["generation"] == 1);
    let audio = std::fs::read(fleet.audio(&podcast).await?)?;
    let paid = provider.ledger().answered();
    let (chapter, segment) = place_of(&fleet, &podcast, "sentence 6 ").await?;
    let path = format!("/v1/podcasts/{podcast}/revise");
    let place = json!({"chapter": chapter, "segment": segment});
    for (wish, status) in [
        (json!({"segments": []}), 422),
        (json!({"segments": [place, place]}), 422),
        (json!({"segments": [{"chapter": chapter, "segment": segment, "text": ""}]}), 422),
        (json!({"segments": [{"chapter": 9, "segment": 0}]}), 409),
        (json!({"segments": [place], "generation": 7}), 409),
    ] {
        post(&fleet, &path, &wish, status).await?;
    }
    ensure!(fleet.podcast(&podcast).await?["generation"] == 1, "what is refused changes nothing");

    // While the next one is made, the old one plays, and nobody begins a third.
    gate.refuse("sentence 6 ", 503);
    let place = format!("{}.{}", chapter + 1, segment + 1);
    let (ok, out, err) =
        podfleet(&fleet, &["retake", &podcast, &place, "--reason", "a lorry passed"]).await?;
    ensure!(ok && out.contains("Generation 2") && out.contains("1 of "), "{out} {err}");
    let shown = fleet.podcast(&podcast).await?;
    ensure!(shown["state"] == "running" && shown["generation"] == 2, "{shown:#}");
    ensure!(std::fs::read(fleet.audio(&podcast).await?)? == audio, "the old episode plays");
    post(&fleet, &path, &json!({"segments": [{"chapter": 0, "segment": 0}]}), 409).await?;
    gate.heal();
    let second = fleet.completed(&podcast).await?;
    ensure!(second["generation"] == 2, "{second:#}");
    expect_every_number_once(&fleet, &podcast).await?;
    ensure!(provider.ledger().answered() == paid + 1, "one segment was spoken again");
    let made = async |what: &str| {
        fleet.count(&format!("select count(*) from tasks where generation = 2 and kind = '{what}'")).await
    };
    ensure!(made("mix").await? == 1 && made("join").await? == 1, "and one chapter mixed again");
    let takes = "select count(distinct result ->> 'audio') from tasks where kind = 'tts' and input ->> 'text' like '%sentence 6 %'";
    ensure!(fleet.count(takes).await? == 2, "two recordings of the same words");

    // Another text, and nothing else.
    let wish = json!({
        "reason": "it was wrong",
        "generation": 2,
        "segments": [{"chapter": chapter, "segment": segment, "text": "The sixth sentence, number 6, in other words."}],
    });
    post(&fleet, &path, &wish, 200).await?;
    let third = fleet.completed(&podcast).await?;
    ensure!(third["generation"] == 3, "{third:#}");
    expect_every_number_once(&fleet, &podcast).await?;
    let transcript = fleet.get(&format!("/v1/podcasts/{podcast}/transcript.txt")).await?.text().await?;
    ensure!(transcript.contains("in other words") && !transcript.contains("sentence 6 "), "{transcript}");
    ensure!(provider.ledger().answered() == paid + 2);
    ensure!(audited(&fleet, &format!("podcast/{podcast}"), "podcast.revise").await? == 2);
    let trail = "select count(*) from audit where after::text like '%words%'";
    ensure!(fleet.count(trail).await? == 0, "what was written stays out of the trail");

    // One that fails leaves the episode before, and a replay finishes it.
    let audio = std::fs::read(fleet.audio(&podcast).await?)?;
    gate.refuse("sentence 2 ", 400);
    let (chapter, segment) = place_of(&fleet, &podcast, "sentence 2 ").await?;
    post(&fleet, &path, &json!({"segments": [{"chapter": chapter, "segment": segment}]}), 200).await?;
    ensure!(fleet.ended(&podcast).await?["state"] == "failed");
    ensure!(std::fs::read(fleet.audio(&podcast).await?)? == audio, "the episode before plays");
    gate.heal();
    post(&fleet, &format!("/v1/podcasts/{podcast}/replay"), &json!({"reason": "healed"}), 200).await?;
    let fourth = fleet.completed(&podcast).await?;
    ensure!(fourth["generation"] == 4, "{fourth:#}");
    expect_every_number_once(&fleet, &podcast).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

pub(crate) async fn what_cannot_be_spoken_is_left_out(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let (fleet, gate, _provider) = gated(servers, "gap", Setup::default()).await?;
    gate.refuse("sentence 3 ", 400);
    let podcast = fleet.submit(&numbered_article(2, 4)).await?;
    ensure!(fleet.ended(&podcast).await?["state"] == "failed");
    fleet.until_count("select count(*) from tasks where state = 'dispatched'", |count| count == 0).await?;
    let letter = letter_of(&fleet, &podcast).await?;
    let trial = ["dead", "discard", text(&letter, "id")?, "--reason", "x", "--dry-run"];
    let (ok, out, err) = podfleet(&fleet, &trial).await?;
    ensure!(ok && out.contains("would be discarded"), "{out} {err}");
    let path = format!("/v1/podcasts/{podcast}/finish-without");
    let wrong = json!({"reason": "x", "segments": [{"chapter": 1, "segment": 0}]});
    let problem = post(&fleet, &path, &wrong, 409).await?;
    ensure!(text(&problem, "detail")?.contains("chapter 1, segment 0 was not given up"), "{problem:#}");
    let (ok, out, err) =
        podfleet(&fleet, &["finish-without", &podcast, "--reason", "nobody can say it"]).await?;
    ensure!(ok && out.contains("runs again"), "{out} {err}");
    fleet.completed(&podcast).await?;
    let numbers = heard(&fleet, &podcast).await?;
    ensure!(!numbers.contains(&3) && numbers.contains(&2) && numbers.contains(&4), "{numbers:?}");
    expect_every_number_once(&fleet, &podcast).await?;
    let transcript: Value = get(&fleet, &format!("/v1/podcasts/{podcast}/transcript.json")).await?;
    let gaps: Vec<&Value> = transcript["segments"]
        .as_array()
        .context("segments")?
        .iter()
        .filter(|segment| segment["place"] == "gap")
        .collect();
    ensure!(gaps.len() == 1 && text(gaps[0], "body")?.contains("missing here"), "{transcript:#}");
    ensure!(!transcript.to_string().contains("sentence 3 "), "{transcript:#}");
    ensure!(audited(&fleet, &format!("podcast/{podcast}"), "podcast.finish_without").await? == 1);
    let (ok, out, _) = podfleet(&fleet, &["script", &podcast]).await?;
    ensure!(ok && out.contains("(left out) This is sentence 3 "), "{out}");

    // When it can be said after all, the next generation says it.
    gate.heal();
    let (chapter, segment) = place_of(&fleet, &podcast, "sentence 3 ").await?;
    let place = json!({"chapter": chapter, "segment": segment});
    post(&fleet, &format!("/v1/podcasts/{podcast}/revise"), &json!({"segments": [place]}), 200).await?;
    fleet.completed(&podcast).await?;
    ensure!(heard(&fleet, &podcast).await?.contains(&3));
    expect_every_number_once(&fleet, &podcast).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Tables and files in which a word is found.
async fn traces(fleet: &Fleet, word: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for table in [
        "podcasts",
        "chapters",
        "segments",
        "tasks",
        "attempts",
        "events",
        "dead_letters",
        "audit",
        "erasures",
    ] {
        let sql = format!("select count(*) from {table} t where t::text ilike '%{word}%'");
        if fleet.count(&sql).await? > 0 {
            found.push(table.to_owned());
        }
    }
    for file in files(&fleet.folder.join("blobs"))? {
        let bytes = std::fs::read(&file).unwrap_or_default();
        if String::from_utf8_lossy(&bytes).to_lowercase().contains(word) {
            found.push(file.display().to_string());
        }
    }
    Ok(found)
}

fn files(folder: &std::path::Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

/// Values of the cache that bear a word.
async fn cached(fleet: &Fleet, word: &str) -> anyhow::Result<usize> {
    let url = fleet.environment()["PODFLEET__CACHE__URL"].clone();
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let keys: Vec<String> = redis::cmd("KEYS").arg("podfleet:default:*").query_async(&mut connection).await?;
    let mut found = 0;
    for key in keys {
        let value: Option<Vec<u8>> =
            redis::cmd("GET").arg(&key).query_async(&mut connection).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&value.unwrap_or_default()).to_lowercase();
        found += usize::from(text.contains(word));
    }
    Ok(found)
}

pub(crate) async fn an_erased_podcast_leaves_no_trace(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let setup = Setup::default().with("BLOBS__ERASE_SECONDS", 1);
    let fleet = Fleet::start(servers, "erase", setup).await?;
    let shared = "This sentence is in both of them, word for word, and is spoken once.";
    let request = |title: &str, text: &str| {
        json!({"title": title, "language": "en", "format": "monologue",
               "source": {"text": format!("# {title}\n\n## Common\n\n{shared}\n\n## {title} alone\n\n{text}")}})
    };
    let kept = fleet.submit(&request("Kept", "Nothing else is in it.")).await?;
    fleet.completed(&kept).await?;
    let erased =
        fleet.submit(&request("Okapi", "The okapi is shy, and lives where the forest is deep.")).await?;
    // Above 16 KiB, so that the source is a blob, and inputs are blobs.
    let mut long = request("Okapis", &"The okapi is shy, and lives where the forest is deep. ".repeat(400));
    long["target_minutes"] = json!(1);
    let long = fleet.submit(&long).await?;
    fleet.completed(&long).await?;
    let path = format!("/v1/podcasts/{erased}/erase");
    let wish = json!({"reason": "its subject asked for it"});
    fleet.completed(&erased).await?;
    fleet.query(&format!(
        "insert into dead_letters (id, tenant, principal, source, class, message, payload, fingerprint, version, became, state)
         values (gen_random_uuid(), 'default', 'x', 'message', 'permanent_input', 'okapi', 'okapi', 'f', '0', '{erased}', 'replayed')"
    )).await?;
    let before = traces(&fleet, "okapi").await?;
    ensure!(before.iter().any(|place| place == "dead_letters") && before.len() > 6, "{before:#?}");
    ensure!(cached(&fleet, "okapi").await? > 0, "outlines and scripts are cached");
    let problem = post(&fleet, &path, &json!({}), 422).await?;
    ensure!(problem["errors"][0]["field"] == "reason", "{problem:#}");
    let (ok, out, err) = podfleet(&fleet, &["erase", &erased, "--reason", "x", "--dry-run"]).await?;
    ensure!(ok && out.contains("nothing has happened"), "{out} {err}");
    ensure!(traces(&fleet, "okapi").await? == before, "a trial changes nothing");

    let answer = post(&fleet, &path, &wish, 202).await?;
    ensure!(answer["state"] == "erased" && answer["dead_letters"] == 1, "{answer:#}");
    ensure!(
        answer["shared_blobs"].as_u64().is_some_and(|count| count >= 1),
        "the shared sentence: {answer:#}"
    );
    ensure!(answer["blobs"].as_u64() > answer["shared_blobs"].as_u64(), "{answer:#}");
    post(&fleet, &format!("/v1/podcasts/{long}/erase"), &wish, 202).await?;
    until("everything to be gone", async || {
        let list = get(&fleet, "/v1/erasures").await?;
        let done = |erasure: &Value| erasure["done_at"].is_string() && erasure["blobs_left"] == 0;
        Ok(list["erasures"]
            .as_array()
            .is_some_and(|list| list.len() == 2 && list.iter().all(done))
            .then_some(()))
    })
    .await?;
    let (ok, out, err) = podfleet(&fleet, &["erasures"]).await?;
    ensure!(ok && out.contains(&erased) && out.matches(" gone ").count() == 2, "{out} {err}");
    let left = traces(&fleet, "okapi").await?;
    ensure!(left.is_empty(), "{left:#?}");
    let named = traces(&fleet, &erased).await?;
    ensure!(named == ["audit", "erasures"], "that it was erased is known, and nothing else: {named:?}");
    ensure!(cached(&fleet, "okapi").await? == 0);
    ensure!(audited(&fleet, &format!("podcast/{erased}"), "podcast.erase").await? == 1);
    ensure!(fleet.get(&format!("/v1/podcasts/{erased}")).await?.status() == 404);
    ensure!(fleet.get(&format!("/v1/podcasts/{erased}/audio")).await?.status() == 404);
    post(&fleet, &path, &wish, 404).await?;

    // What the other one needs is there, its recordings too: said again, it is mixed of them.
    for ending in ["audio", "transcript.vtt", "chapters.json"] {
        ensure!(fleet.get(&format!("/v1/podcasts/{kept}/{ending}")).await?.status() == 200, "{ending}");
    }
    let recordings = fleet
        .query(&format!("select result ->> 'audio' from tasks where podcast_id = '{kept}' and kind = 'tts'"))
        .await?;
    for row in recordings {
        let key: String = row.get(0);
        ensure!(fleet.folder.join("blobs").join(&key).is_file(), "{key}");
    }
    // What runs is cancelled first; a pause keeps this one from its end.
    post(&fleet, "/v1/pauses", &json!({"kind": "tts", "reason": "to keep it"}), 201).await?;
    heeded(&fleet).await?;
    let running = fleet.submit(&request("Runs", "It goes on.")).await?;
    let path = format!("/v1/podcasts/{running}/erase");
    let problem = post(&fleet, &path, &wish, 409).await?;
    ensure!(text(&problem, "detail")?.contains("Cancel it first"), "{problem:#}");
    let cancel = format!("{}/v1/podcasts/{running}", fleet.api);
    fleet.http.delete(cancel).send().await?.error_for_status()?;
    until("its erasure", async || {
        let answer = fleet.http.post(format!("{}{path}", fleet.api)).json(&wish).send().await?;
        Ok((answer.status() == 202).then_some(()))
    })
    .await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Runs a command beside the servers of a fleet, with some of what it is told changed.
async fn beside(
    fleet: &Fleet,
    arguments: &[&str],
    more: &[(&str, &str)],
) -> anyhow::Result<(Option<i32>, String, String)> {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_podfleet"))
        .args(arguments)
        .envs(fleet.environment())
        .envs(more.iter().copied())
        .current_dir(&fleet.folder)
        .stdin(std::process::Stdio::null())
        .output()
        .await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

pub(crate) async fn the_doctor_tells_what_is_there_and_what_is_not(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let fleet = Fleet::start(servers, "doctor", Setup::default()).await?;
    let (code, out, err) = beside(&fleet, &["doctor", "--json"], &[]).await?;
    let report: Value = serde_json::from_str(&out).with_context(|| err.clone())?;
    let findings = report["findings"].as_array().context("findings")?.clone();
    let finding = |area: &str, what: &str| {
        findings
            .iter()
            .find(|found| found["area"] == area && found["what"] == what)
            .with_context(|| format!("{area} {what}: {report:#}"))
    };
    // The private servers of tests are quick and not durable, and the doctor says so.
    let durable = finding("database", "fsync")?["state"] == "ok";
    ensure!(code == Some(i32::from(!durable || report["healthy"] == false)), "{code:?} {out} {err}");
    for (area, what) in [
        ("broker", "messages"),
        ("broker", "quorum queues"),
        ("broker", "publisher confirms"),
        ("broker", "messages without a queue"),
        ("broker", "delivery limit"),
        ("database", "version"),
        ("database", "schema"),
        ("database", "commits"),
        ("cache", "version"),
        ("blobs", "blobs"),
        ("engines", "extractive (outline, script)"),
        ("engines", "espeak (tts)"),
    ] {
        ensure!(finding(area, what)?["state"] == "ok", "{:#}", finding(area, what)?);
    }
    let version = finding("broker", "version")?;
    ensure!(text(version, "found")?.starts_with(|c: char| c.is_ascii_digit()), "{version:#}");
    let classic = finding("broker", "priority in classic queues")?;
    ensure!(text(classic, "found")? == "the higher one comes first", "{classic:#}");
    finding("broker", "priority in quorum queues")?;
    let spoken = finding("engines", "espeak (tts)")?;
    ensure!(
        text(spoken, "found")?.contains("ko: ") && text(spoken, "found")?.contains("voices"),
        "{spoken:#}"
    );
    // It leaves nothing behind.
    let queues = fleet.with_rabbitmq(async |rabbitmq| rabbitmq.queues(&fleet.vhost).await).await?;
    ensure!(!queues.iter().any(|queue| queue.name.contains("doctor")), "queues are left");
    ensure!(
        !fleet.folder.join("blobs/.doctor/trial").read_dir().is_ok_and(|mut files| files.next().is_some())
    );

    // What is not there is told with what to do, and is a failure.
    let nobody = "amqp://guest:guest@127.0.0.1:1/%2f";
    let (code, out, err) =
        beside(&fleet, &["doctor", "--only", "broker"], &[("PODFLEET__BROKER__URL", nobody)]).await?;
    ensure!(code == Some(1) && out.contains("BAD") && out.contains("PODFLEET__BROKER__URL"), "{out} {err}");
    ensure!(err.contains("found something that a fleet does not work with"), "{err}");
    let gone = [("PODFLEET__CACHE__URL", "redis://127.0.0.1:1/")];
    let (code, out, err) = beside(&fleet, &["doctor", "--only", "cache"], &gone).await?;
    ensure!(code == Some(0) && out.contains("note"), "a fleet works without: {out} {err}");
    let mine = [
        ("PODFLEET__ENGINES__MINE__TYPE", "openai"),
        ("PODFLEET__ENGINES__MINE__KINDS", "tts"),
        ("PODFLEET__ENGINES__MINE__URL", "http://127.0.0.1:1"),
        ("PODFLEET__DEFAULTS__TTS", "mine"),
    ];
    let (code, out, _) = beside(&fleet, &["doctor", "--only", "engines"], &mine).await?;
    ensure!(code == Some(1) && out.contains("BAD   mine (tts)"), "{out}");
    let (code, out, _) = beside(&fleet, &["doctor", "--only", "engines", "--free"], &mine).await?;
    ensure!(code == Some(0) && out.contains("costs money"), "{out}");

    let (code, out, err) = beside(&fleet, &["migrate", "--json"], &[]).await?;
    ensure!(code == Some(0) && out.trim_end().ends_with(r#"{"applied":0}"#), "{out} {err}");
    let wrong = [("PODFLEET__AUDIO__SAMPLE_RATE", "8000"), ("PODFLEET__COLLECTOR__PARTITIONS", "0")];
    let (code, _, err) = beside(&fleet, &["config", "check", "--json"], &wrong).await?;
    let problems = serde_json::from_str::<Value>(&err)?["error"]["problems"].clone();
    ensure!(code == Some(2) && problems[0]["field"] == "audio.sample_rate", "{err}");
    ensure!(problems.as_array().is_some_and(|list| list.len() == 2), "all of them: {problems:#}");
    let (code, _, err) = beside(&fleet, &["worker"], &wrong).await?;
    ensure!(
        code == Some(2) && err.contains("collector.partitions: is 0\n    give a number from 1 to 64"),
        "{err}"
    );
    let (code, out, _) = beside(&fleet, &["config", "check"], &[]).await?;
    ensure!(code == Some(0) && out.contains("[audio]") && out.contains("***@127.0.0.1"), "{out}");
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = beside(&fleet, &["completions", shell], &[]).await?;
        ensure!(code == Some(0) && out.contains("finish-without"), "{shell}");
    }
    let program = env!("CARGO_BIN_EXE_podfleet");
    let script = format!("source <({program} completions bash) && complete -p podfleet");
    let bash = tokio::process::Command::new("bash").args(["-c", &script]).output().await?;
    ensure!(bash.status.success(), "{}", String::from_utf8_lossy(&bash.stderr));
    fleet.stop().await
}
