//! From an engine's recording to a segment: trimmed, levelled, faded and checked against its text.

use std::f64::consts::PI;
use std::io::{self, Cursor};

use common::config::Audio;

use super::decode::decode;
use super::limiter::Limiter;
use super::meter::Meter;
use super::plausible::check_length;
use super::{Rejected, SAMPLE_RATE, decibels, factor};

/// Samples in the hops by which the recording's level is followed: 5 ms.
const HOP: usize = 120;
/// Hops of quiet that stay at both ends: 20 ms.
const KEPT_HOPS: usize = 4;
/// Below this nobody hears speech.
const SILENT_DBFS: f64 = -60.0;
/// What is this much quieter than the loudest moment is not even a final "f".
const QUIET_DB: f64 = -50.0;
/// Noise between words counts as silence up to this much below the loudest moment.
const NOISE_DB: f64 = -35.0;
/// A recording that is flat at full scale for more than this share cannot be repaired.
const MAX_CLIPPED: f64 = 0.01;
/// Gains outside of this turn noise into speech.
const GAIN_DB: std::ops::RangeInclusive<f64> = -30.0..=30.0;
/// Below this there is no gated loudness (EBU R 128 measures blocks of 400 ms).
const SHORTEST_GATED: usize = SAMPLE_RATE as usize * 2 / 5;

/// Rises when the same recording becomes another segment.
pub const VERSION: u32 = 1;

/// A segment as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// WAV, mono, 16 bits, [`SAMPLE_RATE`].
    pub wav: Vec<u8>,
    pub samples: u64,
    /// Integrated loudness (EBU R 128), when the segment is long enough to have one.
    pub lufs: Option<f64>,
    pub true_peak_dbtp: f64,
}

/// Between two pieces of one segment: as long as between two sentences said in one breath.
const JOINT_MS: usize = 150;

/// Makes a segment of `bytes`, in which an engine says `text`. Levels it to `settings.target_lufs` with true peaks of at
/// most `settings.max_true_peak_dbtp`.
pub fn prepare(bytes: &[u8], text: &str, settings: &Audio) -> Result<Prepared, Rejected> {
    prepare_joined(&[(bytes, text)], settings)
}

/// Makes one segment of recordings that follow each other. Each is checked against its own text.
pub fn prepare_joined<B: AsRef<[u8]>, T: AsRef<str>>(
    recordings: &[(B, T)],
    settings: &Audio,
) -> Result<Prepared, Rejected> {
    let mut samples = Vec::new();
    for (bytes, text) in recordings {
        let decoded = decode(bytes.as_ref())?;
        if decoded.clipped > MAX_CLIPPED {
            return Err(Rejected::Clipped { percent: decoded.clipped * 100.0 });
        }
        let mut piece = trim(without_offset(decoded.samples))?;
        check_length(piece.len(), text.as_ref())?;
        fade(&mut piece, settings.fade_ms);
        if !samples.is_empty() {
            samples.extend(std::iter::repeat_n(0.0, JOINT_MS * SAMPLE_RATE as usize / 1000));
        }
        samples.extend(piece);
    }
    if samples.is_empty() {
        return Err(Rejected::Empty);
    }
    finish(level(samples, settings)?)
}

/// Takes off the constant part, which would click at both ends.
fn without_offset(mut samples: Vec<f32>) -> Vec<f32> {
    let mean = samples.iter().map(|&x| f64::from(x)).sum::<f64>() / samples.len() as f64;
    if mean.abs() > 1e-4 {
        samples.iter_mut().for_each(|sample| *sample -= mean as f32);
    }
    samples
}

