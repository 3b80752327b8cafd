//! A look-ahead limiter for true peaks.
//!
//! For each sample the gain is known that keeps the peaks beside it under the ceiling. The least of these gains over the
//! look-ahead, released slowly, is averaged over the look-ahead: the average has arrived at a peak's gain when the peak
//! itself comes out, and it never jumps.

use std::collections::VecDeque;

use super::true_peak::{BEFORE, TAPS, visit_peaks};

const LOOK_AHEAD_MS: usize = 5;
const RELEASE_MS: f64 = 50.0;
/// Samples that are looked at together.
const PART: usize = 256;
/// A gain this close to 1 is 1: a release would never arrive.
const UNITY: f64 = 1.0 - 1e-5;

pub(super) struct Limiter {
    ceiling: f32,
    width: usize,
    release: f64,
    /// The samples whose peaks are not yet known, with those their interpolation needs.
    window: Vec<f32>,
    delayed: VecDeque<f32>,
    /// Gains in the look-ahead with the number of their sample, rising: the first is the least.
    least: VecDeque<(u64, f64)>,
    averaged: VecDeque<f64>,
    sum: f64,
    released: f64,
    /// Steps since the gain was last below 1.
    at_rest: usize,
    /// The gains that the peaks of the current part ask for.
    gains: Vec<f64>,
    count: u64,
    /// Output that belongs to before the first sample.
    early: usize,
}

impl Limiter {
    /// `ceiling` is an amplitude: 1 is full scale.
    pub(super) fn new(ceiling: f64, sample_rate: u32) -> Limiter {
        let width = LOOK_AHEAD_MS * sample_rate as usize / 1000;
        Limiter {
            ceiling: ceiling as f32,
            width,
            release: 1.0 - (-1000.0 / (RELEASE_MS * f64::from(sample_rate))).exp(),
            window: vec![0.0; TAPS - 1],
            delayed: std::iter::repeat_n(0.0, width - 1).collect(),
            least: VecDeque::new(),
            averaged: std::iter::repeat_n(1.0, width).collect(),
            sum: width as f64,
            released: 1.0,
            at_rest: width,
            gains: Vec::new(),
            count: 0,
            early: width - 1 + TAPS - 1 - BEFORE,
        }
    }

    /// Takes `input` and appends what is ready to `output`, which lags behind by a few milliseconds.
    pub(super) fn push(&mut self, input: &[f32], output: &mut Vec<f32>) {
        for part in input.chunks(PART) {
            self.push_part(part, output);
        }
    }

    fn push_part(&mut self, input: &[f32], output: &mut Vec<f32>) {
        self.window.extend_from_slice(input);
        let ready = self.window.len() + 1 - TAPS;
        self.gains.clear();
        self.gains.resize(ready, 1.0);
        let (ceiling, gains) = (self.ceiling, &mut self.gains);
        let mut quiet = true;
        visit_peaks(
            &self.window,
            || ceiling,
            |interval, peak| {
                if peak > ceiling {
                    gains[interval] = f64::from(ceiling / peak);
                    quiet = false;
                }
            },
        );
        if quiet && self.at_rest >= self.width {
            self.pass_through(ready, output);
        } else {
            self.turn_down(ready, output);
        }
        self.window.drain(..ready);
    }

    /// Most of speech: nothing to turn down, and nothing turned down that has yet to come back.
    fn pass_through(&mut self, ready: usize, output: &mut Vec<f32>) {
        self.count += ready as u64;
        self.least.clear();
        self.delayed.extend(&self.window[BEFORE..BEFORE + ready]);
        let early = self.early.min(ready);
        self.early -= early;
        output.extend(self.delayed.drain(..ready).skip(early));
    }

    fn turn_down(&mut self, ready: usize, output: &mut Vec<f32>) {
        for n in 0..ready {
            let limited = self.step(self.window[n + BEFORE], self.gains[n]);
            match self.early {
                0 => output.push(limited),
                _ => self.early -= 1,
            }
        }
    }

    /// Appends the rest: then as many samples came out as went in.
    pub(super) fn finish(&mut self, output: &mut Vec<f32>) {
        let behind = self.width - 1 + TAPS - 1 - BEFORE;
        self.push(&vec![0.0; behind], output);
    }

    fn step(&mut self, sample: f32, gain: f64) -> f32 {
        while self.least.back().is_some_and(|&(_, last)| last >= gain) {
            self.least.pop_back();
        }
        self.least.push_back((self.count, gain));
        // One more than is averaged: a peak lies between two samples, and both must be turned down for it.
        if self.least.front().is_some_and(|&(first, _)| first + (self.width as u64) < self.count) {
            self.least.pop_front();
        }
        self.count += 1;
        let least = self.least.front().map_or(gain, |&(_, least)| least);
        self.released = (self.released + (1.0 - self.released) * self.release).min(least);
        if self.released > UNITY {
            self.released = 1.0;
            self.at_rest += 1;
        } else {
            self.at_rest = 0;
        }
        self.sum += self.released - self.averaged.pop_front().unwrap_or(1.0);
        self.averaged.push_back(self.released);
        self.delayed.push_back(sample);
        let due = self.delayed.pop_front().unwrap_or(0.0);
        (f64::from(due) * (self.sum / self.width as f64).min(1.0)) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::true_peak::TruePeak;

    fn limit(input: &[f32], ceiling: f64) -> Vec<f32> {
        let mut limiter = Limiter::new(ceiling, 24_000);
        let mut output = Vec::new();
        for part in input.chunks(500) {
            limiter.push(part, &mut output);
        }
        limiter.finish(&mut output);
        output
    }

    fn bursts() -> Vec<f32> {
        let envelope = |n: usize| if n % 6_000 < 900 { 1.4 } else { 0.3 };
        (0..48_000).map(|n| (n as f32 * 0.61).sin() * envelope(n)).collect()
    }

    #[test]
    fn keeps_true_peaks_under_the_ceiling() {
        let output = limit(&bursts(), 0.8);
        let mut peak = TruePeak::default();
        peak.add(&output);
        let peak = peak.amplitude();
        assert!(peak < 0.8 * 1.01 && peak > 0.7, "{peak}");
    }

    #[test]
    fn leaves_quiet_sound_alone_and_in_its_place() {
        let input: Vec<f32> = bursts().iter().map(|x| x * 0.4).collect();
        let output = limit(&input, 0.8);
        assert_eq!(input.len(), output.len());
        assert!(input.iter().zip(&output).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn gain_changes_without_steps() {
        let input = bursts();
        let output = limit(&input, 0.8);
        let gains: Vec<f32> =
            input.iter().zip(&output).filter(|(x, _)| x.abs() > 0.1).map(|(x, y)| y / x).collect();
        let step = gains.windows(2).fold(0f32, |most, pair| most.max((pair[1] - pair[0]).abs()));
        assert!(step < 0.03, "{step}");
    }
}
