use std::io::Cursor;

use super::*;

fn silence(seconds: f64) -> Vec<f32> {
    vec![0.0; (seconds * f64::from(RATE)) as usize]
}

/// Numbers with their lengths in samples and the silence after each in seconds; returns the audio and the true marks.
fn sequence(parts: &[(u16, usize, f64)], lead_s: f64) -> (Vec<f32>, Vec<Mark>) {
    let mut audio = silence(lead_s);
    let mut marks = Vec::new();
    for (number, samples, pause) in parts {
        let start_s = audio.len() as f64 / f64::from(RATE);
        audio.extend(encode(*number, *samples));
        marks.push(Mark { number: *number, start_s, end_s: audio.len() as f64 / f64::from(RATE) });
        audio.extend(silence(*pause));
    }
    (audio, marks)
}

fn check(audio: &[f32], rate: u32, expected: &[Mark]) {
    let found = decode_numbers(audio, rate);
    let numbers = |marks: &[Mark]| marks.iter().map(|mark| mark.number).collect::<Vec<_>>();
    assert_eq!(numbers(&found), numbers(expected));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found.start_s - expected.start_s).abs() < 0.005, "{found:?} {expected:?}");
        assert!((found.end_s - expected.end_s).abs() < 0.005, "{found:?} {expected:?}");
    }
}

const PARTS: &[(u16, usize, f64)] = &[
    (0, 48_000, 0.35),
    (1, 24_000, 0.45),
    (9999, 48_001, 0.7),
    (1234, 31_337, 1.2),
    (5678, 96_000, 0.06),
    (9012, 48_000, 0.35),
    (3333, 26_000, 0.0),
    (4040, 48_000, 0.5),
];

#[test]
fn the_first_integer_of_a_text_is_its_number() {
    let check = |text: &str, expected| assert_eq!(number_in(text), expected, "{text}");
    check("Sentence 17 of 20.", Some(17));
    check("0042", Some(42));
    check("문장 3.5", Some(3));
    check("9999!", Some(9999));
    check("10000", None);
    check("no number", None);
}

#[test]
fn recordings_are_exactly_as_long_as_asked_and_start_and_end_at_full_level() {
    for samples in [24_000, 24_001, 48_000, 100_003] {
        let audio = encode(7, samples);
        assert_eq!(audio.len(), samples);
        assert!((audio[0] - 0.5).abs() < 1e-3 && (audio[samples - 1] - 0.5).abs() < 1e-3);
    }
    assert_eq!(encode(7, 10).len(), 24_000);
    let wav = wav(&encode(7, 48_000));
    let read = hound::WavReader::new(&wav[..]).unwrap();
    assert_eq!((read.len(), read.spec().channels, read.spec().sample_rate), (48_000, 1, RATE));
}

#[test]
fn every_number_is_found_where_it_is() {
    let (audio, marks) = sequence(PARTS, 0.0);
    check(&audio, RATE, &marks);
    let (audio, marks) = sequence(PARTS, 0.1234);
    check(&audio, RATE, &marks);
}

#[test]
fn all_digits_at_all_places_are_told_apart() {
    let parts: Vec<_> = (0..10_000).step_by(137).map(|number| (number, 24_000, 0.1)).collect();
    let (audio, marks) = sequence(&parts, 0.0);
    check(&audio, RATE, &marks);
}

#[test]
fn fades_and_levels_do_not_matter() {
    let (mut audio, marks) = sequence(PARTS, 0.2);
    for (place, mark) in marks.iter().enumerate() {
        let range = (mark.start_s * 24_000.0).round() as usize..(mark.end_s * 24_000.0).round() as usize;
        let segment = &mut audio[range];
        let (length, level) = (segment.len(), [1.0, 0.1, 1.9][place / 2 % 3]);
        for (at, sample) in segment.iter_mut().enumerate() {
            let fade = (at.min(length - 1 - at) as f32 / 120.0).min(1.0);
            *sample = (*sample * level * fade).clamp(-0.9, 0.9);
        }
    }
    check(&audio, RATE, &marks);
}

#[test]
fn what_is_cut_off_is_not_found() {
    let (audio, _) = sequence(&[(1234, 48_000, 0.5)], 0.0);
    assert_eq!(decode_numbers(&audio[4800..], RATE), []);
    assert_eq!(decode_numbers(&audio[..18_000], RATE), []);
    assert_eq!(decode_numbers(&[], RATE), []);
    assert_eq!(decode_numbers(&silence(3.0), RATE), []);
}

#[test]
fn mp3_coding_does_not_matter() {
    let (audio, marks) = sequence(PARTS, 0.3);
    for kbps in [mp3lame_encoder::Bitrate::Kbps32, mp3lame_encoder::Bitrate::Kbps64] {
        let (decoded, rate) = through_mp3(&audio, kbps);
        // Whoever plays an MP3 hears the delay of encoder and decoder, unless it is told; here we measure it.
        let found = decode_numbers(&decoded, rate);
        let delay = found.first().map_or(0.0, |mark| mark.start_s) - marks[0].start_s;
        assert!((0.0..0.1).contains(&delay), "{delay}");
        let shifted: Vec<Mark> = marks
            .iter()
            .map(|mark| Mark { start_s: mark.start_s + delay, end_s: mark.end_s + delay, ..*mark })
            .collect();
        check(&decoded, rate, &shifted);
    }
}

/// Encodes with LAME and decodes with Symphonia, as the fleet does.
fn through_mp3(audio: &[f32], kbps: mp3lame_encoder::Bitrate) -> (Vec<f32>, u32) {
    let mut builder = mp3lame_encoder::Builder::new().unwrap();
    builder.set_num_channels(1).unwrap();
    builder.set_sample_rate(RATE).unwrap();
    builder.set_brate(kbps).unwrap();
    let mut encoder = builder.build().unwrap();
    let mut bytes = Vec::with_capacity(mp3lame_encoder::max_required_buffer_size(audio.len()));
    encoder.encode_to_vec(mp3lame_encoder::MonoPcm(audio), &mut bytes).unwrap();
    bytes.reserve(8192);
    encoder.flush_to_vec::<mp3lame_encoder::FlushNoGap>(&mut bytes).unwrap();
    decoded(bytes)
}

/// Samples and their rate, by Symphonia.
pub(crate) fn decoded(bytes: Vec<u8>) -> (Vec<f32>, u32) {
    use symphonia::core::codecs::audio::AudioDecoderOptions;
    use symphonia::core::formats::probe::Hint;
    use symphonia::core::formats::{FormatOptions, TrackType};
    use symphonia::core::io::MediaSourceStream;
    use symphonia::core::meta::MetadataOptions;

    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    let mut format = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
        .unwrap();
    let track = format.default_track(TrackType::Audio).unwrap();
    let parameters = track.codec_params.as_ref().unwrap().audio().unwrap().clone();
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(&parameters, &AudioDecoderOptions::default())
        .unwrap();
    let mut decoded: Vec<f32> = Vec::new();
    while let Ok(Some(packet)) = format.next_packet() {
        let buffer = decoder.decode(&packet).unwrap();
        let mut samples: Vec<f32> = Vec::new();
        buffer.copy_to_vec_interleaved(&mut samples);
        decoded.extend(samples);
    }
    (decoded, parameters.sample_rate.unwrap())
}
