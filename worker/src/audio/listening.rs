//! Makes whole episodes and listens to them: decoded again, is everything where the transcript says, as loud as it should be,
//! and without clicks?

use std::f64::consts::TAU;
use std::io::Cursor;

use common::config::Audio;
use common::work::{MixSegment, Pause, Place};

use super::chapter::{self, Segment};
use super::episode::{self, Joined};
use super::measure::{self, Measured};
use super::segment::{Prepared, prepare};
use super::{SAMPLE_RATE, mp3};

const PAUSES_MS: [u32; 4] = [450, 350, 700, 1200];

/// An engine's answer: a tone at `hz` that is there at once and breaks off, as no voice does.
fn tone(hz: f64, seconds: f64) -> Vec<u8> {
    let rate = 22_050;
    recording(
        rate,
        (0..(seconds * f64::from(rate)) as usize)
            .map(|n| 0.3 * (TAU * hz * n as f64 / f64::from(rate)).cos()),
    )
}

/// An engine's answer that rises and falls like syllables, with harmonics, sharp peaks and hiss, and silence around it.
fn speech(seed: u64, seconds: f64) -> Vec<u8> {
    let mut random = seed * 2_654_435_761 + 1;
    let rate = 22_050.0;
    let pitch = 90.0 + (seed % 7) as f64 * 17.0;
    let length = (seconds * rate) as usize;
    let silence = std::iter::repeat_n(0.0, 4_000);
    let voice = (0..length).map(move |n| {
        let t = n as f64 / rate;
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let noise = (random >> 33) as f64 / f64::from(1u32 << 31) * 2.0 - 1.0;
        let syllable = (TAU * 2.0 * t).sin().abs().powf(0.7);
        // Phases that grow with the square spread a period's energy as a vocal tract does; in phase it would be one spike.
        let partial = |k: f64| (TAU * pitch * k * t + 0.4 * k * k).cos() / k.powf(0.8);
        let voiced: f64 = (1..24).map(|k| partial(f64::from(k))).sum();
        0.1 * syllable * (voiced + noise * (TAU * 1.3 * t).sin().max(0.0))
    });
    recording(22_050, silence.clone().chain(voice).chain(silence))
}

fn recording(sample_rate: u32, samples: impl Iterator<Item = f64>) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
    samples.for_each(|sample| writer.write_sample((sample * 32_767.0) as i16).unwrap());
    writer.finalize().unwrap();
    file.into_inner()
}

struct Episode {
    file: Vec<u8>,
    joined: Joined,
    /// Decoded as players do.
    sound: Vec<f32>,
    rate: u32,
}

impl Episode {
    fn new(recordings: &[Vec<Vec<u8>>], settings: &Audio) -> Episode {
        let mut chapters = Vec::new();
        let mut audio = Vec::new();
        for (number, recordings) in recordings.iter().enumerate() {
            let prepared: Vec<Prepared> =
                recordings.iter().map(|recording| prepare(recording, "", settings).unwrap()).collect();
            let segments: Vec<Segment> = prepared
                .iter()
                .enumerate()
                .map(|(n, segment)| Segment {
                    samples: segment.samples,
                    pause_ms: pause_after(n, prepared.len()),
                })
                .collect();
            let mut frames = Cursor::new(Vec::new());
            let open = |index: usize| Ok(Cursor::new(prepared[index].wav.clone()));
            let mixed = chapter::mix(&segments, settings, open, &mut frames).unwrap();
            assert_eq!(mixed.bytes, frames.get_ref().len() as u64);
            let cues = chapter::cues(&mixed, &mix_segments(&prepared));
            chapters.push(episode::Chapter {
                title: format!("Chapter {number}"),
                frames: mixed.frames,
                cues,
            });
            audio.push(frames.into_inner());
        }
        let mut file = Cursor::new(Vec::new());
        let open = |index: usize| Ok(Cursor::new(audio[index].clone()));
        let joined = episode::join("Tones", "ko", chapters, open, &mut file).unwrap();
        let file = file.into_inner();
        let (mut sound, mut rate) = (Vec::new(), 0);
        measure::decode(&mut Cursor::new(&file), |of_frame, samples| {
            rate = of_frame;
            sound.extend_from_slice(samples);
            Ok(())
        })
        .unwrap();
        Episode { file, joined, sound, rate }
    }

    fn measured(&self) -> Measured {
        measure::measure(Cursor::new(self.file.clone())).unwrap()
    }

    /// Where sound begins and ends, in ms: what is closer together than 50 ms is one sound.
    fn sounds(&self) -> Vec<(f64, f64)> {
        let ms = |sample: usize| sample as f64 * 1000.0 / f64::from(self.rate);
        let mut sounds: Vec<(f64, f64)> = Vec::new();
        for (n, _) in self.sound.iter().enumerate().filter(|(_, sample)| sample.abs() > 0.02) {
            match sounds.last_mut() {
                Some((_, end)) if ms(n) - *end < 50.0 => *end = ms(n),
                _ => sounds.push((ms(n), ms(n))),
            }
        }
        sounds
    }

