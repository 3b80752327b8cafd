//! What people hear, measured: the speech server codes each segment's number in tones, and the finished MP3 is decoded by
//! ffmpeg.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use loadtest::providers::{Mark, Provider, Settings, decode_numbers, number_in};
use serde_json::Value;
use tokio::process::Command;

use crate::fleet::{Fleet, Servers, Setup, numbered_article};

pub(crate) const RATE: u32 = 24_000;

/// A segment as the database has it: what should be heard.
struct Expected {
    /// 0 where its text has none: a title, a closing.
    number: u16,
    pause: String,
    samples: i64,
    chapter: i32,
}

async fn expected(fleet: &Fleet, id: &str) -> anyhow::Result<Vec<Expected>> {
    let rows = fleet
        .query(&format!(
            "select s.text, s.pause, (t.result ->> 'samples')::bigint, s.chapter
             from podcasts p join segments s on s.podcast_id = p.id and s.generation = p.generation
             join tasks t on t.podcast_id = s.podcast_id and t.kind = 'tts' and t.generation = s.generation
                         and t.chapter = s.chapter and t.segment = s.segment
             where p.id = '{id}' and s.place <> 'gap' order by s.chapter, s.segment"
        ))
        .await?;
    Ok(rows
        .iter()
        .map(|row| Expected {
            number: number_in(row.get(0)).unwrap_or(0),
            pause: row.get(1),
            samples: row.get(2),
            chapter: row.get(3),
        })
        .collect())
}

/// Decoded by ffmpeg, as players do.
pub(crate) async fn decode(file: &Path) -> anyhow::Result<Vec<f32>> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(file)
        .args(["-f", "f32le", "-ac", "1", "-ar", &RATE.to_string(), "-"])
        .output()
        .await
        .context("running ffmpeg")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

/// Integrated loudness in LUFS and true peak in dBTP, by ffmpeg's ebur128.
async fn loudness(file: &Path) -> anyhow::Result<(f64, f64)> {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostats", "-i"])
        .arg(file)
        .args(["-af", "ebur128=peak=true", "-f", "null", "-"])
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let summary = text.rsplit("Summary:").next().context("a summary")?;
    let value = |name: &str| -> anyhow::Result<f64> {
        let line =
            summary.lines().find(|line| line.trim_start().starts_with(name)).context(name.to_owned())?;
        Ok(line.split_whitespace().nth(1).context("a value")?.parse()?)
    };
    Ok((value("I:")?, value("Peak:")?))
}

async fn chapter_starts(file: &Path) -> anyhow::Result<Vec<f64>> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_chapters", "-of", "json"])
        .arg(file)
        .output()
        .await?;
    let json: Value = serde_json::from_slice(&output.stdout)?;
    let chapters = json["chapters"].as_array().context("chapters")?;
    Ok(chapters.iter().filter_map(|chapter| chapter["start_time"].as_str()?.parse().ok()).collect())
}

/// What should be heard, in order.
pub(crate) async fn numbers(fleet: &Fleet, id: &str) -> anyhow::Result<Vec<u16>> {
    Ok(expected(fleet, id).await?.iter().map(|segment| segment.number).collect())
}

/// Every number of the article sounds once and in order.
pub(crate) async fn expect_every_number_once(fleet: &Fleet, id: &str) -> anyhow::Result<Vec<Mark>> {
    let samples = decode(&fleet.audio(id).await?).await?;
    let marks = decode_numbers(&samples, RATE);
    let heard: Vec<u16> = marks.iter().map(|mark| mark.number).collect();
    let wanted = numbers(fleet, id).await?;
    ensure!(heard == wanted, "heard {heard:?}, wanted {wanted:?}");
    Ok(marks)
}

fn pause_s(pause: &str) -> f64 {
    match pause {
        "sentence" => 0.35,
        "paragraph" => 0.7,
        "chapter" => 1.2,
        _ => 0.45,
    }
}

