//! MPEG audio frames, layer III: headers, iteration, and the frames that we write ourselves.
//!
//! Frame layout after ISO/IEC 11172-3 and 13818-3; the Info tag after LAME's `VbrTag.c` and the "Mp3 Info Tag rev 1"
//! specification.

use std::io::{self, Read};

/// Samples by which a decoder lags behind the encoder's input, without the encoder's own delay.
pub const DECODER_DELAY: u64 = 529;
/// LAME's own delay in samples.
pub const ENCODER_DELAY: u64 = 576;

const INFO_TAG_BYTES: usize = 120 + 36;

/// A frame header of MPEG-1, MPEG-2 or MPEG-2.5, layer III.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub mpeg1: bool,
    pub bitrate_kbps: u32,
    /// In Hz.
    pub sample_rate: u32,
    pub mono: bool,
    pub padded: bool,
    checked: bool,
    raw: [u8; 4],
}

impl Header {
    /// None when the bytes are not a header of layer III, or of the free format, which nobody uses.
    pub fn parse(raw: [u8; 4]) -> Option<Header> {
        const MPEG1_KBPS: [u32; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
        const MPEG2_KBPS: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
        let [sync, kind, rates, mode] = raw;
        if sync != 0xff || kind & 0xe6 != 0xe2 {
            return None;
        }
        // 3 is MPEG-1, 2 is MPEG-2, 0 is MPEG-2.5 with halved rates again.
        let version = kind >> 3 & 3;
        let divisor = match version {
            3 => 1,
            2 => 2,
            0 => 4,
            _ => return None,
        };
        let kbps = if version == 3 { MPEG1_KBPS } else { MPEG2_KBPS };
        let bitrate_kbps = kbps.get(usize::from(rates >> 4)).copied().filter(|&kbps| kbps > 0)?;
        let sample_rate = [44_100, 48_000, 32_000].get(usize::from(rates >> 2 & 3))? / divisor;
        Some(Header {
            mpeg1: version == 3,
            bitrate_kbps,
            sample_rate,
            mono: mode >> 6 == 3,
            padded: rates & 2 != 0,
            checked: kind & 1 == 0,
            raw,
        })
    }

    /// Length of the frame with its header.
    pub fn bytes(&self) -> usize {
        let slots = if self.mpeg1 { 144_000 } else { 72_000 };
        (slots * self.bitrate_kbps / self.sample_rate) as usize + usize::from(self.padded)
    }

    /// Samples per channel in the frame.
    pub fn samples(&self) -> u64 {
        if self.mpeg1 { 1152 } else { 576 }
    }

    fn side_info_bytes(&self) -> usize {
        match (self.mpeg1, self.mono) {
            (true, false) => 32,
            (true, true) | (false, false) => 17,
            (false, true) => 9,
        }
    }

    /// Whether frames with these headers can stand in one stream of constant bit rate.
    pub fn matches(&self, other: &Header) -> bool {
        (self.mpeg1, self.bitrate_kbps, self.sample_rate, self.mono)
            == (other.mpeg1, other.bitrate_kbps, other.sample_rate, other.mono)
    }

    /// The same header without padding and checksum, with another bit rate by its index.
    fn plain(&self, bitrate_index: u8) -> Option<Header> {
        let [sync, kind, rates, mode] = self.raw;
        Header::parse([sync, kind | 1, bitrate_index << 4 | rates & 0x0c, mode])
    }
}

/// Samples in a frame at this rate (Hz), and in the longest one.
pub fn frame_samples(sample_rate: u32) -> u64 {
    if sample_rate < 32_000 { 576 } else { LONGEST_FRAME as u64 }
}
pub const LONGEST_FRAME: usize = 1152;

/// The frame at the start of `bytes`; none when it is not complete yet. Fails when something else is there.
pub fn split_frame(bytes: &[u8]) -> io::Result<Option<&[u8]>> {
    let Some(&raw) = bytes.first_chunk::<4>() else { return Ok(None) };
    let header = Header::parse(raw).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "an MP3 frame was due, but none begins here")
    })?;
    Ok(bytes.get(..header.bytes()))
}

