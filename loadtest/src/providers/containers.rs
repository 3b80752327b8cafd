//! Recordings in the containers that clients ask for, and in some that they do not.

use anyhow::Context;
use mp3lame_encoder::{Bitrate, Builder, FlushNoGap, Mode, MonoPcm};

use super::tones::RATE;

/// Samples as 16 bits, little-endian.
pub(super) fn pcm(samples: &[f32]) -> Vec<u8> {
    samples.iter().flat_map(|sample| as_i16(*sample).to_le_bytes()).collect()
}

fn as_i16(sample: f32) -> i16 {
    (sample * f32::from(i16::MAX)).round() as i16
}

/// MPEG-2 layer III, mono, 64 kb/s, without a Xing frame.
pub(super) fn mp3(samples: &[f32]) -> anyhow::Result<Vec<u8>> {
    let built = Builder::new()
        .context("LAME got no memory")?
        .with_num_channels(1)
        .and_then(|lame| lame.with_mode(Mode::Mono))
        .and_then(|lame| lame.with_sample_rate(RATE))
        .and_then(|lame| lame.with_brate(Bitrate::Kbps64))
        .and_then(|lame| lame.with_to_write_vbr_tag(false))
        .and_then(Builder::build);
    let mut lame = built.map_err(|error| anyhow::anyhow!("LAME refuses: {error}"))?;
    let failed = |error| anyhow::anyhow!("LAME failed: {error}");
    let mut bytes = Vec::with_capacity(mp3lame_encoder::max_required_buffer_size(samples.len()));
    lame.encode_to_vec(MonoPcm(samples), &mut bytes).map_err(failed)?;
    bytes.reserve(8192);
    lame.flush_to_vec::<FlushNoGap>(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Three files in one, each with a Xing frame that speaks of its own third as if it were all.
pub(super) fn lying_mp3(samples: &[f32]) -> anyhow::Result<Vec<u8>> {
    let mut file = Vec::new();
    for third in samples.chunks(samples.len().div_ceil(3).max(1)) {
        let frames = mp3(third)?;
        file.extend(xing_frame(&frames).context("LAME made no frame")?);
        file.extend(frames);
    }
    Ok(file)
}

/// A silent frame like the first of `frames`, with their number and size. Layout as of Xing's `dxhead`: after the side
/// information, which is 9 bytes long for MPEG-2 mono.
fn xing_frame(frames: &[u8]) -> Option<Vec<u8>> {
    // MPEG-2 layer III at a constant 64 kb/s.
    let length = 72_000 * 64 / RATE as usize;
    let mut frame = frames.get(..4)?.to_vec();
    frame.resize(4 + 9, 0);
    frame.extend_from_slice(b"Xing\0\0\0\x03");
    frame.extend_from_slice(&u32::try_from(frames.len() / length).ok()?.to_be_bytes());
    frame.extend_from_slice(&u32::try_from(frames.len() + length).ok()?.to_be_bytes());
    frame.resize(length, 0);
    Some(frame)
}

/// A FLAC file of verbatim subframes: larger than WAV, but FLAC (RFC 9639).
pub(super) fn flac(samples: &[f32]) -> Vec<u8> {
    const BLOCK: usize = 4096;
    let mut file = b"fLaC\x80\0\0\x22".to_vec();
    file.extend_from_slice(&[(BLOCK >> 8) as u8, 0, (BLOCK >> 8) as u8, 0, 0, 0, 0, 0, 0, 0]);
    // 20 bits of rate, 3 of channels less one, 5 of bits less one, 36 of samples. No checksum of the audio.
    let properties = u64::from(RATE) << 44 | 15 << 36 | samples.len() as u64;
    file.extend_from_slice(&properties.to_be_bytes());
    file.extend_from_slice(&[0; 16]);
    for (number, block) in samples.chunks(BLOCK).enumerate() {
        let start = file.len();
        // Fixed block size; the size in 16 bits at the end of the header, 24 kHz; mono, 16 bits.
        file.extend_from_slice(&[0xff, 0xf8, 0x77, 0x08]);
        file.extend(coded_number(number as u32));
        file.extend_from_slice(&((block.len() - 1) as u16).to_be_bytes());
        file.push(crc(&file[start..], 8, 0x07) as u8);
        file.push(0b10);
        file.extend(block.iter().flat_map(|sample| as_i16(*sample).to_be_bytes()));
        let checksum = crc(&file[start..], 16, 0x8005) as u16;
        file.extend_from_slice(&checksum.to_be_bytes());
    }
    file
}

/// As UTF-8 codes characters; enough for two hours.
fn coded_number(number: u32) -> Vec<u8> {
    match number {
        0..0x80 => vec![number as u8],
        0x80..0x800 => vec![0xc0 | (number >> 6) as u8, 0x80 | (number & 0x3f) as u8],
        _ => vec![
            0xe0 | (number >> 12 & 0xf) as u8,
            0x80 | (number >> 6 & 0x3f) as u8,
            0x80 | (number & 0x3f) as u8,
        ],
    }
}

/// A cyclic redundancy check of so many bits, highest bit first.
fn crc(bytes: &[u8], bits: u32, polynomial: u32) -> u32 {
    let mask = if bits == 32 { u32::MAX } else { (1 << bits) - 1 };
    bytes.iter().fold(0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << (bits - 8), |crc, _| {
            let next = crc << 1;
            (if crc >> (bits - 1) & 1 == 1 { next ^ polynomial } else { next }) & mask
        })
    })
}

