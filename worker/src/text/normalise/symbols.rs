//! Marks: many ways to write one of them made one, and what no voice should name taken out.

use std::borrow::Cow;

/// Wide digits and letters, odd minus signs and tildes, and one-character units as the plain characters for them.
pub(super) fn unified(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let is_digit = |c: char| c.is_ascii_digit() || matches!(c, '０'..='９');
    while let Some(c) = chars.next() {
        let within_number =
            plain.ends_with(|c: char| c.is_ascii_digit()) && chars.peek().is_some_and(|next| is_digit(*next));
        match c {
            '．' | '，' | '：' if within_number => {
                plain.push(char::from_u32(c as u32 - 0xFEE0).unwrap_or(c));
            }
            '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ' | '％' | '＋' | '＄' | '＆' => {
                plain.push(char::from_u32(c as u32 - 0xFEE0).unwrap_or(c));
            }
            '₀'..='₉' => plain.push(char::from_u32(c as u32 - 0x2080 + 0x30).unwrap_or(c)),
            '−' | '‐' | '‑' => plain.push('-'),
            '∼' | '〜' | '～' => plain.push('~'),
            '\u{A0}' | '\u{202F}' | '\u{2009}' => plain.push(' '),
            '℃' => plain.push_str("°C"),
            '℉' => plain.push_str("°F"),
            '㎞' => plain.push_str("km"),
            '㎝' => plain.push_str("cm"),
            '㎜' => plain.push_str("mm"),
            '㎏' => plain.push_str("kg"),
            '㎎' => plain.push_str("mg"),
            '㎡' => plain.push_str("m²"),
            '㎢' => plain.push_str("km²"),
            '㎥' => plain.push_str("m³"),
            'ℓ' => plain.push('L'),
            '№' => plain.push_str("No. "),
            '㎖' => plain.push_str("mL"),
            'µ' => plain.push('μ'),
            '€' | '£' | '¥' | '₩' => plain.push(c),
            _ => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

/// `5*3` and `5 * 3` as `5×3` and `5 × 3`: an asterisk between two digits is no markup.
pub(in crate::text) fn with_times_signs(text: &str) -> Cow<'_, str> {
    let multiplies = |at: usize| {
        let (before, after) = (&text[..at], &text[at + 1..]);
        let pair = match (before.strip_suffix(' '), after.strip_prefix(' ')) {
            (Some(before), Some(after)) => (before, after),
            _ => (before, after),
        };
        pair.0.ends_with(|c: char| c.is_ascii_digit()) && pair.1.starts_with(|c: char| c.is_ascii_digit())
    };
    if !text.match_indices('*').any(|(at, _)| multiplies(at)) {
        return Cow::Borrowed(text);
    }
    let signs = text.char_indices().map(|(at, c)| if c == '*' && multiplies(at) { '×' } else { c });
    Cow::Owned(signs.collect())
}

/// `5°C~10°C` as `5~10°C`: a range has its unit once.
pub(super) fn with_one_unit(text: &str) -> Cow<'_, str> {
    const UNITS: [&str; 8] = ["°C", "°F", "%", "km", "kg", "cm", "mm", "°"];
    let mut text = Cow::Borrowed(text);
    for unit in UNITS {
        for mark in ['~', '–'] {
            let between = format!("{unit}{mark}");
            let mut from = 0;
            while let Some(at) = text[from..].find(&between).map(|at| from + at) {
                from = at + between.len();
                let number = text[from..].bytes().take_while(|c| c.is_ascii_digit() || *c == b'.').count();
                let counted = text[..at].ends_with(|c: char| c.is_ascii_digit());
                if counted && number > 0 && text[from + number..].starts_with(unit) {
                    text = Cow::Owned(format!("{}{}", &text[..at], &text[at + unit.len()..]));
                    from = at;
                }
            }
        }
    }
    text
}

/// Without `*`, `_`, `#`, backticks and the like; a bar becomes a pause. White space that this leaves is closed up.
pub(super) fn without_marks(text: &str) -> String {
    without(text, |c| match c {
        '#' | '^' => Some(false),
        '\\' | '~' | '<' | '>' | '{' | '}' | '→' | '⇒' | '←' => Some(true),
        _ => None,
    })
}

/// The same for a voice that reads numbers and signs by itself: `3~5`, `#1` and `<` stay.
pub(super) fn without_markup(text: &str) -> String {
    without(text, |_| None)
}

/// `more` says of further marks whether a space is left in their place.
fn without(text: &str, more: impl Fn(char) -> Option<bool>) -> String {
    let mut kept = String::with_capacity(text.len());
    let spaced_stops = text.contains(" .") || text.contains(" ,");
    for c in text.chars() {
        match c {
            '*' | '`' | '©' | '®' | '™' | '†' | '‡' | '¶' | '•' | '◦' | '※' | '\u{FE0F}' | '\u{200D}' =>
                {}
            '_' => push_space(&mut kept),
            '|' => {
                while kept.ends_with(' ') {
                    kept.pop();
                }
                if kept.ends_with(char::is_alphanumeric) {
                    kept.push(',');
                }
                push_space(&mut kept);
            }
            _ if is_pictograph(c) => push_space(&mut kept),
            ' ' => push_space(&mut kept),
            // A mark between a word and its full stop leaves no space before it.
            ',' | '.' | '!' | '?' if kept.ends_with(' ') && !spaced_stops => {
                kept.pop();
                kept.push(c);
            }
            _ => match more(c) {
                Some(true) => push_space(&mut kept),
                Some(false) => {}
                None => kept.push(c),
            },
        }
    }
    kept.truncate(kept.trim_end().len());
    kept
}

fn push_space(text: &mut String) {
    if !text.is_empty() && !text.ends_with(' ') {
        text.push(' ');
    }
}

/// Emoji, dingbats and geometric shapes, which engines spell out by name.
fn is_pictograph(c: char) -> bool {
    matches!(c, '\u{25A0}'..='\u{25FF}' | '\u{2600}'..='\u{27BF}' | '\u{2B00}'..='\u{2BFF}' | '\u{1F000}'..='\u{1FAFF}')
}
