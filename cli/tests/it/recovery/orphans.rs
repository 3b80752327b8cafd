//! Blobs that no row needs any more.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use loadtest::providers::{Provider, Settings};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::audio::expect_every_number_once;
use crate::fleet::{Fleet, Servers, Setup, numbered_article, until};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    Ok(found)
}

fn age(file: &Path, days: u32) -> anyhow::Result<()> {
    Ok(std::fs::File::open(file)?.set_modified(SystemTime::now() - DAY * days)?)
}

async fn replace_collector(fleet: &mut Fleet, sweep: &str) -> anyhow::Result<()> {
    let mut old = fleet.take_role("collector");
    old.signal(Signal::SIGTERM);
    ensure!(old.exit().await?.success(), "it leaves in order");
    fleet.spawn("collector", &[("PODFLEET__BLOBS__SWEEP", sweep)]).await
}

pub(crate) async fn blobs_that_no_row_needs_are_collected(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    let setup = Setup::default().with("BLOBS__SWEEP_SECONDS", 1).with("BLOBS__SWEEP", "off");
    let mut fleet = Fleet::start(servers, "orphans", setup.with_speech_server(&provider.url())).await?;
    let long = |title: &str| {
        // Long enough for its source to be a blob.
        let mut article = numbered_article(2, 4);
        let text = article["source"]["text"].as_str().unwrap_or_default().to_owned();
        article["source"]["text"] = json!(format!("{text}\n\n<!-- {} -->\n", "x".repeat(20_000)));
        article["title"] = json!(title);
        article
    };
    let kept = fleet.submit(&long("Kept")).await?;
    fleet.completed(&kept).await?;
    let folder = fleet.folder.join("blobs");
    let needed = files(&folder.join("default"))?;
    ensure!(needed.iter().any(|file| file.starts_with(folder.join("default/source"))), "{needed:?}");
    // Of all kinds: old enough, not old enough, and somebody else's.
    let strange = |what: &str, digit: &str, ending: &str| {
        folder.join(format!("default/{what}/{}.{ending}", digit.repeat(64)))
    };
    let old = [
        strange("tts", "a", "wav"),
        strange("tts", "a", "json"),
        strange("mix", "b", "mp3"),
        strange("mix", "b", "cues.json"),
        strange("episode", "c", "vtt"),
        strange("source", "d", "txt"),
        folder.join(".scratch/.tmpDead"),
    ];
    let (young, foreign) = (strange("tts", "e", "wav"), folder.join("default/notes.txt"));
    for file in old.iter().chain([&young, &foreign]) {
        std::fs::write(file, "x")?;
        age(file, 8)?;
    }
    age(&young, 6)?;
    for file in &needed {
        age(file, 30)?;
    }

    // A dry run tells and touches nothing.
    replace_collector(&mut fleet, "dry").await?;
    let log = fleet.role("collector").log.clone();
    for file in &old {
        let name = file.strip_prefix(&folder)?.display().to_string();
        until("a dry run that names it", async || {
            Ok(std::fs::read_to_string(&log)?
                .lines()
                .any(|line| line.contains("a sweep would remove it") && line.contains(&name))
                .then_some(()))
        })
        .await
        .with_context(|| name.clone())?;
    }
    let text = std::fs::read_to_string(&log)?;
    for file in needed.iter().chain([&young, &foreign]) {
        let name = file.strip_prefix(&folder)?.display().to_string();
        // Copies that went with tickets are not needed any more.
        ensure!(!text.contains(&name) || name.contains("/input/"), "{name} would be removed");
    }
    ensure!(old.iter().all(|file| file.exists()), "a dry run removed something");

    // Three at once do what one does.
    replace_collector(&mut fleet, "on").await?;
    for _ in 0..2 {
        fleet.spawn("collector", &[("PODFLEET__BLOBS__SWEEP", "on")]).await?;
    }
    until("collected orphans", async || Ok(old.iter().all(|file| !file.exists()).then_some(()))).await?;
    for file in
        needed.iter().filter(|file| !file.starts_with(folder.join("default/input"))).chain([&young, &foreign])
    {
        ensure!(file.exists(), "{} was removed", file.display());
    }
    fleet.audio(&kept).await?;

    // Orphans that are wanted again, while three collectors sweep: what is used stays.
    for round in 0..3 {
        fleet
            .execute("delete from tasks; delete from segments; delete from chapters; delete from events; delete from attempts; delete from podcasts;")
            .await?;
        for file in files(&folder.join("default/tts"))? {
            // One may be collected at this moment.
            let _ = age(&file, 8);
        }
        let id = fleet.submit(&long(&format!("Again {round}"))).await?;
        fleet.completed(&id).await?;
        expect_every_number_once(&fleet, &id).await?;
        let missing =
            fleet.count("select count(*) from attempts where kind = 'mix' and class = 'transient'").await?;
        ensure!(missing == 0, "a mix missed a segment that was found before");
    }
    println!(
        "  {} calls for 8 numbered segments that were wanted four times, and orphans in between",
        provider.ledger().answered()
    );
    fleet.at_rest().await?;
    fleet.stop().await
}
