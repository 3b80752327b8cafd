//! Finding numbers in audio: Goertzel's filter (1958) tells which tone sounds, the power tells when it starts and ends.

use std::f64::consts::TAU;

use super::{BODY_HZ, DIGIT_S, DIGITS_HZ, GAP_S, MIN_S};

/// A number where it was heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    pub number: u16,
    /// From the start of the audio to the first sample of the segment, within 5 ms.
    pub start_s: f64,
    /// To the end of the segment's last sample, within 5 ms.
    pub end_s: f64,
}

/// Frames: four periods of the body, so that tones 250 Hz apart are told apart.
const FRAME_S: f64 = 0.020;
const HOP_S: f64 = 0.005;

/// One period of the body: over it the power of the body is constant while it sounds.
const EDGE_S: f64 = 0.005;
const EDGE_STEP_S: f64 = 0.00025;

/// How far within a tone the search for its edge begins, and how far it may go.
const INSIDE_S: f64 = 0.040;
const REACH_S: f64 = 0.080;

/// A tone sounds where it holds this much of the frame's power.
const TONE_SHARE: f64 = 0.6;

/// Below the loudest frame by more than this is silence, in power (-50 dB).
const SILENCE: f64 = 1e-5;

/// The edge of a tone is where its power passes this share of what it is inside. For a hard edge that is 1.1 ms outside,
/// for a fade of 5 ms 1.3 ms inside.
const EDGE_SHARE: f64 = 0.08;

/// Every number in mono audio at `rate` samples a second, in order. What is cut off or covered is not found.
pub fn decode_numbers(samples: &[f32], rate: u32) -> Vec<Mark> {
    let rate = f64::from(rate);
    let frames = frames(samples, rate);
    let bursts = bursts(&frames);
    let edges = Edges { samples, rate };
    let mut marks = Vec::new();
    let mut next = 0;
    while next < bursts.len() {
        let Some(number) = number_at(&bursts[next..]) else {
            next += 1;
            continue;
        };
        let last_digit = bursts[next + 3];
        let until = bursts.get(next + 4).map_or(frames.len(), |burst| burst.first);
        if let Some(end) = body_end(&frames, last_digit.last, until) {
            let (first_hz, first_s) =
                (DIGITS_HZ[usize::from(bursts[next].digit)], bursts[next].first as f64 * HOP_S);
            let start_s = edges.edge(first_hz, first_s + INSIDE_S, -EDGE_STEP_S);
            let end_s = edges.edge(BODY_HZ, end as f64 * HOP_S + FRAME_S - INSIDE_S, EDGE_STEP_S);
            marks.push(Mark { number, start_s, end_s });
        }
        next += 4;
    }
    marks
}

/// What sounds in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Digit(u8),
    Body,
    Nothing,
}

fn frames(samples: &[f32], rate: f64) -> Vec<Heard> {
    let length = (FRAME_S * rate).round() as usize;
    let starts = (0..).map(|frame| (f64::from(frame) * HOP_S * rate).round() as usize);
    let frames: Vec<&[f32]> = starts.map_while(|start| samples.get(start..start + length)).collect();
    let powers: Vec<f64> = frames.iter().map(|frame| power(frame)).collect();
    let silence = powers.iter().copied().fold(0.0, f64::max) * SILENCE;
    let heard = |(frame, power): (&&[f32], f64)| {
        if power > silence { heard(frame, power, rate) } else { Heard::Nothing }
    };
    frames.iter().zip(powers).map(heard).collect()
}

fn heard(frame: &[f32], power: f64, rate: f64) -> Heard {
    let is_tone = |hz: f64| tone_power(frame, frame.len() as f64, hz, rate) > TONE_SHARE * power;
    if is_tone(BODY_HZ) {
        return Heard::Body;
    }
    let digit = (0u8..).zip(DIGITS_HZ).find(|(_, hz)| is_tone(*hz));
    digit.map_or(Heard::Nothing, |(digit, _)| Heard::Digit(digit))
}

