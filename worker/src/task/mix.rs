//! `mix`: the segments of a chapter become MP3 frames and cues.

use std::io::{self, BufReader, Read, Write};

use common::blobs::{self, Blobs};
use common::config::Audio;
use common::crash;
use common::wire::Ticket;
use common::work::{MixInput, MixResult, Place};
use tempfile::NamedTempFile;

use super::{Done, input, result_hash};
use crate::Env;
use crate::audio::chapter::{self, MixError, Mixed, Segment};
use crate::audio::segment;
use crate::failure::Failure;

pub(super) async fn run(env: &Env, ticket: &Ticket) -> Result<Done, Failure> {
    let input: MixInput = input(env, ticket).await?;
    let settings = env.config.audio.clone();
    let hash = result_hash(ticket, &serde_json::to_string(&settings).map_err(anyhow::Error::from)?);
    let key = |ending| blobs::key(&ticket.tenant, "mix", &hash, ending);
    if let Some(mark) = env.blobs.find(&key("json")).await?
        && let Ok(known) = serde_json::from_slice::<MixResult>(&mark)
        && env.blobs.keep(&[&known.audio, &known.cues, &key("json")]).await?
    {
        return Done::from_cache(&known);
    }
    let chars = input.segments.iter().map(|segment| segment.text.chars().count()).sum();
    let blobs = env.blobs.clone();
    let mixing = tokio::task::spawn_blocking(move || {
        let file = blobs.scratch_file()?;
        mix(&blobs, &input, &settings, file)
    });
    let (mixed, file, cues) =
        mixing.await.map_err(|error| Failure::transient("mixing the chapter panicked").because(error))??;
    let result = MixResult {
        audio: key("mp3"),
        cues: key("cues.json"),
        frames: mixed.frames,
        duration_ms: mixed.duration_ms,
        segments: u32::try_from(mixed.spans.len()).unwrap_or(u32::MAX),
        loudness: mixed.loudness.levels(),
        true_peak_dbtp: Some(mixed.true_peak_dbtp).filter(|peak| peak.is_finite()),
    };
    crash::point("mixer.after_mix_before_store");
    env.blobs.adopt_file(&result.audio, file).await?;
    env.blobs.put_if_absent(&result.cues, cues.into()).await?;
    crash::point("mixer.after_store_before_mark");
    let mark = serde_json::to_vec(&result).map_err(anyhow::Error::from)?;
    env.blobs.put_if_absent(&key("json"), mark.into()).await?;
    Ok(Done::new(&result, 0)?.measured("", chars))
}

fn mix(
    blobs: &Blobs,
    input: &MixInput,
    settings: &Audio,
    mut file: NamedTempFile,
) -> Result<(Mixed, NamedTempFile, Vec<u8>), Failure> {
    let segments: Vec<Segment> = input
        .segments
        .iter()
        .map(|segment| Segment { samples: segment.samples, pause_ms: settings.pauses.after(segment.pause) })
        .collect();
    let open = |index: usize| -> io::Result<Box<dyn Read>> {
        let segment = &input.segments[index];
        Ok(match segment.place {
            Place::Gap => Box::new(io::Cursor::new(segment::silence(segment.samples)?)),
            _ => Box::new(BufReader::new(blobs.open_file(&segment.audio)?)),
        })
    };
    let mixed =
        chapter::mix(&segments, settings, open, file.as_file_mut()).map_err(|error| failure(input, error))?;
    file.flush().map_err(anyhow::Error::from)?;
    let cues = serde_json::to_vec(&chapter::cues(&mixed, &input.segments)).map_err(anyhow::Error::from)?;
    Ok((mixed, file, cues))
}

/// A segment that is gone or damaged is named, so that it is spoken again.
fn failure(input: &MixInput, error: MixError) -> Failure {
    let missing = match &error {
        MixError::Unreadable { segment, source } if source.kind() == std::io::ErrorKind::NotFound => {
            Some(*segment)
        }
        MixError::Changed { segment, .. } => Some(*segment),
        _ => None,
    };
    let mut failure = Failure::transient(error.to_string());
    if let Some(segment) = missing.and_then(|index| input.segments.get(index)) {
        failure.missing_segments.push(i32::try_from(segment.segment).unwrap_or(i32::MAX));
    }
    failure.because(error)
}
