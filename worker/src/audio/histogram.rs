//! Integrated loudness (EBU R 128) of sounds that were measured apart: each as how often each level occurred.
//!
//! Levels are those of ITU-R BS.1770's gating blocks, 400 ms long and 100 ms apart, in steps of 0.1 LU. What is lost is the
//! rounding, half a step at most. Joints lie in pauses, so before each sound there is silence, and the blocks across it count.

use std::collections::BTreeMap;

use ebur128::{EbuR128, Mode};

/// Quieter blocks do not count, and neither do those so much below the mean of the others.
const ABSOLUTE_GATE: f64 = -70.0;
const RELATIVE_GATE: f64 = -10.0;
const STEPS: f64 = 10.0;

/// Steps of a block but its last one.
const BLOCK_STEPS: usize = 3;

/// How often each level occurred, in tenths of LUFS.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram(BTreeMap<i16, u32>);

impl Histogram {
    /// As it is written down: level and count.
    pub fn of(levels: &[(i16, u32)]) -> Histogram {
        let mut histogram = Histogram::default();
        histogram.add(levels);
        histogram
    }

    pub fn add(&mut self, levels: &[(i16, u32)]) {
        for (level, count) in levels {
            let known = self.0.entry(*level).or_default();
            *known = known.saturating_add(*count);
        }
    }

    pub fn levels(&self) -> Vec<(i16, u32)> {
        self.0.iter().map(|(level, count)| (*level, *count)).collect()
    }

    fn count(&mut self, lufs: f64) {
        if lufs > ABSOLUTE_GATE && lufs.is_finite() {
            *self.0.entry((lufs * STEPS).round() as i16).or_default() += 1;
        }
    }

    /// In LUFS; none when nothing passed the gates.
    pub fn integrated(&self) -> Option<f64> {
        let gate = self.mean_above(f64::NEG_INFINITY)? + RELATIVE_GATE;
        self.mean_above(gate)
    }

    /// The mean of power, not of levels.
    fn mean_above(&self, gate: f64) -> Option<f64> {
        let (mut power, mut blocks) = (0.0, 0.0);
        for (level, count) in &self.0 {
            let lufs = f64::from(*level) / STEPS;
            if lufs >= gate {
                power += 10f64.powf(lufs / 10.0) * f64::from(*count);
                blocks += f64::from(*count);
            }
        }
        (blocks > 0.0).then(|| 10.0 * f64::log10(power / blocks))
    }
}

/// Listens to one channel, block by block.
pub(super) struct Blocks {
    meter: EbuR128,
    step: usize,
    /// Samples of the current step, and steps so far: a block is four.
    taken: usize,
    steps: u64,
    histogram: Histogram,
}

impl Blocks {
    /// Fails when libebur128 cannot measure at this rate (Hz).
    pub(super) fn new(sample_rate: u32) -> Result<Blocks, String> {
        let meter = EbuR128::new(1, sample_rate, Mode::M)
            .map_err(|error| format!("cannot measure loudness at {sample_rate} Hz: {error}"))?;
        let step = sample_rate as usize / 10;
        let mut blocks = Blocks { meter, step, taken: 0, steps: 0, histogram: Histogram::default() };
        blocks.hear(&vec![0.0; BLOCK_STEPS * step])?;
        Ok(blocks)
    }

    pub(super) fn hear(&mut self, mut samples: &[f32]) -> Result<(), String> {
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(self.step - self.taken));
            self.meter.add_frames_f32(now).map_err(|error| error.to_string())?;
            self.taken += now.len();
            if self.taken == self.step {
                self.taken = 0;
                self.steps += 1;
                if self.steps > BLOCK_STEPS as u64 {
                    self.histogram.count(self.meter.loudness_momentary().map_err(|error| error.to_string())?);
                }
            }
            samples = later;
        }
        Ok(())
    }

    pub(super) fn histogram(&self) -> &Histogram {
        &self.histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::meter::Meter;

    /// Something between speech and noise: bursts of different strengths, and silence.
    fn sound(seed: u32, seconds: usize) -> Vec<f32> {
        let mut random = seed;
        let mut next = move || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(random >> 8) / f64::from(1 << 24)
        };
        let mut samples = Vec::new();
        while samples.len() < seconds * 24_000 {
            let (strength, length) = (0.02 + 0.4 * next() * next(), 2_400 + (next() * 24_000.0) as usize);
            samples.extend((0..length).map(|_| (strength * (2.0 * next() - 1.0)) as f32));
            samples.extend(std::iter::repeat_n(0.0, (next() * 20_000.0) as usize));
        }
        samples
    }

    fn histogram(samples: &[f32]) -> Histogram {
        let mut blocks = Blocks::new(24_000).unwrap();
        for part in samples.chunks(1_153) {
            blocks.hear(part).unwrap();
        }
        blocks.histogram().clone()
    }

    #[test]
    fn one_sound_is_as_loud_as_a_meter_says() {
        for seed in 1..6 {
            let samples = sound(seed, 30);
            let mut meter = Meter::new(24_000).unwrap();
            // As after a pause.
            meter.add(&[0.0; 7_200]).unwrap();
            meter.add(&samples).unwrap();
            let (ours, theirs) = (histogram(&samples).integrated().unwrap(), meter.lufs().unwrap());
            assert!((ours - theirs).abs() < 0.06, "seed {seed}: {ours} instead of {theirs}");
        }
    }

    #[test]
    fn sounds_that_were_measured_apart_are_as_loud_as_all_of_them() {
        let parts: Vec<Vec<f32>> = (1..20).map(|seed| sound(seed, 7 + seed as usize % 5)).collect();
        let mut meter = Meter::new(24_000).unwrap();
        let mut all = Histogram::default();
        for part in &parts {
            let pause = vec![0.0; 16_800];
            meter.add(part).unwrap();
            meter.add(&pause).unwrap();
            // Written down and read again.
            let json =
                serde_json::to_string(&histogram(&[part.as_slice(), &pause].concat()).levels()).unwrap();
            all.add(&serde_json::from_str::<Vec<(i16, u32)>>(&json).unwrap());
        }
        let (ours, theirs) = (all.integrated().unwrap(), meter.lufs().unwrap());
        assert!((ours - theirs).abs() < 0.1, "{ours} instead of {theirs}");
        assert_eq!(Histogram::of(&all.levels()), all);
    }

    #[test]
    fn silence_has_no_loudness() {
        assert_eq!(histogram(&vec![0.0; 48_000]).integrated(), None);
        assert_eq!(Histogram::default().integrated(), None);
    }
}