    /// How much sharper the sharpest corner of the waveform is around the ends of segments than amid them. A fade makes no
    /// corner; a step rings through all frequencies, which the second difference brings out.
    fn click(&self) -> f64 {
        let at = |ms: u64| (ms * u64::from(self.rate) / 1000) as usize;
        let sharpest = |from: usize, to: usize| {
            let corner = |x: &[f32]| f64::from(x[0] - 2.0 * x[1] + x[2]).abs();
            self.sound[from.min(self.sound.len())..to.min(self.sound.len())]
                .windows(3)
                .map(corner)
                .fold(0.0, f64::max)
        };
        let around = |ms: u64| sharpest(at(ms.saturating_sub(20)), at(ms + 20));
        let cues = &self.joined.cues;
        let ends = cues.iter().map(|cue| around(cue.start_ms).max(around(cue.end_ms))).fold(0.0, f64::max);
        let body =
            cues.iter().map(|cue| sharpest(at(cue.start_ms + 60), at(cue.end_ms - 60))).fold(0.0, f64::max);
        ends / body
    }
}

fn pause_after(index: usize, count: usize) -> u32 {
    PAUSES_MS[if index + 1 == count { 3 } else { index % 3 }]
}

fn mix_segments(prepared: &[Prepared]) -> Vec<MixSegment> {
    let segment = |(n, segment): (usize, &Prepared)| MixSegment {
        segment: n as u32,
        speaker: "Ada".into(),
        text: "la".into(),
        audio: String::new(),
        samples: segment.samples,
        pause: Pause::Turn,
        place: Place::Body,
    };
    prepared.iter().enumerate().map(segment).collect()
}

fn tones() -> Vec<Vec<Vec<u8>>> {
    let length = |n: usize| 0.8 + 0.137 * n as f64;
    (0..3).map(|k| (0..4).map(|n| tone(220.0 + 30.0 * (4 * k + n) as f64, length(n + k))).collect()).collect()
}

fn settings(sample_rate: u32, bitrate_kbps: u32) -> Audio {
    Audio { sample_rate, bitrate_kbps, ..Audio::default() }
}

const FORMATS: [(u32, u32); 4] = [(24_000, 64), (24_000, 32), (44_100, 96), (44_100, 64)];

#[test]
fn everything_is_where_the_transcript_says() {
    for (rate, kbps) in FORMATS {
        let episode = Episode::new(&tones(), &settings(rate, kbps));
        let sounds = episode.sounds();
        assert_eq!(sounds.len(), episode.joined.cues.len(), "{rate} Hz: {sounds:?}");
        for (n, (cue, (start, end))) in episode.joined.cues.iter().zip(&sounds).enumerate() {
            assert!(
                (start - cue.start_ms as f64).abs() < 5.0,
                "{rate} Hz, segment {n}: {cue:?} starts at {start}"
            );
            assert!((end - cue.end_ms as f64).abs() < 5.0, "{rate} Hz, segment {n}: {cue:?} ends at {end}");
        }
        for (n, pair) in sounds.windows(2).enumerate() {
            let pause = pair[1].0 - pair[0].1;
            let wanted = f64::from(pause_after(n % 4, 4));
            // A chapter's last pause is rounded to a whole frame.
            assert!((pause - wanted).abs() < 20.0, "{rate} Hz: a pause of {pause} ms instead of {wanted}");
        }
        for (mark, first) in episode.joined.marks.iter().zip(sounds.iter().step_by(4)) {
            assert!(
                (first.0 - mark.start_ms as f64).abs() < 5.0,
                "{rate} Hz: {mark:?} sounds at {}",
                first.0
            );
        }
        let ms = episode.sound.len() as u64 * 1000 / u64::from(rate);
        assert!(
            ms.abs_diff(episode.joined.duration_ms) <= 1,
            "{rate} Hz: {ms} ms, {}",
            episode.joined.duration_ms
        );
        assert_eq!(episode.joined.marks.last().unwrap().end_ms, episode.joined.duration_ms);
        assert_eq!(episode.joined.bytes, episode.file.len() as u64);
    }
}

#[test]
fn loudness_and_peaks_are_as_asked() {
    for (rate, kbps) in FORMATS {
        let recordings =
            (0..2).map(|k| (0..5).map(|n| speech(10 * k + n, 2.5)).collect()).collect::<Vec<_>>();
        let measured = Episode::new(&recordings, &settings(rate, kbps)).measured();
        let lufs = measured.lufs.unwrap();
        assert!((lufs + 16.0).abs() < 1.0, "{rate} Hz, {kbps} kb/s: {lufs} LUFS");
        assert!(measured.true_peak_dbtp <= -1.0, "{rate} Hz, {kbps} kb/s: {} dBTP", measured.true_peak_dbtp);
    }
}

