//! Mixes the segments of a chapter into MP3 frames that can be joined to those of other chapters by copying.
//!
//! A chapter is a whole number of frames, and its sound lies in them as follows. The first segment begins at chapter time 0;
//! there is no lead-in. What goes into the encoder at sample `n` comes out of a decoder at sample `n + 1105`
//! ([`mp3::ENCODER_DELAY`] and [`mp3::DECODER_DELAY`]). The frames that LAME makes for that delay are not copied: a chapter
//! ends in silence of which they hold only more. So in a joined file, from whose start players cut these 1105 samples, a
//! chapter's time 0 falls on the boundary of its first frame, to the sample. Its first frame refers to no earlier bytes,
//! as it comes from a fresh encoder.

use std::io::{self, Read, Seek, SeekFrom, Write};

use common::config::Audio;
use common::work::{Cue, MixSegment};

use super::encoder::{Encoder, Listener};
use super::limiter::Limiter;
use super::meter::Meter;
use super::resample::Resampler;
use super::source::read_all;
use super::{SAMPLE_RATE, factor, mp3};

/// How far the encoded loudness may be from the target before the chapter is encoded again.
const LOUDNESS_TOLERANCE_LU: f64 = 0.7;
/// How much more than ours another meter may read of the same peak; ffmpeg's was seen to read 0.12 dB more.
const METER_MARGIN_DB: f64 = 0.15;
const MAX_ENCODINGS: usize = 3;
/// Segments are levelled one by one; a chapter that needs more than this is not speech.
const GAIN_DB: std::ops::RangeInclusive<f64> = -30.0..=30.0;
/// Silence after the last segment in addition to the delay, for what filters ring (samples).
const RINGING: u64 = 64;

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
    /// Integrated loudness of the frames as decoded again, when there is enough to measure.
    pub lufs: Option<f64>,
    /// True peak of the frames as decoded again.
    pub true_peak_dbtp: f64,
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

/// Reads every segment (WAV as [`super::segment::prepare`] makes it) at least twice through `open`, which is given its index:
/// once to measure the chapter, once to encode it. When the encoder missed loudness or peak, it encodes once more over what
/// it wrote, which is as long. Writes frames without any tag from `out`'s position on. Memory does not depend on the length.
pub fn mix<R: Read, W: Write + Seek>(
    segments: &[Segment],
    settings: &Audio,
    mut open: impl FnMut(usize) -> io::Result<R>,
    out: &mut W,
) -> Result<Mixed, MixError> {
    let plan = Plan::new(segments, settings.sample_rate).ok_or(MixError::Empty)?;
    let mut ceiling_db = settings.max_true_peak_dbtp - encoder_headroom_db(settings);
    let mut gain_db = needed_gain_db(segments, settings.target_lufs, factor(ceiling_db), &mut open)?;

    let start = out.stream_position().map_err(MixError::Unwritable)?;
    let mut encodings = 0;
    loop {
        gain_db = gain_db.clamp(*GAIN_DB.start(), *GAIN_DB.end());
        let mut pass = Pass::new(settings, factor(gain_db), factor(ceiling_db), plan.frames, &mut *out)?;
        read_all(segments, &mut open, |block| pass.add(block))?;
        let (bytes, mut heard) = pass.finish()?;
        encodings += 1;
        let (lufs, true_peak_dbtp) = (heard.lufs(), heard.true_peak_dbtp());
        let over = true_peak_dbtp + METER_MARGIN_DB - settings.max_true_peak_dbtp;
        let short = lufs.map_or(0.0, |lufs| settings.target_lufs - lufs);
        // One more go for loudness: when that does not help, the limiter takes what the gain gives.
        let mislevelled = short.abs() > LOUDNESS_TOLERANCE_LU && encodings == 1;
        if encodings == MAX_ENCODINGS || (over <= 0.0 && !mislevelled) {
            return Ok(plan.mixed(bytes, lufs, true_peak_dbtp));
        }
        if over > 0.0 {
            ceiling_db -= over + 0.1;
        }
        if mislevelled {
            gain_db += short;
        }
        out.seek(SeekFrom::Start(start)).map_err(MixError::Unwritable)?;
    }
}

/// How far below the highest permitted true peak the limiter's ceiling is at first. Encoding adds to the peaks, the more the
/// fewer bits there are. Measured on speech with sharp peaks: 1.4 dB at 32 kb/s, 0.9 at 64, 0.5 at 96, 0.1 at 128.
fn encoder_headroom_db(settings: &Audio) -> f64 {
    (64.0 / f64::from(settings.bitrate_kbps)).clamp(0.5, 2.0)
}

