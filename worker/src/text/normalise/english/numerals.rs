//! English numerals.

use crate::text::normalise::scan::Number;

const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] =
    ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const THOUSANDS: [&str; 6] = ["", " thousand", " million", " billion", " trillion", " quadrillion"];

/// one thousand two hundred thirty-four
pub(super) fn cardinal(value: u64) -> String {
    if value == 0 {
        return ONES[0].to_owned();
    }
    let mut parts = Vec::new();
    let (mut rest, mut power) = (value, 0);
    while rest > 0 {
        let group = rest % 1000;
        if group > 0 {
            parts.push(format!(
                "{}{}",
                below_thousand(group),
                THOUSANDS.get(power).copied().unwrap_or_default()
            ));
        }
        rest /= 1000;
        power += 1;
    }
    parts.reverse();
    parts.join(" ")
}

fn below_thousand(value: u64) -> String {
    let (hundreds, rest) = (value / 100, value % 100);
    let mut parts = Vec::new();
    if hundreds > 0 {
        parts.push(format!("{} hundred", ONES[hundreds as usize]));
    }
    if rest > 0 {
        parts.push(below_hundred(rest));
    }
    parts.join(" ")
}

fn below_hundred(value: u64) -> String {
    match (value / 10, value % 10) {
        (0 | 1, _) => ONES[value as usize].to_owned(),
        (tens, 0) => TENS[tens as usize].to_owned(),
        (tens, ones) => format!("{}-{}", TENS[tens as usize], ONES[ones as usize]),
    }
}

/// twenty-first
pub(super) fn ordinal(value: u64) -> String {
    let said = cardinal(value);
    let at = said.rfind([' ', '-']).map_or(0, |at| at + 1);
    let (lead, last) = said.split_at(at);
    let last = match last {
        "one" => "first".to_owned(),
        "two" => "second".to_owned(),
        "three" => "third".to_owned(),
        "five" => "fifth".to_owned(),
        "eight" => "eighth".to_owned(),
        "nine" => "ninth".to_owned(),
        "twelve" => "twelfth".to_owned(),
        _ => match last.strip_suffix('y') {
            Some(stem) => format!("{stem}ieth"),
            None => format!("{last}th"),
        },
    };
    format!("{lead}{last}")
}

/// nineteen oh five, two thousand five, twenty twenty-six
pub(super) fn year(value: u64) -> String {
    let (century, rest) = (value / 100, value % 100);
    match rest {
        _ if (2000..=2009).contains(&value) || !(1100..=2099).contains(&value) => cardinal(value),
        0 => format!("{} hundred", cardinal(century)),
        1..=9 => format!("{} oh {}", cardinal(century), cardinal(rest)),
        _ => format!("{} {}", cardinal(century), cardinal(rest)),
    }
}

/// Of the last word: nineties, sixths, halves.
pub(super) fn plural(said: &str) -> String {
    match said {
        _ if said.ends_with("half") => format!("{}ves", &said[..said.len() - 1]),
        _ if said.ends_with('x') => format!("{said}es"),
        _ => match said.strip_suffix('y') {
            Some(stem) => format!("{stem}ies"),
            None => format!("{said}s"),
        },
    }
}

/// oh is for rooms; a code has zeros
pub(super) fn by_digit(digits: &str) -> String {
    let said: Vec<&str> =
        digits.chars().filter_map(|c| c.to_digit(10)).map(|digit| ONES[digit as usize]).collect();
    said.join(" ")
}

/// three point one four
pub(super) fn decimal(number: &Number<'_>) -> String {
    let whole = number.whole.parse().map_or_else(|_| by_digit(&number.whole), cardinal);
    match number.fraction {
        Some(fraction) => format!("{whole} point {}", by_digit(fraction)),
        None => whole,
    }
}

pub(super) fn vulgar(fraction: char) -> &'static str {
    match fraction {
        '½' => "one half",
        '¼' => "one quarter",
        '¾' => "three quarters",
        '⅓' => "one third",
        _ => "two thirds",
    }
}
