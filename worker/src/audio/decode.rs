//! From the bytes that an engine answered to mono samples. What the bytes are is told by their content alone.

use std::io::Cursor;

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::default::formats::{FlacReader, MpaReader, OggReader, WavReader};

use super::resample::Resampler;
use super::{Rejected, SAMPLE_RATE, mp3, wav};

const MAX_BYTES: usize = 64 * 1024 * 1024;
const MAX_SECONDS: u64 = 15 * 60;
/// Sample rates outside of this are mistakes in a header.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=192_000;
/// No recording is this much louder than full scale; the sums of a conversion overflow from numbers that are.
const LOUDEST: f32 = 1_000.0;
/// From here on a sample counts as full scale.
const FULL_SCALE: f32 = 0.999;
/// A waveform rarely stays at full scale this long on its own.
const FLAT_RUN: u32 = 4;

/// A recording as mono at [`SAMPLE_RATE`]; full scale is 1.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) samples: Vec<f32>,
    /// How much of the recording lies flat at full scale, from 0 to 1.
    pub(crate) clipped: f64,
}

/// Decodes WAV, MP3, FLAC or Ogg Vorbis. Lengths in headers are not believed.
pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded, Rejected> {
    if bytes.len() > MAX_BYTES {
        return Err(Rejected::TooLarge { bytes: bytes.len(), limit: MAX_BYTES });
    }
    match sniff(bytes)? {
        Container::Wav => read(WavReader::try_new(stream(wav::rebuild(bytes)?), Default::default())),
        Container::Mp3 => {
            let frames = &bytes[mp3::id3v2_length(bytes).min(bytes.len())..];
            if let Some(missing) = mp3::cut_off(frames) {
                return Err(Rejected::Truncated(format!("its last MP3 frame lacks {missing} bytes")));
            }
            read(MpaReader::try_new(stream(frames), Default::default()))
        }
        Container::Flac => {
            read(FlacReader::try_new(stream(&bytes[mp3::id3v2_length(bytes)..]), Default::default()))
        }
        Container::Ogg => read(OggReader::try_new(stream(bytes), Default::default())),
    }
}

#[derive(Debug, PartialEq)]
enum Container {
    Wav,
    Mp3,
    Flac,
    Ogg,
}

fn sniff(bytes: &[u8]) -> Result<Container, Rejected> {
    let unsupported = |what: &str| Err(Rejected::Unsupported(what.into()));
    let after_tag = bytes.get(mp3::id3v2_length(bytes)..).unwrap_or_default();
    match bytes {
        [] => Err(Rejected::Empty),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Ok(Container::Wav),
        [b'O', b'g', b'g', b'S', ..] if contains_early(bytes, b"OpusHead") => unsupported("Opus audio"),
        [b'O', b'g', b'g', b'S', ..] => Ok(Container::Ogg),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => unsupported("MP4 (AAC) audio"),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => unsupported("WebM audio"),
        _ if after_tag.starts_with(b"fLaC") => Ok(Container::Flac),
        _ if mp3::looks_like_mp3(after_tag) => Ok(Container::Mp3),
        [0xff, second, ..] if second & 0xf6 == 0xf0 => unsupported("AAC audio"),
        _ if looks_like_text(bytes) => Err(Rejected::NotAudio("text")),
        _ => Err(Rejected::NotAudio("bytes of no known kind")),
    }
}

fn contains_early(bytes: &[u8], needle: &[u8]) -> bool {
    bytes[..bytes.len().min(256)].windows(needle.len()).any(|window| window == needle)
}

fn looks_like_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(512)];
    let control = start.iter().filter(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace()).count();
    control == 0
        && String::from_utf8_lossy(start).chars().filter(|&c| c == char::REPLACEMENT_CHARACTER).count() <= 1
}

fn stream<'a>(bytes: impl AsRef<[u8]> + Send + Sync + 'a) -> MediaSourceStream<'a> {
    MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default())
}

