//! The words around a full stop: abbreviations, initials, ordinals, and words that begin sentences.

/// Never the end of a sentence; capitals do not matter.
const NEVER_LAST: &[&str] = &[
    "mr", "mrs", "ms", "dr", "prof", "mme", "mlle", "sra", "srta", "dra", "dott", "sig", "dhr", "mevr", "hr",
    "messrs", "vs", "cf", "viz", "approx", "ca", "bzw", "vgl", "ggf", "evtl", "inkl", "bijv", "resp", "ing",
    "avv", "univ", "dept",
];

/// Titles and parts of names, when they are written with a capital.
const TITLES: &[&str] = &[
    "St", "Sr", "Gen", "Col", "Capt", "Lt", "Sgt", "Rev", "Hon", "Gov", "Sen", "Rep", "Mt", "Ft", "Fr", "MM",
    "Ud", "EE",
];

/// Abbreviations only before a number.
const BEFORE_NUMBERS: &[&str] = &[
    "no", "nos", "nr", "fig", "figs", "vol", "vols", "pp", "eq", "ch", "sec", "art", "ed", "cap", "núm",
    "ft", "lb", "oz", "hr", "min", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct",
    "nov", "dec",
];

/// End a sentence only when a word follows that begins one.
const SELDOM_LAST: &[&str] = &["inc", "ltd", "co", "corp", "jr", "bros", "ave", "blvd", "av"];

/// Words that often begin a sentence and are no names. They decide after `U.S.` and `p.m.`
const STARTERS: &[&str] = &[
    "The",
    "A",
    "An",
    "It",
    "He",
    "She",
    "They",
    "We",
    "You",
    "I",
    "This",
    "That",
    "These",
    "Those",
    "There",
    "In",
    "On",
    "At",
    "But",
    "And",
    "Then",
    "When",
    "If",
    "After",
    "Before",
    "As",
    "For",
    "However",
    "Its",
    "Nobody",
    "Everyone",
    "Everybody",
    "Someone",
    "Nothing",
    "Some",
    "Many",
    "Most",
    "Each",
    "All",
    "Both",
    "Two",
    "Three",
    "One",
    "Today",
    "Now",
    "Yet",
    "So",
    "Or",
    "With",
    "From",
    "By",
    "Since",
    "While",
    "Although",
    "Because",
    "His",
    "Her",
    "Their",
    "Our",
    "My",
    "What",
    "Who",
    "Why",
    "How",
    "Not",
    "Der",
    "Die",
    "Das",
    "Ein",
    "Eine",
    "Er",
    "Sie",
    "Es",
    "Wir",
    "Ich",
    "Und",
    "Aber",
    "Im",
    "Dann",
    "Doch",
    "Als",
    "Wenn",
    "Le",
    "La",
    "Les",
    "Un",
    "Une",
    "Il",
    "Elle",
    "Ils",
    "Elles",
    "Nous",
    "Et",
    "Mais",
    "Dans",
    "Ce",
    "Cette",
    "El",
    "Los",
    "Las",
    "Una",
    "Él",
    "Ella",
    "Pero",
    "En",
    "Lo",
    "Ma",
    "Nel",
    "O",
    "Os",
    "As",
    "Mas",
    "De",
    "Het",
    "Een",
    "Maar",
    "Nu",
];

/// Languages that write an ordinal as a number with a full stop: `am 3. Oktober`.
const DOTTED_ORDINALS: &[&str] =
    &["de", "da", "nb", "nn", "no", "fi", "cs", "sk", "hu", "pl", "hr", "sl", "et", "lv", "tr"];

/// Whether the full stop after `before` belongs to an abbreviation, an initial or an ordinal, and ends no sentence.
/// `after` is what follows, from its first word on.
pub(super) fn is_abbreviation(before: &str, after: &str, language: &str) -> bool {
    let token = before.rsplit(char::is_whitespace).next().unwrap_or_default();
    let token = token.trim_start_matches(|c: char| !c.is_alphanumeric());
    let lower = token.to_lowercase();
    let mut letters = token.chars();
    match (letters.next(), letters.next()) {
        (None, _) => false,
        _ if token.chars().all(|c| c.is_ascii_digit()) => is_ordinal(before, token, after, language),
        (Some(letter), None)
            if letter.is_alphabetic() && !super::is_hangul(letter) && !super::is_unspaced(letter) =>
        {
            // `J. Kim`, `존 F. 케네디`; `옵션 a. 그다음` ends.
            (letter.is_uppercase() || !after.starts_with(super::is_hangul)) && !begins_sentence(after)
        }
        _ if is_dotted(token) => {
            matches!(lower.as_str(), "e.g" | "i.e" | "z.b" | "d.h" | "d.w.z") || !begins_sentence(after)
        }
        _ if NEVER_LAST.contains(&lower.as_str()) || TITLES.contains(&token) => true,
        _ if BEFORE_NUMBERS.contains(&lower.as_str()) => after.starts_with(|c: char| c.is_ascii_digit()),
        _ => SELDOM_LAST.contains(&lower.as_str()) && !begins_sentence(after),
    }
}

/// `iPhone` and `macOS` are capitals enough.
pub(super) fn starts_in_lower_case(text: &str) -> bool {
    let word = first_word(text);
    word.starts_with(char::is_lowercase) && !word.contains(char::is_uppercase)
}

fn is_ordinal(before: &str, number: &str, after: &str, language: &str) -> bool {
    // `1. Introduction`: the number of a heading or an item.
    let numbers_an_item = before.trim() == number && number.len() <= 3;
    // `2024. 3. 5. 서울에서`
    let follows_number =
        before[..before.len() - number.len()].trim_end().strip_suffix('.').is_some_and(ends_in_digit);
    let in_date = language == "ko" && (follows_number || after.starts_with(|c: char| c.is_ascii_digit()));
    let ordinal = DOTTED_ORDINALS.contains(&language) && number.len() <= 2 && !begins_sentence(after);
    numbers_an_item || in_date || ordinal
}

fn ends_in_digit(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_digit())
}

/// `U.S`, `a.m`, `Ph.D`, `J.-C`: short pieces with stops between.
fn is_dotted(token: &str) -> bool {
    let is_piece =
        |piece: &str| (1..=3).contains(&piece.chars().count()) && piece.chars().all(char::is_alphabetic);
    token.contains('.') && token.split('.').all(|piece| is_piece(piece.trim_start_matches('-')))
}

fn begins_sentence(after: &str) -> bool {
    let word = first_word(after);
    // `J. A. Smith`: one more initial, not an article.
    STARTERS.contains(&word) && !after[word.len()..].starts_with('.')
}

fn first_word(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len())]
}
