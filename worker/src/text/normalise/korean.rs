//! Korean: numerals of both kinds, by what is counted.

mod counters;
mod letters;
mod numerals;
mod units;

#[cfg(test)]
mod tests;

use self::counters::counter;
use self::numerals::{by_digit, decimal, native, sino};
use super::scan::{Number, at_word, date, digits, groups, number, power_of_ten, range_end, rewritten};

type Said = Option<(usize, String)>;

const RANGE: [char; 3] = ['~', '–', '-'];

pub(super) fn spoken(text: &str) -> String {
    rewritten(text, |before, rest| {
        let first = rest.chars().next()?;
        if first.is_ascii_digit() {
            return Some(at_digit(before, rest));
        }
        match first {
            '$' | '€' | '£' | '¥' | '₩' => money(rest),
            '-' | '+' | '±' | '≈' if before.is_empty() || before.ends_with([' ', '(', '~']) => {
                signed(first, rest)
            }
            '½' | '¼' | '¾' | '⅓' | '⅔' => {
                Some((first.len_utf8(), numerals::vulgar(first).to_owned()))
            }
            '×' | '÷' | '=' | '&' | '/' | '°' | '%' | '@' | '·' | '≥' | '≤' | '²' | '³' | '^' => {
                symbol(before, first, rest)
            }
            _ if first.is_ascii_alphabetic() && at_word(before) => {
                money_of_a_country(rest).or_else(|| numbered(rest)).or_else(|| letters::word(rest))
            }
            _ => None,
        }
    })
}

/// Every digit is said: the last reader takes any number.
fn at_digit(before: &str, rest: &str) -> (usize, String) {
    phone(before, rest)
        .or_else(|| calendar(rest))
        .or_else(|| clock(before, rest))
        .or_else(|| named_day(before, rest))
        .or_else(|| in_powers(before, rest))
        .or_else(|| fraction(rest))
        .or_else(|| version(rest))
        .or_else(|| range(before, rest))
        .or_else(|| hyphened(rest))
        .or_else(|| letters::after_digit(before, rest))
        .unwrap_or_else(|| match number(rest) {
            Some(number) => quantity(before, &number, &rest[number.length..], number.length),
            None => (1, String::new()),
        })
}

/// `010-1234-5678`, `02-123-4567`, `1588-1234`.
fn phone(before: &str, rest: &str) -> Said {
    let (parts, length) = groups(rest, &['-']);
    let sizes: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let is_phone = match (parts.first()?.chars().next()?, sizes.as_slice()) {
        ('0', [2 | 3, 3 | 4, 4]) => true,
        ('1', [4, 4]) => {
            parts[0].starts_with("15") || parts[0].starts_with("16") || parts[0].starts_with("18")
        }
        _ => false,
    };
    let plain = at_word(before) && !before.ends_with('-');
    (is_phone && plain).then(|| {
        let said: Vec<String> = parts.iter().map(|part| by_digit(part, "공")).collect();
        (length, said.join(" "))
    })
}

/// `2026-11-23`, `2026.11.23.`, `2026. 11. 23.`, `2026/11/23`.
fn calendar(rest: &str) -> Said {
    let (year, mut at) = (&rest[..digits(rest)], digits(rest));
    let mark = rest[at..].chars().next().filter(|c| matches!(c, '-' | '.' | '/'))?;
    let mut parts = Vec::new();
    for _ in 0..2 {
        let after = rest[at..].strip_prefix(mark)?;
        let trimmed = if mark == '.' { after.trim_start_matches(' ') } else { after };
        let length = digits(trimmed);
        parts.push(&trimmed[..length]);
        at = rest.len() - trimmed.len() + length;
    }
    let (year, month, day) = date(year, parts[0], parts[1])?;
    // The point after the day belongs to the date, unless the sentence ends there.
    if mark == '.' && rest[at..].starts_with('.') && !rest[at + 1..].trim_start().is_empty() {
        at += 1;
    }
    Some((at, format!("{}년 {} {}일", sino(year), numerals::month(month), sino(day))))
}

