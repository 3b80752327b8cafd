//! How much there is to say: the unit in which lengths are budgeted.

use super::{is_hangul, is_unspaced, normalise, primary};

/// What is counted, because it takes about equally long to say within a language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Words,
    Syllables,
    Characters,
}

/// Letters of a word of usual length. Long words take longer: half of a word's weight is its own, half its letters'.
const LETTERS_A_WORD: f64 = 5.0;

/// The length of a text as it is spoken, in units of its language: words of usual length where they are spaced, syllables
/// in Korean, characters in Chinese, Japanese and other scripts that do not space words. Numbers count as they are said.
pub fn speakable_units(text: &str, language: &str) -> f64 {
    let spoken = normalise::spoken(text, language);
    match unit(language) {
        Unit::Words => {
            let words = spoken.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count();
            let letters = spoken.chars().filter(|c| c.is_alphanumeric()).count();
            (words as f64 + letters as f64 / LETTERS_A_WORD) / 2.0
        }
        Unit::Syllables => spoken.split_whitespace().map(syllables).sum::<usize>() as f64,
        Unit::Characters => spoken.chars().filter(|c| c.is_alphanumeric()).count() as f64,
    }
}

/// Whether lengths in this language are words of usual length.
pub fn counts_words(language: &str) -> bool {
    unit(language) == Unit::Words
}

fn unit(language: &str) -> Unit {
    match primary(language).as_str() {
        "ko" => Unit::Syllables,
        "ja" | "zh" | "yue" | "th" | "lo" | "km" | "my" => Unit::Characters,
        _ => Unit::Words,
    }
}

/// Syllables in one Korean word; foreign letters are said as a word of about three letters a syllable.
fn syllables(word: &str) -> usize {
    let (mut whole, mut letters) = (0usize, 0usize);
    for c in word.chars() {
        if is_hangul(c) || is_unspaced(c) {
            whole += 1;
        } else if c.is_alphanumeric() {
            letters += 1;
        }
    }
    whole + letters.div_ceil(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_follow_the_language() {
        let check = |text: &str, language: &str, expected: f64| {
            let found = speakable_units(text, language);
            assert!((found - expected).abs() < 0.05, "{text} ({language}): {found}");
        };
        check("Words whose seven parts count seven.", "en", 6.0);
        check("A b c!", "en-GB", 1.8);
        check("3.5 m.", "en", 3.95);
        check("밀물이 들어온다.", "ko", 7.0);
        check("12시 30분", "ko-KR", 6.0);
        check("NASA는", "ko", 3.0);
        check("Kubernetes", "ko", 4.0);
        check("潮が満ちる。", "ja", 5.0);
        check("你好，世界！", "zh-Hans", 4.0);
        check("", "en", 0.0);
        check("… — !", "ko", 0.0);
    }
}
