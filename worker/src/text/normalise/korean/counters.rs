//! What is counted decides how: 스무 개, but 이십 회.

use super::numerals::{decimal, month, native, sino};
use crate::text::is_hangul;
use crate::text::normalise::scan::Number;

/// Counters that take native numerals, up to the number given; above it Chinese ones are usual.
const NATIVE: &[(&str, u64)] = &[
    ("개", 99),
    ("명", 99),
    ("사람", 99),
    ("마리", 99),
    ("권", 99),
    ("장", 99),
    ("병", 99),
    ("잔", 99),
    ("그루", 99),
    ("송이", 99),
    ("켤레", 99),
    ("벌", 99),
    ("채", 99),
    ("척", 99),
    ("자루", 99),
    ("살", 99),
    ("달", 99),
    ("가지", 99),
    ("번째", 99),
    ("번", 99),
    ("곳", 99),
    ("군데", 99),
    ("줄", 99),
    ("칸", 99),
    ("통", 99),
    ("포기", 99),
    ("숟가락", 99),
    ("그릇", 99),
    ("접시", 99),
    ("조각", 99),
    ("방울", 99),
    ("바퀴", 99),
    ("걸음", 99),
    ("마디", 99),
    ("차례", 99),
    ("쌍", 99),
    ("갈래", 99),
    ("집", 99),
    ("끼", 99),
    ("상자", 99),
    ("봉지", 99),
    ("모금", 99),
    ("톨", 99),
    ("알", 99),
    ("편", 99),
    ("곡", 19),
    ("해", 19),
    ("장면", 19),
    ("건", 19),
    ("배", 19),
    ("종", 19),
    ("팀", 19),
    ("경기", 19),
    ("가구", 19),
    ("나라", 99),
    ("시간", 23),
    ("시", 12),
    ("대", 99),
    ("컵", 19),
    ("골", 19),
    ("세트", 19),
    ("스푼", 19),
    ("뼘", 19),
    ("길", 19),
    ("겹", 99),
    ("단어", 19),
    ("문장", 19),
];

/// Words that begin like a counter and are none, or that count in Chinese numerals.
const SINO: &[&str] = &[
    "개월",
    "개년",
    "개국",
    "개소",
    "개사",
    "개교",
    "개점",
    "번지",
    "번가",
    "번길",
    "번호",
    "번홈",
    "시리즈",
    "시즌",
    "대대",
    "장관",
    "명령",
    "종류제",
    "해리",
    "배럴",
    "대강",
    "년대",
    "년",
    "일",
    "분",
    "초",
    "회",
    "호",
    "호선",
    "층",
    "도",
    "등",
    "위",
    "인분",
    "인",
    "차",
    "점",
    "쪽",
    "페이지",
    "주",
    "세기",
    "세",
    "원",
    "달러",
    "유로",
    "엔",
    "위안",
    "센트",
    "킬로미터",
    "미터",
    "센티미터",
    "밀리미터",
    "킬로그램",
    "그램",
    "톤",
    "리터",
    "퍼센트",
    "프로",
    "도씨",
    "학년",
    "반",
    "교시",
    "단계",
    "부",
    "강",
    "승",
    "패",
    "배속",
    "호기",
    "기가",
    "월",
    "주일",
    "메가",
    "와트",
    "킬로",
    "마력",
    "평",
    "석",
    "량",
    "급",
    "종목",
    "막",
    "악장",
    "절",
    "항",
    "관",
    "루타",
    "타수",
    "학기",
    "분기",
    "박",
];

/// 1번 출구: before these a 번 numbers, it does not count.
const NUMBERED: &[&str] = &[
    "출구",
    "버스",
    "문제",
    "국도",
    "타자",
    "선수",
    "주자",
    "홈",
    "트랙",
    "레인",
    "방",
    "마을버스",
    "게이트",
    "교향곡",
];

/// May follow a counter without a space. What does not begin with one of these is another word.
const PARTICLES: &[&str] = &[
    "은",
    "는",
    "이",
    "가",
    "을",
    "를",
    "의",
    "에",
    "로",
    "으",
    "과",
    "와",
    "도",
    "만",
    "씩",
    "당",
    "째",
    "나",
    "정도",
    "쯤",
    "가량",
    "뿐",
    "까지",
    "부터",
    "보다",
    "마다",
    "밖",
    "입",
    "였",
    "인",
    "라",
    "중",
    "안",
    "짜리",
    "넘",
    "남짓",
    "들",
    "처럼",
    "밑",
    "조차",
    "께",
    "하",
    "고",
    "며",
    "다",
    "여",
    "간",
    "반",
    "분",
    "이상",
    "이하",
    "미만",
    "전",
    "후",
    "뒤",
    "마저",
    "랑",
    "든",
    "네",
    "치",
    "어치",
    "꼴",
    "생",
    "입니다",
    "예요",
    "이에요",
    "요",
];

/// What stands after a number, with the bytes it takes of the text, a space before it included.
#[derive(Clone, Debug)]
pub(super) struct Counter<'a> {
    pub(super) name: &'a str,
    pub(super) length: usize,
    pub(super) is_native: bool,
    most: u64,
    numbered: bool,
}

/// The counter with which `after` begins, the longest that fits.
pub(super) fn counter(after: &str) -> Option<Counter<'_>> {
    let word = after.strip_prefix(' ').unwrap_or(after);
    let gap = after.len() - word.len();
    let natives = NATIVE.iter().map(|(name, most)| (*name, Some(*most)));
    let sinos = SINO.iter().map(|name| (*name, None));
    let fits = |name: &str| word.starts_with(name) && ends(&word[name.len()..]);
    let (name, most) =
        natives.chain(sinos).filter(|(name, _)| fits(name)).max_by_key(|(name, _)| name.len())?;
    let rest = word[name.len()..].trim_start();
    let numbered = name == "번" && NUMBERED.iter().any(|noun| rest.starts_with(noun));
    Some(Counter {
        name: &word[..name.len()],
        length: gap + name.len(),
        is_native: most.is_some() && !numbered,
        most: most.unwrap_or(0),
        numbered,
    })
}

fn ends(after: &str) -> bool {
    !after.starts_with(is_hangul) || PARTICLES.iter().any(|particle| after.starts_with(particle))
}

/// The number with its counter: 스무 개, 이십일 회, 유월.
pub(super) fn count(number: &Number<'_>, counter: &Counter<'_>) -> String {
    let name = counter.name;
    let Some(value) = number.value() else { return format!("{} {name}", decimal(number)) };
    match name {
        "월" if (1..=12).contains(&value) => return month(value),
        // 이천이십육년: dates run together.
        "년" | "일" | "년대" => return format!("{}{name}", sino(value)),
        // The twenties of a life; vehicles are seldom counted in round tens.
        "대" if value % 10 == 0 && value >= 10 => return format!("{}{name}", sino(value)),
        _ => {}
    }
    let native_above = value > 99 && counter.most == 99;
    if counter.is_native && !counter.numbered && value > 0 && (value <= counter.most || native_above) {
        format!("{} {name}", native(value))
    } else {
        format!("{} {name}", sino(value))
    }
}
