//! Reads a chapter's segments back as they were stored.

use std::io::{self, BufReader, Read};
use std::ops::Range;

use super::SAMPLE_RATE;
use super::chapter::{MixError, Segment, pause_samples};

/// Samples that are handed on at a time.
const BLOCK: usize = 4096;

/// Calls `each` with the sound of a part of the chapter, block after block: every segment, then its pause.
pub(super) fn read_all<R: Read>(
    segments: &[Segment],
    part: Range<usize>,
    open: &mut impl FnMut(usize) -> io::Result<R>,
    mut each: impl FnMut(&[i16]) -> Result<(), MixError>,
) -> Result<(), MixError> {
    let silence = [0; BLOCK];
    let mut bytes = [0; BLOCK * 2];
    let mut block = Vec::with_capacity(BLOCK);
    for (index, segment) in segments.iter().enumerate().take(part.end).skip(part.start) {
        let unreadable = |source| MixError::Unreadable { segment: index, source };
        let mut audio = samples_of(index, segment, open(index).map_err(unreadable)?)?;
        let mut left = segment.samples as usize;
        while left > 0 {
            let piece = &mut bytes[..left.min(BLOCK) * 2];
            audio.read_exact(piece).map_err(|error| read_error(index, error))?;
            let sample = |pair: &[u8]| i16::from_le_bytes([pair[0], pair[1]]);
            block.clear();
            block.extend(piece.chunks_exact(2).map(sample));
            each(&block)?;
            left -= block.len();
        }
        let mut left = pause_samples(segment) as usize;
        while left > 0 {
            let piece = left.min(BLOCK);
            each(&silence[..piece])?;
            left -= piece;
        }
    }
    Ok(())
}

/// A reader of the segment's samples, after its header was checked.
fn samples_of<R: Read>(index: usize, segment: &Segment, reader: R) -> Result<impl Read, MixError> {
    let wav = hound::WavReader::new(BufReader::new(reader)).map_err(|error| match error {
        hound::Error::IoError(source) => read_error(index, source),
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

/// A file that ends early is not what was stored, whatever the disk is like. Hound says `Other` for it.
fn read_error(segment: usize, source: io::Error) -> MixError {
    match source.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::Other => {
            MixError::Changed { segment, found: "it ends early".into() }
        }
        _ => MixError::Unreadable { segment, source },
    }
}
