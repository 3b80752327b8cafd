//! Server-sent events, as the HTML standard describes them (section 9.2.6), from pieces of bytes.

use anyhow::bail;

/// A line longer than this is no event of ours.
const LONGEST_LINE: usize = 1 << 20;

/// Puts messages together. Feed it whatever arrives; it returns the data of those that are complete. Their names and numbers
/// are dropped: ours carry both in the data too.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    data: String,
    /// The last byte was a CR: an LF that follows belongs to it.
    after_cr: bool,
    past_first_line: bool,
}

impl Parser {
    pub(super) fn feed(&mut self, bytes: &[u8]) -> anyhow::Result<Vec<String>> {
        let mut complete = Vec::new();
        for &byte in bytes {
            let second_half = byte == b'\n' && self.after_cr;
            self.after_cr = byte == b'\r';
            match byte {
                _ if second_half => {}
                b'\r' | b'\n' => complete.extend(self.end_line()),
                _ if self.line.len() >= LONGEST_LINE => bail!("an event is longer than {LONGEST_LINE} bytes"),
                _ => self.line.push(byte),
            }
        }
        Ok(complete)
    }

    fn end_line(&mut self) -> Option<String> {
        let bytes = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&bytes);
        let line = if self.past_first_line { &*line } else { line.strip_prefix('\u{feff}').unwrap_or(&line) };
        self.past_first_line = true;
        if line.is_empty() {
            let mut data = std::mem::take(&mut self.data);
            // Each line of data ended with a line feed; the last one is not part of it.
            return data.pop().map(|_| data);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        if field == "data" {
            self.data.push_str(value);
            self.data.push('\n');
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same messages must come out however the bytes are cut.
    fn check(text: &str, expected: &[&str]) {
        for size in [1, 2, 3, 7, text.len().max(1)] {
            let mut parser = Parser::default();
            let found: Vec<String> =
                text.as_bytes().chunks(size).flat_map(|chunk| parser.feed(chunk).unwrap()).collect();
            assert_eq!(found, expected, "{text:?} in pieces of {size}");
        }
    }

    #[test]
    fn messages_end_with_an_empty_line() {
        check("id: 1\nevent: progress\ndata: {}\n\n", &["{}"]);
        check("data: unfinished\n", &[]);
        check("data: a\n\ndata: b\n\n", &["a", "b"]);
    }

    #[test]
    fn every_kind_of_line_end_counts() {
        check("data: a\r\n\r\ndata: b\r\rdata: c\n\n", &["a", "b", "c"]);
    }

    #[test]
    fn data_may_have_several_lines_and_one_leading_blank_is_dropped() {
        check("data:  two\ndata:한국어\ndata\n\n", &[" two\n한국어\n"]);
    }

    #[test]
    fn comments_and_messages_without_data_are_nothing() {
        check(": keep-alive\n\nevent: x\n\nretry: 5\n\n", &[]);
    }

    #[test]
    fn a_byte_order_mark_is_dropped_at_the_start_only() {
        check("\u{feff}data: a\n\n\u{feff}data: b\n\n", &["a"]);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = Parser::default();
        assert!(parser.feed(&vec![b'x'; LONGEST_LINE + 1]).is_err());
    }
}