/// `14:30`, `2:05:30`; `16:9` is a ratio.
fn clock(before: &str, rest: &str) -> Said {
    let (parts, length) = groups(rest, &[':']);
    let [hour, minute, seconds @ ..] = parts.as_slice() else { return None };
    let (h, m): (u64, u64) = (hour.parse().ok()?, minute.parse().ok()?);
    if minute.len() != 2 || h > 24 || m > 59 || before.ends_with('.') {
        let ratio = parts.iter().map(|part| Some(sino(part.parse().ok()?)));
        return ratio.collect::<Option<Vec<String>>>().map(|parts| (length, parts.join(" 대 ")));
    }
    let mut said = format!("{} 시", hours(h));
    if m > 0 {
        said.push_str(&format!(" {} 분", sino(m)));
    }
    if let Some(second) = seconds.first().and_then(|second| second.parse().ok()).filter(|second| *second > 0)
    {
        said.push_str(&format!(" {} 초", sino(second)));
    }
    Some((length, said))
}

fn hours(hour: u64) -> String {
    if (1..=12).contains(&hour) { native(hour) } else { sino(hour) }
}

/// Days that have a name of their own are said digit by digit: `6·25 전쟁`, `8·15`, `3·1절`, `3.1운동`; `5·10` is not. So are the
/// numbers that one calls for help.
fn named_day(before: &str, rest: &str) -> Said {
    if !at_word(before) {
        return None;
    }
    let (help, after) = rest.split_at(digits(rest));
    if matches!(help, "112" | "119") {
        const CALLS: [&str; 8] = ["구급", "구조", "소방", "신고", "에 신고", "로 신고", "에 전화", "로 전화"];
        let calls = CALLS.iter().any(|word| after.trim_start().starts_with(word) || after.starts_with(word));
        return calls.then(|| (help.len(), by_digit(help, "공")));
    }
    let (parts, length) = groups(rest, &['·', '.']);
    let [month, day] = parts.as_slice() else { return None };
    let after = &rest[length..];
    let feast = ["절", "운동", " 운동", "만세"].iter().any(|word| after.starts_with(word));
    let dated = month.len() == 1 && day.len() == 2 && rest[1..].starts_with('·') && !day.ends_with('0');
    let valid = *month != "0" && day.parse::<u8>().is_ok_and(|day| (1..=31).contains(&day));
    let measured = counter(after).is_some() || units::unit(after).is_some();
    let named = valid && (dated && !measured || feast && (*month, *day) == ("3", "1"));
    named.then(|| (length, format!("{}{}", by_digit(month, "공"), by_digit(day, "공"))))
}

/// `US$5`
fn money_of_a_country(rest: &str) -> Said {
    let (length, said) = money(rest.strip_prefix("US").filter(|rest| rest.starts_with('$'))?)?;
    Some((2 + length, said))
}

/// `No.1`, `No. 5`
fn numbered(rest: &str) -> Said {
    let after = rest.strip_prefix("No.")?;
    let number = after.trim_start_matches(' ');
    (digits(number) > 0).then(|| (rest.len() - number.len(), "넘버 ".to_owned()))
}

/// `1e6`
fn in_powers(before: &str, rest: &str) -> Said {
    let (factor, below, power, length) = power_of_ten(before, rest)?;
    let minus = if below { "마이너스 " } else { "" };
    Some((length, format!("{} 곱하기 십의 {minus}{} 제곱", decimal(&factor), sino(power.parse().ok()?))))
}

