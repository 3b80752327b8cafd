//! MP3 frames of segments as they come, for those who listen while an episode is made. It sounds as the mix will, but for the
//! chapter's own gain: each segment was levelled to the same loudness when it was spoken, and its peaks were kept down then.

use std::io::Cursor;

use common::config::Audio;

use super::chapter::{SILENCE_BEFORE_CUT, Segment};
use super::encoder::Encoder;
use super::resample::Resampler;
use super::source::read_all;
use super::{SAMPLE_RATE, mp3};

/// Encodes one chapter after another. Frames of a chapter refer to no earlier ones, so that frames of mixed chapters can stand
/// between them.
pub struct LiveEncoder {
    settings: Audio,
    chapter: Option<Chapter>,
}

/// The chapter that is being encoded.
struct Chapter {
    resampler: Resampler,
    encoder: Encoder,
    frame_samples: u64,
    /// Samples at the MP3's rate that went in.
    taken: u64,
    /// Where the last segment ended, in the same samples.
    sounds_until: u64,
    frames: u64,
}

impl LiveEncoder {
    pub fn new(settings: Audio) -> LiveEncoder {
        LiveEncoder { settings, chapter: None }
    }

    /// The frames that are complete with this segment (WAV as [`super::segment::prepare`] makes it) and the silence after it.
    /// The pause pushes out what the encoder holds back, so all of the segment is in them.
    pub fn segment(&mut self, wav: &[u8], samples: u64, pause_ms: u32) -> Result<Vec<u8>, String> {
        let chapter = match &mut self.chapter {
            Some(chapter) => chapter,
            none => none.insert(Chapter::new(&self.settings)?),
        };
        let segment = [Segment { samples, pause_ms }];
        let (mut frames, mut left) = (Vec::new(), samples);
        let read = read_all(&segment, 0..1, &mut |_| Ok(Cursor::new(wav)), |block| {
            let block: Vec<f32> = block.iter().map(|&sample| f32::from(sample) / 32_768.0).collect();
            let sounds = left > 0;
            left = left.saturating_sub(block.len() as u64);
            chapter.push(&block, &mut frames)?;
            if sounds {
                chapter.sounds_until = chapter.taken;
            }
            Ok(())
        });
        read.map(|()| frames).map_err(|error| error.to_string())
    }

    /// The rest of the chapter: its last pause, as far as the encoder held it back.
    pub fn end_chapter(&mut self) -> Result<Vec<u8>, String> {
        self.chapter.take().map_or(Ok(Vec::new()), Chapter::end)
    }
}

impl Chapter {
    fn new(settings: &Audio) -> Result<Chapter, String> {
        Ok(Chapter {
            resampler: Resampler::new(SAMPLE_RATE, settings.sample_rate)?,
            encoder: Encoder::new(settings.sample_rate, settings.bitrate_kbps)?,
            frame_samples: mp3::frame_samples(settings.sample_rate),
            taken: 0,
            sounds_until: 0,
            frames: 0,
        })
    }

    fn push(&mut self, block: &[f32], frames: &mut Vec<u8>) -> Result<(), String> {
        let mut converted = Vec::with_capacity(block.len() * 2);
        self.resampler.push(block, &mut converted)?;
        self.encode(&converted, u64::MAX, frames)
    }

    /// At most `most` frames of the chapter are kept.
    fn encode(&mut self, samples: &[f32], most: u64, frames: &mut Vec<u8>) -> Result<(), String> {
        self.taken += samples.len() as u64;
        let count = &mut self.frames;
        self.encoder.push(samples, |frame| {
            if *count < most {
                *count += 1;
                frames.extend_from_slice(frame);
            }
            Ok(())
        })
    }

    fn end(mut self) -> Result<Vec<u8>, String> {
        let (mut frames, mut rest) = (Vec::new(), Vec::new());
        self.resampler.finish(&mut rest)?;
        self.encode(&rest, u64::MAX, &mut frames)?;
        let frame_samples = self.frame_samples;
        // As in the mix: nothing that sounds may lie in what is left out.
        let least = (self.sounds_until + SILENCE_BEFORE_CUT).div_ceil(frame_samples);
        let due = ((self.taken + frame_samples / 2) / frame_samples).max(least);
        for _ in 0..64 {
            if self.frames >= due {
                return Ok(frames);
            }
            self.encode(&[0.0; mp3::LONGEST_FRAME], due, &mut frames)?;
        }
        Err(format!("LAME kept back {} frames", due - self.frames))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::measure::measure;
    use crate::audio::segment;

    /// A segment that sounds for six seconds, as turns do: beside a shorter one, the pauses weigh in what is measured of the whole.
    fn spoken(hz: f64) -> segment::Prepared {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: SAMPLE_RATE,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut file = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
        for n in 0..6 * SAMPLE_RATE {
            let phase = 2.0 * std::f64::consts::PI * hz * f64::from(n) / f64::from(SAMPLE_RATE);
            writer.write_sample((phase.sin() * 8_000.0) as i16).unwrap();
        }
        writer.finalize().unwrap();
        segment::prepare(&file.into_inner(), "", &Audio::default()).unwrap()
    }

    #[test]
    fn chapters_follow_each_other_as_whole_frames_of_the_right_length() {
        for (sample_rate, bitrate_kbps) in [(24_000, 64), (44_100, 96)] {
            let settings = Audio { sample_rate, bitrate_kbps, ..Audio::default() };
            let mut encoder = LiveEncoder::new(settings);
            let (mut mp3, mut ms) = (Vec::new(), 0);
            for chapter in 0..3 {
                for pause_ms in [450, 700, 1200] {
                    let spoken = spoken(300.0 + 100.0 * f64::from(chapter));
                    let frames = encoder.segment(&spoken.wav, spoken.samples, pause_ms).unwrap();
                    assert!(!frames.is_empty());
                    mp3.extend(frames);
                    ms += spoken.samples * 1_000 / u64::from(SAMPLE_RATE) + u64::from(pause_ms);
                }
                mp3.extend(encoder.end_chapter().unwrap());
            }
            let mut rest = mp3.as_slice();
            while let Some(frame) = mp3::split_frame(rest).unwrap() {
                rest = &rest[frame.len()..];
            }
            assert!(rest.is_empty(), "whole frames and nothing else");
            let heard = measure(Cursor::new(mp3)).unwrap();
            assert_eq!(heard.sample_rate, sample_rate);
            assert!(heard.duration_ms.abs_diff(ms) < 150, "{} instead of {ms}", heard.duration_ms);
            assert!((heard.lufs.unwrap() + 16.0).abs() < 1.0, "{:?}", heard.lufs);
            assert!(heard.true_peak_dbtp < 0.0, "{}", heard.true_peak_dbtp);
        }
    }

    #[test]
    fn a_segment_is_heard_whole_before_the_next_one_comes() {
        let mut encoder = LiveEncoder::new(Audio::default());
        let spoken = spoken(400.0);
        let frames = encoder.segment(&spoken.wav, spoken.samples, 450).unwrap();
        let heard = measure(Cursor::new(frames)).unwrap();
        let spoken_ms = spoken.samples * 1_000 / u64::from(SAMPLE_RATE);
        assert!(heard.duration_ms > spoken_ms, "{} of {spoken_ms}", heard.duration_ms);
    }

    #[test]
    fn a_segment_that_was_cut_off_is_refused() {
        let mut encoder = LiveEncoder::new(Audio::default());
        let spoken = spoken(400.0);
        assert!(encoder.segment(&spoken.wav[..1_000], spoken.samples, 450).is_err());
        assert!(encoder.end_chapter().is_ok());
    }
}
