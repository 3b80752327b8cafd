//! Reading numbers and words out of a line of text, whatever the language.

/// No date, number of a phone or version has more groups of digits.
const MAX_GROUPS: usize = 12;

/// A number as it is written: `1,200.5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Number<'a> {
    /// The digits before the point, without commas.
    pub(super) whole: String,
    /// The digits after the point.
    pub(super) fraction: Option<&'a str>,
    /// Written with commas: a quantity, no year and no code.
    pub(super) grouped: bool,
    /// Bytes that it takes.
    pub(super) length: usize,
}

impl Number<'_> {
    /// The value, when it is a whole number of at most 18 digits.
    pub(super) fn value(&self) -> Option<u64> {
        if self.fraction.is_some() || self.whole.len() > 18 { None } else { self.whole.parse().ok() }
    }

    /// `007`: digits one by one, not a quantity.
    pub(super) fn is_code(&self) -> bool {
        (self.whole.len() > 1 && self.whole.starts_with('0')) || self.whole.len() > 18
    }
}

/// The number with which `text` begins. Commas count only where they part thousands, a point only before digits.
pub(super) fn number(text: &str) -> Option<Number<'_>> {
    let mut length = digits(text);
    if length == 0 {
        return None;
    }
    let mut whole = text[..length].to_owned();
    let mut grouped = false;
    if length <= 3 {
        while text[length..].starts_with(',') && digits(&text[length + 1..]) == 3 {
            whole.push_str(&text[length + 1..length + 4]);
            length += 4;
            grouped = true;
        }
    }
    let mut fraction = None;
    if let Some(after) = text[length..].strip_prefix('.') {
        let digits = digits(after);
        if digits > 0 {
            fraction = Some(&after[..digits]);
            length += 1 + digits;
        }
    }
    Some(Number { whole, fraction, grouped, length })
}

/// `1e6`, `6.02E-23`: factor, whether the power is below zero, its digits, and the bytes of all.
pub(super) fn power_of_ten<'a>(before: &str, text: &'a str) -> Option<(Number<'a>, bool, &'a str, usize)> {
    let factor = number(text)?;
    let after = text[factor.length..].strip_prefix(['e', 'E'])?;
    let unsigned = after.strip_prefix(['-', '+']).unwrap_or(after);
    let (power, end) = unsigned.split_at(digits(unsigned));
    let fits = (1..=3).contains(&power.len()) && at_word(before) && word_ends(end) && !factor.is_code();
    fits.then(|| (factor, after.starts_with('-'), power, text.len() - end.len()))
}

/// How many ASCII digits `text` begins with.
pub(super) fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// How many ASCII capitals `text` begins with.
pub(super) fn capitals(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_uppercase).count()
}

/// Whether a word may begin after `before`.
pub(super) fn at_word(before: &str) -> bool {
    !before.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// Whether no ASCII word goes on in `after`.
pub(super) fn word_ends(after: &str) -> bool {
    !after.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// Digits in groups parted by one of `separators`, as `(groups, bytes)`: `2026-11-23`.
pub(super) fn groups<'a>(text: &'a str, separators: &[char]) -> (Vec<&'a str>, usize) {
    let mut found = Vec::new();
    let mut at = 0;
    while found.len() < MAX_GROUPS {
        let length = digits(&text[at..]);
        if length == 0 {
            break;
        }
        found.push(&text[at..at + length]);
        at += length;
        match text[at..].chars().next() {
            Some(c) if separators.contains(&c) && digits(&text[at + c.len_utf8()..]) > 0 => {
                at += c.len_utf8()
            }
            _ => break,
        }
    }
    (found, at)
}

/// A day of the calendar from its parts, if it can be one.
pub(super) fn date(year: &str, month: &str, day: &str) -> Option<(u64, u64, u64)> {
    let (y, m, d) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    (year.len() == 4 && (1..=12).contains(&m) && (1..=31).contains(&d)).then_some((y, m, d))
}

/// The second number of a range, after its mark and with the bytes up to its end: `~5`, ` – 20`.
pub(super) fn range_end<'a>(after: &'a str, marks: &[char]) -> Option<(Number<'a>, usize)> {
    let trimmed = after.trim_start_matches(' ');
    let mark = trimmed.chars().next().filter(|c| marks.contains(c))?;
    let rest = trimmed[mark.len_utf8()..].trim_start_matches(' ');
    let end = number(rest)?;
    let length = after.len() - rest.len() + end.length;
    // `3-4-5` and `3-4.5.6` are no ranges.
    let closed = !after[length..].starts_with(|c: char| marks.contains(&c) && c != '~')
        && after[length..].strip_prefix('.').is_none_or(|more| digits(more) == 0);
    (closed && (rest.len() == trimmed.len() - mark.len_utf8()) == (trimmed.len() == after.len()))
        .then_some((end, length))
}

/// Rewrites what `read` takes from the text, at every place where it takes something: it is given what stands before
/// and what follows, and answers with the bytes that it takes and what is said for them.
pub(super) fn rewritten(text: &str, read: impl Fn(&str, &str) -> Option<(usize, String)>) -> String {
    let mut said = String::with_capacity(text.len() + 32);
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let (before, rest) = text.split_at(at);
        match read(before, rest) {
            Some((length, words)) if length > 0 => {
                if said.ends_with(|c: char| c.is_ascii_alphanumeric()) && !words.starts_with([' ', ',', '\''])
                {
                    said.push(' ');
                }
                said.push_str(&words);
                at += length;
                if !word_ends(&text[at..]) && !said.ends_with(' ') {
                    said.push(' ');
                }
            }
            _ => {
                said.push(c);
                at += c.len_utf8();
            }
        }
    }
    said
}
