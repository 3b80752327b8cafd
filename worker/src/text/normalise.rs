//! Rewriting what an engine would misread. Only engines that need it call this, on the way to their voice: transcripts
//! and segments keep the words as they were written.

use std::borrow::Cow;

/// Part of the name of cached speech: raised whenever the same text would be rewritten differently.
pub const VERSION: u32 = 1;

/// The text as the voice should read it.
pub fn spoken<'a>(text: &'a str, language: &str) -> Cow<'a, str> {
    match super::primary(language).as_str() {
        "ko" if text.contains(|c: char| c.is_ascii_digit()) => Cow::Owned(korean(text)),
        _ => Cow::Borrowed(text),
    }
}

/// espeak-ng reads `3.5` as "three, five", and `%` with an English voice.
fn korean(text: &str) -> String {
    let mut spoken = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from_number) = rest.split_at(start);
        spoken.push_str(before);
        let end = from_number
            .find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',')
            .unwrap_or(from_number.len());
        // A full stop or a comma at the end belongs to the sentence.
        let number = from_number[..end].trim_end_matches(['.', ',']);
        spoken.push_str(&korean_number(number));
        rest = &from_number[number.len()..];
        if let Some(after) = rest.strip_prefix(['%', '％']) {
            spoken.push_str("퍼센트");
            rest = after;
        }
    }
    spoken.push_str(rest);
    spoken
}

/// `3.5` → `3점 5`, `3.14` → `3점 일사`. What is no decimal (`2024.3.5`, `1,000`) stays.
fn korean_number(number: &str) -> String {
    let Some((whole, fraction)) = number.split_once('.') else { return number.to_owned() };
    if whole.is_empty() || fraction.is_empty() || fraction.contains(['.', ',']) {
        return number.to_owned();
    }
    match fraction {
        "0" => format!("{whole}점 영"),
        _ if fraction.len() == 1 => format!("{whole}점 {fraction}"),
        _ => format!("{whole}점 {}", fraction.chars().map(korean_digit).collect::<String>()),
    }
}

fn korean_digit(digit: char) -> char {
    digit.to_digit(10).and_then(|value| "영일이삼사오육칠팔구".chars().nth(value as usize)).unwrap_or(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn korean_numbers_are_read_as_a_person_reads_them() {
        let check = |text: &str, expected: &str| assert_eq!(spoken(text, "ko-KR"), expected);
        check("염도는 3.5퍼센트다.", "염도는 3점 5퍼센트다.");
        check("염도는 3.5%다.", "염도는 3점 5퍼센트다.");
        check("원주율은 3.14다.", "원주율은 3점 일사다.");
        check("3.05와 3.0", "3점 영오와 3점 영");
        check("2024.3.5. 발표", "2024.3.5. 발표");
        check("1,000원과 1,234.5원", "1,000원과 1,234점 5원");
        check("모두 12.", "모두 12.");
        check("수 3, 4", "수 3, 4");
        check("숫자 없음 %", "숫자 없음 %");
    }

    #[test]
    fn other_languages_are_left_alone() {
        assert!(matches!(spoken("3.5 %", "en"), Cow::Borrowed(_)));
    }
}
