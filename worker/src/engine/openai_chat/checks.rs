//! Whether text can be said aloud, and in which language it is.

use common::language::certain_by_words;

use crate::text::{is_hangul, is_speakable, is_unspaced, primary};

/// Letters by which a language that shares its alphabet can be told at the latest; scripts of one language need fewer.
const ENOUGH_LETTERS: usize = 200;
const ENOUGH_OF_ITS_OWN_SCRIPT: usize = 40;
/// A bracket with more in it is part of what is said.
const LONGEST_DIRECTION: usize = 60;

/// A turn's text as it is said: emphasis, a speaker's name in front, stage directions and emojis are taken out. What cannot be
/// said aloud and cannot be taken out without loss is an error that names it.
pub(super) fn spoken<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Result<String, String> {
    let mut text: String = text.chars().filter(|c| !is_picture(*c) && !is_unwritten(*c)).collect();
    for name in names {
        let trimmed = text.trim_start_matches(['*', ' ', '\n']);
        let rest = trimmed.strip_prefix(name).map(|rest| rest.trim_start_matches('*'));
        if let Some(said) = rest.and_then(|rest| rest.trim_start().strip_prefix([':', '：'])) {
            text = said.to_owned();
            break;
        }
    }
    let text = without_directions(&text);
    let text: String = text.lines().map(without_line_mark).collect::<Vec<_>>().join(" ");
    let text = text.replace("**", "").replace("__", "").replace(['`', '*'], "");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match unspeakable(&text) {
        Some(what) => Err(format!("it has {what} in it, which nobody can say aloud")),
        None if !is_speakable(&text) => Err("it says nothing".to_owned()),
        None => Ok(text),
    }
}

/// What in a text nobody says aloud.
pub(super) fn unspeakable(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    let entity = |text: &str| {
        ["&amp;", "&nbsp;", "&lt;", "&gt;", "&quot;", "&#"].iter().any(|entity| text.contains(entity))
    };
    let tag = text.match_indices('<').any(|(at, _)| {
        let mut rest = text[at + 1..].chars();
        rest.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/') && text[at..].contains('>')
    });
    if ["http://", "https://", "www."].iter().any(|start| lower.contains(start)) {
        Some("an address")
    } else if text.contains("](") {
        Some("a link")
    } else if tag {
        Some("a tag")
    } else if entity(&lower) {
        Some("an HTML entity")
    } else if text.matches('|').count() >= 2 {
        Some("a table")
    } else if text.contains(['{', '}', '\\']) {
        Some("code")
    } else {
        None
    }
}

/// `[laughs]`, `(웃음)`, `[MUSIC]`: letters alone in square brackets, or a short one in round ones that stands alone.
fn without_directions(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('[') {
        let inside = &rest[start + 1..];
        let direction = inside.find(']').filter(|end| {
            let words = &inside[..*end];
            words.chars().count() <= LONGEST_DIRECTION
                && words.chars().all(|c| c.is_alphabetic() || matches!(c, ' ' | ',' | '\'' | '-'))
                && !inside[end + 1..].starts_with('(')
        });
        kept.push_str(&rest[..start]);
        let end = match direction {
            Some(end) => start + end + 2,
            None => {
                kept.push('[');
                start + 1
            }
        };
        rest = &rest[end..];
    }
    kept.push_str(rest);
    const LAUGHTER: [&str; 8] =
        ["(laughs)", "(laughing)", "(chuckles)", "(sighs)", "(pause)", "(웃음)", "(웃으며)", "(잠시)"];
    LAUGHTER.iter().fold(kept, |text, direction| text.replace(direction, ""))
}

fn without_line_mark(line: &str) -> &str {
    let line = line.trim();
    let heading = line.trim_start_matches('#');
    let line =
        if heading.len() < line.len() && heading.starts_with(' ') { heading.trim_start() } else { line };
    ["- ", "* ", "• ", "> "].iter().find_map(|mark| line.strip_prefix(mark)).unwrap_or(line)
}

