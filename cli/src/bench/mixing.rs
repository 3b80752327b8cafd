//! An hour of speech to MP3 at -16 LUFS: ours as a process of its own, chapter by chapter, and ffmpeg in the two ways that people use.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use common::config::Audio;
use loadtest::report::Measured;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::process::Command;
use worker::audio::chapter::{self, Segment};
use worker::audio::{SAMPLE_RATE, segment};

use super::Results;

/// Of what is mixed by us, and by ffmpeg, whose time is proportional to it.
const HOUR_S: f64 = 3_600.0;
const FFMPEG_S: f64 = 1_200.0;
const CHAPTERS: usize = 10;
const PAUSE_MS: u32 = 450;
const WAV_HEADER: u64 = 44;
const TEXT: &str = include_str!("../../../samples/tides.md");

/// What a program that mixed came to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Cost {
    cpu_s: f64,
    memory_mb: f64,
    wall_s: f64,
}

pub(super) async fn measure(results: &mut Results) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("podfleet-mix-").tempdir()?;
    let spoken = speak(folder.path()).await?;
    let ours = ours(folder.path(), &spoken).await?;
    let ffmpeg = match ffmpeg(folder.path(), &spoken).await {
        Ok(ffmpeg) => Some(ffmpeg),
        Err(error) if error.is::<Missing>() => None,
        Err(error) => return Err(error),
    };
    let reason = |measured: Measured| match ffmpeg {
        Some(_) => measured
            .because(format!("ffmpeg mixed {} minutes; its times are three times as long", FFMPEG_S / 60.0)),
        None => measured.because("ffmpeg is not installed"),
    };
    let limiter = ffmpeg.map(|(_, limiter)| limiter);
    results.set("mix_hour_s", reason(Measured::value(ours.cpu_s).against(limiter.map(|cost| cost.cpu_s))));
    results.set(
        "mix_hour_loudnorm_s",
        reason(Measured::value(ours.cpu_s).against(ffmpeg.map(|(loudnorm, _)| loudnorm.cpu_s))),
    );
    results.set(
        "mix_memory_mb",
        reason(Measured::value(ours.memory_mb).against(limiter.map(|cost| cost.memory_mb))),
    );
    let mut bars = vec![("Podfleet", ours.cpu_s)];
    if let Some((loudnorm, limiter)) = ffmpeg {
        bars.extend([
            ("ffmpeg, ebur128 and limiter", limiter.cpu_s),
            ("ffmpeg, loudnorm in two passes", loudnorm.cpu_s),
        ]);
    }
    results.bars("Processor time to mix an hour of speech", "s", Some(18.0), &bars);
    results.raw.insert("mixing".to_owned(), json!({"podfleet": ours, "ffmpeg": ffmpeg}));
    Ok(())
}

/// ffmpeg is not here.
#[derive(Debug, thiserror::Error)]
#[error("ffmpeg is not installed")]
struct Missing;

/// Sentences as the fleet stores them.
async fn speak(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let sentences =
        TEXT.split_terminator(['.', '?', '!']).map(|text| text.trim().trim_start_matches('#').trim());
    let mut spoken = Vec::new();
    for (number, text) in sentences.filter(|text| text.len() > 40).enumerate() {
        let raw = folder.join("raw.wav");
        let status = Command::new("espeak-ng").arg("-w").arg(&raw).arg(text).status().await;
        ensure!(status.context("espeak-ng was not found; run `make setup`")?.success(), "espeak-ng failed");
        let prepared = segment::prepare(&std::fs::read(&raw)?, text, &Audio::default());
        let prepared = prepared.map_err(|rejected| anyhow::anyhow!("a sentence was rejected: {rejected}"))?;
        let file = folder.join(format!("segment-{number}.wav"));
        std::fs::write(&file, prepared.wav)?;
        spoken.push(file);
    }
    ensure!(!spoken.is_empty(), "nothing was spoken");
    Ok(spoken)
}

async fn ours(folder: &Path, spoken: &[PathBuf]) -> anyhow::Result<Cost> {
    let list = folder.join("segments.json");
    std::fs::write(&list, serde_json::to_vec(spoken)?)?;
    let output = Command::new(std::env::current_exe()?).args(["loadtest", "mix"]).arg(&list).output().await?;
    ensure!(output.status.success(), "mixing failed: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("what mixing came to")
}

/// `podfleet loadtest mix LIST`, the process that is measured: an hour of the listed segments, again and again.
pub(crate) fn mix(list: &Path) -> anyhow::Result<()> {
    let spoken: Vec<PathBuf> =
        serde_json::from_slice(&std::fs::read(list)?).context("the list of segments")?;
    let started = Instant::now();
    let settings = Audio::default();
    for chapter in 0..CHAPTERS {
        let segments = chapter_of(&spoken, HOUR_S / CHAPTERS as f64)?;
        let lengths: Vec<Segment> =
            segments.iter().map(|(_, samples)| Segment { samples: *samples, pause_ms: PAUSE_MS }).collect();
        let open = |index: usize| Ok(BufReader::new(File::open(&segments[index].0)?));
        let mut out = BufWriter::new(File::create(list.with_file_name(format!("chapter-{chapter}.mp3")))?);
        chapter::mix(&lengths, &settings, open, &mut out)?;
    }
    let cost =
        Cost { wall_s: started.elapsed().as_secs_f64(), cpu_s: own_cpu_s()?, memory_mb: own_memory_mb()? };
    crate::output::print_json(&serde_json::to_value(cost)?)
}

/// Segments with their samples, until they last so long.
fn chapter_of(spoken: &[PathBuf], seconds: f64) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    let mut lasts = 0.0;
    for file in spoken.iter().cycle() {
        if lasts >= seconds {
            break;
        }
        let samples = file.metadata()?.len().saturating_sub(WAV_HEADER) / 2;
        lasts += samples as f64 / f64::from(SAMPLE_RATE) + f64::from(PAUSE_MS) / 1000.0;
        found.push((file.clone(), samples));
    }
    Ok(found)
}

