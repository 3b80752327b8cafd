//! English, as an American newsreader says it.

mod letters;
mod numerals;
mod times;
mod units;

#[cfg(test)]
mod tests;

use self::numerals::{by_digit, cardinal, decimal, ordinal, plural, year};
use self::times::{calendar, clock, day_and_month, month_and_day, phone, short_decade};
use super::scan::{Number, at_word, digits, groups, number, power_of_ten, range_end, rewritten, word_ends};

type Said = Option<(usize, String)>;

const RANGE: [char; 3] = ['–', '-', '~'];

pub(super) fn spoken(text: &str) -> String {
    rewritten(text, |before, rest| {
        let first = rest.chars().next()?;
        if first.is_ascii_digit() {
            return Some(at_digit(before, rest));
        }
        match first {
            '$' | '€' | '£' | '¥' | '₩' => money(rest),
            '#' if digits(&rest[1..]) > 0 => Some((1, "number ".to_owned())),
            // C#, F#: a note, and the languages named after one.
            '#' if before.ends_with(|c: char| ('A'..='G').contains(&c))
                && at_word(&before[..before.len() - 1]) =>
            {
                Some((1, " sharp".to_owned()))
            }
            '.' if digits(&rest[1..]) > 0 && !before.ends_with(char::is_alphanumeric) => point(rest),
            '(' => phone(before, rest),
            '\'' | '’' => short_decade(before, first, rest),
            '½' | '¼' | '¾' | '⅓' | '⅔' => Some((first.len_utf8(), vulgar(before, first))),
            '-' | '+' | '~' | '≈' | '±' | '<' | '>' | '≥' | '≤' | '×' | '÷' | '=' | '&' | '@' | '/' | '°'
            | '%' | '§' | '→' | '²' | '³' | '^' => symbol(before, first, rest),
            _ if first.is_ascii_alphabetic() && at_word(before) => {
                month_and_day(rest).or_else(|| letters::word(before, rest))
            }
            _ => None,
        }
    })
}

/// Every digit is said: the last reader takes any number.
fn at_digit(before: &str, rest: &str) -> (usize, String) {
    phone(before, rest)
        .or_else(|| calendar(rest))
        .or_else(|| clock(rest))
        .or_else(|| day_and_month(rest))
        .or_else(|| feet(before, rest))
        .or_else(|| in_powers(before, rest))
        .or_else(|| mixed(before, rest))
        .or_else(|| fraction(rest))
        .or_else(|| version(rest))
        .or_else(|| range(before, rest))
        .or_else(|| ending(rest))
        .unwrap_or_else(|| match number(rest) {
            // 3.5x
            Some(number) if rest[number.length..].strip_prefix('x').is_some_and(word_ends) => {
                (number.length + 1, format!("{} times", decimal(&number)))
            }
            Some(number) => {
                let (taken, said) = quantity(before, &number, &rest[number.length..]);
                (number.length + taken, said)
            }
            None => (1, String::new()),
        })
}

/// `5'10"`
fn feet(before: &str, rest: &str) -> Said {
    let length = digits(rest);
    let after = rest[length..].strip_prefix(['\'', '’', '′'])?;
    let more = digits(after);
    let end = after[more..].strip_prefix(['"', '”', '″'])?;
    let (feet, inches): (u64, u64) = (rest[..length].parse().ok()?, after[..more].parse().ok()?);
    let fits = length <= 2 && inches < 12 && at_word(before) && word_ends(end);
    let counted = |count: u64, one: &str, many: &str| {
        format!("{} {}", cardinal(count), if count == 1 { one } else { many })
    };
    fits.then(|| {
        let said = format!("{} {}", counted(feet, "foot", "feet"), counted(inches, "inch", "inches"));
        (rest.len() - end.len(), said)
    })
}

/// `1e6`
fn in_powers(before: &str, rest: &str) -> Said {
    let (factor, below, power, length) = power_of_ten(before, rest)?;
    let minus = if below { "minus " } else { "" };
    let power = cardinal(power.parse().ok()?);
    Some((length, format!("{} times ten to the power of {minus}{power}", decimal(&factor))))
}

/// `3 1/2`
fn mixed(before: &str, rest: &str) -> Said {
    let length = digits(rest);
    let (parts, taken) = groups(rest[length..].strip_prefix(' ')?, &['/']);
    let [above, below] = parts.as_slice() else { return None };
    let (a, b): (u64, u64) = (above.parse().ok()?, below.parse().ok()?);
    let fits = length <= 2 && (1..b).contains(&a) && matches!(b, 2 | 3 | 4 | 5 | 8 | 16) && at_word(before);
    let (_, part) = fraction(&rest[length + 1..]).filter(|_| fits)?;
    Some((length + 1 + taken, format!("{} and {part}", cardinal(rest[..length].parse().ok()?))))
}