/// `1/3` is said from below; `24/7` is none; `1/4분기` is a quarter of a year.
fn fraction(rest: &str) -> Said {
    let (parts, length) = groups(rest, &['/']);
    let [above, below] = parts.as_slice() else { return None };
    let (a, b): (u64, u64) = (above.parse().ok()?, below.parse().ok()?);
    let said = if b == 4 && rest[length..].starts_with("분기") {
        format!("{}{}", sino(a), sino(b))
    } else if a < b && b <= 1000 {
        format!("{}분의 {}", sino(b), sino(a))
    } else {
        format!("{} {}", sino(a), sino(b))
    };
    Some((length, said))
}

/// `1.2.3`
fn version(rest: &str) -> Said {
    let (parts, length) = groups(rest, &['.']);
    let said: Option<Vec<String>> = parts.iter().map(|part| Some(sino(part.parse().ok()?))).collect();
    (parts.len() > 2).then_some((length, said?.join(" 점 ")))
}

/// `3~5개`, `10-20%`, `2024~2026년`. A hyphen makes a range only before a unit.
fn range(before: &str, rest: &str) -> Said {
    let first = number(rest)?;
    let (last, length) = range_end(&rest[first.length..], &RANGE)?;
    let end = first.length + length;
    let after = &rest[end..];
    let hyphen = rest[first.length..].trim_start().starts_with('-');
    let unit = units::unit(after);
    let counted = counter(after);
    if hyphen && unit.is_none() && counted.is_none() {
        return None;
    }
    if let (None, Some(found)) = (&unit, &counted)
        && found.is_native
    {
        // 세 개에서 다섯 개
        let said = |number: &Number<'_>| counters::count(number, found);
        return Some((end + found.length, format!("{}에서 {}", said(&first), said(&last))));
    }
    let (length, said) = quantity(before, &last, after, last.length);
    let from = if first.is_code() { by_digit(&first.whole, "공") } else { decimal(&first) };
    let said =
        match said.split_once(' ').filter(|(lead, _)| matches!(*lead, "시속" | "초속" | "섭씨" | "화씨"))
        {
            Some((lead, rest)) => format!("{lead} {from}에서 {rest}"),
            None => format!("{from}에서 {said}"),
        };
    Some((end - last.length + length, said))
}

/// `3-2` is a score, `123-45` an address.
fn hyphened(rest: &str) -> Said {
    let (parts, length) = groups(rest, &['-']);
    if parts.len() < 2 || rest[length..].starts_with('.') && digits(&rest[length + 1..]) > 0 {
        return None;
    }
    let short = parts.len() == 2 && parts.iter().all(|part| part.len() <= 2);
    let said = parts.iter().map(|part| match part.parse() {
        Ok(value) if part.len() <= 4 && !part.starts_with('0') => sino(value),
        _ => by_digit(part, "공"),
    });
    Some((length, said.collect::<Vec<_>>().join(if short { " 대 " } else { " 다시 " })))
}

/// A number with what is counted or measured in it. `length` is what the number takes of the text.
fn quantity(before: &str, number: &Number<'_>, after: &str, length: usize) -> (usize, String) {
    if number.is_code() {
        return (length, by_digit(&number.whole, "공"));
    }
    if let Some((taken, said)) = units::measured(before, number, after) {
        return (length + taken, said);
    }
    // 제3장, 제2차: an ordinal counts in Chinese numerals, whatever follows.
    if before.ends_with('제') || before.ends_with("제 ") {
        return (length, decimal(number));
    }
    if let Some(counter) = counter(after) {
        return (length + counter.length, counters::count(number, &counter));
    }
    if let Some(power) =
        after.chars().next().filter(|c| matches!(c, '십' | '백' | '천' | '만' | '억' | '조' | '경'))
    {
        // 1만 is 만, 1억 is 일억.
        let bare = number.value() == Some(1) && matches!(power, '십' | '백' | '천' | '만');
        let after_power = before.trim_end().ends_with(['억', '조', '만', '경']);
        let said = if bare && !after_power { String::new() } else { decimal(number) };
        let gap = if number.fraction.is_some() { " " } else { "" };
        return (length + power.len_utf8(), format!("{said}{gap}{power}"));
    }
    (length, decimal(number))
}