#[test]
fn segments_begin_and_end_without_a_click() {
    for (rate, kbps) in [(24_000, 64), (44_100, 96)] {
        let faded = Episode::new(&tones(), &settings(rate, kbps)).click();
        assert!(faded < 2.0, "{rate} Hz, {kbps} kb/s: {faded} with fades");
        let cut = Episode::new(&tones(), &Audio { fade_ms: 0, ..settings(rate, kbps) }).click();
        assert!(cut > 4.0, "{rate} Hz, {kbps} kb/s: {cut} without fades: these clicks must be heard");
    }
}

#[test]
fn players_find_tags_and_chapters() {
    let episode = Episode::new(&tones(), &settings(24_000, 64));
    let tag = id3::Tag::read_from2(Cursor::new(&episode.file)).unwrap();
    assert_eq!(id3::TagLike::title(&tag), Some("Tones"));
    let found: Vec<(u64, u64)> = tag.chapters().map(|c| (c.start_time.into(), c.end_time.into())).collect();
    let wanted: Vec<(u64, u64)> =
        episode.joined.marks.iter().map(|mark| (mark.start_ms, mark.end_ms)).collect();
    assert_eq!(found, wanted);
    assert_eq!(tag.tables_of_contents().next().unwrap().elements.len(), 3);

    // One Info frame, then frames to the end of the file.
    let mut rest = &episode.file[mp3::id3v2_length(&episode.file)..];
    let (mut frames, mut frame) = (0, Vec::new());
    while let Some(header) = mp3::read_frame(&mut rest, &mut frame).unwrap() {
        assert_eq!((header.sample_rate, header.mono), (24_000, true));
        assert_eq!(frames == 0, frame[13..].starts_with(b"Info"));
        frames += 1;
    }
    assert_eq!((frames - 3) * 24, episode.joined.duration_ms);
}

#[test]
fn a_damaged_chapter_is_not_joined() {
    let like = mp3::Header::parse([0xff, 0xf3, 0x84, 0xc4]).unwrap();
    let frames = mp3::silent_frame(&like).unwrap().repeat(10);
    let join = |count: u64, audio: &[u8]| {
        let chapter = episode::Chapter { title: "One".into(), frames: count, cues: Vec::new() };
        let open = |_| Ok(Cursor::new(audio.to_vec()));
        episode::join("T", "en", vec![chapter], open, &mut Cursor::new(Vec::new())).map_err(|e| e.to_string())
    };
    let changed = |found: &str| format!("chapter 0 is not what was mixed: {found}");
    assert_eq!(join(10, &frames).unwrap().duration_ms, 240);
    assert_eq!(join(11, &frames).unwrap_err(), changed("10 frames instead of 11"));
    assert_eq!(join(10, &frames[..frames.len() - 1]).unwrap_err(), changed("its frames end early"));
    assert_eq!(join(10, b"").unwrap_err(), changed("no frames"));
    let slower = mp3::silent_frame(&mp3::Header::parse([0xff, 0xf3, 0x74, 0xc4]).unwrap()).unwrap();
    let mixed = [&frames[..], &slower[..]].concat();
    assert_eq!(join(11, &mixed).unwrap_err(), changed("frame 10 has another rate than the episode's first"));
}

#[test]
fn what_cannot_be_mixed_is_named() {
    let settings = Audio::default();
    let prepared = prepare(&tone(440.0, 1.0), "", &settings).unwrap();
    let mix = |samples: u64, pause_ms: u32, wav: &[u8]| {
        let segments = [Segment { samples, pause_ms }];
        let mut out = Cursor::new(Vec::new());
        chapter::mix(&segments, &settings, |_| Ok(Cursor::new(wav.to_vec())), &mut out)
            .map_err(|e| e.to_string())
    };
    let wrong = "segment 0 is not what was stored: 24000 samples of 16 bits in 1 channels at 24000 Hz instead of 7 samples \
                 of 16 bits in 1 at 24000 Hz";
    assert_eq!(prepared.samples, u64::from(SAMPLE_RATE));
    assert_eq!(mix(7, 1200, &prepared.wav).unwrap_err(), wrong);
    assert_eq!(
        mix(24_000, 1200, &prepared.wav[..9_000]).unwrap_err(),
        "segment 0 is not what was stored: it ends early"
    );
    assert_eq!(
        mix(24_000, 1200, &prepared.wav[..9]).unwrap_err(),
        "segment 0 is not what was stored: it ends early"
    );
    // Too short a last pause is lengthened rather than sound lost.
    assert_eq!(mix(24_000, 0, &prepared.wav).unwrap().frames, (24_000u64 + 1105 + 64).div_ceil(576));
}
