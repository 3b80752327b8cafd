//! Telephone numbers, dates and times of day.

use super::super::scan::{at_word, date, digits, groups, word_ends};
use super::Said;
use super::numerals::{by_digit, cardinal, ordinal, plural, year};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// `555-1234`, `212-555-0100`, `(212) 555-0100`, `1-800-555-0199`.
pub(super) fn phone(before: &str, rest: &str) -> Said {
    if !at_word(before) || before.ends_with(['-', '.', '$']) {
        return None;
    }
    if let Some(area) = rest.strip_prefix('(') {
        let (line, length) = groups(area.get(4..)?.trim_start().trim_start_matches('-'), &['-', '.']);
        let [first, last] = line.as_slice() else { return None };
        if digits(area) != 3 || !area[3..].starts_with(')') || (first.len(), last.len()) != (3, 4) {
            return None;
        }
        let tail = area[4..].trim_start().trim_start_matches('-').len();
        let said = [&area[..3], first, last].map(by_digit).join(", ");
        return Some((rest.len() - tail + length, said));
    }
    let (parts, length) = groups(rest, &['-', '.']);
    let sizes: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let fits = match sizes.as_slice() {
        [3, 4] => rest.as_bytes().get(3) == Some(&b'-'),
        [3, 3, 4] | [1, 3, 3, 4] => true,
        _ => false,
    };
    fits.then(|| (length, parts.iter().map(|part| by_digit(part)).collect::<Vec<_>>().join(", ")))
}

/// `2026-11-23`, `11/23/2026`.
pub(super) fn calendar(rest: &str) -> Said {
    let (parts, length) = groups(rest, &['-', '/']);
    let [first, second, third] = parts.as_slice() else { return None };
    let found = date(first, second, third)
        .or_else(|| date(third, first, second))
        .or_else(|| date(third, second, first));
    let (y, m, d) = found?;
    Some((length, format!("{} {}, {}", MONTHS[(m - 1) as usize], ordinal(d), year(y))))
}

/// `14:30`, `9:00`; `16:9` is a ratio.
pub(super) fn clock(rest: &str) -> Said {
    let (parts, length) = groups(rest, &[':']);
    let [hour, minute, seconds @ ..] = parts.as_slice() else { return None };
    let (h, m): (u64, u64) = (hour.parse().ok()?, minute.parse().ok()?);
    if minute.len() != 2 || h > 24 || m > 59 {
        let ratio = parts.iter().map(|part| Some(cardinal(part.parse().ok()?)));
        return ratio.collect::<Option<Vec<String>>>().map(|parts| (length, parts.join(" to ")));
    }
    let half = rest[length..].trim_start().to_ascii_lowercase();
    let with_half = half.starts_with("am")
        || half.starts_with("pm")
        || half.starts_with("a.m")
        || half.starts_with("p.m");
    let mut said = match m {
        0 if with_half => cardinal(h),
        0 if h > 12 => format!("{} hundred", cardinal(h)),
        0 if seconds.is_empty() => format!("{} o'clock", cardinal(h)),
        1..=9 => format!("{} oh {}", cardinal(h), cardinal(m)),
        _ => format!("{} {}", cardinal(h), cardinal(m)),
    };
    if let Some(second) = seconds.first().and_then(|second| second.parse().ok()).filter(|second| *second > 0)
    {
        said.push_str(&format!(" and {} second{}", cardinal(second), if second == 1 { "" } else { "s" }));
    }
    Some((length, said))
}

/// Without a full stop; `Mar` and `May` are also names and words.
const SHORT_MONTHS: [&str; 11] =
    ["Jan", "Feb", "Apr", "Jun", "Jul", "Aug", "Sep", "Sept", "Oct", "Nov", "Dec"];

/// The month with which `word` begins, and the bytes it takes: its name, or its first letters, perhaps with a full stop.
fn month(word: &str) -> Option<(usize, &'static str)> {
    let length = word.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (name, after) = word.split_at(length);
    let stop = after.starts_with('.');
    let short = (3..=4).contains(&length) && (stop || SHORT_MONTHS.contains(&name));
    let known = MONTHS.iter().find(|month| **month == name || short && month.starts_with(name))?;
    Some((length + usize::from(short && stop && *known != name), known))
}

/// `November 23`, `November 23rd, 2026`; the year follows by itself.
pub(super) fn month_and_day(rest: &str) -> Said {
    let (length, name) = month(rest)?;
    let after = rest[length..].strip_prefix(' ')?;
    let day = digits(after);
    let value: u64 = after[..day].parse().ok().filter(|day| (1..=31).contains(day))?;
    // Not `May 5,000`, `May 3.5`, `May 10:30`.
    let tail = &after[day..];
    let suffix = if ["st", "nd", "rd", "th"].iter().any(|s| tail.starts_with(s)) { 2 } else { 0 };
    let goes_on = tail.strip_prefix([',', '.', ':', '-', '–', '/']).is_some_and(|more| digits(more) > 0);
    let plain = (suffix > 0 || word_ends(tail)) && !goes_on && !tail.starts_with('%');
    plain.then(|| (length + 1 + day + suffix, format!("{name} {}", ordinal(value))))
}

/// `23 November 2026`
pub(super) fn day_and_month(rest: &str) -> Said {
    let day = digits(rest);
    let value: u64 = rest[..day].parse().ok().filter(|day| (1..=31).contains(day))?;
    let (length, name) = month(rest[day..].strip_prefix(' ')?)?;
    // `5 May have` is none: the year decides where the name is a word too.
    if name == "May" && digits(rest[day + 1 + length..].trim_start()) != 4 {
        return None;
    }
    Some((day + 1 + length, format!("the {} of {name}", ordinal(value))))
}

/// `’90s`
pub(super) fn short_decade(before: &str, quote: char, rest: &str) -> Said {
    let after = &rest[quote.len_utf8()..];
    let tens = digits(after) == 2 && after[1..].starts_with("0s") && word_ends(&after[3..]);
    let value = after.get(..2)?.parse().ok()?;
    (tens && at_word(before)).then(|| (quote.len_utf8() + 3, plural(&cardinal(value))))
}