/// Each container has its own reader: a probe would look for any of them anywhere in the bytes, past what was checked of this one.
fn read(opened: symphonia::core::errors::Result<impl FormatReader>) -> Result<Decoded, Rejected> {
    let mut format = opened.map_err(rejected)?;
    let track = format
        .default_track(TrackType::Audio)
        .ok_or_else(|| Rejected::Damaged("there is no audio track in it".into()))?;
    let track_id = track.id;
    let params = track.codec_params.as_ref().and_then(|params| params.audio());
    let params = params.ok_or_else(|| Rejected::Damaged("its codec is not named".into()))?;
    // Gapless playback would trim by what the file's header says, and headers lie.
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(params, &AudioDecoderOptions::default().gapless(false))
        .map_err(rejected)?;
    let mut mono = Mono::default();
    while let Some(packet) = format.next_packet().map_err(rejected)? {
        if packet.track_id == track_id {
            mono.add(decoder.decode(&packet).map_err(rejected)?)?;
        }
    }
    mono.finish()
}

fn rejected(error: Error) -> Rejected {
    match error {
        Error::Unsupported(what) => Rejected::Unsupported(format!("a file that uses {what}")),
        Error::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Rejected::Truncated("it stops before its audio is complete".into())
        }
        other => Rejected::Damaged(other.to_string()),
    }
}

/// Collects packets as one channel at one rate.
#[derive(Default)]
struct Mono {
    resampler: Option<(u32, Resampler)>,
    interleaved: Vec<f32>,
    mixed: Vec<f32>,
    samples: Vec<f32>,
    seen: u64,
    flat: u64,
    run: u32,
}

