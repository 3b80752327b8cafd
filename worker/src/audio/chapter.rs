//! Mixes the segments of a chapter into MP3 frames that can be joined to those of other chapters by copying.
//!
//! A chapter is a whole number of frames, and its sound lies in them as follows. The first segment begins at chapter time 0;
//! there is no lead-in. What goes into the encoder at sample `n` comes out of a decoder at sample `n + 1105`
//! ([`mp3::ENCODER_DELAY`] and [`mp3::DECODER_DELAY`]). The frames that LAME makes for that delay are not copied: a chapter
//! ends in silence of which they hold only more. So in a joined file, from whose start players cut these 1105 samples, a
//! chapter's time 0 falls on the boundary of its first frame, to the sample. Its first frame refers to no earlier bytes,
//! as it comes from a fresh encoder.
//!
//! In the same way a chapter is made of sections of about half a minute, cut where a pause allows it: whatever has to be
//! encoded again to keep its peaks down is a section.

use std::io::{self, Read, Write};
use std::ops::Range;

use common::config::Audio;
use common::work::{Cue, MixSegment};

use super::histogram::Histogram;
use super::limiter::Limiter;
use super::meter::Meter;
use super::section::{self, start_ceiling_db};
use super::source::read_all;
use super::{SAMPLE_RATE, factor, mp3};

/// Segments are levelled one by one; a chapter that needs more than this is not speech.
const GAIN_DB: std::ops::RangeInclusive<f64> = -30.0..=30.0;
/// What the limiter took away comes back by half: of louder sound it takes more. So more is given, up to this much more.
const MAX_EXTRA_GAIN_DB: f64 = 1.0;
/// The least length of a section but the last, in samples at [`SAMPLE_RATE`]: 30 s.
const SECTION: u64 = 30 * SAMPLE_RATE as u64;
/// Silence before a cut: the decoder's lag behind the encoder, and what filters ring.
pub(super) const SILENCE_BEFORE_CUT: u64 = mp3::ENCODER_DELAY + mp3::DECODER_DELAY + 64;

/// A segment of the chapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Length in samples at [`SAMPLE_RATE`].
    pub samples: u64,
    /// The silence after it.
    pub pause_ms: u32,
}

/// Where a segment sounds in its chapter, in samples at the MP3's rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u64,
    pub end: u64,
}

/// A chapter as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    pub frames: u64,
    pub bytes: u64,
    /// Of the MP3, in Hz.
    pub sample_rate: u32,
    pub duration_ms: u64,
    pub spans: Vec<Span>,
    /// True peak of the frames as decoded again.
    pub true_peak_dbtp: f64,
    /// How loud they are, decoded again.
    pub loudness: Histogram,
}

