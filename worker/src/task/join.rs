//! `join`: the chapters become one MP3 with its transcripts and chapter marks.

use std::io::{BufReader, BufWriter};

use anyhow::Context;
use bytes::Bytes;
use common::blobs::{self, Blobs};
use common::crash;
use common::wire::Ticket;
use common::work::{Cue, Episode, JoinChapter, JoinInput};
use tempfile::NamedTempFile;

use super::{Done, input, result_hash};
use crate::Env;
use crate::audio::episode::{self, Chapter, Joined};
use crate::audio::histogram::Histogram;
use crate::audio::measure;
use crate::audio::transcript;
use crate::failure::Failure;

pub(super) async fn run(env: &Env, ticket: &Ticket) -> Result<Done, Failure> {
    let input: JoinInput = input(env, ticket).await?;
    let hash = result_hash(ticket, common::process::VERSION);
    let key = |ending| blobs::key(&ticket.tenant, "episode", &hash, ending);
    if let Some(mark) = env.blobs.find(&key("json")).await?
        && let Ok(known) = serde_json::from_slice::<Episode>(&mark)
        && env.blobs.keep(&[&key("json")]).await?
        && env.blobs.keep(&files(&known)).await?
        && env.blobs.size(&known.audio).await? == Some(known.bytes)
    {
        return Done::from_cache(&known);
    }
    find_mixes(env, &input).await?;
    let chapters = chapters(env, &input).await?;
    let segments = input.chapters.iter().map(|chapter| chapter.mix.segments).sum();
    let blobs = env.blobs.clone();
    let joining = tokio::task::spawn_blocking(move || join(&blobs, &input, chapters));
    let (joined, heard, file) = joining
        .await
        .map_err(|error| Failure::transient("joining the episode panicked").because(error))??;
    let episode = Episode {
        audio: key("mp3"),
        transcript_vtt: key("vtt"),
        transcript_srt: key("srt"),
        transcript_json: key("transcript.json"),
        transcript_txt: key("txt"),
        chapters_json: key("chapters.json"),
        bytes: joined.bytes,
        duration_ms: joined.duration_ms,
        segments,
        lufs: heard.lufs,
        true_peak_dbtp: heard.true_peak_dbtp,
    };
    crash::point("mixer.after_join_before_store");
    env.blobs.adopt_file(&episode.audio, file).await?;
    let texts = [
        (&episode.transcript_vtt, transcript::vtt(&joined.cues)),
        (&episode.transcript_srt, transcript::srt(&joined.cues)),
        (&episode.transcript_json, transcript::json(&joined.cues)),
        (&episode.transcript_txt, transcript::text(&joined.cues, &joined.marks)),
        (&episode.chapters_json, transcript::chapters(&joined.marks)),
    ];
    for (key, text) in texts {
        env.blobs.put_if_absent(key, Bytes::from(text)).await?;
    }
    crash::point("mixer.after_store_before_mark");
    let mark = serde_json::to_vec(&episode).map_err(anyhow::Error::from)?;
    env.blobs.put_if_absent(&key("json"), mark.into()).await?;
    Ok(Done::new(&episode, 0)?.measured("", 0))
}

fn files(episode: &Episode) -> [&str; 6] {
    [
        &episode.audio,
        &episode.transcript_vtt,
        &episode.transcript_srt,
        &episode.transcript_json,
        &episode.transcript_txt,
        &episode.chapters_json,
    ]
}

/// Chapters whose mix is gone are named, so that they are mixed again. What is there counts as used just now.
async fn find_mixes(env: &Env, input: &JoinInput) -> Result<(), Failure> {
    let mut missing = Vec::new();
    for (chapter, JoinChapter { mix, .. }) in (0..).zip(&input.chapters) {
        if !env.blobs.keep(&[&mix.audio, &mix.cues]).await? {
            missing.push(chapter);
        }
    }
    let Some(first) = missing.first() else { return Ok(()) };
    let mut failure = Failure::transient(format!("the mix of chapter {} is gone", first + 1));
    failure.missing_chapters = missing;
    Err(failure)
}

async fn chapters(env: &Env, input: &JoinInput) -> Result<Vec<Chapter>, Failure> {
    let mut chapters = Vec::with_capacity(input.chapters.len());
    for chapter in &input.chapters {
        let bytes = env.blobs.get(&chapter.mix.cues).await?;
        let cues: Vec<Cue> =
            serde_json::from_slice(&bytes).context("the cues of a chapter cannot be read")?;
        chapters.push(Chapter { title: chapter.title.clone(), frames: chapter.mix.frames, cues });
    }
    Ok(chapters)
}

/// What people will hear.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Heard {
    lufs: Option<f64>,
    true_peak_dbtp: Option<f64>,
}

/// The chapters were listened to when they were mixed, and their frames are copied as they are. `None`: one of them was mixed
/// before that was noted.
fn heard(chapters: &[JoinChapter]) -> Option<Heard> {
    let (mut loudness, mut true_peak_dbtp) = (Histogram::default(), f64::NEG_INFINITY);
    for JoinChapter { mix, .. } in chapters {
        loudness.add(&mix.loudness);
        true_peak_dbtp = true_peak_dbtp.max(mix.true_peak_dbtp?);
    }
    Some(Heard { lufs: loudness.integrated(), true_peak_dbtp: Some(true_peak_dbtp) })
}

/// Writes the file. The loudness that is reported is that of what people will hear: of the frames, decoded again.
fn join(
    blobs: &Blobs,
    input: &JoinInput,
    chapters: Vec<Chapter>,
) -> Result<(Joined, Heard, NamedTempFile), Failure> {
    let file = blobs.scratch_file()?;
    let open = |index: usize| blobs.open_file(&input.chapters[index].mix.audio);
    let mut writer = BufWriter::new(file.reopen().map_err(anyhow::Error::from)?);
    let joined = episode::join(&input.title, &input.language, chapters, open, &mut writer)
        .map_err(|error| Failure::transient(error.to_string()).because(error))?;
    drop(writer);
    if let Some(heard) = heard(&input.chapters) {
        return Ok((joined, heard, file));
    }
    let reader = BufReader::new(file.reopen().map_err(anyhow::Error::from)?);
    let measured =
        measure::measure(reader).map_err(|error| Failure::transient(error.to_string()).because(error))?;
    let true_peak_dbtp = Some(measured.true_peak_dbtp).filter(|peak| peak.is_finite());
    Ok((joined, Heard { lufs: measured.lufs, true_peak_dbtp }, file))
}
