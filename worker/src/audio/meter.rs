//! Loudness, true peak and length of a stream, in constant memory.

use ebur128::{EbuR128, Mode};

use super::decibels;
use super::true_peak::TruePeak;

/// Listens to one channel.
pub(super) struct Meter {
    loudness: EbuR128,
    peak: TruePeak,
    samples: u64,
}

impl Meter {
    /// Fails when libebur128 cannot measure at this rate (Hz).
    pub(super) fn new(sample_rate: u32) -> Result<Meter, String> {
        let loudness = EbuR128::new(1, sample_rate, Mode::I | Mode::HISTOGRAM)
            .map_err(|error| format!("cannot measure loudness at {sample_rate} Hz: {error}"))?;
        Ok(Meter { loudness, peak: TruePeak::default(), samples: 0 })
    }

    pub(super) fn add(&mut self, samples: &[f32]) -> Result<(), String> {
        self.peak.add(samples);
        self.add_loudness(samples)
    }

    /// Without an ear for peaks.
    pub(super) fn add_loudness(&mut self, samples: &[f32]) -> Result<(), String> {
        self.samples += samples.len() as u64;
        self.loudness.add_frames_f32(samples).map_err(|error| error.to_string())
    }

    /// Integrated loudness (EBU R 128) in LUFS; none when nothing was loud and long enough to pass the gates.
    pub(super) fn lufs(&self) -> Option<f64> {
        self.loudness.loudness_global().ok().filter(|lufs| lufs.is_finite() && *lufs > -70.0)
    }

    /// Minus infinity for digital silence.
    pub(super) fn true_peak_dbtp(&mut self) -> f64 {
        decibels(self.peak.amplitude().into())
    }

    pub(super) fn samples(&self) -> u64 {
        self.samples
    }
}
