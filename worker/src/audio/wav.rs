//! What a WAV file really holds, whatever its header says about lengths.

use super::Rejected;

/// Sizes from here up are what writers put that cannot go back to fill them in (0x7FFFF000, 0xFFFFFFFF and the like).
const UNKNOWN: u32 = 0x7000_0000;
/// How much of the announced audio may be missing before the recording counts as cut off.
const TOLERATED_MS: u64 = 50;
/// Speech has one or two; the decoder's arithmetic overflows from numbers that only a damaged header has.
const MAX_CHANNELS: u16 = 8;
/// The tag of a format with a channel mask, and where that is.
const EXTENSIBLE: [u8; 2] = 0xfffe_u16.to_le_bytes();
const MASK: std::ops::Range<usize> = 20..24;

/// A copy of the file with only its format and its audio, whose header tells the truth.
pub(crate) fn rebuild(bytes: &[u8]) -> Result<Vec<u8>, Rejected> {
    let mut format = None;
    let mut at = 12;
    while let Some((name, size)) = chunk_header(bytes, at) {
        let body = at + 8;
        match &name {
            b"fmt " => format = bytes.get(body..body.saturating_add(size as usize)),
            b"data" => {
                let format =
                    format.ok_or_else(|| Rejected::Damaged("its format comes after its audio".into()))?;
                let length = audio_length(&bytes[body..], size, bytes_per_second(format))?;
                return assemble(format, &bytes[body..body + length]);
            }
            _ => {}
        }
        at = next_chunk(body, size);
    }
    Err(Rejected::Empty)
}

fn assemble(format: &[u8], audio: &[u8]) -> Result<Vec<u8>, Rejected> {
    if audio.is_empty() {
        return Err(Rejected::Empty);
    }
    let format = without_mask(format)?;
    let size = |bytes: usize| (bytes as u32).to_le_bytes();
    let padding = format.len() % 2;
    let mut file = Vec::with_capacity(28 + format.len() + padding + audio.len());
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&size(20 + format.len() + padding + audio.len()));
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&size(format.len()));
    file.extend_from_slice(&format);
    file.resize(file.len() + padding, 0);
    file.extend_from_slice(b"data");
    file.extend_from_slice(&size(audio.len()));
    file.extend_from_slice(audio);
    Ok(file)
}

/// The format without its channel mask: all channels are averaged, and masks that say nonsense make the decoder panic.
fn without_mask(format: &[u8]) -> Result<Vec<u8>, Rejected> {
    let channels = format.get(2..4).map_or(0, |field| u16::from_le_bytes([field[0], field[1]]));
    if channels == 0 || channels > MAX_CHANNELS {
        return Err(Rejected::Damaged(format!("its header announces {channels} channels")));
    }
    let mut format = format.to_vec();
    if format.starts_with(&EXTENSIBLE)
        && let Some(mask) = format.get_mut(MASK)
    {
        mask.fill(0);
    }
    Ok(format)
}

/// The bytes of audio in `rest`, which begins with it, where the header claims `claimed`.
fn audio_length(rest: &[u8], claimed: u32, bytes_per_second: u64) -> Result<usize, Rejected> {
    let there = rest.len();
    let wanted = claimed as usize;
    if claimed >= UNKNOWN {
        return Ok(there);
    }
    if wanted > there {
        let missing_ms = (wanted - there) as u64 * 1000 / bytes_per_second.max(1);
        if missing_ms > TOLERATED_MS {
            return Err(Rejected::Truncated(format!("its header announces {missing_ms} ms more")));
        }
        return Ok(there);
    }
    // A header that was written before the audio (0, or the first piece's size) is followed by more audio, a true one by
    // more chunks or nothing.
    Ok(if only_chunks(rest, next_chunk(0, claimed)) { wanted } else { there })
}

fn only_chunks(bytes: &[u8], mut at: usize) -> bool {
    while at < bytes.len() {
        match chunk_header(bytes, at) {
            Some((name, size)) if name.iter().all(|byte| (b' '..=b'~').contains(byte)) => {
                at = next_chunk(at + 8, size);
            }
            _ => return false,
        }
    }
    at <= bytes.len() + 1
}

fn chunk_header(bytes: &[u8], at: usize) -> Option<([u8; 4], u32)> {
    let header = bytes.get(at..at.checked_add(8)?)?;
    let (name, size) = header.split_at(4);
    Some((name.try_into().ok()?, u32::from_le_bytes(size.try_into().ok()?)))
}

/// Chunks begin at even places.
fn next_chunk(body: usize, size: u32) -> usize {
    body.saturating_add(size as usize).saturating_add((size % 2) as usize)
}

fn bytes_per_second(format: &[u8]) -> u64 {
    format.get(8..12).and_then(|field| field.try_into().ok()).map_or(0, u32::from_le_bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(claimed: u32, audio: &[u8], after: &[u8]) -> Vec<u8> {
        let mut file = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        file.extend_from_slice(&24_000u32.to_le_bytes());
        file.extend_from_slice(&48_000u32.to_le_bytes());
        file.extend_from_slice(b"\x02\0\x10\0LIST\x03\0\0\0abc\0data");
        file.extend_from_slice(&claimed.to_le_bytes());
        file.extend_from_slice(audio);
        file.extend_from_slice(after);
        file
    }

    fn check(claimed: u32, length: usize, after: &[u8], expected: Result<usize, Rejected>) {
        let audio = vec![0x80; length];
        let found = rebuild(&wav(claimed, &audio, after));
        assert_eq!(found.map(|file| file.len() - 44), expected, "claimed {claimed} of {length}");
    }

    #[test]
    fn lengths_are_found_out() {
        check(9_600, 9_600, b"", Ok(9_600));
        check(9_600, 9_600, b"LIST\x04\0\0\0abcd", Ok(9_600));
        check(0xFFFF_FFFF, 9_600, b"", Ok(9_600));
        check(0x7FFF_F000, 9_600, b"", Ok(9_600));
        check(0, 9_600, b"", Ok(9_600));
        check(4_800, 9_600, b"", Ok(9_600));
        check(9_700, 9_600, b"", Ok(9_600));
        check(0, 0, b"", Err(Rejected::Empty));
        check(0, 0, b"LIST\x04\0\0\0abcd", Err(Rejected::Empty));
        check(0xFFFF_FFFF, 0, b"", Err(Rejected::Empty));
        check(96_000, 48_000, b"", Err(Rejected::Truncated("its header announces 1000 ms more".into())));
    }

    #[test]
    fn nonsense_about_channels_reaches_no_decoder() {
        let mut file = wav(8, &[0; 8], &[]);
        file[22..24].copy_from_slice(&40_000_u16.to_le_bytes());
        let told = rebuild(&file).unwrap_err().to_string();
        assert!(told.contains("40000 channels"), "{told}");
        let mut extensible = EXTENSIBLE.to_vec();
        extensible.extend([2, 0]);
        extensible.extend([0; 16]);
        extensible.extend([0xff; 4]);
        assert_eq!(without_mask(&extensible).unwrap()[MASK], [0; 4]);
        assert_eq!(without_mask(&extensible).unwrap()[..20], extensible[..20]);
    }

    #[test]
    fn a_header_without_audio_is_empty() {
        assert_eq!(rebuild(b"RIFF\0\0\0\0WAVE"), Err(Rejected::Empty));
        assert_eq!(rebuild(&wav(0, b"", b"")[..30]), Err(Rejected::Empty));
    }
}