/// Nobody says it and the database keeps no NUL; what separates words stays.
fn is_unwritten(c: char) -> bool {
    c.is_control() && !c.is_whitespace()
}

fn is_picture(c: char) -> bool {
    matches!(c, '\u{200B}' | '\u{FEFF}' | '\u{FE0F}' | '\u{2600}'..='\u{27BF}' | '\u{1F000}'..='\u{1FAFF}')
}

/// Whether a text is in the language asked for, as far as that can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tongue {
    Right,
    /// What it looks like instead.
    Wrong(String),
    /// Too little text yet.
    Unknown,
}

pub(super) fn tongue(text: &str, language: &str) -> Tongue {
    let language = primary(language);
    let letters: Vec<char> = text.chars().filter(|c| c.is_alphabetic()).take(4_000).collect();
    let share = |is: &dyn Fn(char) -> bool| {
        letters.iter().filter(|c| is(**c)).count() as f64 / letters.len().max(1) as f64
    };
    let (hangul, unspaced) = (share(&is_hangul), share(&is_unspaced));
    let kana = share(&|c| matches!(c, '\u{3040}'..='\u{30FF}'));
    if letters.len() < ENOUGH_OF_ITS_OWN_SCRIPT {
        return Tongue::Unknown;
    }
    let looks = if hangul > 0.3 {
        "ko"
    } else if kana > 0.1 {
        "ja"
    } else if unspaced > 0.4 {
        "zh"
    } else {
        "other"
    };
    let asked = match language.as_str() {
        "yue" | "zh" | "cmn" => "zh",
        "ko" | "ja" => language.as_str(),
        _ => "other",
    };
    if looks != asked {
        let found = if looks == "other" {
            alphabetic(text).unwrap_or("another language").to_owned()
        } else {
            looks.to_owned()
        };
        return Tongue::Wrong(found);
    }
    if asked != "other" {
        return Tongue::Right;
    }
    let found = alphabetic(text);
    if letters.len() < ENOUGH_LETTERS {
        // Somebody waits to hear the first turn: what is certain to be right need not become longer.
        let certain = found.or_else(|| certain_by_words(text));
        return if certain.is_some_and(|found| akin(found, &language)) {
            Tongue::Right
        } else {
            Tongue::Unknown
        };
    }
    match found {
        Some(found) if known(&language) && !akin(found, &language) => Tongue::Wrong(found.to_owned()),
        _ => Tongue::Right,
    }
}

/// By what the letters of many texts are like; only what is certain.
fn alphabetic(text: &str) -> Option<&'static str> {
    let end = text.char_indices().nth(4_000).map_or(text.len(), |(end, _)| end);
    let found = whatlang::detect(&text[..end]).filter(|found| found.is_reliable())?;
    CODES.iter().find(|(lang, _)| *lang == found.lang()).map(|(_, code)| *code)
}

const CODES: &[(whatlang::Lang, &str)] = {
    use whatlang::Lang;
    &[
        (Lang::Eng, "en"),
        (Lang::Deu, "de"),
        (Lang::Fra, "fr"),
        (Lang::Spa, "es"),
        (Lang::Ita, "it"),
        (Lang::Por, "pt"),
        (Lang::Nld, "nl"),
        (Lang::Pol, "pl"),
        (Lang::Swe, "sv"),
        (Lang::Dan, "da"),
        (Lang::Nob, "nb"),
        (Lang::Fin, "fi"),
        (Lang::Ces, "cs"),
        (Lang::Hun, "hu"),
        (Lang::Ron, "ro"),
        (Lang::Ell, "el"),
        (Lang::Tur, "tr"),
        (Lang::Rus, "ru"),
        (Lang::Ukr, "uk"),
        (Lang::Ind, "id"),
        (Lang::Vie, "vi"),
        (Lang::Kor, "ko"),
        (Lang::Jpn, "ja"),
        (Lang::Cmn, "zh"),
    ]
};