/// `1/2`, `2/3`, `24/7`.
fn fraction(rest: &str) -> Said {
    let (parts, length) = groups(rest, &['/']);
    let [above, below] = parts.as_slice() else { return None };
    let (a, b): (u64, u64) = (above.parse().ok()?, below.parse().ok()?);
    if a == 0 || a >= b || b > 100 {
        let said = if (a, b) == (24, 7) {
            "twenty-four seven".to_owned()
        } else {
            format!("{} {}", cardinal(a), cardinal(b))
        };
        return Some((length, said));
    }
    if (a, b) == (9, 11) {
        return Some((length, "nine eleven".to_owned()));
    }
    let part = match b {
        2 => "half".to_owned(),
        4 => "quarter".to_owned(),
        _ => ordinal(b),
    };
    let part = if a == 1 { part } else { plural(&part) };
    Some((length, format!("{} {part}", cardinal(a))))
}

/// `1.2.3`
fn version(rest: &str) -> Said {
    let (parts, length) = groups(rest, &['.']);
    let said: Option<Vec<String>> = parts.iter().map(|part| Some(cardinal(part.parse().ok()?))).collect();
    (parts.len() > 2).then_some((length, said?.join(" point ")))
}

/// `3-5 km`, `10–20%`, `1990–1995`.
fn range(before: &str, rest: &str) -> Said {
    let first = number(rest)?;
    let (last, length) = range_end(&rest[first.length..], &RANGE)?;
    let after = &rest[first.length + length..];
    if !word_ends(after) && units::unit(after).is_none() {
        return None;
    }
    let (taken, said) = quantity(before, &last, after);
    let from = plain(&first, "");
    Some((first.length + length + taken, format!("{from} to {said}")))
}

/// `1st`, `1990s`, `3x`, `5G`.
fn ending(rest: &str) -> Said {
    let length = digits(rest);
    let value: u64 = rest[..length].parse().ok()?;
    let tail = &rest[length..];
    let ends = |suffix: &str| tail.strip_prefix(suffix).is_some_and(word_ends);
    if ends("st") || ends("nd") || ends("rd") || ends("th") {
        return Some((length + 2, ordinal(value)));
    }
    if value.is_multiple_of(10) && value > 0 && (ends("s") || ends("'s") || ends("’s")) {
        let apostrophe = tail.len() - tail.trim_start_matches(['\'', '’']).len();
        return Some((
            length + apostrophe + 1,
            plural(&if length == 4 { year(value) } else { cardinal(value) }),
        ));
    }
    if ends("x") || ends("×") {
        return Some((
            length + tail.chars().next().map_or(0, char::len_utf8),
            format!("{} times", cardinal(value)),
        ));
    }
    for (half, said) in [("am", "A M"), ("pm", "P M"), ("AM", "A M"), ("PM", "P M")] {
        if ends(half) && value <= 12 {
            return Some((length + 2, format!("{} {said}", cardinal(value))));
        }
    }
    // 5G, 4K, 3D: a name.
    let letter = tail.chars().next().filter(|c| "GKDPC".contains(*c) && length <= 4)?;
    word_ends(&tail[1..]).then(|| (length + 1, format!("{} {letter}", cardinal(value))))
}

/// A number with its unit; answers with the bytes that the unit takes.
fn quantity(before: &str, number: &Number<'_>, after: &str) -> (usize, String) {
    if let Some((taken, name)) = units::unit(after) {
        let one = number.value() == Some(1);
        let said = if number.is_code() { by_digit(&number.whole) } else { decimal(number) };
        return (taken, format!("{said} {}", if one { name.singular() } else { name.plural() }));
    }
    if let Some(half) = after.chars().next().filter(|c| "½¼¾⅓⅔".contains(*c)) {
        return (half.len_utf8(), format!("{} and {}", decimal(number), numerals::vulgar(half)));
    }
    (0, plain(number, before))
}

/// A bare number: four digits that can be a year are read as one.
fn plain(number: &Number<'_>, before: &str) -> String {
    if number.is_code() {
        return by_digit(&number.whole);
    }
    match number.value() {
        Some(value)
            if !number.grouped && (1100..=2099).contains(&value) && !before.ends_with(['$', '€', '£']) =>
        {
            year(value)
        }
        _ => decimal(number),
    }
}

/// `.5`
fn point(rest: &str) -> Said {
    let length = digits(&rest[1..]);
    let (taken, unit) = match units::unit(&rest[1 + length..]) {
        Some((taken, name)) => (taken, format!(" {}", name.plural())),
        None => (0, String::new()),
    };
    Some((1 + length + taken, format!("point {}{unit}", by_digit(&rest[1..1 + length]))))
}

