//! From an engine's recording to a finished episode. Pure code over bytes and readers that blocks while it works: callers
//! run it where blocking is allowed.
//!
//! A recording is decoded and prepared as a [`segment`], the segments of a chapter are mixed into MP3 frames
//! ([`chapter`]), the chapters' frames are copied into one file ([`episode`]), and the file is listened to ([`measure`]).

pub mod chapter;
pub(crate) mod decode;
mod encoder;
pub mod episode;
pub mod histogram;
mod language;
mod limiter;
pub mod live;
pub mod measure;
mod meter;
pub mod mp3;
mod plausible;
mod rejected;
mod resample;
mod section;
pub mod segment;
mod source;
pub mod transcript;
mod true_peak;
pub(crate) mod wav;

#[cfg(test)]
mod listening;

pub use rejected::Rejected;

/// The sample rate of prepared segments, in Hz.
pub const SAMPLE_RATE: u32 = 24_000;

/// The gain as a factor of a gain in dB (amplitude, so 20 dB per factor of ten).
fn factor(db: f64) -> f64 {
    10f64.powf(db / 20.0)
}

/// The level in dB of an amplitude relative to full scale; silence is minus infinity.
fn decibels(amplitude: f64) -> f64 {
    20.0 * amplitude.log10()
}