/// Why a chapter could not be mixed.
#[derive(Debug, thiserror::Error)]
pub enum MixError {
    #[error("the chapter has no segments")]
    Empty,
    /// `NotFound` in the source means that the audio is gone and has to be spoken again.
    #[error("segment {segment} cannot be read")]
    Unreadable { segment: usize, source: io::Error },
    #[error("segment {segment} is not what was stored: {found}")]
    Changed { segment: usize, found: String },
    #[error("{0}")]
    Codec(String),
    #[error("the chapter cannot be written")]
    Unwritable(#[source] io::Error),
}

impl From<String> for MixError {
    fn from(message: String) -> MixError {
        MixError::Codec(message)
    }
}

/// Reads every segment (WAV as [`super::segment::prepare`] makes it) twice through `open`, which is given its index: once to
/// measure the chapter, once to encode it. Writes frames without any tag. Memory depends on the longest segment and not on
/// the length of the chapter: a section's samples are held, in 16 bits.
pub fn mix<R: Read, W: Write>(
    segments: &[Segment],
    settings: &Audio,
    mut open: impl FnMut(usize) -> io::Result<R>,
    out: &mut W,
) -> Result<Mixed, MixError> {
    let plan = Plan::new(segments, settings.sample_rate).ok_or(MixError::Empty)?;
    let gain_db = needed_gain_db(segments, settings, &mut open)?;
    let mut pcm: Vec<i16> = Vec::new();
    let (mut bytes, mut true_peak_dbtp, mut loudness) = (0, f64::NEG_INFINITY, Histogram::default());
    for section in &plan.sections {
        pcm.clear();
        pcm.resize(section.lead as usize, 0);
        read_all(segments, section.segments.clone(), &mut open, |block| {
            pcm.extend_from_slice(block);
            Ok(())
        })?;
        let frames = section.frames.end - section.frames.start;
        let encoded = section::encode(&pcm, frames, gain_db, settings)?;
        out.write_all(&encoded.frames).map_err(MixError::Unwritable)?;
        bytes += encoded.frames.len() as u64;
        true_peak_dbtp = true_peak_dbtp.max(encoded.true_peak_dbtp);
        loudness.add(&encoded.loudness.levels());
    }
    out.flush().map_err(MixError::Unwritable)?;
    Ok(plan.mixed(bytes, true_peak_dbtp, loudness))
}

/// The chapter's transcript, timed from its start.
pub fn cues(mixed: &Mixed, segments: &[MixSegment]) -> Vec<Cue> {
    let ms =
        |samples: u64| (samples * 1000 + u64::from(mixed.sample_rate) / 2) / u64::from(mixed.sample_rate);
    let spoken = mixed.spans.iter().zip(segments);
    spoken
        .map(|(span, segment)| Cue {
            start_ms: ms(span.start),
            end_ms: ms(span.end),
            speaker: segment.speaker.clone(),
            text: segment.text.clone(),
            place: segment.place,
        })
        .collect()
}

/// Measures the chapter as it comes out of the limiter, which takes loudness away. Segments are levelled to the target
/// already: the gain is small.
fn needed_gain_db<R: Read>(
    segments: &[Segment],
    settings: &Audio,
    open: &mut impl FnMut(usize) -> io::Result<R>,
) -> Result<f64, MixError> {
    let mut meter = Meter::new(SAMPLE_RATE)?;
    let mut limiter = Limiter::new(factor(start_ceiling_db(settings)), SAMPLE_RATE);
    let (mut samples, mut limited) = (Vec::new(), Vec::new());
    read_all(segments, 0..segments.len(), open, |block| {
        samples.clear();
        samples.extend(block.iter().map(|&sample| f32::from(sample) / 32_768.0));
        limited.clear();
        limiter.push(&samples, &mut limited);
        Ok(meter.add_loudness(&limited)?)
    })?;
    let short = meter.lufs().map_or(0.0, |lufs| settings.target_lufs - lufs);
    let extra = (short / 2.0).clamp(0.0, MAX_EXTRA_GAIN_DB);
    Ok((short + extra).clamp(*GAIN_DB.start(), *GAIN_DB.end()))
}

/// Where everything goes, known before anything is read.
struct Plan {
    spans: Vec<Span>,
    sections: Vec<Section>,
    frames: u64,
    frame_samples: u64,
    sample_rate: u32,
}

struct Section {
    segments: Range<usize>,
    frames: Range<u64>,
    /// Silence before the first segment, in samples at [`SAMPLE_RATE`].
    lead: u64,
}

impl Plan {
    /// None without segments.
    fn new(segments: &[Segment], sample_rate: u32) -> Option<Plan> {
        let (rate, from) = (u64::from(sample_rate), u64::from(SAMPLE_RATE));
        let at_rate = |samples: u64| (samples * rate + from / 2) / from;
        let frame_samples = mp3::frame_samples(sample_rate);
        let (mut now, mut first, mut first_at, mut frame, mut lead) = (0, 0, 0, 0, 0);
        let mut spans: Vec<Span> = Vec::with_capacity(segments.len());
        let mut sections = Vec::new();
        for (index, segment) in segments.iter().enumerate() {
            let start = at_rate(now);
            let cut = start / frame_samples;
            let silent =
                spans.last().is_some_and(|last| last.end + SILENCE_BEFORE_CUT <= cut * frame_samples);
            if silent && now - first_at >= SECTION {
                sections.push(Section { segments: first..index, frames: frame..cut, lead });
                let cut_at = (cut * frame_samples * from + rate / 2) / rate;
                (first, first_at, frame, lead) = (index, now, cut, now.saturating_sub(cut_at));
            }
            spans.push(Span { start, end: at_rate(now + segment.samples) });
            now += segment.samples + pause_samples(segment);
        }
        // Nothing that sounds may lie in the frames that are not copied.
        let least = (spans.last()?.end + SILENCE_BEFORE_CUT).div_ceil(frame_samples);
        let frames = ((at_rate(now) + frame_samples / 2) / frame_samples).max(least);
        sections.push(Section { segments: first..segments.len(), frames: frame..frames, lead });
        Some(Plan { spans, sections, frames, frame_samples, sample_rate })
    }

    fn mixed(self, bytes: u64, true_peak_dbtp: f64, loudness: Histogram) -> Mixed {
        let rate = u64::from(self.sample_rate);
        Mixed {
            frames: self.frames,
            bytes,
            sample_rate: self.sample_rate,
            duration_ms: (self.frames * self.frame_samples * 1000 + rate / 2) / rate,
            spans: self.spans,
            true_peak_dbtp,
            loudness,
        }
    }
}

pub(super) fn pause_samples(segment: &Segment) -> u64 {
    u64::from(segment.pause_ms) * u64::from(SAMPLE_RATE) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_follow_each_other_in_pauses() {
        for rate in [24_000, 44_100] {
            for pause_ms in [0, 20, 350, 700] {
                let segments: Vec<Segment> =
                    (0..200).map(|n| Segment { samples: 20_000 + n * 997, pause_ms }).collect();
                let plan = Plan::new(&segments, rate).unwrap();
                assert_eq!(plan.sections.len() > 1, pause_ms > 100, "{rate} Hz, {pause_ms} ms");
                let (mut segment, mut frame) = (0, 0);
                for section in &plan.sections {
                    assert_eq!((section.segments.start, section.frames.start), (segment, frame));
                    let cut = frame * plan.frame_samples;
                    assert!(plan.spans[segment].start >= cut);
                    assert!(segment == 0 || plan.spans[segment - 1].end + SILENCE_BEFORE_CUT <= cut);
                    let lead = section.lead * u64::from(rate) / u64::from(SAMPLE_RATE);
                    assert!(plan.spans[segment].start.abs_diff(cut + lead) <= 2);
                    (segment, frame) = (section.segments.end, section.frames.end);
                }
                assert_eq!((segment, frame), (200, plan.frames));
            }
        }
    }
}
