//! Rewriting what an engine would misread. Only engines that need it call this, on the way to their voice: transcripts
//! and segments keep the words as they were written.

mod english;
mod korean;
mod scan;
mod symbols;

use std::borrow::Cow;

pub(super) use symbols::with_times_signs;

/// Part of the name of cached speech: raised whenever the same text would be rewritten differently.
pub const VERSION: u32 = 4;

/// The text as the voice should read it: numbers, units, dates, money and acronyms as a Korean or an English speaker says
/// them, and in every language without marks that a voice would name (`asterisk`).
pub fn spoken<'a>(text: &'a str, language: &str) -> Cow<'a, str> {
    let multiplied = symbols::with_times_signs(text);
    let unified = symbols::unified(&multiplied);
    let read = match super::primary(language).as_str() {
        "ko" => korean::spoken(&symbols::with_one_unit(&unified)),
        "en" => english::spoken(&symbols::with_one_unit(&unified)),
        _ => unified.into_owned(),
    };
    let spoken = symbols::without_marks(&read);
    if spoken == text { Cow::Borrowed(text) } else { Cow::Owned(spoken) }
}

/// The text for a voice that reads numbers by itself: without marks that it would name.
pub fn unmarked(text: &str) -> Cow<'_, str> {
    let unmarked = symbols::without_markup(&symbols::with_times_signs(text));
    if unmarked == text { Cow::Borrowed(text) } else { Cow::Owned(unmarked) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_languages_lose_only_what_is_no_language() {
        assert!(matches!(spoken("3,5 % und 1.200 Euro, z. B. heute.", "de"), Cow::Borrowed(_)));
        assert_eq!(spoken("Ein *Stern* und `Code_stück` | Ende", "de"), "Ein Stern und Code stück, Ende");
    }

    #[test]
    fn voices_that_read_numbers_get_them_as_they_are() {
        let check = |text: &str, expected: &str| assert_eq!(unmarked(text), expected);
        check("*3~5* of #1 & `a_b` | $2 < 3% 😀", "3~5 of #1 & a b, $2 < 3%");
        check("5*3*2 of *5* and 4 * 3", "5×3×2 of 5 and 4 × 3");
        check("■ 소제목 ※ 참고", "소제목 참고");
        assert!(matches!(unmarked("The sea (3.5 m) comes back."), Cow::Borrowed(_)));
    }

    #[test]
    fn text_that_needs_nothing_is_not_copied() {
        assert!(matches!(spoken("The sea comes back.", "en-GB"), Cow::Borrowed(_)));
        assert!(matches!(spoken("바다는 돌아온다.", "ko-KR"), Cow::Borrowed(_)));
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_said(text in "(\\PC|[0-9]{1,5}|[-.,:/~%$₩(°²']| |[A-Z]{1,4}|개|km|시|bn|May ){0,24}") {
            for language in ["ko", "en", "de"] {
                let _ = spoken(&text, language);
            }
        }

        /// Whatever is written, no digit and no mark reaches a Korean or an English voice, and words in between stay.
        #[test]
        fn no_digit_is_left(text in "[0-9.,:/~%$₩ a-zA-Z개년월일시만원*_|-]{0,40}") {
            for language in ["ko", "en"] {
                let said = spoken(&text, language);
                proptest::prop_assert!(!said.contains(|c: char| c.is_ascii_digit() || "*_|".contains(c)), "{:?}", said);
            }
        }
    }
}
