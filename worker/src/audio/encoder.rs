//! LAME, one channel at a constant bit rate, and what its frames sound like when they are decoded again.

use mp3lame_encoder::{Bitrate, Builder, Mode, MonoPcm, Quality, VbrMode};
use symphonia::core::codecs::audio::well_known::CODEC_ID_MP3;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};

use super::histogram::{Blocks, Histogram};
use super::true_peak::TruePeak;
use super::{decibels, mp3};

/// Encodes a stream and hands out whole frames.
pub(super) struct Encoder {
    lame: mp3lame_encoder::Encoder,
    scale: f32,
    scaled: Vec<f32>,
    bytes: Vec<u8>,
}

impl Encoder {
    /// Fails when LAME has no such rate (Hz) or bit rate.
    pub(super) fn new(sample_rate: u32, bitrate_kbps: u32) -> Result<Encoder, String> {
        let lame = build(sample_rate, bitrate_kbps)?;
        Ok(Encoder { lame, scale: 1.0 / lame_scale(bitrate_kbps), scaled: Vec::new(), bytes: Vec::new() })
    }

    /// Encodes `samples` (full scale is 1) and calls `each` with every frame that is complete. Frames lag behind the input.
    pub(super) fn push(
        &mut self,
        samples: &[f32],
        mut each: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        self.scaled.clear();
        self.scaled.extend(samples.iter().map(|sample| sample * self.scale));
        self.bytes.reserve(mp3lame_encoder::max_required_buffer_size(samples.len()));
        self.lame
            .encode_to_vec(MonoPcm(&self.scaled), &mut self.bytes)
            .map_err(|error| format!("LAME failed: {error}"))?;
        let mut used = 0;
        while let Some(frame) =
            mp3::split_frame(&self.bytes[used..]).map_err(|error| format!("LAME made no frames: {error}"))?
        {
            each(frame)?;
            used += frame.len();
        }
        self.bytes.drain(..used);
        Ok(())
    }
}

fn build(sample_rate: u32, bitrate_kbps: u32) -> Result<mp3lame_encoder::Encoder, String> {
    let bitrate = bitrate(bitrate_kbps).ok_or_else(|| {
        format!("the MP3 encoder offers no {bitrate_kbps} kb/s; set audio.bitrate_kbps to 64 or 96")
    })?;
    let refused = |error| format!("LAME refuses {sample_rate} Hz at {bitrate_kbps} kb/s: {error}");
    Builder::new()
        .ok_or("LAME got no memory")?
        .with_num_channels(1)
        .and_then(|lame| lame.with_mode(Mode::Mono))
        .and_then(|lame| lame.with_sample_rate(sample_rate))
        .and_then(|lame| lame.with_output_sample_rate(std::num::NonZeroU32::new(sample_rate)))
        .and_then(|lame| lame.with_vbr_mode(VbrMode::Off))
        .and_then(|lame| lame.with_brate(bitrate))
        .and_then(|lame| lame.with_quality(quality(sample_rate, bitrate_kbps)))
        .and_then(|lame| lame.with_to_write_vbr_tag(false))
        .and_then(Builder::build)
        .map_err(refused)
}

/// With two bits a sample LAME need not move its noise to where it is heard least, which takes half of its time. Measured on speech at
/// 24 kHz and 64 kb/s: 8.4 s instead of 14.4 s an hour, and the noise is 2.5 dB lower without.
fn quality(sample_rate: u32, bitrate_kbps: u32) -> Quality {
    if bitrate_kbps * 1_000 >= 2 * sample_rate { Quality::Ok } else { Quality::Good }
}

/// By how much LAME turns its input down at a constant bit rate (`abr_switch_map` in its `presets.c`), to keep what it adds
/// from clipping. Our limiter sees to that, and loudness has to be what it was measured to be.
fn lame_scale(bitrate_kbps: u32) -> f32 {
    if bitrate_kbps < 192 { 0.95 } else { 0.97 }
}

fn bitrate(kbps: u32) -> Option<Bitrate> {
    Some(match kbps {
        32 => Bitrate::Kbps32,
        40 => Bitrate::Kbps40,
        48 => Bitrate::Kbps48,
        64 => Bitrate::Kbps64,
        80 => Bitrate::Kbps80,
        96 => Bitrate::Kbps96,
        112 => Bitrate::Kbps112,
        128 => Bitrate::Kbps128,
        160 => Bitrate::Kbps160,
        192 => Bitrate::Kbps192,
        _ => return None,
    })
}

/// Decodes frames and listens: for their peaks, and how loud they are.
pub(super) struct Listener {
    decoder: Box<dyn AudioDecoder>,
    peak: TruePeak,
    blocks: Blocks,
    samples: Vec<f32>,
}

impl Listener {
    /// `sample_rate` in Hz.
    pub(super) fn new(sample_rate: u32) -> Result<Listener, String> {
        let mut params = AudioCodecParameters::new();
        params.for_codec(CODEC_ID_MP3).with_sample_rate(sample_rate);
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(&params, &AudioDecoderOptions::default())
            .map_err(|error| format!("no MP3 decoder: {error}"))?;
        let blocks = Blocks::new(sample_rate)?;
        Ok(Listener { decoder, peak: TruePeak::default(), blocks, samples: Vec::new() })
    }

    pub(super) fn hear(&mut self, frame: &[u8]) -> Result<(), String> {
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, frame);
        let audio =
            self.decoder.decode_ref(&packet).map_err(|error| format!("a frame does not decode: {error}"))?;
        audio.copy_to_vec_interleaved(&mut self.samples);
        self.peak.add(&self.samples);
        self.blocks.hear(&self.samples)
    }

    pub(super) fn loudness(&self) -> &Histogram {
        self.blocks.histogram()
    }

    /// Minus infinity for silence.
    pub(super) fn true_peak_dbtp(&mut self) -> f64 {
        decibels(self.peak.amplitude().into())
    }
}