/// Cuts silence off both ends, but for a little. What is silence depends on the loudest moment and, in a noisy recording,
/// on its quietest ones.
fn trim(mut samples: Vec<f32>) -> Result<Vec<f32>, Rejected> {
    let levels: Vec<f64> = samples.chunks(HOP).map(rms).collect();
    let loudest = levels.iter().copied().fold(0.0, f64::max);
    if loudest == 0.0 || decibels(loudest) < SILENT_DBFS {
        return Err(Rejected::Silent { loudest_dbfs: decibels(loudest) });
    }
    let mut sorted = levels.clone();
    sorted.sort_by(f64::total_cmp);
    let noise = sorted[sorted.len() / 20];
    let threshold = (noise * 2.0).min(loudest * factor(NOISE_DB)).max(loudest * factor(QUIET_DB));
    let first = levels.iter().position(|&level| level > threshold).unwrap_or(0);
    let last = levels.iter().rposition(|&level| level > threshold).unwrap_or(0);
    samples.truncate((last + 1 + KEPT_HOPS) * HOP);
    samples.drain(..first.saturating_sub(KEPT_HOPS) * HOP);
    Ok(samples)
}

fn rms(samples: &[f32]) -> f64 {
    (samples.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
}

/// Fades both ends along a raised cosine.
fn fade(samples: &mut [f32], fade_ms: u32) {
    let length = (fade_ms as usize * SAMPLE_RATE as usize / 1000).min(samples.len() / 2);
    let end = samples.len();
    for n in 0..length {
        let gain = (0.5 - 0.5 * (PI * n as f64 / length as f64).cos()) as f32;
        samples[n] *= gain;
        samples[end - 1 - n] *= gain;
    }
}

/// Brings the loudness to the target and the peaks under the ceiling.
fn level(samples: Vec<f32>, settings: &Audio) -> Result<Vec<f32>, Rejected> {
    let ceiling = factor(settings.max_true_peak_dbtp);
    let mut gain_db = settings.target_lufs - loudness(&samples)?;
    let mut levelled = limited(&samples, gain_db, ceiling);
    // The limiter takes some loudness away again. Two more goes leave less to make up for than one hears.
    for _ in 0..2 {
        let lost = settings.target_lufs - loudness(&levelled)?;
        if lost < 0.2 {
            break;
        }
        gain_db += lost.min(3.0);
        levelled = limited(&samples, gain_db, ceiling);
    }
    let mut meter = listen(&levelled)?;
    let over = meter.true_peak_dbtp() - settings.max_true_peak_dbtp;
    if over > 0.0 {
        let gain = factor(-over) as f32;
        levelled.iter_mut().for_each(|sample| *sample *= gain);
    }
    Ok(levelled)
}

fn limited(samples: &[f32], gain_db: f64, ceiling: f64) -> Vec<f32> {
    let gain = factor(gain_db.clamp(*GAIN_DB.start(), *GAIN_DB.end())) as f32;
    let louder: Vec<f32> = samples.iter().map(|sample| sample * gain).collect();
    let mut limiter = Limiter::new(ceiling, SAMPLE_RATE);
    let mut output = Vec::with_capacity(louder.len());
    limiter.push(&louder, &mut output);
    limiter.finish(&mut output);
    output
}

/// In LUFS: gated where that is defined, and otherwise from the power of the whole, with the same constant (ITU-R BS.1770-4)
/// but without its weighting.
fn loudness(samples: &[f32]) -> Result<f64, Rejected> {
    let gated = if samples.len() < SHORTEST_GATED { None } else { listen(samples)?.lufs() };
    Ok(gated.unwrap_or_else(|| -0.691 + decibels(rms(samples))))
}

fn listen(samples: &[f32]) -> Result<Meter, Rejected> {
    let mut meter = Meter::new(SAMPLE_RATE).map_err(Rejected::Damaged)?;
    meter.add(samples).map_err(Rejected::Damaged)?;
    Ok(meter)
}

/// What stands in place of a segment that is left out.
pub fn silence(samples: u64) -> io::Result<Vec<u8>> {
    wav(samples as usize, std::iter::repeat_n(0, samples as usize)).map_err(io::Error::other)
}

fn wav(count: usize, samples: impl Iterator<Item = i16>) -> hound::Result<Vec<u8>> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: SAMPLE_RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = Cursor::new(Vec::with_capacity(44 + count * 2));
    let mut writer = hound::WavWriter::new(&mut wav, spec)?;
    let mut block = writer.get_i16_writer(count as u32);
    samples.for_each(|sample| block.write_sample(sample));
    block.flush()?;
    writer.finalize()?;
    Ok(wav.into_inner())
}

