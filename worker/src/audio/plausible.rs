//! Can a recording of this length be this text?

use super::{Rejected, SAMPLE_RATE};

/// Compares the length with what the text takes to say. The bounds are wide: voices and speeds differ, but not by this much.
pub(super) fn check_length(samples: usize, text: &str) -> Result<(), Rejected> {
    let expected = seconds_to_say(text);
    if expected < 0.7 {
        return Ok(());
    }
    let seconds = samples as f64 / f64::from(SAMPLE_RATE);
    let (shortest, longest) = (expected * 0.25, expected * 3.0 + 3.0);
    if seconds < shortest {
        return Err(Rejected::TooShort { seconds, limit: shortest });
    }
    if seconds > longest {
        return Err(Rejected::TooLong { seconds, limit: longest });
    }
    Ok(())
}

/// A Hangul syllable, kana or Han character is a syllable or two, at about 6 a second. Alphabets are spoken at about 13
/// letters a second. A digit is a word.
fn seconds_to_say(text: &str) -> f64 {
    text.chars()
        .map(|c| match c {
            _ if !c.is_alphanumeric() => 0.0,
            '\u{1100}'..='\u{11ff}'
            | '\u{2e80}'..='\u{9fff}'
            | '\u{ac00}'..='\u{d7af}'
            | '\u{f900}'..='\u{faff}' => 1.0 / 6.0,
            _ if c.is_numeric() => 0.25,
            _ => 1.0 / 13.0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(ms: usize, text: &str, expected: Option<&str>) {
        let found = check_length(ms * 24, text);
        let found = found.err().map(|error| match error {
            Rejected::TooShort { .. } => "short",
            Rejected::TooLong { .. } => "long",
            other => panic!("{other}"),
        });
        assert_eq!(found, expected, "{text:?} in {ms} ms");
    }

    #[test]
    fn length_must_suit_the_text() {
        let english = "It is not about speed, she says; it is about never losing a single thing on the way.";
        check_text(4_500, english, None);
        check_text(2_000, english, None);
        check_text(900, english, Some("short"));
        check_text(30_000, english, Some("long"));
        let korean = "오늘은 메시지 큐가 무엇인지 처음부터 끝까지 이야기해 보겠습니다.";
        check_text(4_500, korean, None);
        check_text(2_000, korean, None);
        check_text(900, korean, Some("short"));
        check_text(30_000, korean, Some("long"));
        check_text(100, "네!", None);
        check_text(100, "Yes, yes.", None);
        check_text(3_500, "1984", None);
    }
}