/// `$3.5`, `$3억`, `₩1,200`.
fn money(rest: &str) -> Said {
    let sign = rest.chars().next()?;
    let start = sign.len_utf8() + usize::from(rest[sign.len_utf8()..].starts_with(' '));
    let number = number(&rest[start..])?;
    let (mut length, mut said) = (start + number.length, decimal(&number));
    let after = &rest[length..];
    let scales = [("million", "백만"), ("billion", "십억"), ("trillion", "조")];
    if let Some((word, scale)) = scales.iter().find(|(word, _)| after.trim_start().starts_with(word)) {
        length += after.len() - after.trim_start().len() + word.len();
        said = format!("{said} {scale}");
    } else {
        let powers: usize =
            after.chars().take_while(|c| "십백천만억조".contains(*c)).map(char::len_utf8).sum();
        said.push_str(&after[..powers]);
        length += powers;
    }
    let name = match sign {
        '$' => "달러",
        '€' => "유로",
        '£' => "파운드",
        '¥' => "엔",
        _ => "원",
    };
    Some((length, format!("{said} {name}")))
}

fn signed(sign: char, rest: &str) -> Said {
    let after = &rest[sign.len_utf8()..];
    let number = number(after)?;
    let (length, said) = at_digit("", after);
    // 섭씨 영하 오 도
    if sign == '-' && after[number.length..].trim_start().starts_with('°') {
        let said = match said.split_once(' ') {
            Some((scale @ ("섭씨" | "화씨"), degrees)) => format!("{scale} 영하 {degrees}"),
            _ => format!("영하 {said}"),
        };
        return Some((1 + length, said));
    }
    let name = match sign {
        '-' => "마이너스 ",
        '±' => "플러스마이너스 ",
        '≈' => "약 ",
        _ => "플러스 ",
    };
    Some((sign.len_utf8() + length, format!("{name}{said}")))
}

/// Marks between numbers or words.
fn symbol(before: &str, mark: char, rest: &str) -> Said {
    let after = &rest[mark.len_utf8()..];
    let between_numbers = before.trim_end().ends_with(|c: char| c.is_ascii_digit())
        && after.trim_start().starts_with(|c: char| c.is_ascii_digit());
    let name = match mark {
        '×' => " 곱하기 ",
        '²' => " 제곱",
        '³' => " 세제곱",
        '^' if between_numbers => {
            let power = number(after)?;
            return Some((1 + power.length, format!("의 {} 제곱", decimal(&power))));
        }
        '÷' => " 나누기 ",
        '=' if ends_closed(before) => " 은 ",
        '=' => " 는 ",
        '&' => " 앤드 ",
        '@' => " 골뱅이 ",
        '°' => "도",
        '%' => "퍼센트",
        '≥' => " 최소 ",
        '≤' => " 최대 ",
        '·' if between_numbers => " ",
        '·' => ", ",
        '/' if before.ends_with(super::super::is_hangul) => ", ",
        '/' => " ",
        _ => return None,
    };
    let spaces = after.len() - after.trim_start_matches(' ').len();
    let spaced = name.ends_with(' ');
    let name = if before.ends_with(' ') { name.trim_start() } else { name };
    Some((mark.len_utf8() + if spaced { spaces } else { 0 }, name.to_owned()))
}

/// Whether what stands before is said with a consonant at its end: 은 follows, not 는.
fn ends_closed(before: &str) -> bool {
    match before.trim_end().chars().next_back() {
        Some(c @ '\u{AC00}'..='\u{D7A3}') => !(c as u32 - 0xAC00).is_multiple_of(28),
        Some(c) => {
            matches!(c, '0' | '1' | '3' | '6' | '7' | '8' | 'l' | 'm' | 'n' | 'r' | 'L' | 'M' | 'N' | 'R')
        }
        None => false,
    }
}
