//! Ranges of bytes (RFC 9110, section 14).

use std::ops::Range;

/// What a `Range` header asks of a representation of `size` bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of it: no range, one that we cannot read, or several (a server may ignore those).
    Whole,
    Part(Range<u64>),
    /// Nothing of it exists.
    Unsatisfiable,
}

pub(super) fn parse(header: Option<&str>, size: u64) -> Asked {
    let Some((unit, set)) = header.and_then(|header| header.split_once('=')) else { return Asked::Whole };
    let Some((first, last)) = set.trim().split_once('-') else { return Asked::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Asked::Whole;
    }
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // More digits than a number holds: beyond any size.
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (first.trim(), last.trim()) {
        ("", suffix) => match number(suffix) {
            Some(0) => Asked::Unsatisfiable,
            Some(_) if size == 0 => Asked::Unsatisfiable,
            Some(length) => Asked::Part(size.saturating_sub(length)..size),
            None => Asked::Whole,
        },
        (first, last) => {
            let Some(first) = number(first) else { return Asked::Whole };
            let last = match last {
                "" => u64::MAX,
                last => match number(last) {
                    Some(last) if last >= first => last,
                    _ => return Asked::Whole,
                },
            };
            if first >= size {
                Asked::Unsatisfiable
            } else {
                Asked::Part(first..last.saturating_add(1).min(size))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, size: u64, expected: Asked) {
        assert_eq!(parse(Some(header), size), expected, "{header} of {size}");
    }

    #[test]
    fn parts_are_cut_to_the_size() {
        check("bytes=0-99", 1000, Asked::Part(0..100));
        check("bytes=0-0", 1000, Asked::Part(0..1));
        check("bytes=900-", 1000, Asked::Part(900..1000));
        check("bytes=900-5000", 1000, Asked::Part(900..1000));
        check("bytes=-100", 1000, Asked::Part(900..1000));
        check("bytes=-5000", 1000, Asked::Part(0..1000));
        check("Bytes = 1 - 2 ", 1000, Asked::Part(1..3));
        check("bytes=0-99999999999999999999999", 1000, Asked::Part(0..1000));
    }

    #[test]
    fn what_does_not_exist_cannot_be_had() {
        check("bytes=1000-", 1000, Asked::Unsatisfiable);
        check("bytes=99999999999999999999999-", 1000, Asked::Unsatisfiable);
        check("bytes=-0", 1000, Asked::Unsatisfiable);
        check("bytes=0-", 0, Asked::Unsatisfiable);
        check("bytes=-1", 0, Asked::Unsatisfiable);
    }

    #[test]
    fn what_cannot_be_read_is_ignored() {
        assert_eq!(parse(None, 10), Asked::Whole);
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-2",
            "bytes=0-1,4-5",
            "lines=0-1",
            "bytes=+1-2",
        ] {
            check(header, 10, Asked::Whole);
        }
    }
}