fn vulgar(before: &str, fraction: char) -> String {
    let said = numerals::vulgar(fraction);
    if before.ends_with(char::is_alphanumeric) { format!(" and {said}") } else { said.to_owned() }
}

/// `$3.5 million`, `$5.99`, `$1.2bn`, `£3`.
fn money(rest: &str) -> Said {
    let sign = rest.chars().next()?;
    let number = number(&rest[sign.len_utf8()..])?;
    let mut length = sign.len_utf8() + number.length;
    let (one, many) = match sign {
        '$' => ("dollar", "dollars"),
        '€' => ("euro", "euros"),
        '£' => ("pound", "pounds"),
        '¥' => ("yen", "yen"),
        _ => ("won", "won"),
    };
    if let Some((end, more)) = range_end(&rest[length..], &['–', '-']) {
        let scale = scale(&rest[length + more..]);
        let (taken, scale) = scale.map_or((0, String::new()), |(taken, scale)| (taken, format!(" {scale}")));
        return Some((
            length + more + taken,
            format!("{} to {}{scale} {many}", decimal(&number), decimal(&end)),
        ));
    }
    if let Some((taken, scale)) = scale(&rest[length..]) {
        length += taken;
        return Some((length, format!("{} {scale} {many}", decimal(&number))));
    }
    let name = if number.whole == "1" { one } else { many };
    let whole = cardinal(number.whole.parse().ok()?);
    let said = match number.fraction {
        Some("00") | None => format!("{whole} {name}"),
        Some(cents) if cents.len() == 2 && matches!(sign, '$' | '€' | '£') => {
            let value: u64 = cents.parse().ok()?;
            let unit = match (sign, value) {
                ('£', _) => "pence",
                (_, 1) => "cent",
                _ => "cents",
            };
            if number.whole == "0" {
                format!("{} {unit}", cardinal(value))
            } else {
                format!("{whole} {name} and {} {unit}", cardinal(value))
            }
        }
        Some(_) => format!("{} {many}", decimal(&number)),
    };
    Some((length, said))
}

/// ` million`, `bn`, `k`.
fn scale(after: &str) -> Option<(usize, &'static str)> {
    let word = after.strip_prefix([' ', '-']).unwrap_or(after);
    let gap = after.len() - word.len();
    let known = [
        ("thousand", "thousand"),
        ("million", "million"),
        ("billion", "billion"),
        ("trillion", "trillion"),
        ("bn", "billion"),
        ("tn", "trillion"),
        ("m", "million"),
        ("M", "million"),
        ("B", "billion"),
        ("b", "billion"),
        ("T", "trillion"),
        ("k", "thousand"),
        ("K", "thousand"),
    ];
    let (written, said) =
        known.into_iter().find(|(written, _)| word.strip_prefix(written).is_some_and(word_ends))?;
    (gap == 0 || written.len() > 2).then_some((gap + written.len(), said))
}

/// Marks between numbers or words.
fn symbol(before: &str, mark: char, rest: &str) -> Said {
    let after = &rest[mark.len_utf8()..];
    let number_follows = after.trim_start().starts_with(|c: char| c.is_ascii_digit() || c == '$');
    let starts = before.is_empty() || before.ends_with([' ', '(']);
    let name = match mark {
        '-' if starts && number_follows && !after.starts_with(' ') => "minus ",
        '-' => return None,
        '+' if number_follows => " plus ",
        '~' | '≈' if number_follows => "about ",
        '±' => "plus or minus ",
        '<' if number_follows => "less than ",
        '>' if number_follows => "more than ",
        '≥' => "at least ",
        '≤' => "at most ",
        '×' => " times ",
        '²' => " squared",
        '³' => " cubed",
        '^' if number_follows => " to the power of ",
        '^' if after.strip_prefix('-').is_some_and(|power| digits(power) > 0) => {
            return Some((2, " to the power of minus ".to_owned()));
        }
        '÷' => " divided by ",
        '=' => " equals ",
        '&' => " and ",
        '@' => " at ",
        '→' => " to ",
        '§' => "section ",
        '°' => " degrees",
        '%' => " percent",
        '/' if before.ends_with(char::is_alphabetic) && after.starts_with(char::is_alphabetic) => " ",
        _ => return None,
    };
    let name = if before.ends_with(' ') || before.is_empty() { name.trim_start() } else { name };
    let spaces = after.len() - after.trim_start_matches(' ').len();
    Some((mark.len_utf8() + if name.ends_with(' ') { spaces } else { 0 }, name.to_owned()))
}