/// Reads the next frame into `frame`; none at the end of `reader`. Fails on anything but whole frames in a row.
pub fn read_frame(reader: &mut impl Read, frame: &mut Vec<u8>) -> io::Result<Option<Header>> {
    let mut raw = [0; 4];
    if reader.read(&mut raw[..1])? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut raw[1..])?;
    let header = Header::parse(raw).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "an MP3 frame was due, but none begins here")
    })?;
    frame.clear();
    frame.extend_from_slice(&raw);
    frame.resize(header.bytes(), 0);
    reader.read_exact(&mut frame[4..])?;
    Ok(Some(header))
}

/// The first frame starts a row of at least two (or is all there is).
pub fn looks_like_mp3(bytes: &[u8]) -> bool {
    let header_at = |at: usize| bytes.get(at..)?.first_chunk::<4>().copied().and_then(Header::parse);
    (0..bytes.len().min(4096)).any(|at| {
        header_at(at).is_some_and(|header| {
            let next = at + header.bytes();
            header_at(next).is_some_and(|next| next.sample_rate == header.sample_rate) || next == bytes.len()
        })
    })
}

/// How many bytes the last frame lacks, when frames run on to the end of `bytes` and the last one is cut short.
pub fn cut_off(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut previous: Option<Header> = None;
    while let Some(raw) = bytes[at..].first_chunk::<4>() {
        match Header::parse(*raw) {
            Some(header) if previous.is_none_or(|previous| previous.sample_rate == header.sample_rate) => {
                let next = at + header.bytes();
                if next > bytes.len() {
                    return previous.map(|_| next - bytes.len());
                }
                previous = Some(header);
                at = next;
            }
            _ => {
                previous = None;
                at += 1;
            }
        }
    }
    None
}

/// Length of the ID3v2 tag at the start of `bytes`, 0 without one. The tag's own claim: it can exceed `bytes`.
pub fn id3v2_length(bytes: &[u8]) -> usize {
    match bytes {
        [b'I', b'D', b'3', _, _, flags, a, b, c, d, ..] => {
            let size = [a, b, c, d].iter().fold(0, |size, &&byte| size << 7 | usize::from(byte & 0x7f));
            let footer = if flags & 0x10 != 0 { 10 } else { 0 };
            10 + size + footer
        }
        _ => 0,
    }
}

/// A frame of `like`'s kind that decodes to silence: no bit of it is used, so every value it could carry is zero.
pub fn silent_frame(like: &Header) -> Option<Vec<u8>> {
    let header = like.plain(like.raw[2] >> 4)?;
    let mut frame = header.raw.to_vec();
    frame.resize(header.bytes(), 0);
    Some(frame)
}

/// What players need to know before the first frame.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// Frames after the Info frame.
    pub frames: u32,
    /// Bytes of these frames.
    pub bytes: u32,
    /// Samples to leave out at the end, on top of [`ENCODER_DELAY`] at the start.
    pub padding: u32,
}

