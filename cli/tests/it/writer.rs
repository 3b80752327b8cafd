//! The built-in writer from end to end: six articles, spoken by the real espeak-ng, as long as was asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use loadtest::providers::{Provider, Settings};
use serde_json::{Value, json};

use crate::fleet::{Fleet, Servers, Setup};

/// File, language, minutes asked for: well below what the whole text would take.
const TEXTS: [(&str, &str, u16); 6] = [
    ("en-short.txt", "en", 1),
    ("en-middle.md", "en", 2),
    ("en-long.txt", "en", 3),
    ("ko-short.txt", "ko", 1),
    ("ko-middle.html", "ko", 2),
    ("ko-long.md", "ko", 3),
];

/// How far an episode may be from the length asked for.
const TOLERANCE: f64 = 0.15;

pub(crate) async fn six_texts_last_as_long_as_asked_for(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let fleet = Fleet::start(servers, "writer", Setup::default()).await?;
    let mut submitted = Vec::new();
    for (file, language, minutes) in TEXTS {
        let text = std::fs::read_to_string(path(file)).context(file)?;
        let id = fleet.submit(&json!({"source": {"text": text}, "target_minutes": minutes})).await?;
        submitted.push((file, language, minutes, text, id));
    }
    let mut wrong = Vec::new();
    for (file, language, minutes, text, id) in &submitted {
        let podcast = fleet.completed(id).await?;
        ensure!(podcast["language"] == *language, "{file}: {podcast:#}");
        let lasts = podcast["duration_ms"].as_f64().context("a duration")? / 1000.0;
        let asked = f64::from(*minutes) * 60.0;
        let keys = std::fs::read_to_string(path(file).with_extension("keys"))?;
        let kept = kept(&fleet, id, &keys).await?;
        println!(
            "{file}: {asked} s asked for, lasts {lasts:.1} s ({:+.1} %); says {kept} of {} key sentences",
            (lasts / asked - 1.0) * 100.0,
            keys.lines().count()
        );
        if kept * 2 < keys.lines().count() {
            wrong.push(format!("{file} says {kept} of its key sentences"));
        }
        if (lasts / asked - 1.0).abs() > TOLERANCE {
            wrong.push(format!("{file} lasts {lasts} s, {asked} s were asked for"));
        }
        check_words(&fleet, file, text, id).await?;
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    fleet.at_rest().await?;
    fleet.stop().await
}

/// The writer chooses as much as the voice says in the time, whatever voice it is, and whether anybody has heard it before.
pub(crate) async fn any_voice_reads_for_as_long_as_asked_for(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path("en-long.txt"))?;
    for words_a_minute in [100, 260] {
        let samples = move |text: &str| text.split_whitespace().count() * 24_000 * 60 / words_a_minute;
        let tones = Provider::start(Settings::default().samples_for(samples)).await?;
        let setup = Setup::default().with_speech_server(&tones.url());
        let fleet = Fleet::start(servers, "any-voice", setup).await?;
        for _ in 0..2 {
            let id = fleet.submit(&json!({"source": {"text": text}, "target_minutes": 3})).await?;
            let lasts = fleet.completed(&id).await?["duration_ms"].as_f64().context("a duration")? / 1000.0;
            println!("{words_a_minute} words a minute: 180 s asked for, lasts {lasts:.1} s");
            ensure!((lasts / 180.0 - 1.0).abs() <= TOLERANCE, "{words_a_minute} words a minute: {lasts} s");
        }
        fleet.stop().await?;
    }
    Ok(())
}

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/writer").join(file)
}

/// How many of the sentences that were planted late in the text are said.
async fn kept(fleet: &Fleet, id: &str, keys: &str) -> anyhow::Result<usize> {
    let url = format!("/v1/podcasts/{id}/transcript.json");
    let transcript: Value = fleet.get(&url).await?.error_for_status()?.json().await?;
    let lines = transcript["segments"].as_array().context("segments")?;
    let said: String = lines.iter().filter_map(|line| line["body"].as_str()).map(squeezed).collect();
    Ok(keys.lines().filter(|key| said.contains(&squeezed(key))).count())
}

/// Every turn that is not marked as opening, transition or closing stands in the source; two speakers share it.
async fn check_words(fleet: &Fleet, file: &str, source: &str, id: &str) -> anyhow::Result<()> {
    let transcript: Value =
        fleet.get(&format!("/v1/podcasts/{id}/transcript.json")).await?.error_for_status()?.json().await?;
    let lines = transcript["segments"].as_array().context("segments")?;
    let source = squeezed(source);
    let places: Vec<&str> = lines.iter().filter_map(|line| line["place"].as_str()).collect();
    ensure!(
        places.len() == lines.len()
            && places.first() == Some(&"opening")
            && places.last() == Some(&"closing"),
        "{file}: {places:?}"
    );
    let foreign =
        lines.iter().filter(|line| line["place"] == "body").filter_map(|line| line["body"].as_str());
    let foreign: Vec<&str> = foreign.filter(|text| !is_from(text, &source)).collect();
    ensure!(foreign.is_empty(), "{file}: not in the source: {foreign:#?}");
    let own = lines.iter().filter_map(|line| line["body"].as_str()).filter(|text| !is_from(text, &source));
    let own: Vec<&str> = own.collect();
    let chapters = fleet.count(&format!("select count(*) from chapters where podcast_id = '{id}'")).await?;
    let most = usize::try_from(chapters)? + 3;
    ensure!(
        own.len() <= most,
        "{file}: more than an opening, {chapters} transitions and a closing: {own:#?}"
    );
    ensure!(
        lines.len() > 2 * own.len(),
        "{file}: {} lines, {} of them the writer's own",
        lines.len(),
        own.len()
    );
    let speakers: std::collections::BTreeSet<&str> =
        lines.iter().filter_map(|line| line["speaker"].as_str()).collect();
    ensure!(speakers.len() == 2, "{file}: {speakers:?}");
    // What is said as words stays written as figures.
    let figures = lines
        .iter()
        .filter_map(|line| line["body"].as_str())
        .any(|text| text.contains(|c: char| c.is_ascii_digit()));
    ensure!(figures, "{file}: the transcript has lost its figures");
    Ok(())
}

/// A line may join sentences that do not stand side by side: each clause of it is looked for by itself.
fn is_from(line: &str, source: &str) -> bool {
    line.split_inclusive(['.', '?', '!']).map(squeezed).all(|piece| source.contains(&piece))
}

/// Letters and digits alone: what is left of a text however it was marked up.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}