/// Silence of about `seconds` as Opus in Ogg (RFC 7845), 20 ms a packet.
pub(super) fn ogg_opus(seconds: f64) -> Vec<u8> {
    // Version 1, one channel, no pre-skip, 24 kHz, no gain, mapping family 0.
    let mut head = b"OpusHead\x01\x01\0\0".to_vec();
    head.extend_from_slice(&RATE.to_le_bytes());
    head.extend_from_slice(&[0, 0, 0]);
    let tags = b"OpusTags\0\0\0\0\0\0\0\0";
    let mut file = ogg_page(2, 0, 0, &[&head]);
    file.extend(ogg_page(0, 0, 1, &[tags]));
    let packets = ((seconds / 0.02) as usize).max(1);
    // CELT only, full band, 20 ms, mono; and in it the range coder's silence.
    let packet: &[u8] = &[0xf8, 0xff, 0xfe];
    for (page, first) in (0..packets).step_by(200).enumerate() {
        let count = (packets - first).min(200);
        let kind = if first + count == packets { 4 } else { 0 };
        let granule = 960 * (first + count) as u64;
        file.extend(ogg_page(kind, granule, page as u32 + 2, &vec![packet; count]));
    }
    file
}

/// A page of whole packets of less than 255 bytes each (RFC 3533).
fn ogg_page(kind: u8, granule: u64, number: u32, packets: &[&[u8]]) -> Vec<u8> {
    let mut page = b"OggS\0".to_vec();
    page.push(kind);
    page.extend_from_slice(&granule.to_le_bytes());
    page.extend_from_slice(b"sim.");
    page.extend_from_slice(&number.to_le_bytes());
    page.extend_from_slice(&[0; 4]);
    page.push(packets.len() as u8);
    page.extend(packets.iter().map(|packet| packet.len() as u8));
    page.extend(packets.iter().flat_map(|packet| packet.iter().copied()));
    let checksum = crc(&page, 32, 0x04c1_1db7);
    page[22..26].copy_from_slice(&checksum.to_le_bytes());
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::tones::{self, tests::decoded};

    fn check_heard(bytes: Vec<u8>, number: u16) -> Vec<f32> {
        let (samples, rate) = decoded(bytes);
        let heard: Vec<u16> = tones::decode_numbers(&samples, rate).iter().map(|mark| mark.number).collect();
        assert_eq!(heard, [number]);
        samples
    }

    #[test]
    fn every_container_says_the_number() {
        let samples = tones::encode(1234, 60_001);
        let read = check_heard(flac(&samples), 1234);
        assert_eq!(read.len(), 60_001);
        assert!(read.iter().zip(&samples).all(|(a, b)| (a - b).abs() < 1e-4));
        check_heard(mp3(&samples).unwrap(), 1234);
        check_heard(tones::wav(&samples), 1234);
        assert_eq!(pcm(&samples).len(), 120_002);
    }

    #[test]
    fn a_lying_mp3_holds_more_than_it_says() {
        let samples = tones::encode(42, 144_000);
        let file = lying_mp3(&samples).unwrap();
        let announced = u32::from_be_bytes(file[21..25].try_into().unwrap());
        let frames = file.len() / 192;
        assert_eq!(&file[13..17], b"Xing");
        assert!((announced as usize) * 5 < frames * 2, "{announced} of {frames}");
    }

    #[test]
    fn checksums_are_the_known_ones() {
        // The catalogue's check values for "123456789".
        assert_eq!(crc(b"123456789", 8, 0x07), 0xf4);
        assert_eq!(crc(b"123456789", 16, 0x8005), 0xfee8);
        assert_eq!(crc(b"123456789", 32, 0x04c1_1db7), 0x89a1_897f);
    }

    #[test]
    fn ogg_pages_are_whole() {
        let file = ogg_opus(10.0);
        assert!(file.starts_with(b"OggS\0\x02") && file[28..].starts_with(b"OpusHead"));
        assert_eq!(file.windows(4).filter(|window| window == b"OggS").count(), 5);
    }
}
