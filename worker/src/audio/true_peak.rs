//! Peaks between the samples, by interpolation as in ITU-R BS.1770-4, Annex 2, but eightfold: at 24 kHz that is the 192 kHz
//! which the recommendation reaches from 48 kHz.

use std::f64::consts::PI;
use std::sync::LazyLock;

/// Samples around an interval that its interpolation looks at: half before, half behind.
pub(super) const TAPS: usize = 16;
/// Samples of a window before the interval it tells about.
pub(super) const BEFORE: usize = TAPS / 2 - 1;

/// Points within an interval: first its quarters, then the eighths between them.
const POINTS: [f64; 7] = [0.25, 0.5, 0.75, 0.125, 0.375, 0.625, 0.875];
const QUARTERS: usize = 3;
/// How little the eighths can add to what the quarters show, short of half the sample rate.
const CLOSE: f32 = 0.85;

type Phases = [[f32; TAPS]; POINTS.len()];

/// Hann-windowed sinc at each point, with a gain of 1 for a constant.
static PHASES: LazyLock<Phases> = LazyLock::new(|| {
    let mut phases = Phases::default();
    for (between, taps) in POINTS.iter().zip(&mut phases) {
        let weights: Vec<f64> = (0..TAPS)
            .map(|tap| {
                let distance = tap as f64 - BEFORE as f64 - between;
                let window = (PI * distance / TAPS as f64).cos().powi(2);
                (PI * distance).sin() / (PI * distance) * window
            })
            .collect();
        let sum: f64 = weights.iter().sum();
        for (tap, weight) in taps.iter_mut().zip(weights) {
            *tap = (weight / sum) as f32;
        }
    }
    phases
});

/// No interpolated value is more than this times the largest sample it is made of.
static OVERSHOOT: LazyLock<f32> = LazyLock::new(|| {
    PHASES.iter().map(|taps| taps.iter().map(|tap| tap.abs()).sum::<f32>()).fold(1.0, f32::max)
});

/// Windows that are looked at together before any of them is interpolated: few, as speech is loud only in places.
const BLOCK: usize = 16;

/// Calls `each` with the interval's number and its peak, for every interval whose peak could exceed what `floor` returns at
/// that moment; quieter ones are passed over without being interpolated, which is most of speech. Interval `n` lies between
/// `samples[n + BEFORE]` and the sample after it; there are `samples.len() - TAPS + 1` of them.
pub(super) fn visit_peaks(samples: &[f32], mut floor: impl FnMut() -> f32, mut each: impl FnMut(usize, f32)) {
    let intervals = (samples.len() + 1).saturating_sub(TAPS);
    for start in (0..intervals).step_by(BLOCK) {
        let end = (start + BLOCK).min(intervals);
        let around = &samples[start..end + TAPS - 1];
        if largest(around) * *OVERSHOOT <= floor() {
            continue;
        }
        for (offset, window) in around.windows(TAPS).enumerate() {
            each(start + offset, interval_peak(window, floor()));
        }
    }
}

/// In eight lanes, which the compiler turns into vector instructions; a plain fold it must keep in order.
fn largest(samples: &[f32]) -> f32 {
    let mut lanes = [0f32; 8];
    let mut parts = samples.chunks_exact(8);
    for part in &mut parts {
        for (lane, sample) in lanes.iter_mut().zip(part) {
            *lane = if sample.abs() > *lane { sample.abs() } else { *lane };
        }
    }
    lanes.iter().chain(parts.remainder()).fold(0.0, |peak, sample| peak.max(sample.abs()))
}

/// The eighths are only looked at where they can matter.
fn interval_peak(window: &[f32], floor: f32) -> f32 {
    let ends = window[BEFORE].abs().max(window[BEFORE + 1].abs());
    let peak_of = |phases: &[[f32; TAPS]], least: f32| {
        phases.iter().fold(least, |peak, taps| peak.max(product(taps, window).abs()))
    };
    let peak = peak_of(&PHASES[..QUARTERS], ends);
    if peak < floor * CLOSE { peak } else { peak_of(&PHASES[QUARTERS..], peak) }
}

/// In four lanes for the same reason.
fn product(taps: &[f32; TAPS], window: &[f32]) -> f32 {
    let mut lanes = [0f32; 4];
    for (taps, window) in taps.chunks_exact(4).zip(window.chunks_exact(4)) {
        for lane in 0..4 {
            lanes[lane] += taps[lane] * window[lane];
        }
    }
    lanes.iter().sum()
}

/// The largest true peak of a stream.
#[derive(Default)]
pub(super) struct TruePeak {
    peak: f32,
    window: Vec<f32>,
}

impl TruePeak {
    pub(super) fn add(&mut self, samples: &[f32]) {
        if self.window.is_empty() {
            self.window.resize(TAPS - 1, 0.0);
        }
        self.window.extend_from_slice(samples);
        let peak = std::cell::Cell::new(self.peak);
        visit_peaks(&self.window, || peak.get(), |_, found| peak.set(peak.get().max(found)));
        self.peak = peak.get();
        self.window.drain(..self.window.len() + 1 - TAPS);
    }

    /// As an amplitude: 1 is full scale. The last few samples count once silence follows them.
    pub(super) fn amplitude(&mut self) -> f32 {
        self.add(&[0.0; TAPS]);
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::decibels;

    fn tone(hz: f64, rate: f64, phase: f64) -> Vec<f32> {
        (0..4_000).map(|n| (std::f64::consts::TAU * hz / rate * f64::from(n) + phase).sin() as f32).collect()
    }

    #[test]
    fn a_sine_peaks_at_its_amplitude_wherever_it_is_sampled() {
        for (hz, phase) in [(997.0, 0.1), (6_000.0, PI / 4.0), (5_999.0, 0.0), (8_000.0, PI / 3.0)] {
            let mut peak = TruePeak::default();
            let tone = tone(hz, 24_000.0, phase);
            // The ramp keeps the tone's hard edges, which do overshoot, out of the question.
            let edges = |n: usize| (n.min(3_999 - n) as f32 / 500.0).min(1.0);
            let soft: Vec<f32> = tone.iter().enumerate().map(|(n, x)| x * edges(n)).collect();
            for part in soft.chunks(333) {
                peak.add(part);
            }
            let level = decibels(peak.amplitude().into());
            assert!((-0.45..=0.1).contains(&level), "{hz} Hz reads {level} dBTP");
        }
    }

    #[test]
    fn agrees_with_libebur128s_meter() {
        let mut noise = 1u32;
        let samples: Vec<f32> = (0..48_000)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 8) as f32 / 16_777_216.0 - 0.5
            })
            .scan(0.0, |low: &mut f32, x| {
                *low += 0.4 * (x - *low);
                Some(*low)
            })
            .collect();
        let mut reference = ebur128::EbuR128::new(1, 24_000, ebur128::Mode::TRUE_PEAK).unwrap();
        reference.add_frames_f32(&samples).unwrap();
        let mut peak = TruePeak::default();
        peak.add(&samples);
        let difference = decibels(peak.amplitude().into()) - decibels(reference.true_peak(0).unwrap());
        assert!(difference.abs() < 0.2, "{difference} dB apart");
    }
}