/// The first frame of a file of frames like `like`: silence to a decoder, and to players the number of frames, a table for
/// seeking, and how many samples to leave out at both ends.
pub fn info_frame(like: &Header, info: Info) -> Option<Vec<u8>> {
    // As in LAME, a small frame is exchanged for the next size that holds the tag.
    let header = (like.raw[2] >> 4..15)
        .filter_map(|index| like.plain(index))
        .find(|header| header.bytes() >= 4 + header.side_info_bytes() + INFO_TAG_BYTES)?;
    let whole = info.bytes + header.bytes() as u32;
    let mut frame = header.raw.to_vec();
    frame.resize(4 + header.side_info_bytes(), 0);
    frame.extend_from_slice(b"Info\0\0\0\x0f");
    frame.extend_from_slice(&info.frames.to_be_bytes());
    frame.extend_from_slice(&whole.to_be_bytes());
    // Place `n` is where `n` percent of the time has passed, in 256ths of the file: a line at a constant bit rate.
    frame.extend((0..100u32).map(|percent| (percent * 256 / 100) as u8));
    frame.extend_from_slice(&0u32.to_be_bytes());
    frame.extend_from_slice(b"LAME3.100");
    // Revision 0 with constant bit rate, then no low-pass, replay gain or flags to tell.
    frame.extend_from_slice(&[0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    frame.push(header.bitrate_kbps.min(255) as u8);
    let gap = (ENCODER_DELAY as u32) << 12 | info.padding.min(0xfff);
    frame.extend_from_slice(&gap.to_be_bytes()[1..]);
    frame.extend_from_slice(&[0, 0, 0, 0]);
    frame.extend_from_slice(&whole.to_be_bytes());
    frame.extend_from_slice(&[0, 0]);
    let checksum = crc16(&frame);
    frame.extend_from_slice(&checksum.to_be_bytes());
    frame.resize(header.bytes(), 0);
    Some(frame)
}

/// CRC-16/ARC, as LAME signs its tag.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte), |crc: u16, _| crc >> 1 ^ if crc & 1 == 1 { 0xa001 } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_header(raw: [u8; 4], expected: Option<(u32, u32, usize, u64)>) {
        let found = Header::parse(raw).map(|h| (h.sample_rate, h.bitrate_kbps, h.bytes(), h.samples()));
        assert_eq!(found, expected, "{raw:x?}");
    }

    #[test]
    fn headers_are_read() {
        check_header([0xff, 0xf3, 0x84, 0xc4], Some((24_000, 64, 192, 576)));
        check_header([0xff, 0xfb, 0x70, 0xc4], Some((44_100, 96, 313, 1152)));
        check_header([0xff, 0xfb, 0x72, 0xc4], Some((44_100, 96, 314, 1152)));
        check_header([0xff, 0xe3, 0x84, 0xc4], Some((12_000, 64, 384, 576)));
        check_header([0xff, 0xf5, 0x84, 0xc4], None);
        check_header([0xff, 0xf3, 0x04, 0xc4], None);
        check_header([0xff, 0xf3, 0xf4, 0xc4], None);
        check_header([0xff, 0xf3, 0x8c, 0xc4], None);
        check_header([0xfe, 0xf3, 0x84, 0xc4], None);
    }

    #[test]
    fn checksum_is_arc() {
        assert_eq!(crc16(b"123456789"), 0xbb3d);
    }

    #[test]
    fn info_frames_fit_every_bit_rate() {
        for kind in [0xf3, 0xfb] {
            for index in 4..14u8 {
                let like =
                    Header::parse([0xff, kind, index << 4 | if kind == 0xf3 { 4 } else { 0 }, 0xc0]).unwrap();
                let frame = info_frame(&like, Info { frames: 9, bytes: 999, padding: 576 }).unwrap();
                let header = Header::parse(*frame.first_chunk().unwrap()).unwrap();
                assert_eq!(frame.len(), header.bytes());
                assert_eq!((header.sample_rate, header.mono), (like.sample_rate, true));
            }
        }
    }

    #[test]
    fn a_cut_frame_is_noticed() {
        let like = Header::parse([0xff, 0xf3, 0x84, 0xc4]).unwrap();
        let frames = silent_frame(&like).unwrap().repeat(5);
        assert_eq!(cut_off(&frames), None);
        assert_eq!(cut_off(&frames[..frames.len() - 7]), Some(7));
        assert_eq!(cut_off(&[&frames[..], b"TAG and what else an old tag holds"].concat()), None);
        assert!(looks_like_mp3(&frames) && !looks_like_mp3(b"no frames at all"));
    }
}