fn power(samples: &[f32]) -> f64 {
    samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len().max(1) as f64
}

/// The power of the sine at `hz` in a frame of `length` samples, of which some may be missing: Goertzel's recurrence.
fn tone_power(frame: &[f32], length: f64, hz: f64, rate: f64) -> f64 {
    let coefficient = 2.0 * (TAU * hz / rate).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for sample in frame {
        (last, before) = (f64::from(*sample) + coefficient * last - before, last);
    }
    let magnitude = last * last + before * before - coefficient * last * before;
    2.0 * magnitude / length.powi(2)
}

/// A run of frames with one digit.
#[derive(Clone, Copy, Debug)]
struct Burst {
    digit: u8,
    first: usize,
    last: usize,
}

fn bursts(frames: &[Heard]) -> Vec<Burst> {
    let mut bursts: Vec<Burst> = Vec::new();
    for (place, heard) in frames.iter().enumerate() {
        let Heard::Digit(digit) = *heard else { continue };
        match bursts.last_mut() {
            // One frame may be spoilt within a burst; a gap is longer.
            Some(burst) if burst.digit == digit && place - burst.last <= 2 => burst.last = place,
            _ => bursts.push(Burst { digit, first: place, last: place }),
        }
    }
    let least = (0.5 * DIGIT_S / HOP_S) as usize;
    bursts.retain(|burst| burst.last - burst.first >= least);
    bursts
}

/// Four bursts at the distance of digits.
fn number_at(bursts: &[Burst]) -> Option<u16> {
    let four = bursts.get(..4)?;
    let slot = (DIGIT_S + GAP_S) / HOP_S;
    let in_step = four.windows(2).all(|pair| ((pair[1].first - pair[0].first) as f64 - slot).abs() <= 4.0);
    in_step.then(|| four.iter().fold(0, |number, burst| number * 10 + u16::from(burst.digit)))
}

/// The last frame of the body that follows a digit, or nothing if none follows within a gap.
fn body_end(frames: &[Heard], digit_end: usize, until: usize) -> Option<usize> {
    let reach = (3.0 * GAP_S / HOP_S) as usize;
    let first =
        (digit_end..until.min(digit_end + reach)).find(|place| frames.get(*place) == Some(&Heard::Body))?;
    let mut last = first;
    for place in first..until {
        if frames.get(place) == Some(&Heard::Body) {
            last = place;
        } else if (place - last) as f64 * HOP_S > FRAME_S {
            break;
        }
    }
    let least = (MIN_S - 4.0 * (DIGIT_S + GAP_S) - 2.0 * FRAME_S) / HOP_S;
    ((last - first) as f64 >= 0.5 * least).then_some(last)
}

/// Finds the edges of tones. What else sounds there does not matter: segments may follow without a pause.
struct Edges<'a> {
    samples: &'a [f32],
    rate: f64,
}

impl Edges<'_> {
    /// From a time within the tone outwards, in steps of a quarter millisecond, until the tone is below its share.
    fn edge(&self, hz: f64, inside_s: f64, step_s: f64) -> f64 {
        let threshold = EDGE_SHARE * self.tone_around(hz, inside_s, FRAME_S);
        let reach = (REACH_S / step_s.abs()) as usize;
        let times = (0..reach).map(|steps| inside_s + step_s * steps as f64);
        let last = times.take_while(|time| self.tone_around(hz, *time, EDGE_S) >= threshold).last();
        last.unwrap_or(inside_s).clamp(0.0, self.samples.len() as f64 / self.rate)
    }

    /// The power of a tone around a time. What lies outside the audio is silence.
    fn tone_around(&self, hz: f64, time_s: f64, width_s: f64) -> f64 {
        let place = |time: f64| ((time * self.rate).round().max(0.0) as usize).min(self.samples.len());
        let (from, to) = (place(time_s - width_s / 2.0), place(time_s + width_s / 2.0));
        tone_power(&self.samples[from..to], width_s * self.rate, hz, self.rate)
    }
}
