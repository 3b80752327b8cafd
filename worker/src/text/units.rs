//! How much there is to say: the unit in which lengths are budgeted, and how many of them fill a minute.

use super::{is_hangul, is_unspaced, primary};

/// What is counted, because it takes about equally long to say within a language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Words,
    Syllables,
    Characters,
}

/// The length of a text in units of its language: words where they are spaced, syllables in Korean, characters in
/// Chinese, Japanese and other scripts that do not space words.
pub fn speakable_units(text: &str, language: &str) -> u32 {
    let units = match unit(language) {
        Unit::Words => text.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count(),
        Unit::Syllables => text.split_whitespace().map(syllables).sum(),
        Unit::Characters => text.chars().filter(|c| c.is_alphanumeric()).count(),
    };
    u32::try_from(units).unwrap_or(u32::MAX)
}

/// Units that fill a minute of an episode as the built-in speech engine says them, pauses included. Measured with
/// espeak-ng 1.51 at its default speed: the samples as whole episodes (English 189, Korean 293), a paragraph each with
/// half a second of pause every nine (German 181, French 242, Spanish 212, Russian 151, Finnish 128). The rest are
/// estimates.
pub fn per_minute(language: &str) -> u32 {
    match primary(language).as_str() {
        "en" => 190,
        "ko" => 295,
        "de" | "nl" => 180,
        "fr" => 240,
        "es" | "it" | "pt" | "ro" => 210,
        "ru" | "uk" | "pl" | "cs" => 150,
        "fi" | "hu" | "tr" => 130,
        "ja" => 320,
        "zh" | "yue" => 240,
        "th" | "lo" | "km" | "my" => 600,
        _ => 180,
    }
}

fn unit(language: &str) -> Unit {
    match primary(language).as_str() {
        "ko" => Unit::Syllables,
        "ja" | "zh" | "yue" | "th" | "lo" | "km" | "my" => Unit::Characters,
        _ => Unit::Words,
    }
}

/// Syllables in one Korean word. A digit is about a syllable and a half with its place value, foreign letters are said
/// as a word of about three letters a syllable.
fn syllables(word: &str) -> usize {
    let (mut whole, mut digits, mut letters) = (0usize, 0usize, 0usize);
    for c in word.chars() {
        if is_hangul(c) || is_unspaced(c) {
            whole += 1;
        } else if c.is_ascii_digit() {
            digits += 1;
        } else if c.is_alphanumeric() {
            letters += 1;
        }
    }
    whole + (digits * 3).div_ceil(2) + letters.div_ceil(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_follow_the_language() {
        let check = |text: &str, language: &str, expected: u32| {
            assert_eq!(speakable_units(text, language), expected, "{text} ({language})");
        };
        check("The tide rises twice a day.", "en", 6);
        check("Rock — paper — scissors!", "en-GB", 3);
        check("It don't matter: 3.5 m.", "en", 5);
        check("밀물이 들어온다.", "ko", 7);
        check("밀물이 들어온다.", "ko-KR", 7);
        check("12시", "ko", 4);
        check("NASA는", "ko", 3);
        check("潮が満ちる。", "ja", 5);
        check("你好，世界！", "zh-Hans", 4);
        check("", "en", 0);
        check("… — !", "ko", 0);
    }
}
