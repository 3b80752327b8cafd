//! Acronyms and abbreviations.

use super::numerals::cardinal;
use crate::text::normalise::scan::{capitals, digits, word_ends};

/// Acronyms that are said as words.
const WORDS: &[&str] = &[
    "NASA", "NATO", "UNESCO", "UNICEF", "OPEC", "FIFA", "AIDS", "SARS", "MERS", "RAM", "ROM", "LAN", "WAN",
    "SIM", "PIN", "CERN", "LASER", "RADAR", "LIDAR", "SONAR", "SCUBA", "ASEAN", "NASDAQ", "NAFTA", "SWAT",
    "GIF", "JPEG", "COVID", "ZIP", "FAQ", "POTUS", "SCOTUS", "DARPA", "NIMBY", "YOLO", "ASCII", "BIOS",
    "CAPTCHA", "TED",
];

/// Plain words that somebody wrote in capitals.
const SHOUTED: &[&str] = &[
    "NOT", "AND", "THE", "BUT", "FOR", "YOU", "ALL", "NO", "ON", "OR", "IF", "IN", "IS", "AT", "SO", "WE",
    "HE", "MY", "UP", "DO", "GO", "OF", "TO", "BE", "BY", "AN", "AS", "ARE", "WAS", "HAS", "HAD", "CAN",
    "MAY", "ONE", "TWO", "NEW", "OLD", "NOW", "YES", "WHY", "HOW", "WHO", "ANY", "OUT", "OFF", "ITS", "HIS",
    "HER", "OUR", "SHE", "BIG", "BAD", "TOP", "WAR", "OH", "OK", "END", "ME", "HIM", "DAY", "MAN", "SEE",
    "USE", "WILL", "THIS", "THAT", "WITH", "MUST", "ONLY", "VERY", "STOP", "NEVER", "DONT", "EVERY", "MORE",
    "LESS", "WHAT", "WHEN", "BOTH", "ALSO", "FROM", "HAVE", "BEEN", "WERE", "THEY", "THEM", "THEN", "THAN",
    "INTO", "OVER", "UNDER",
];

/// Spelled although they could be words.
const SPELLED: &[&str] = &[
    "AI", "IT", "US", "USA", "UK", "EU", "UN", "UAE", "API", "IEEE", "OECD", "IAEA", "CEO", "IDE", "UI",
    "UX", "IP", "ID", "EV", "URL", "IBM", "USB", "AWS", "ISO", "IOS", "ADHD",
];

/// Written, said, and whether a capital or a digit must follow.
const SHORT: &[(&str, &str, bool)] = &[
    ("Mr.", "Mister", false),
    ("Mrs.", "Missus", false),
    ("Ms.", "Miz", false),
    ("Dr.", "Doctor", true),
    ("Prof.", "Professor", true),
    ("e.g.,", "for example,", false),
    ("e.g.", "for example", false),
    ("i.e.,", "that is,", false),
    ("i.e.", "that is", false),
    ("etc.", "et cetera", false),
    ("vs.", "versus", false),
    ("vs", "versus", false),
    ("approx.", "approximately", false),
    ("No.", "number", true),
    ("no.", "number", true),
    ("Fig.", "figure", true),
    ("Vol.", "volume", true),
    ("p.", "page", true),
    ("pp.", "pages", true),
    ("Jr.", "Junior", false),
    ("Sr.", "Senior", false),
    ("Inc.", "Incorporated", false),
    ("a.m.", "A M", false),
    ("p.m.", "P M", false),
    ("am", "A M", false),
    ("pm", "P M", false),
    ("AM", "A M", false),
    ("PM", "P M", false),
    ("R&D", "R and D", false),
    ("Q&A", "Q and A", false),
    ("pH", "P H", false),
    ("PhD", "P H D", false),
    ("Ph.D.", "P H D", false),
    ("w/o", "without", false),
    ("w/", "with", false),
    ("mRNA", "M R N A", false),
    ("IoT", "I O T", false),
    ("U.S.", "U S", false),
    ("U.K.", "U K", false),
    ("U.N.", "U N", false),
    ("E.U.", "E U", false),
];

/// The word with which `rest` begins, where it is not to be read as written.
pub(super) fn word(before: &str, rest: &str) -> Option<(usize, String)> {
    short(before, rest)
        .or_else(|| roman(before, rest))
        .or_else(|| version(rest))
        .or_else(|| acronym(before, rest))
}

