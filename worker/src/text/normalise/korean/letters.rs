//! Latin letters in Korean text: acronyms by the names of their letters, well-known ones as they are called.

use super::numerals::sino;
use crate::text::normalise::scan::{capitals, digits, number, word_ends};

/// Said as words, or otherwise than letter by letter.
const CALLED: &[(&str, &str)] = &[
    ("NASA", "나사"),
    ("UNESCO", "유네스코"),
    ("UNICEF", "유니세프"),
    ("NATO", "나토"),
    ("OPEC", "오펙"),
    ("FIFA", "피파"),
    ("APEC", "에이펙"),
    ("ASEAN", "아세안"),
    ("AIDS", "에이즈"),
    ("SARS", "사스"),
    ("MERS", "메르스"),
    ("COVID-19", "코로나 일구"),
    ("COVID", "코비드"),
    ("KAIST", "카이스트"),
    ("POSTECH", "포스텍"),
    ("POSCO", "포스코"),
    ("KOSPI", "코스피"),
    ("KOSDAQ", "코스닥"),
    ("NASDAQ", "나스닥"),
    ("RAM", "램"),
    ("ROM", "롬"),
    ("LAN", "랜"),
    ("SIM", "심"),
    ("PIN", "핀"),
    ("CERN", "세른"),
    ("JPEG", "제이펙"),
    ("LIDAR", "라이다"),
    ("RADAR", "레이더"),
    ("II", "이"),
    ("III", "삼"),
    ("IV", "사"),
    ("MP3", "엠피스리"),
    ("MP4", "엠피포"),
    ("H2O", "에이치투오"),
    ("CO2", "시오투"),
    ("A4", "에이포"),
    ("A3", "에이스리"),
    ("G7", "지세븐"),
    ("F1", "에프원"),
    ("K팝", "케이팝"),
    ("K-팝", "케이팝"),
    ("K-POP", "케이팝"),
    ("Wi-Fi", "와이파이"),
    ("WiFi", "와이파이"),
    ("pH", "피에이치"),
    ("vs.", "대"),
    ("vs", "대"),
    ("etc.", "등등"),
    ("QR", "큐알"),
    ("PhD", "박사"),
    ("DNA", "디엔에이"),
    ("mRNA", "엠아르엔에이"),
    ("IoT", "아이오티"),
    ("LLM", "엘엘엠"),
    ("OK", "오케이"),
    ("No.", "넘버"),
    ("B2B", "비투비"),
    ("B2C", "비투시"),
    ("R&D", "알앤디"),
    ("M&A", "엠앤에이"),
    ("Q&A", "큐앤에이"),
    ("AT&T", "에이티앤티"),
    ("TCP/IP", "티시피 아이피"),
];

const NAMES: [&str; 26] = [
    "에이",
    "비",
    "시",
    "디",
    "이",
    "에프",
    "지",
    "에이치",
    "아이",
    "제이",
    "케이",
    "엘",
    "엠",
    "엔",
    "오",
    "피",
    "큐",
    "알",
    "에스",
    "티",
    "유",
    "브이",
    "더블유",
    "엑스",
    "와이",
    "제트",
];

/// Longer runs of capitals are somebody shouting.
const MAX_LETTERS: usize = 6;

/// The word in Latin letters with which `rest` begins, if it is not one to be read as a word.
pub(super) fn word(rest: &str) -> Option<(usize, String)> {
    let called = CALLED.iter().filter(|(written, _)| {
        rest.starts_with(written)
            && word_ends(&rest[written.len()..])
            && !rest[written.len()..].starts_with("-1")
    });
    if let Some((written, said)) = called.max_by_key(|(written, _)| written.len()) {
        // `No.` and `vs` are words of their own only before something.
        let needs_number = *written == "No.";
        if !needs_number || rest[3..].trim_start().starts_with(|c: char| c.is_ascii_digit()) {
            return Some((written.len(), (*said).to_owned()));
        }
    }
    if let Some(after) = rest.strip_prefix(['v', 'V'])
        && digits(after) > 0
    {
        let said = if number(after).is_some() { "버전 " } else { "" };
        return Some((1, said.to_owned()));
    }
    let letters = capitals(rest);
    let after = &rest[letters..];
    if letters == 0 || letters > MAX_LETTERS {
        return None;
    }
    let spelled: String = rest[..letters].bytes().filter_map(name).collect();
    // COVID-19, GPT-4, A4: the number goes with the name.
    let hyphen = usize::from(after.starts_with('-') && digits(&after[1..]) > 0);
    let number = digits(&after[hyphen..]);
    if number > 0 && word_ends(&after[hyphen + number..]) && !after[hyphen + number..].starts_with('.') {
        let value: Option<u64> = after[hyphen..hyphen + number].parse().ok();
        return Some((
            letters + hyphen + number,
            format!("{spelled} {}", value.map(sino).unwrap_or_default()),
        ));
    }
    if after.starts_with('s') && word_ends(&after[1..]) && letters > 1 {
        return Some((letters + 1, spelled));
    }
    (word_ends(after) || digits(after) > 0).then_some((letters, spelled))
}

/// `5G`, `4K`, `3D`: a number that a capital follows.
pub(super) fn after_digit(before: &str, rest: &str) -> Option<(usize, String)> {
    let length = digits(rest);
    let letter = rest.as_bytes().get(length).copied().filter(u8::is_ascii_uppercase)?;
    let closed = word_ends(&rest[length + 1..]) && !before.ends_with(['.', ',']);
    let is_name =
        matches!(letter, b'G' | b'K' | b'D' | b'P' | b'C' | b'S') && !rest[length + 1..].starts_with('/');
    let value: u64 = rest[..length].parse().ok()?;
    let said = match (value, letter) {
        (3, b'D') => "스리".to_owned(),
        (2, b'D') => "투".to_owned(),
        _ => sino(value),
    };
    (closed && is_name).then(|| (length + 1, format!("{said}{}", name(letter).unwrap_or_default())))
}

fn name(letter: u8) -> Option<&'static str> {
    NAMES.get(usize::from(letter.wrapping_sub(b'A'))).copied()
}
