//! Speech that a program can understand: a number in four tones, then a steady tone. The number can be found again in
//! finished audio, with the time at which it starts and ends, after levelling, fading and MP3 coding.
//!
//! ```text
//! | digit 150 ms | 50 ms | digit | 50 ms | digit | 50 ms | digit | 50 ms | body, to the end |
//! ```
//!
//! The first and the last sample are at full level: what is not faded downstream clicks, and can be seen to.

mod decode;

use std::f64::consts::TAU;

pub use decode::{Mark, decode_numbers};

/// Samples a second of every recording.
pub const RATE: u32 = 24_000;

/// No harmonic of one is another, and all are far from the body's.
const DIGITS_HZ: [f64; 10] = [600.0, 850.0, 1100.0, 1350.0, 1600.0, 1850.0, 2100.0, 2350.0, 2600.0, 2850.0];
const BODY_HZ: f64 = 200.0;

const DIGIT_S: f64 = 0.150;
const GAP_S: f64 = 0.050;

/// Of a digit towards a gap.
const RAMP_S: f64 = 0.005;

/// Four digits with their gaps and a little body.
const MIN_S: f64 = 1.0;

const LEVEL: f64 = 0.5;

/// The first integer of a text, if it has at most four digits' worth.
pub fn number_in(text: &str) -> Option<u16> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let digits = &text[start..];
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok().filter(|number| *number <= 9999)
}

/// A number (0 to 9999) as exactly `samples` samples at [`RATE`], but never less than a second of them.
pub(super) fn encode(number: u16, samples: usize) -> Vec<f32> {
    let rate = f64::from(RATE);
    let samples = samples.max((MIN_S * rate) as usize);
    let slot = ((DIGIT_S + GAP_S) * rate) as usize;
    let digit_samples = (DIGIT_S * rate) as usize;
    let mut audio = Vec::with_capacity(samples);
    for (place, digit) in digits(number).into_iter().enumerate() {
        audio.extend((0..slot).map(|within| {
            let ramp = digit_ramp(place == 0, within, digit_samples);
            let phase = TAU * DIGITS_HZ[usize::from(digit)] * within as f64 / rate;
            if ramp > 0.0 { (LEVEL * ramp * phase.cos()) as f32 } else { 0.0 }
        }));
    }
    // A whole number of samples is one period, so a table of them is the rest. Counted from the end: the last sample is a peak.
    let period = (rate / BODY_HZ) as usize;
    let body: Vec<f32> =
        (0..period).map(|place| (LEVEL * (TAU * BODY_HZ * place as f64 / rate).cos()) as f32).collect();
    audio.extend((audio.len()..samples).map(|place| body[(samples - 1 - place) % period]));
    audio
}

/// 0 to 1: the very first digit starts at full level, every other edge is soft, so that its tone stays narrow.
fn digit_ramp(first: bool, within: usize, length: usize) -> f64 {
    if within >= length {
        return 0.0;
    }
    let ramp = RAMP_S * f64::from(RATE);
    let rising = if first { 1.0 } else { (within as f64 / ramp).min(1.0) };
    rising * ((length - within) as f64 / ramp).min(1.0)
}

fn digits(number: u16) -> [u8; 4] {
    [1000, 100, 10, 1].map(|power| (number / power % 10) as u8)
}

/// Mono 16-bit WAV.
pub(super) fn wav(samples: &[f32]) -> Vec<u8> {
    let bytes = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut file = Vec::with_capacity(44 + 2 * samples.len());
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&bytes(36 + 2 * samples.len()));
    // 16 bytes of format: PCM, one channel, the rate, bytes a second, bytes a sample, bits a sample.
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&RATE.to_le_bytes());
    file.extend_from_slice(&(2 * RATE).to_le_bytes());
    file.extend_from_slice(b"\x02\0\x10\0data");
    file.extend_from_slice(&bytes(2 * samples.len()));
    file.extend(super::containers::pcm(samples));
    file
}

#[cfg(test)]
pub(crate) mod tests;