fn short(before: &str, rest: &str) -> Option<(usize, String)> {
    let fits = |(written, _, needs): &&(&str, &str, bool)| {
        let Some(after) = rest.strip_prefix(written) else { return false };
        let next = after.trim_start().chars().next();
        let named = match *written {
            "No." | "no." | "Fig." | "Vol." | "p." | "pp." => next.is_some_and(|c| c.is_ascii_digit()),
            // Only after an hour.
            "am" | "pm" | "AM" | "PM" | "a.m." | "p.m." => {
                before.trim_end().ends_with(|c: char| c.is_ascii_digit())
            }
            _ => !needs || next.is_some_and(char::is_uppercase),
        };
        named && (written.ends_with(['.', ',', '/']) || word_ends(after))
    };
    let (written, said, _) = SHORT.iter().filter(fits).max_by_key(|(written, ..)| written.len())?;
    // The point that ends the sentence is not the abbreviation's alone.
    let ends = written.ends_with('.') && rest[written.len()..].trim().is_empty();
    let gap = if before.ends_with(|c: char| c.is_ascii_digit()) { " " } else { "" };
    Some((written.len(), format!("{gap}{said}{}", if ends { "." } else { "" })))
}

/// `v2.0`: the number follows by itself.
fn version(rest: &str) -> Option<(usize, String)> {
    let after = rest.strip_prefix(['v', 'V'])?;
    (digits(after) > 0).then(|| (1, "version ".to_owned()))
}

/// `World War II`, `Henry VIII`. One letter alone can be anything.
fn roman(before: &str, rest: &str) -> Option<(usize, String)> {
    const NUMERALS: [(&str, u64); 13] = [
        ("II", 2),
        ("III", 3),
        ("IV", 4),
        ("VI", 6),
        ("VII", 7),
        ("VIII", 8),
        ("IX", 9),
        ("XI", 11),
        ("XII", 12),
        ("XIII", 13),
        ("XIV", 14),
        ("XV", 15),
        ("XVI", 16),
    ];
    const NUMBERED: [&str; 14] = [
        "War", "Part", "Chapter", "Act", "Volume", "Type", "Phase", "Stage", "Book", "Title", "Class",
        "Mark", "Section", "Bowl",
    ];
    let length = capitals(rest);
    let (_, value) = NUMERALS.iter().find(|(written, _)| *written == &rest[..length])?;
    let previous = before.strip_suffix(' ')?.rsplit(|c: char| !c.is_alphabetic()).next()?;
    if !word_ends(&rest[length..]) || !previous.starts_with(char::is_uppercase) {
        return None;
    }
    let said = if NUMBERED.contains(&previous) {
        cardinal(*value)
    } else {
        format!("the {}", super::numerals::ordinal(*value))
    };
    Some((length, said))
}

fn acronym(before: &str, rest: &str) -> Option<(usize, String)> {
    let length = capitals(rest);
    let letters = &rest[..length];
    let after = &rest[length..];
    if length == 0 || length > 6 {
        return None;
    }
    if let Some(said) = numbered(letters, after) {
        return Some(said);
    }
    if length == 1 || in_capitals(before, after) {
        return None;
    }
    let plural = after.starts_with('s') && word_ends(&after[1..]);
    if !(word_ends(after) || plural) {
        return None;
    }
    if WORDS.contains(&letters) {
        let mut said = letters[..1].to_owned();
        said.push_str(&letters[1..].to_ascii_lowercase());
        return Some((length, said));
    }
    let vowels = letters.contains(['A', 'E', 'I', 'O', 'U']);
    let spelled = SPELLED.contains(&letters) || !vowels || (length <= 3 && !SHOUTED.contains(&letters));
    if !spelled || SHOUTED.contains(&letters) {
        return None;
    }
    let said = spell(letters);
    Some(if plural { (length + 1, format!("{said}'s")) } else { (length, said) })
}

/// `H2O`, `CO2`, `A4`, `F-16`, `COVID-19`, `B2B`.
fn numbered(letters: &str, after: &str) -> Option<(usize, String)> {
    let hyphen = usize::from(after.starts_with('-'));
    let count = digits(&after[hyphen..]);
    let number: u64 = after.get(hyphen..hyphen + count)?.parse().ok()?;
    let tail = &after[hyphen + count..];
    let more = capitals(tail);
    let decimal = tail.strip_prefix('.').is_some_and(|rest| digits(rest) > 0);
    if !word_ends(&tail[more..]) || decimal || count > 4 {
        return None;
    }
    let name = if WORDS.contains(&letters) {
        letters[..1].to_owned() + &letters[1..].to_ascii_lowercase()
    } else {
        spell(letters)
    };
    let number = if number >= 1100 { super::year(number) } else { cardinal(number) };
    let said = format!("{name} {number} {}", spell(&tail[..more]));
    Some((letters.len() + hyphen + count + more, said.trim_end().to_owned()))
}

/// Everything round it is in capitals too: a headline.
fn in_capitals(before: &str, after: &str) -> bool {
    let shouted = |word: Option<&str>| {
        word.is_some_and(|word| {
            let letters: String = word.chars().filter(|c| c.is_alphabetic()).collect();
            letters.len() > 3 && letters.chars().all(char::is_uppercase)
        })
    };
    shouted(before.split_whitespace().next_back()) && shouted(after.split_whitespace().next())
}

fn spell(letters: &str) -> String {
    letters.chars().map(String::from).collect::<Vec<_>>().join(" ")
}