fn finish(samples: Vec<f32>) -> Result<Prepared, Rejected> {
    let mut meter = listen(&samples)?;
    // A few samples may be all that was faded out: no number says how loud they are, and none could be written down.
    if !meter.true_peak_dbtp().is_finite() {
        return Err(Rejected::Silent { loudest_dbfs: f64::NEG_INFINITY });
    }
    let unwritable = |error: hound::Error| Rejected::Damaged(error.to_string());
    let in_16_bits = |sample: &f32| (sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16;
    Ok(Prepared {
        wav: wav(samples.len(), samples.iter().map(in_16_bits)).map_err(unwritable)?,
        samples: samples.len() as u64,
        lufs: meter.lufs(),
        true_peak_dbtp: meter.true_peak_dbtp(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: f64 = SAMPLE_RATE as f64;

    fn recording(samples: impl IntoIterator<Item = f64>) -> Vec<u8> {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: SAMPLE_RATE,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut file = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
        for sample in samples {
            writer.write_sample((sample * 32_767.0).clamp(-32_768.0, 32_767.0) as i16).unwrap();
        }
        writer.finalize().unwrap();
        file.into_inner()
    }

    fn silence(ms: usize) -> impl Iterator<Item = f64> {
        std::iter::repeat_n(0.0, ms * 24)
    }

    fn tone(ms: usize, amplitude: f64) -> impl Iterator<Item = f64> {
        (0..ms * 24).map(move |n| amplitude * (2.0 * PI * 300.0 * n as f64 / RATE).sin())
    }

    fn hiss(ms: usize, amplitude: f64) -> impl Iterator<Item = f64> {
        let mut random = 7u32;
        std::iter::repeat_with(move || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            amplitude * (f64::from(random >> 8) / f64::from(1 << 23) - 1.0)
        })
        .take(ms * 24)
    }

    fn prepare_it(bytes: &[u8]) -> Result<Prepared, Rejected> {
        prepare(bytes, "", &Audio::default())
    }

    #[test]
    fn pieces_are_joined_with_a_short_pause() {
        let one = recording(tone(400, 0.3));
        let alone = prepare_it(&one).unwrap();
        let joined = prepare_joined(&[(&one, ""), (&one, ""), (&one, "")], &Audio::default()).unwrap();
        assert_eq!(joined.samples, 3 * alone.samples + 2 * (JOINT_MS as u64) * 24);
        let empty: [(&[u8], &str); 0] = [];
        assert_eq!(prepare_joined(&empty, &Audio::default()), Err(Rejected::Empty));
    }

    #[test]
    fn a_piece_that_lacks_most_of_its_text_spoils_the_segment() {
        let one = recording(tone(400, 0.3));
        let long =
            "This is a sentence that takes much longer to say than less than half a second, whoever says it.";
        let found = prepare_joined(&[(&one, ""), (&one, long)], &Audio::default());
        assert!(matches!(found, Err(Rejected::TooShort { .. })), "{found:?}");
    }

    fn samples(prepared: &Prepared) -> Vec<f64> {
        let mut reader = hound::WavReader::new(&prepared.wav[..]).unwrap();
        reader.samples::<i16>().map(|sample| f64::from(sample.unwrap()) / 32_768.0).collect()
    }

    fn check_length_ms(recorded: Vec<u8>, expected_ms: u64) {
        let ms = prepare_it(&recorded).unwrap().samples / 24;
        assert!(ms.abs_diff(expected_ms) <= 10, "{ms} ms instead of {expected_ms}");
    }

    #[test]
    fn silence_around_is_cut_and_sound_is_not() {
        check_length_ms(recording(silence(300).chain(tone(800, 0.3)).chain(silence(500))), 840);
        check_length_ms(recording(tone(800, 0.3)), 800);
        // Silence within, and what a word ends with: 40 dB below its vowel.
        check_length_ms(recording(tone(400, 0.3).chain(silence(600)).chain(tone(400, 0.3))), 1400);
        check_length_ms(
            recording(silence(300).chain(tone(800, 0.3)).chain(hiss(200, 0.005)).chain(silence(500))),
            1040,
        );
        // The noise of a room, below that.
        check_length_ms(recording(hiss(500, 0.001).chain(tone(800, 0.3)).chain(hiss(500, 0.001))), 840);
    }

    #[test]
    fn loudness_is_brought_to_the_target() {
        for amplitude in [0.01, 0.1, 0.9] {
            for target_lufs in [-16.0, -23.0] {
                let settings = Audio { target_lufs, ..Audio::default() };
                let prepared = prepare(&recording(tone(2_000, amplitude)), "", &settings).unwrap();
                assert!(
                    (prepared.lufs.unwrap() - target_lufs).abs() < 0.3,
                    "{amplitude}: {:?}",
                    prepared.lufs
                );
                assert!(prepared.true_peak_dbtp <= settings.max_true_peak_dbtp + 0.01);
            }
        }
    }

    #[test]
    fn a_short_word_is_levelled_too() {
        let prepared = prepare_it(&recording(tone(150, 0.02))).unwrap();
        assert_eq!(prepared.lufs, None);
        let level =
            -0.691 + decibels((samples(&prepared).iter().map(|x| x * x).sum::<f64>() / 3_600.0).sqrt());
        assert!((level + 16.0).abs() < 0.5, "{level}");
    }

    #[test]
    fn peaks_are_limited_where_loudness_would_exceed_them() {
        let spiky = (0..48_000).map(|n| if n % 2_400 < 12 { 0.9 } else { 0.05 * (f64::from(n) * 0.1).sin() });
        let prepared = prepare_it(&recording(spiky)).unwrap();
        assert!(prepared.true_peak_dbtp <= -0.99, "{}", prepared.true_peak_dbtp);
    }

    #[test]
    fn ends_are_faded_and_level() {
        let offset = recording(tone(500, 0.3).map(|sample| sample + 0.2));
        let faded = samples(&prepare_it(&offset).unwrap());
        assert!(faded[0].abs() < 1e-3 && faded[faded.len() - 1].abs() < 1e-3);
        let mean = faded.iter().sum::<f64>() / faded.len() as f64;
        assert!(mean.abs() < 2e-3, "{mean}");
        let hard = recording(tone(500, 0.3).map(|sample| 0.3 - sample.abs()));
        let unfaded = prepare(&hard, "", &Audio { fade_ms: 0, ..Audio::default() }).unwrap();
        assert!(samples(&unfaded)[0].abs() > 0.1);
    }

    #[test]
    fn what_nobody_can_listen_to_is_rejected() {
        assert!(matches!(prepare_it(&recording(silence(1_000))), Err(Rejected::Silent { .. })));
        assert!(matches!(prepare_it(&recording(hiss(1_000, 0.0005))), Err(Rejected::Silent { .. })));
        assert!(matches!(prepare_it(&recording(tone(1_000, 4.0))), Err(Rejected::Clipped { .. })));
        assert_eq!(prepare_it(&recording([])), Err(Rejected::Empty));
        assert_eq!(prepare_it(b""), Err(Rejected::Empty));
        assert_eq!(prepare_it(b"{}"), Err(Rejected::NotAudio("text")));
    }
}