/// Measures the chapter as it comes out of the limiter, which takes loudness away: segments are levelled to the target
/// already, so the gain that follows is small and changes little in what the limiter does.
fn needed_gain_db<R: Read>(
    segments: &[Segment],
    target_lufs: f64,
    ceiling: f64,
    open: &mut impl FnMut(usize) -> io::Result<R>,
) -> Result<f64, MixError> {
    let mut meter = Meter::new(SAMPLE_RATE)?;
    let mut limiter = Limiter::new(ceiling, SAMPLE_RATE);
    let mut limited = Vec::new();
    read_all(segments, open, |block| {
        limited.clear();
        limiter.push(block, &mut limited);
        Ok(meter.add_loudness(&limited)?)
    })?;
    Ok(meter.lufs().map_or(0.0, |lufs| target_lufs - lufs))
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
        })
        .collect()
}

/// Where everything goes, known before anything is read.
struct Plan {
    spans: Vec<Span>,
    frames: u64,
    frame_samples: u64,
    sample_rate: u32,
}

impl Plan {
    /// None without segments.
    fn new(segments: &[Segment], sample_rate: u32) -> Option<Plan> {
        let (rate, from) = (u64::from(sample_rate), u64::from(SAMPLE_RATE));
        let at_rate = |samples: u64| (samples * rate + from / 2) / from;
        let mut now = 0;
        let spans: Vec<Span> = segments
            .iter()
            .map(|segment| {
                let span = Span { start: at_rate(now), end: at_rate(now + segment.samples) };
                now += segment.samples + pause_samples(segment);
                span
            })
            .collect();
        let frame_samples = if sample_rate < 32_000 { 576 } else { 1152 };
        // Nothing that sounds may lie in the frames that are not copied.
        let least = spans.last()?.end + mp3::ENCODER_DELAY + mp3::DECODER_DELAY + RINGING;
        let frames = ((at_rate(now) + frame_samples / 2) / frame_samples).max(least.div_ceil(frame_samples));
        Some(Plan { spans, frames, frame_samples, sample_rate })
    }

    fn mixed(self, bytes: u64, lufs: Option<f64>, true_peak_dbtp: f64) -> Mixed {
        let rate = u64::from(self.sample_rate);
        Mixed {
            frames: self.frames,
            bytes,
            sample_rate: self.sample_rate,
            duration_ms: (self.frames * self.frame_samples * 1000 + rate / 2) / rate,
            spans: self.spans,
            lufs,
            true_peak_dbtp,
        }
    }
}

pub(super) fn pause_samples(segment: &Segment) -> u64 {
    u64::from(segment.pause_ms) * u64::from(SAMPLE_RATE) / 1000
}

/// One way through the chapter: gain, rate, limiter, encoder, and an ear on what comes out.
struct Pass<'a, W> {
    gain: f32,
    resampler: Resampler,
    limiter: Limiter,
    encoder: Encoder,
    listener: Listener,
    frames_left: u64,
    bytes: u64,
    out: &'a mut W,
    louder: Vec<f32>,
    converted: Vec<f32>,
    limited: Vec<f32>,
}

impl<'a, W: Write> Pass<'a, W> {
    fn new(settings: &Audio, gain: f64, ceiling: f64, frames: u64, out: &'a mut W) -> Result<Self, String> {
        let rate = settings.sample_rate;
        Ok(Pass {
            gain: gain as f32,
            resampler: Resampler::new(SAMPLE_RATE, rate)?,
            limiter: Limiter::new(ceiling, rate),
            encoder: Encoder::new(rate, settings.bitrate_kbps)?,
            listener: Listener::new(rate)?,
            frames_left: frames,
            bytes: 0,
            out,
            louder: Vec::new(),
            converted: Vec::new(),
            limited: Vec::new(),
        })
    }

    fn add(&mut self, block: &[f32]) -> Result<(), MixError> {
        self.louder.clear();
        self.louder.extend(block.iter().map(|sample| sample * self.gain));
        self.converted.clear();
        self.resampler.push(&self.louder, &mut self.converted)?;
        self.limit_and_encode()
    }

    fn finish(mut self) -> Result<(u64, Meter), MixError> {
        self.converted.clear();
        self.resampler.finish(&mut self.converted)?;
        self.limit_and_encode()?;
        // Silence pushes out what the limiter and the encoder still hold back; it is the chapter's last pause that goes on.
        // LAME holds back less than a dozen frames.
        for _ in 0..64 {
            if self.frames_left == 0 {
                self.out.flush().map_err(MixError::Unwritable)?;
                return Ok((self.bytes, self.listener.meter()));
            }
            self.converted.clear();
            self.converted.resize(1152, 0.0);
            self.limit_and_encode()?;
        }
        Err(MixError::Codec(format!("LAME kept back {} frames", self.frames_left)))
    }

    fn limit_and_encode(&mut self) -> Result<(), MixError> {
        self.limited.clear();
        self.limiter.push(&self.converted, &mut self.limited);
        let Pass { encoder, listener, frames_left, bytes, out, limited, .. } = self;
        encoder.push(limited, |_, frame| {
            if *frames_left > 0 {
                *frames_left -= 1;
                *bytes += frame.len() as u64;
                listener.hear(frame)?;
                out.write_all(frame).map_err(MixError::Unwritable)?;
            }
            Ok(())
        })
    }
}