pub(crate) async fn every_segment_sounds_once_in_order_and_on_time(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    let setup = Setup { workers: 2, collectors: 2, ..Setup::default() };
    let setup = setup.with_speech_server(&provider.url()).with("COLLECTOR__SINGLE_ACTIVE", false);
    let fleet = Fleet::start(servers, "tones", setup).await?;
    let id = fleet.submit(&numbered_article(3, 8)).await?;
    fleet.completed(&id).await?;
    expect_every_number_once(&fleet, &id).await?;

    let file = fleet.audio(&id).await?;
    let samples = decode(&file).await?;
    let marks = decode_numbers(&samples, RATE);
    let segments = expected(&fleet, &id).await?;
    check_times(&segments, &marks)?;
    check_chapters(&segments, &chapter_starts(&file).await?)?;
    let (lufs, peak) = loudness(&file).await?;
    ensure!((lufs + 16.0).abs() <= 1.0, "{lufs} LUFS");
    ensure!(peak <= -1.0, "{peak} dBTP");
    let parts: f64 = segments.iter().map(|s| s.samples as f64 / f64::from(RATE) + pause_s(&s.pause)).sum();
    let lasts = samples.len() as f64 / f64::from(RATE);
    ensure!((lasts - parts).abs() <= parts / 100.0, "lasts {lasts} s, its parts {parts} s");
    let click = worst_click(&samples, &segments);
    ensure!(click < CLICK, "a join clicks: {click}");
    check_transcript(&fleet, &id, &marks).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Starts where the parts before it end, within 20 ms.
fn check_times(segments: &[Expected], marks: &[Mark]) -> anyhow::Result<()> {
    let mut at = 0.0;
    let mut marks = marks.iter();
    for segment in segments {
        let length = segment.samples as f64 / f64::from(RATE);
        let mark = marks.next().context("a mark for each segment")?;
        ensure!(
            (mark.start_s - at).abs() <= 0.02,
            "{} starts at {} s, not at {at} s",
            mark.number,
            mark.start_s
        );
        ensure!((mark.end_s - at - length).abs() <= 0.02, "{} ends at {} s", mark.number, mark.end_s);
        at += length + pause_s(&segment.pause);
    }
    Ok(())
}

fn check_chapters(segments: &[Expected], starts: &[f64]) -> anyhow::Result<()> {
    let mut at = 0.0;
    let mut wanted = Vec::new();
    let mut chapter = -1;
    for segment in segments {
        if segment.chapter != chapter {
            chapter = segment.chapter;
            wanted.push(at);
        }
        at += segment.samples as f64 / f64::from(RATE) + pause_s(&segment.pause);
    }
    ensure!(wanted.len() == starts.len(), "{} chapters, {} marks", wanted.len(), starts.len());
    for (wanted, start) in wanted.iter().zip(starts) {
        ensure!((wanted - start).abs() <= 0.05, "a chapter begins at {wanted} s and is marked at {start} s");
    }
    Ok(())
}

async fn check_transcript(fleet: &Fleet, id: &str, marks: &[Mark]) -> anyhow::Result<()> {
    let json: Value = fleet.get(&format!("/v1/podcasts/{id}/transcript.json")).await?.json().await?;
    let lines = json["segments"].as_array().context("segments")?;
    let numbered: Vec<(u16, f64)> = lines
        .iter()
        .filter_map(|line| {
            Some((number_in(line["body"].as_str()?).unwrap_or(0), line["startTime"].as_f64()?))
        })
        .collect();
    ensure!(numbered.len() == marks.len(), "{} lines with numbers, {} marks", numbered.len(), marks.len());
    for ((number, start), mark) in numbered.iter().zip(marks) {
        ensure!(
            *number == mark.number && (start - mark.start_s).abs() <= 0.05,
            "{number} at {start} s: {mark:?}"
        );
    }
    Ok(())
}

/// A step of more than this between neighbouring samples, at a join, is heard as a click.
const CLICK: f64 = 0.08;

/// The largest step in the signal within 3 ms round the joins, where the fades should have left none: the body's own steps are
/// not looked at.
fn worst_click(samples: &[f32], segments: &[Expected]) -> f64 {
    let mut at = 0.0;
    let mut worst = 0.0f64;
    for segment in segments {
        for edge in [at, at + segment.samples as f64 / f64::from(RATE)] {
            let middle = (edge * f64::from(RATE)) as usize;
            let (from, to) = (middle.saturating_sub(72), (middle + 72).min(samples.len()));
            for pair in samples[from..to].windows(2) {
                worst = worst.max(f64::from((pair[1] - pair[0]).abs()));
            }
        }
        at += segment.samples as f64 / f64::from(RATE) + pause_s(&segment.pause);
    }
    worst
}

/// The same measurement on the same fleet with the fades taken out: it must find the clicks.
pub(crate) async fn without_fades_the_joins_click(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default()).await?;
    let setup = Setup::default().with_speech_server(&provider.url()).with("AUDIO__FADE_MS", 0);
    let fleet = Fleet::start(servers, "clicks", setup).await?;
    let id = fleet.submit(&numbered_article(1, 6)).await?;
    fleet.completed(&id).await?;
    let samples = decode(&fleet.audio(&id).await?).await?;
    let click = worst_click(&samples, &expected(&fleet, &id).await?);
    ensure!(click > CLICK, "without fades the worst step is only {click}: the measurement cannot fail");
    fleet.stop().await
}

/// 900 segments of four seconds. Prints the highest memory of every role process, children listed.
pub(crate) async fn an_hour_fits_into_little_memory(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let provider = Provider::start(Settings::default().samples_for(|_| 4 * RATE as usize)).await?;
    let setup = Setup::default().with_speech_server(&provider.url()).with("WORKER__CONCURRENCY", 8);
    let fleet = Fleet::start(servers, "hour", setup).await?;
    let started = Instant::now();
    let id = fleet.submit(&numbered_article(10, 90)).await?;
    let mut podcast = fleet.podcast(&id).await?;
    while podcast["state"] == "running" && started.elapsed() < Duration::from_secs(600) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        podcast = fleet.podcast(&id).await?;
    }
    ensure!(podcast["state"] == "completed", "{podcast:#}");
    println!("an hour: {} segments in {:.0?}", podcast["progress"]["segments_total"], started.elapsed());
    ensure!(podcast["duration_ms"].as_u64().unwrap_or(0) > 3_600_000, "{podcast:#}");
    for role in &fleet.roles {
        let pid = role.child.id().context("a running role")?;
        for pid in std::iter::once(pid).chain(children(pid)) {
            let (name, peak) =
                (if Some(pid) == role.child.id() { "" } else { " (child)" }, peak_memory(pid)?);
            println!("  {}{name}: at most {:.1} MiB beside its program", role.name, peak as f64 / 1024.0);
            ensure!(peak < 48 * 1024, "{}{name} took {peak} KiB", role.name);
        }
    }
    expect_every_number_once(&fleet, &id).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Highest resident memory so far, in KiB, without the pages of the program itself: those of a build without optimisation are many,
/// and shared by all roles.
fn peak_memory(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let figure = |name: &str| -> anyhow::Result<u64> {
        let line = status.lines().find(|line| line.starts_with(name)).context("a figure of memory")?;
        Ok(line.split_whitespace().nth(1).context("a number")?.parse()?)
    };
    Ok(figure("VmHWM:")?.saturating_sub(figure("RssFile:")?))
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}
