//! Korean numerals: Chinese (일 이 삼) and native (한 두 세).

use crate::text::normalise::scan::Number;

const DIGITS: [&str; 10] = ["영", "일", "이", "삼", "사", "오", "육", "칠", "팔", "구"];
const POWERS: [&str; 4] = ["", "십", "백", "천"];
const MYRIADS: [&str; 5] = ["", "만", "억", "조", "경"];
const NATIVE_TENS: [&str; 10] = ["", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔"];
const NATIVE_ONES: [&str; 10] = ["", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉"];

/// Chinese numerals: 천이백삼십만 사천오백.
pub(super) fn sino(value: u64) -> String {
    if value == 0 {
        return DIGITS[0].to_owned();
    }
    let mut parts = Vec::new();
    let mut rest = value;
    let mut myriad = 0;
    while rest > 0 {
        let group = rest % 10_000;
        rest /= 10_000;
        if group > 0 {
            // 만, not 일만; but 일억.
            let bare = group == 1 && myriad == 1 && rest == 0;
            let said = if bare { String::new() } else { below_myriad(group) };
            parts.push(format!("{said}{}", MYRIADS.get(myriad).copied().unwrap_or_default()));
        }
        myriad += 1;
    }
    parts.reverse();
    parts.join(" ")
}

fn below_myriad(value: u64) -> String {
    let mut said = String::new();
    for place in (0..4).rev() {
        let digit = (value / 10_u64.pow(place) % 10) as usize;
        if digit > 0 {
            // 십, 백, 천: the one is not said.
            if digit > 1 || place == 0 {
                said.push_str(DIGITS[digit]);
            }
            said.push_str(POWERS[place as usize]);
        }
    }
    said
}

/// Native numerals as they stand before what is counted, up to 99; above a hundred the hundreds are Chinese.
pub(super) fn native(value: u64) -> String {
    match value {
        20 => "스무".to_owned(),
        1..=99 => format!("{}{}", NATIVE_TENS[(value / 10) as usize], NATIVE_ONES[(value % 10) as usize]),
        // 백두 명, 백열다섯 명; but 백이십 명.
        100..=9999 if (1..=19).contains(&(value % 100)) => {
            format!("{}{}", sino(value - value % 100), native(value % 100))
        }
        _ => sino(value),
    }
}

/// One by one: 공일공.
pub(super) fn by_digit(digits: &str, zero: &str) -> String {
    let value =
        |c: char| c.to_digit(10).map_or("", |digit| if digit == 0 { zero } else { DIGITS[digit as usize] });
    digits.chars().map(value).collect()
}

/// A number of any kind in Chinese numerals: 삼 점 오.
pub(super) fn decimal(number: &Number<'_>) -> String {
    let whole = match number.whole.parse() {
        Ok(value) if !number.is_code() => sino(value),
        _ => by_digit(&number.whole, "공"),
    };
    match number.fraction {
        Some(fraction) => format!("{whole} 점 {}", by_digit(fraction, "영")),
        None => whole,
    }
}

/// 유월 and 시월 drop a sound.
pub(super) fn month(month: u64) -> String {
    match month {
        6 => "유월".to_owned(),
        10 => "시월".to_owned(),
        _ => format!("{}월", sino(month)),
    }
}

pub(super) fn vulgar(fraction: char) -> &'static str {
    match fraction {
        '½' => "이분의 일",
        '¼' => "사분의 일",
        '¾' => "사분의 삼",
        '⅓' => "삼분의 일",
        _ => "삼분의 이",
    }
}