fn own_cpu_s() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit_once(')').context("a line of /proc")?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11).context("a time")?.parse::<u64>()?
        + fields.get(12).context("a time")?.parse::<u64>()?;
    Ok(ticks as f64 / 100.0)
}

fn own_memory_mb() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("VmHWM")?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse::<f64>()? / 1024.0)
}

/// Loudnorm in two passes, and ebur128 followed by volume and limiter: each measures first and encodes then. Scaled to an hour.
async fn ffmpeg(folder: &Path, spoken: &[PathBuf]) -> anyhow::Result<(Cost, Cost)> {
    let all = folder.join("speech.wav");
    join(spoken, &all)?;
    let out = folder.join("ffmpeg.mp3");
    let (measured, first) = pass(&all, "loudnorm=I=-16:TP=-1:LRA=11:print_format=json", None).await?;
    let json = measured.rfind('{').and_then(|from| measured.get(from..=measured.rfind('}')?));
    let said: Value = serde_json::from_str(json.context("ffmpeg's measurement")?)?;
    let value =
        |name: &str| said[name].as_str().map(str::to_owned).with_context(|| format!("{name} of ffmpeg"));
    let filter = format!(
        "loudnorm=I=-16:TP=-1:LRA=11:linear=true:measured_I={}:measured_TP={}:measured_LRA={}:measured_thresh={}:offset={}",
        value("input_i")?,
        value("input_tp")?,
        value("input_lra")?,
        value("input_thresh")?,
        value("target_offset")?
    );
    let (_, second) = pass(&all, &filter, Some(&out)).await?;
    let loudnorm = first.and(second);

    let (measured, first) = pass(&all, "ebur128=peak=true", None).await?;
    let integrated =
        measured.rsplit_once("I:").and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<f64>().ok());
    let gain = -16.0 - integrated.context("ffmpeg's loudness")?;
    let filter = format!("volume={gain}dB,alimiter=limit=0.891:level=false");
    let (_, second) = pass(&all, &filter, Some(&out)).await?;
    Ok((loudnorm, first.and(second)))
}

/// One run of ffmpeg: what it said, and what it cost for an hour.
async fn pass(input: &Path, filter: &str, out: Option<&Path>) -> anyhow::Result<(String, Cost)> {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-nostats", "-benchmark", "-y", "-threads", "1", "-i"])
        .arg(input)
        .args(["-af", filter]);
    match out {
        Some(file) => command.args(["-ar", "24000", "-c:a", "libmp3lame", "-b:a", "64k"]).arg(file),
        None => command.args(["-f", "null", "-"]),
    };
    let output = match command.stdin(Stdio::null()).output().await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Missing.into()),
        output => output?,
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        bail!("ffmpeg failed: {}", said.lines().last().unwrap_or_default());
    }
    let number = |name: &str| {
        let after = said.rsplit_once(name).map(|(_, rest)| rest)?;
        after.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect::<String>().parse::<f64>().ok()
    };
    let all = number("utime=").zip(number("stime=")).zip(number("rtime=")).zip(number("maxrss="));
    let (((user, system), wall), kib) = all.context("ffmpeg did not say what it used")?;
    let scale = HOUR_S / FFMPEG_S;
    Ok((said, Cost { cpu_s: (user + system) * scale, memory_mb: kib / 1024.0, wall_s: wall * scale }))
}

impl Cost {
    /// One after the other.
    fn and(self, then: Cost) -> Cost {
        Cost {
            cpu_s: self.cpu_s + then.cpu_s,
            memory_mb: self.memory_mb.max(then.memory_mb),
            wall_s: self.wall_s + then.wall_s,
        }
    }
}

/// The same segments as one WAV file.
fn join(spoken: &[PathBuf], into: &Path) -> anyhow::Result<()> {
    let segments = chapter_of(spoken, FFMPEG_S)?;
    let pause = vec![0u8; PAUSE_MS as usize * SAMPLE_RATE as usize / 1000 * 2];
    let bytes: u64 = segments.iter().map(|(_, samples)| samples * 2 + pause.len() as u64).sum();
    let mut out = BufWriter::new(File::create(into)?);
    out.write_all(&header(u32::try_from(bytes)?))?;
    for (file, _) in &segments {
        let wav = std::fs::read(file)?;
        out.write_all(wav.get(WAV_HEADER as usize..).context("a WAV file")?)?;
        out.write_all(&pause)?;
    }
    Ok(out.flush()?)
}

/// Of a WAV file, mono with 16 bits.
fn header(bytes: u32) -> Vec<u8> {
    let mut header = Vec::with_capacity(WAV_HEADER as usize);
    header.extend_from_slice(b"RIFF");
    header.extend_from_slice(&(bytes + 36).to_le_bytes());
    header.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    header.extend_from_slice(&SAMPLE_RATE.to_le_bytes());
    header.extend_from_slice(&(SAMPLE_RATE * 2).to_le_bytes());
    header.extend_from_slice(b"\x02\0\x10\0data");
    header.extend_from_slice(&bytes.to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_announces_what_follows() {
        let header = header(1000);
        assert_eq!(header.len() as u64, WAV_HEADER);
        assert_eq!(&header[..4], b"RIFF");
        assert_eq!(
            (header[4..8].to_vec(), header[40..].to_vec()),
            (1036u32.to_le_bytes().to_vec(), 1000u32.to_le_bytes().to_vec())
        );
    }
}
