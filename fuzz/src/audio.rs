//! Recordings: any bytes that a server of speech may answer.

use std::io::Cursor;

use common::config::Audio;
use worker::audio::{SAMPLE_RATE, mp3, segment};
use worker::fuzzing;

const MAX_SAMPLES: usize = 15 * 60 * SAMPLE_RATE as usize + 1;

pub(crate) fn audio(bytes: &[u8]) {
    let Ok((samples, clipped)) = fuzzing::decode(bytes) else { return };
    assert!(!samples.is_empty() && samples.len() <= MAX_SAMPLES, "{} samples", samples.len());
    assert!(samples.iter().all(|sample| sample.is_finite()));
    assert!((0.0..=1.0).contains(&clipped), "{clipped}");
    // Levelling takes longer than decoding; a second of it shows all that there is.
    if samples.len() <= SAMPLE_RATE as usize
        && let Ok(prepared) = segment::prepare(bytes, "So.", &Audio::default())
    {
        assert!(prepared.samples <= samples.len() as u64);
        assert!(prepared.wav.len() as u64 >= 2 * prepared.samples);
        assert!(prepared.true_peak_dbtp.is_finite(), "{}", prepared.true_peak_dbtp);
        let again = fuzzing::decode(&prepared.wav);
        assert!(again.is_ok_and(|(again, _)| again.len() as u64 == prepared.samples));
    }
}

pub(crate) fn wav(bytes: &[u8]) {
    let (_, contained) = fuzzing::recording(bytes);
    for bytes in [bytes, &contained] {
        let Ok(file) = fuzzing::rebuild(bytes) else { continue };
        assert!(file.len() <= bytes.len() + 64, "{} bytes of {}", file.len(), bytes.len());
        assert!(fuzzing::rebuild(&file).as_ref() == Ok(&file), "it is not settled");
    }
}

pub(crate) fn mp3(bytes: &[u8]) {
    let _ = (mp3::looks_like_mp3(bytes), mp3::id3v2_length(bytes));
    assert!(mp3::cut_off(bytes).is_none_or(|missing| missing < 3_000), "no frame is that long");
    let mut reader = Cursor::new(bytes);
    let mut frame = Vec::new();
    let mut at = 0;
    while let Ok(Some(header)) = mp3::read_frame(&mut reader, &mut frame) {
        let same = mp3::split_frame(&bytes[at..]);
        assert!(same.is_ok_and(|same| same == Some(&frame[..])), "two readers, two frames");
        assert_eq!(frame.len(), header.bytes());
        at += frame.len();
        let silence = mp3::silent_frame(&header);
        assert!(silence.is_some_and(|frame| frame.len() <= header.bytes()));
        if let Some(info) = mp3::info_frame(&header, mp3::Info { frames: 1, bytes: 1, padding: 0 }) {
            assert!(info.len() >= 160, "{} bytes hold no tag", info.len());
        }
    }
    assert!(at <= bytes.len());
}