fn known(language: &str) -> bool {
    CODES.iter().any(|(_, code)| *code == language)
}

/// Languages that are easily taken for each other.
fn akin(found: &str, asked: &str) -> bool {
    const FAMILIES: [&[&str]; 4] =
        [&["da", "nb", "nn", "no", "sv"], &["es", "pt", "gl", "ca", "it"], &["ru", "uk"], &["id", "ms"]];
    found == asked || FAMILIES.iter().any(|family| family.contains(&found) && family.contains(&asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_said_is_said_and_the_rest_is_named() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let found = spoken(text, ["Mina", "Ben"].into_iter());
            match expected {
                Ok(said) => assert_eq!(found.as_deref(), Ok(said), "{text}"),
                Err(word) => {
                    assert!(found.as_ref().is_err_and(|error| error.contains(word)), "{text}: {found:?}")
                }
            }
        };
        check("Plain words.", Ok("Plain words."));
        check("**Ben:** So *this* is it.", Ok("So this is it."));
        check("Mina: 안녕하세요 😀", Ok("안녕하세요"));
        check("Well [laughs], yes. (웃음)", Ok("Well , yes."));
        check("- First\n- Second", Ok("First Second"));
        check("So\u{0} it\u{7} is.\u{85}Yes.", Ok("So it is. Yes."));
        check("## Tides\nThey rise.", Ok("Tides They rise."));
        check("In 1687 [1] it was (so) known.", Ok("In 1687 [1] it was (so) known."));
        check("See https://example.com now", Err("an address"));
        check("See [here](x)", Err("a link"));
        check("A <b>tag</b>", Err("a tag"));
        check("2 < 3 and 4 > 1", Ok("2 < 3 and 4 > 1"));
        check("Tom &amp; Jerry", Err("entity"));
        check("| a | b |", Err("a table"));
        check("let x = {1}", Err("code"));
        check("…!", Err("says nothing"));
        check("[music]", Err("says nothing"));
    }

    #[test]
    fn languages_are_told_apart() {
        let english =
            "The tide rises twice a day because the Moon pulls at the sea, and the sea follows. ".repeat(4);
        let german = "Zweimal am Tag steigt das Wasser, weil der Mond am Meer zieht und das Meer ihm folgt. "
            .repeat(4);
        let korean =
            "갯벌은 하루에 두 번 숨을 쉬고 바다는 달을 따라 천천히 움직입니다. NASA도 그렇게 말합니다. "
                .repeat(2);
        let japanese =
            "潮は一日に二度満ちて、月に引かれた海がゆっくりと動いていくのです。とても静かな朝でした。"
                .repeat(2);
        let wrong = |found: &str| Tongue::Wrong(found.to_owned());
        let check = |text: &str, language: &str, expected: Tongue| {
            assert_eq!(tongue(text, language), expected, "{language}: {text}");
        };
        check(&english, "en-GB", Tongue::Right);
        let turn =
            "It is said that the tide of this year rises a little higher because both of them pull together.";
        check(turn, "en", Tongue::Right);
        check(turn, "de", Tongue::Unknown);
        check("The tide comes in and goes out again, and nobody waits.", "en", Tongue::Right);
        check("Die Flut kommt und geht, und niemand wartet auf das Meer.", "en", Tongue::Unknown);
        check("Zephyr kinetics, photovoltaic arrays, thermal buffer tanks.", "en", Tongue::Unknown);
        check(&english, "ko", wrong("en"));
        check(&english, "de", wrong("en"));
        check(&german, "de", Tongue::Right);
        check(&german, "en", wrong("de"));
        check(&korean, "ko-KR", Tongue::Right);
        check(&korean, "en", wrong("ko"));
        check(&korean, "ja", wrong("ko"));
        check(&japanese, "ja", Tongue::Right);
        check(&japanese, "zh", wrong("ja"));
        check("A few words.", "ko", Tongue::Unknown);
        check(&english, "sw", Tongue::Right);
    }
}
