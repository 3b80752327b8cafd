//! Streaming sample rate conversion of one channel.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler as _};

/// Frames that the converter takes at a time: small against a segment, long enough for a steep filter.
const CHUNK: usize = 1024;

/// Converts a stream from one rate to another; without work to do when the rates are equal. Output sample `n` is the input
/// at time `n / to`: the converter's delay is already taken off.
pub(super) struct Resampler {
    converter: Option<Fft<f32>>,
    from: u64,
    to: u64,
    waiting: Vec<f32>,
    block: Vec<f32>,
    skip: usize,
    taken: u64,
    given: u64,
}

impl Resampler {
    /// Rates are in Hz.
    pub(super) fn new(from: u32, to: u32) -> Result<Resampler, String> {
        let converter = match from == to {
            true => None,
            false => Some(
                Fft::new(from as usize, to as usize, CHUNK, 1, FixedSync::Input)
                    .map_err(|error| format!("no conversion from {from} Hz to {to} Hz: {error}"))?,
            ),
        };
        let skip = converter.as_ref().map_or(0, |converter| converter.output_delay());
        Ok(Resampler {
            converter,
            from: from.into(),
            to: to.into(),
            waiting: Vec::new(),
            block: Vec::new(),
            skip,
            taken: 0,
            given: 0,
        })
    }

    /// Takes `input` and appends what can be converted so far to `output`.
    pub(super) fn push(&mut self, input: &[f32], output: &mut Vec<f32>) -> Result<(), String> {
        self.taken += input.len() as u64;
        if self.converter.is_none() {
            self.given = self.taken;
            output.extend_from_slice(input);
            return Ok(());
        }
        self.waiting.extend_from_slice(input);
        let mut used = 0;
        while self.waiting.len() - used >= CHUNK {
            self.convert(used, CHUNK, output)?;
            used += CHUNK;
        }
        self.waiting.drain(..used);
        Ok(())
    }

    /// Appends the rest, so that the output is as long as the input was, to the sample.
    pub(super) fn finish(&mut self, output: &mut Vec<f32>) -> Result<(), String> {
        let due = (self.taken * self.to).div_ceil(self.from);
        let mut rest = self.waiting.len();
        while self.given < due {
            self.convert(0, rest, output)?;
            self.waiting.clear();
            rest = 0;
        }
        output.truncate(output.len() - (self.given - due) as usize);
        self.given = due;
        Ok(())
    }

    fn convert(&mut self, start: usize, length: usize, output: &mut Vec<f32>) -> Result<(), String> {
        let Some(converter) = &mut self.converter else { return Ok(()) };
        let room = converter.output_frames_next();
        self.block.resize(room, 0.0);
        let input = &self.waiting[start..start + length];
        let source = InterleavedSlice::new(input, 1, length).map_err(|error| error.to_string())?;
        let mut target =
            InterleavedSlice::new_mut(&mut self.block, 1, room).map_err(|error| error.to_string())?;
        let part = (length < CHUNK).then(|| Indexing::new().partial_len(length));
        let (_, made) = converter
            .process_into_buffer(&source, &mut target, part.as_ref())
            .map_err(|error| error.to_string())?;
        let skipped = self.skip.min(made);
        self.skip -= skipped;
        self.given += (made - skipped) as u64;
        output.extend_from_slice(&self.block[skipped..made]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(input: &[f32], from: u32, to: u32) -> Vec<f32> {
        let mut resampler = Resampler::new(from, to).unwrap();
        let mut output = Vec::new();
        for part in input.chunks(777) {
            resampler.push(part, &mut output).unwrap();
        }
        resampler.finish(&mut output).unwrap();
        output
    }

    fn tone(rate: u32, hz: f64, length: usize) -> Vec<f32> {
        let step = std::f64::consts::TAU * hz / f64::from(rate);
        (0..length).map(|n| (0.5 * (step * n as f64).sin()) as f32).collect()
    }

    #[test]
    fn length_and_waveform_survive() {
        for (from, to) in
            [(22_050, 24_000), (44_100, 24_000), (48_000, 24_000), (24_000, 44_100), (8_000, 24_000)]
        {
            for length in [10, 1024, 5_000, 30_011] {
                let output = convert(&tone(from, 440.0, length), from, to);
                assert_eq!(output.len() as u64, (length as u64 * u64::from(to)).div_ceil(from.into()));
                let wanted = tone(to, 440.0, output.len());
                // A tone that starts at once rings at its ends.
                for n in 700..output.len().saturating_sub(700) {
                    assert!((output[n] - wanted[n]).abs() < 2e-3, "{from} to {to}, sample {n}");
                }
            }
        }
    }

    #[test]
    fn what_the_new_rate_cannot_carry_is_gone() {
        let output = convert(&tone(48_000, 17_000.0, 48_000), 48_000, 24_000);
        let loudest = output[1_000..22_000].iter().fold(0f32, |peak, x| peak.max(x.abs()));
        assert!(loudest < 0.5e-3, "an alias at {loudest}");
    }
}
