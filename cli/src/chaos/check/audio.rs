//! Listening to every episode.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use loadtest::providers::{decode_numbers, number_in};
use tokio::process::Command;
use tokio_postgres::Client;
use uuid::Uuid;

use super::Findings;
use crate::chaos::world::World;

/// Of what ffmpeg decodes to.
const RATE: u32 = 24_000;
/// Audio may differ from the sum of its parts by one per cent, and by the frames of the encoder.
const TOLERANCE_MS: f64 = 300.0;
/// Episodes that are listened to at a time.
const AT_A_TIME: usize = 4;

/// Each segment of each episode sounds once, in its place, and the episode lasts as long as its parts.
pub(super) async fn listen(world: &World, database: &Client, findings: &mut Findings) -> anyhow::Result<()> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
    let api = world.apis.first().context("an API")?;
    let completed =
        database.query("select id from podcasts where state = 'completed' order by id", &[]).await?;
    let ids = completed.iter().map(|row| row.get::<_, Uuid>(0));
    let heard = futures_util::stream::iter(ids)
        .map(async |id| {
            let file = world.folder().join(format!("{id}.mp3"));
            let heard = hear(&http, &format!("{api}/v1/podcasts/{id}/audio"), file).await;
            (id, heard, parts(database, id).await)
        })
        .buffered(AT_A_TIME);
    tokio::pin!(heard);
    while let Some((id, heard, parts)) = heard.next().await {
        match heard {
            Ok(heard) => compare(id, &heard, &parts?, findings),
            Err(error) => findings.violations.push(format!("{id} cannot be heard: {error:#}")),
        }
    }
    Ok(())
}

struct Audio {
    numbers: Vec<u16>,
    lasts_ms: f64,
}

fn compare(id: Uuid, heard: &Audio, parts: &Audio, findings: &mut Findings) {
    if heard.numbers != parts.numbers {
        let unique: BTreeSet<&u16> = parts.numbers.iter().collect();
        findings.duplicated += usize::from(heard.numbers.len() > parts.numbers.len() && unique.len() > 1);
        findings.violations.push(format!("{id}: heard {:?}, wanted {:?}", heard.numbers, parts.numbers));
    }
    let (lasts, wanted) = (heard.lasts_ms, parts.lasts_ms);
    if (lasts - wanted).abs() > wanted * 0.01 + TOLERANCE_MS {
        findings.violations.push(format!("{id} lasts {lasts} ms, its parts {wanted} ms"));
    }
}

async fn hear(http: &reqwest::Client, url: &str, file: PathBuf) -> anyhow::Result<Audio> {
    let audio = http.get(url).send().await?.error_for_status()?.bytes().await?;
    tokio::fs::write(&file, &audio).await?;
    let samples = decode(&file).await?;
    tokio::fs::remove_file(&file).await?;
    // Arithmetic for a good while: beside it the other decoders go on.
    tokio::task::spawn_blocking(move || Audio {
        numbers: decode_numbers(&samples, RATE).iter().map(|mark| mark.number).collect(),
        lasts_ms: samples.len() as f64 * 1000.0 / f64::from(RATE),
    })
    .await
    .context("listening")
}

async fn parts(database: &Client, id: Uuid) -> anyhow::Result<Audio> {
    let rows = database
        .query(
            "select s.text, (t.result ->> 'samples')::float8 / 24 + case s.pause when 'sentence' then 350 when 'paragraph' then 700
                    when 'chapter' then 1200 else 450 end
             from segments s join tasks t on t.podcast_id = s.podcast_id and t.generation = s.generation and t.kind = 'tts'
                                          and t.chapter = s.chapter and t.segment = s.segment
             where s.podcast_id = $1 order by s.chapter, s.segment",
            &[&id],
        )
        .await?;
    Ok(Audio {
        numbers: rows.iter().map(|row| number_in(row.get(0)).unwrap_or(0)).collect(),
        lasts_ms: rows.iter().map(|row| row.get::<_, f64>(1)).sum(),
    })
}

async fn decode(file: &Path) -> anyhow::Result<Vec<f32>> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(file)
        .args(["-f", "f32le", "-ac", "1", "-ar", &RATE.to_string(), "-"])
        .output()
        .await
        .context("ffmpeg was not found; run `make setup`")?;
    ensure!(output.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}
