//! Units of measure, which take Chinese numerals.

use super::numerals::decimal;
use crate::text::normalise::scan::{Number, word_ends};

/// Written, said after the number.
const UNITS: &[(&str, &str)] = &[
    ("%포인트", "퍼센트포인트"),
    ("%p", "퍼센트포인트"),
    ("%P", "퍼센트포인트"),
    ("%", "퍼센트"),
    ("‰", "퍼밀"),
    ("km²", "제곱킬로미터"),
    ("km2", "제곱킬로미터"),
    ("m²", "제곱미터"),
    ("m2", "제곱미터"),
    ("cm²", "제곱센티미터"),
    ("m³", "세제곱미터"),
    ("cm³", "세제곱센티미터"),
    ("kg/m²", "킬로그램 퍼 제곱미터"),
    ("kg/m³", "킬로그램 퍼 세제곱미터"),
    ("g/cm³", "그램 퍼 세제곱센티미터"),
    ("mg/L", "밀리그램 퍼 리터"),
    ("mg/dL", "밀리그램 퍼 데시리터"),
    ("km", "킬로미터"),
    ("m", "미터"),
    ("cm", "센티미터"),
    ("mm", "밀리미터"),
    ("μm", "마이크로미터"),
    ("nm", "나노미터"),
    ("kg", "킬로그램"),
    ("g", "그램"),
    ("mg", "밀리그램"),
    ("μg", "마이크로그램"),
    ("t", "톤"),
    ("L", "리터"),
    ("l", "리터"),
    ("mL", "밀리리터"),
    ("ml", "밀리리터"),
    ("ha", "헥타르"),
    ("W", "와트"),
    ("kW", "킬로와트"),
    ("MW", "메가와트"),
    ("GW", "기가와트"),
    ("TW", "테라와트"),
    ("Wh", "와트시"),
    ("kWh", "킬로와트시"),
    ("MWh", "메가와트시"),
    ("GWh", "기가와트시"),
    ("TWh", "테라와트시"),
    ("V", "볼트"),
    ("A", "암페어"),
    ("mAh", "밀리암페어시"),
    ("Hz", "헤르츠"),
    ("kHz", "킬로헤르츠"),
    ("MHz", "메가헤르츠"),
    ("GHz", "기가헤르츠"),
    ("B", "바이트"),
    ("KB", "킬로바이트"),
    ("kB", "킬로바이트"),
    ("MB", "메가바이트"),
    ("GB", "기가바이트"),
    ("TB", "테라바이트"),
    ("PB", "페타바이트"),
    ("GiB", "기비바이트"),
    ("MiB", "메비바이트"),
    ("bps", "비피에스"),
    ("Mbps", "메가비피에스"),
    ("Gbps", "기가비피에스"),
    ("Pa", "파스칼"),
    ("hPa", "헥토파스칼"),
    ("kPa", "킬로파스칼"),
    ("MPa", "메가파스칼"),
    ("dB", "데시벨"),
    ("cal", "칼로리"),
    ("kcal", "킬로칼로리"),
    ("J", "줄"),
    ("kJ", "킬로줄"),
    ("MJ", "메가줄"),
    ("N", "뉴턴"),
    ("ppm", "피피엠"),
    ("ppb", "피피비"),
    ("rpm", "알피엠"),
    ("ms", "밀리초"),
    ("μs", "마이크로초"),
    ("ns", "나노초"),
    ("s", "초"),
    ("min", "분"),
    ("h", "시간"),
    ("px", "픽셀"),
    ("°", "도"),
    ("배", "배"),
    ("x", "배"),
    ("인치", "인치"),
    ("ft", "피트"),
    ("lb", "파운드"),
    ("oz", "온스"),
    ("mol", "몰"),
    ("eV", "전자볼트"),
    ("TFLOPS", "테라플롭스"),
    ("fps", "에프피에스"),
    ("cc", "시시"),
    ("mmHg", "수은주 밀리미터"),
];

/// Said before the number, and what follows it.
const LEADING: &[(&str, &str, &str)] = &[
    ("km/h", "시속", "킬로미터"),
    ("km/s", "초속", "킬로미터"),
    ("m/s", "초속", "미터"),
    ("m/min", "분속", "미터"),
    ("mph", "시속", "마일"),
    ("°C", "섭씨", "도"),
    ("°F", "화씨", "도"),
];

/// The unit with which `after` begins, as it is said after a number, and its bytes, a space before it included.
pub(super) fn unit(after: &str) -> Option<(usize, &'static str)> {
    let word = after.strip_prefix(' ').unwrap_or(after);
    let (written, said) = UNITS
        .iter()
        .filter(|(written, _)| word.starts_with(written) && closed(written, &word[written.len()..]))
        .max_by_key(|(written, _)| written.len())?;
    // 배 is a counter too, and counts in native numerals while it is small.
    (*written != "배").then_some((after.len() - word.len() + written.len(), said))
}

/// A number in a unit of measure, with the bytes that the unit takes of `after`.
pub(super) fn measured(before: &str, number: &Number<'_>, after: &str) -> Option<(usize, String)> {
    let word = after.strip_prefix(' ').unwrap_or(after);
    let gap = after.len() - word.len();
    let leading =
        LEADING.iter().find(|(written, ..)| word.starts_with(written) && word_ends(&word[written.len()..]));
    if let Some((written, lead, name)) = leading {
        let said_already = before.trim_end().ends_with(lead);
        let lead = if said_already { String::new() } else { format!("{lead} ") };
        return Some((gap + written.len(), format!("{lead}{} {name}", decimal(number))));
    }
    let (taken, said) = unit(after)?;
    Some((taken, format!("{} {said}", decimal(number))))
}

fn closed(written: &str, after: &str) -> bool {
    !written.ends_with(|c: char| c.is_ascii_alphabetic())
        || word_ends(after) && !after.starts_with(['/', '²', '³'])
}