impl Mono {
    fn add(&mut self, audio: GenericAudioBufferRef<'_>) -> Result<(), Rejected> {
        let (rate, channels) = (audio.spec().rate(), audio.spec().channels().count());
        if !RATES.contains(&rate) || channels == 0 {
            return Err(Rejected::Damaged(format!("it has {channels} channels at {rate} Hz")));
        }
        audio.copy_to_vec_interleaved(&mut self.interleaved);
        self.mixed.clear();
        let share = 1.0 / channels as f32;
        self.mixed
            .extend(self.interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() * share));
        if !self.mixed.iter().all(|sample| sample.abs() <= LOUDEST) {
            return Err(Rejected::Damaged(
                "it has samples that are not numbers, or far beyond full scale".into(),
            ));
        }
        self.count_flat();
        self.seen += self.mixed.len() as u64;
        if self.seen > MAX_SECONDS * u64::from(rate) {
            let seconds = self.seen as f64 / f64::from(rate);
            return Err(Rejected::TooLong { seconds, limit: MAX_SECONDS as f64 });
        }
        let (first_rate, resampler) = match &mut self.resampler {
            Some(known) => known,
            none => none.insert((rate, Resampler::new(rate, SAMPLE_RATE).map_err(Rejected::Damaged)?)),
        };
        if *first_rate != rate {
            return Err(Rejected::Damaged(format!("its rate changes from {first_rate} Hz to {rate} Hz")));
        }
        resampler.push(&self.mixed, &mut self.samples).map_err(Rejected::Damaged)
    }

    fn count_flat(&mut self) {
        for sample in &self.mixed {
            if sample.abs() < FULL_SCALE {
                self.run = 0;
                continue;
            }
            self.run += 1;
            self.flat += match self.run {
                FLAT_RUN => u64::from(FLAT_RUN),
                longer if longer > FLAT_RUN => 1,
                _ => 0,
            };
        }
    }

    fn finish(mut self) -> Result<Decoded, Rejected> {
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.finish(&mut self.samples).map_err(Rejected::Damaged)?;
        }
        if self.samples.is_empty() {
            return Err(Rejected::Empty);
        }
        Ok(Decoded { samples: self.samples, clipped: self.flat as f64 / self.seen as f64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_sniff(bytes: &[u8], expected: Result<Container, &str>) {
        assert_eq!(sniff(bytes).map_err(|error| error.to_string()), expected.map_err(String::from));
    }

    #[test]
    fn content_tells_the_container() {
        const INSTEAD: &str = "instead of WAV, MP3, FLAC or Ogg Vorbis audio";
        check_sniff(b"RIFF\0\0\0\0WAVEfmt ", Ok(Container::Wav));
        check_sniff(b"fLaC\0\0\0\x22", Ok(Container::Flac));
        check_sniff(b"ID3\x03\0\0\0\0\0\0fLaC\0\0\0\x22", Ok(Container::Flac));
        check_sniff(b"OggS\0\x02......\x01vorbis", Ok(Container::Ogg));
        check_sniff(b"", Err("the recording is empty"));
        check_sniff(
            b"{\"error\": {\"message\": \"no\"}}",
            Err(&format!("the engine answered text {INSTEAD}")),
        );
        check_sniff(b"\0\x01\x02\0", Err(&format!("the engine answered bytes of no known kind {INSTEAD}")));
        let opus = "the engine answered Opus audio; have it answer WAV, MP3, FLAC or Ogg Vorbis";
        check_sniff(b"OggS\0\x02......\x01\x13OpusHead", Err(opus));
    }

    fn wav(rate: u32, channels: u16, samples: &[i16]) -> Vec<u8> {
        let spec = hound::WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut file = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
        samples.iter().for_each(|&sample| writer.write_sample(sample).unwrap());
        writer.finalize().unwrap();
        file.into_inner()
    }

    #[test]
    fn channels_are_averaged() {
        let samples: Vec<i16> = (0..4_800).flat_map(|_| [8_000, 4_000]).collect();
        let decoded = decode(&wav(24_000, 2, &samples)).unwrap();
        assert_eq!(decoded.samples.len(), 4_800);
        assert!(decoded.samples.iter().all(|x| (x - 6_000.0 / 32_768.0).abs() < 1e-4));
    }

    #[test]
    fn other_rates_keep_their_length_in_time() {
        let decoded = decode(&wav(22_050, 1, &vec![100; 22_050])).unwrap();
        assert_eq!(decoded.samples.len(), 24_000);
    }

    #[test]
    fn bounds_are_kept() {
        assert_eq!(decode(&wav(24_000, 1, &[])).unwrap_err(), Rejected::Empty);
        let long = wav(8_000, 1, &vec![1; 8_000 * 901]);
        assert!(matches!(decode(&long).unwrap_err(), Rejected::TooLong { .. }));
        let large = vec![0; MAX_BYTES + 1];
        assert!(matches!(decode(&large).unwrap_err(), Rejected::TooLarge { .. }));
    }

    /// Numbers that overflow while their rate is converted made the converter panic.
    #[test]
    fn samples_far_beyond_full_scale_are_refused() {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 22_050,
            bits_per_sample: 32,
            sample_format: hound::SampleFormat::Float,
        };
        for loud in [f32::MAX, -1e30, f32::INFINITY, f32::NAN] {
            let mut file = Cursor::new(Vec::new());
            let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
            (0..3_000).for_each(|_| writer.write_sample(loud).unwrap());
            writer.finalize().unwrap();
            let refused = decode(&file.into_inner()).unwrap_err();
            assert!(refused.to_string().contains("beyond full scale"), "{loud}: {refused}");
        }
    }

    #[test]
    fn flat_tops_are_counted() {
        let samples: Vec<i16> = (0..24_000).map(|n| if n % 100 < 10 { i16::MAX } else { 0 }).collect();
        assert!((decode(&wav(24_000, 1, &samples)).unwrap().clipped - 0.1).abs() < 1e-6);
        let touching: Vec<i16> = (0..24_000).map(|n| if n % 100 < 2 { i16::MAX } else { 0 }).collect();
        assert_eq!(decode(&wav(24_000, 1, &touching)).unwrap().clipped, 0.0);
    }
}
