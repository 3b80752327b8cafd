//! Listens to a finished MP3 as a player would.

use std::io::Read;

use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::errors::Error;
use symphonia::core::formats::TrackType;
use symphonia::core::formats::probe::Hint;
use symphonia::core::io::{MediaSourceStream, ReadOnlySource};

use super::meter::Meter;
use super::mp3;

/// What an MP3 sounds like, decoded, without the samples that its Info tag leaves out.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Integrated loudness (EBU R 128), when there is enough to measure.
    pub lufs: Option<f64>,
    /// Minus infinity for silence.
    pub true_peak_dbtp: f64,
    pub samples: u64,
    /// In Hz.
    pub sample_rate: u32,
    pub duration_ms: u64,
}

/// Why an MP3 could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    #[error("the MP3 cannot be read")]
    Unreadable(#[from] std::io::Error),
    #[error("the MP3 cannot be decoded: {0}")]
    Damaged(String),
}

impl From<Error> for MeasureError {
    fn from(error: Error) -> MeasureError {
        match error {
            Error::IoError(error) => MeasureError::Unreadable(error),
            other => MeasureError::Damaged(other.to_string()),
        }
    }
}

/// Reads `mp3` (mono) once from start to end, in constant memory. Give it a buffered reader.
pub fn measure<R: Read + Send + Sync>(mut mp3: R) -> Result<Measured, MeasureError> {
    let mut meter = None;
    decode(&mut mp3, |rate, samples| {
        let (_, meter) = match &mut meter {
            Some(known) => known,
            none => none.insert((rate, Meter::new(rate).map_err(MeasureError::Damaged)?)),
        };
        meter.add(samples).map_err(MeasureError::Damaged)
    })?;
    let (sample_rate, mut meter) = meter.ok_or_else(|| MeasureError::Damaged("it has no frames".into()))?;
    Ok(Measured {
        lufs: meter.lufs(),
        true_peak_dbtp: meter.true_peak_dbtp(),
        samples: meter.samples(),
        sample_rate,
        duration_ms: meter.samples() * 1000 / u64::from(sample_rate),
    })
}

/// Calls `each` with the rate and the samples of one frame after the other.
pub(super) fn decode<R: Read + Send + Sync>(
    mp3: &mut R,
    mut each: impl FnMut(u32, &[f32]) -> Result<(), MeasureError>,
) -> Result<(), MeasureError> {
    let start = skip_tag(mp3)?;
    let source = ReadOnlySource::new(start.as_slice().chain(mp3));
    let stream = MediaSourceStream::new(Box::new(source), Default::default());
    let mut format = symphonia::default::get_probe().probe(
        &Hint::new(),
        stream,
        Default::default(),
        Default::default(),
    )?;
    let track = format.default_track(TrackType::Audio).and_then(|track| track.codec_params.as_ref()?.audio());
    let track = track.ok_or_else(|| MeasureError::Damaged("there is no audio track in it".into()))?;
    let mut decoder =
        symphonia::default::get_codecs().make_audio_decoder(track, &AudioDecoderOptions::default())?;
    let mut samples: Vec<f32> = Vec::new();
    while let Some(packet) = format.next_packet()? {
        let audio = decoder.decode(&packet)?;
        if audio.spec().channels().count() != 1 {
            return Err(MeasureError::Damaged("it is not mono".into()));
        }
        let rate = audio.spec().rate();
        audio.copy_to_vec_interleaved(&mut samples);
        each(rate, &samples)?;
    }
    Ok(())
}

/// Reads past an ID3v2 tag, in whose text a decoder could find frames that are none. Returns what it read beyond.
fn skip_tag(mp3: &mut impl Read) -> Result<Vec<u8>, MeasureError> {
    let mut start = Vec::new();
    mp3.by_ref().take(10).read_to_end(&mut start)?;
    match mp3::id3v2_length(&start) {
        0 => Ok(start),
        length => {
            std::io::copy(&mut mp3.by_ref().take(length as u64 - 10), &mut std::io::sink())?;
            Ok(Vec::new())
        }
    }
}
