//! Reads a chapter's segments back as they were stored.

use std::io::{self, BufReader, Read};

use super::SAMPLE_RATE;
use super::chapter::{MixError, Segment, pause_samples};

/// Samples that are handed on at a time.
const BLOCK: usize = 4096;

/// Calls `each` with the chapter's sound, block after block: every segment, then its pause.
pub(super) fn read_all<R: Read>(
    segments: &[Segment],
    open: &mut impl FnMut(usize) -> io::Result<R>,
    mut each: impl FnMut(&[f32]) -> Result<(), MixError>,
) -> Result<(), MixError> {
    let silence = [0.0; BLOCK];
    let mut bytes = [0; BLOCK * 2];
    let mut block = Vec::with_capacity(BLOCK);
    for (index, segment) in segments.iter().enumerate() {
        let unreadable = |source| MixError::Unreadable { segment: index, source };
        let mut audio = samples_of(index, segment, open(index).map_err(unreadable)?)?;
        let mut left = segment.samples as usize;
        while left > 0 {
            let part = &mut bytes[..left.min(BLOCK) * 2];
            audio.read_exact(part).map_err(unreadable)?;
            let sample = |pair: &[u8]| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0;
            block.clear();
            block.extend(part.chunks_exact(2).map(sample));
            each(&block)?;
            left -= block.len();
        }
        let mut left = pause_samples(segment) as usize;
        while left > 0 {
            let part = left.min(BLOCK);
            each(&silence[..part])?;
            left -= part;
        }
    }
    Ok(())
}

/// A reader of the segment's samples, after its header was checked.
fn samples_of<R: Read>(index: usize, segment: &Segment, reader: R) -> Result<impl Read, MixError> {
    let wav = hound::WavReader::new(BufReader::new(reader)).map_err(|error| match error {
        hound::Error::IoError(source) => MixError::Unreadable { segment: index, source },
        other => MixError::Changed { segment: index, found: other.to_string() },
    })?;
    let (spec, length) = (wav.spec(), u64::from(wav.duration()));
    if (spec.channels, spec.sample_rate, spec.bits_per_sample) != (1, SAMPLE_RATE, 16)
        || length != segment.samples
    {
        let found = format!(
            "{length} samples of {} bits in {} channels at {} Hz instead of {} samples of 16 bits in 1 at {SAMPLE_RATE} Hz",
            spec.bits_per_sample, spec.channels, spec.sample_rate, segment.samples
        );
        return Err(MixError::Changed { segment: index, found });
    }
    Ok(wav.into_inner())
}
