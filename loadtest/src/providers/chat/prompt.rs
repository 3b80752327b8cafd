//! What a prompt asks for, as far as a program without understanding can tell: language, lengths, speakers, and the shape of the
//! answer when the request does not carry it.

use serde_json::Value;

use crate::providers::settings::{Language, Writing};

/// In what a length is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Words,
    /// Hangul, one each.
    Syllables,
    /// Whatever is not white space.
    Characters,
}

impl Unit {
    pub(super) fn count(self, text: &str) -> f64 {
        let count = match self {
            Unit::Words => text.split_whitespace().count(),
            Unit::Syllables => text.chars().filter(|c| is_hangul(*c)).count(),
            Unit::Characters => text.chars().filter(|c| !c.is_whitespace()).count(),
        };
        count as f64
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wish {
    pub(super) language: Language,
    pub(super) chapters: usize,
    pub(super) turns: usize,
    /// Of a whole script.
    pub(super) length: (f64, Unit),
    pub(super) speakers: Vec<String>,
}

/// Counts beyond these are not asked for in earnest.
const MOST_CHAPTERS: usize = 50;
const MOST_TURNS: usize = 500;
const LONGEST: f64 = 50_000.0;

/// What a prompt wishes; where it says nothing, `writing` decides.
pub(super) fn wish(prompt: &str, writing: &Writing) -> Wish {
    let count = |units: &[&str]| asked(prompt, units).map(|(_, count)| count.max(1.0));
    let turns =
        count(&["turn", "턴", "차례"]).map_or(writing.turns, |turns| (turns as usize).min(MOST_TURNS));
    let chapters = count(&["chapter", "챕터", "장으로", "개의 챕터"])
        .map_or(writing.chapters, |chapters| (chapters as usize).min(MOST_CHAPTERS));
    let length = [
        (Unit::Words, &["word", "단어", "어절"][..]),
        (Unit::Syllables, &["syllable", "음절"]),
        (Unit::Characters, &["character", "글자", "자"]),
    ]
    .into_iter()
    // Of two that stand beside one number, the first named here.
    .rev()
    .filter_map(|(unit, names)| asked(prompt, names).map(|(place, count)| (place, count, unit)))
    .max_by_key(|(place, ..)| *place)
    .map_or(((turns * writing.words) as f64, Unit::Words), |(_, count, unit)| {
        (count.clamp(1.0, LONGEST), unit)
    });
    let language = match writing.language {
        Language::Auto => language(prompt),
        fixed => fixed,
    };
    Wish { language, chapters, turns, length, speakers: speakers(prompt) }
}

/// The last number in front of one of the units, or after one and a colon: `about 320 words`, `300단어`, `"words": 320`; and which
/// word of the prompt it is.
fn asked(prompt: &str, units: &[&str]) -> Option<(usize, f64)> {
    let words: Vec<&str> = prompt.split_whitespace().collect();
    let names = |word: &str| {
        let word = word.trim_start_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        units.iter().any(|unit| word.starts_with(unit))
    };
    let mut found = None;
    for (place, word) in words.iter().enumerate() {
        let Some((number, rest)) = number_at_start(word) else { continue };
        let before = place.checked_sub(1).and_then(|before| words.get(before)).copied().unwrap_or_default();
        let follows = names(rest)
            || rest.trim_matches(|c: char| !c.is_alphanumeric()).is_empty()
                && words[place + 1..].iter().take(2).any(|word| names(word));
        if follows || before.ends_with(':') && before_names(before, units) {
            found = Some((place, number));
        }
    }
    found
}

fn before_names(word: &str, units: &[&str]) -> bool {
    let word = word.to_lowercase();
    units.iter().any(|unit| word.contains(unit))
}

/// `1,200자` is 1200 and `자`.
fn number_at_start(word: &str) -> Option<(f64, &str)> {
    let word = word.trim_start_matches(|c: char| !c.is_alphanumeric());
    let end = word.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(word.len());
    let digits: String = word[..end].chars().filter(char::is_ascii_digit).collect();
    Some((digits.parse().ok()?, word[end..].trim_start_matches(',')))
}

/// The language that is named last as one to write in; else that of the letters.
fn language(prompt: &str) -> Language {
    const MARKS: [(&str, Language); 10] = [
        ("in korean", Language::Ko),
        ("한국어로", Language::Ko),
        ("language: ko", Language::Ko),
        ("\"language\":\"ko", Language::Ko),
        ("\"language\": \"ko", Language::Ko),
        ("in english", Language::En),
        ("영어로", Language::En),
        ("language: en", Language::En),
        ("\"language\":\"en", Language::En),
        ("\"language\": \"en", Language::En),
    ];
    let prompt = prompt.to_lowercase();
    let named = MARKS.iter().filter_map(|(mark, language)| Some((prompt.rfind(mark)?, *language)));
    if let Some((_, language)) = named.max_by_key(|(place, _)| *place) {
        return language;
    }
    let letters = prompt.chars().filter(|c| c.is_alphabetic()).count();
    let hangul = prompt.chars().filter(|c| is_hangul(*c)).count();
    if hangul * 4 > letters { Language::Ko } else { Language::En }
}

fn is_hangul(c: char) -> bool {
    ('\u{ac00}'..='\u{d7a3}').contains(&c)
}

/// Names after the last `speakers:`: a JSON list of names or of objects with a `name`, a list of lines, or one line with commas.
fn speakers(prompt: &str) -> Vec<String> {
    let marks = ["peakers:", "peakers\":", "화자:"];
    let place = marks.iter().filter_map(|mark| Some(prompt.rfind(mark)? + mark.len())).max();
    let after: String = place.map_or("", |place| &prompt[place..]).chars().take(1000).collect();
    let names: Vec<&str> = if let Some(list) = after.trim_start().strip_prefix('[') {
        let list = list.split(']').next().unwrap_or_default();
        let mark = if list.contains("\"name\"") { "\"name\"" } else { "," };
        list.split(mark)
            .skip(usize::from(mark != ","))
            .map(|rest| rest.split('"').nth(1).unwrap_or(rest))
            .collect()
    } else {
        let mut lines = after.lines();
        match lines.next().map(str::trim) {
            Some("") => lines.take_while(|line| line.trim_start().starts_with(['-', '*'])).collect(),
            Some(line) => line.split([',', ';']).collect(),
            None => Vec::new(),
        }
    };
    let names: Vec<String> = names
        .iter()
        .map(|name| name.trim_start_matches(|c: char| !c.is_alphanumeric()))
        .map(|name| name.split([':', '(', '=', '.']).next().unwrap_or_default().trim())
        .filter(|name| (1..=40).contains(&name.chars().count()))
        .map(str::to_owned)
        .collect();
    if names.is_empty() { vec!["Host".into(), "Guest".into()] } else { names }
}

/// A shape that the prompt holds as JSON: a schema, or an example that is to be followed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    Schema(Value),
    Example(Value),
}

/// The last schema in the prompt, or else the last object.
pub(super) fn shape(prompt: &str) -> Option<Shape> {
    let mut example = None;
    let mut schema = None;
    let mut at = 0;
    // Braces that begin nothing: a prompt full of them is not worth the time.
    let mut tries = 1000;
    while let Some(start) = prompt[at..].find('{').map(|place| at + place).filter(|_| tries > 0) {
        tries -= 1;
        let mut values = serde_json::Deserializer::from_str(&prompt[start..]).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                at = start + values.byte_offset();
                let is_schema = value.get("properties").is_some_and(Value::is_object);
                *(if is_schema { &mut schema } else { &mut example }) = Some(value);
            }
            _ => at = start + 1,
        }
    }
    schema.map(Shape::Schema).or(example.map(Shape::Example))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lengths_are_found_where_they_are_asked_for() {
        let check = |prompt: &str, expected: (f64, Unit)| {
            assert_eq!(wish(prompt, &Writing::default()).length, expected, "{prompt}");
        };
        check("Write about 320 words.", (320.0, Unit::Words));
        check("Aim for 1,250 spoken words in all", (1250.0, Unit::Words));
        check("{\"words\": 90}", (90.0, Unit::Words));
        check("target_words: 90", (90.0, Unit::Words));
        check("약 300단어로 써 주세요.", (300.0, Unit::Words));
        check("Write 700 syllables of Korean.", (700.0, Unit::Syllables));
        check("약 900 글자", (900.0, Unit::Characters));
        check("It has 12 words. Length: about 700 syllables (글자) in all.", (700.0, Unit::Syllables));
        check("In 1999 nobody asked.", (150.0, Unit::Words));
        let wish = wish("Plan 5 chapters, each of 8 turns.", &Writing::default());
        assert_eq!((wish.chapters, wish.turns), (5, 8));
    }

    #[test]
    fn the_language_is_the_one_asked_for() {
        let check = |prompt: &str, expected| assert_eq!(language(prompt), expected, "{prompt}");
        check("Write in Korean about this English text.", Language::Ko);
        check("달과 바다에 대한 글입니다.", Language::Ko);
        check("달과 바다에 대한 글입니다. Write everything in English.", Language::En);
        check("Language: ko-KR\nTides and ships", Language::Ko);
        check("Tides and ships", Language::En);
    }

    #[test]
    fn speakers_are_found() {
        let check = |prompt: &str, expected: &[&str]| assert_eq!(speakers(prompt), expected, "{prompt}");
        check("Speakers: Mina (host), Jun (guest).\n\nText", &["Mina", "Jun"]);
        check("Speakers:\n- Mina: host\n- Jun: guest\n\nText", &["Mina", "Jun"]);
        check(r#"{"speakers": [{"name": "민지"}, {"name": "Jun"}]}"#, &["민지", "Jun"]);
        check(r#"{"speakers": ["A", "B"]}"#, &["A", "B"]);
        check("Speakers:\n- Mina\n- Jun\nRules:\n- no names of speakers in front", &["Mina", "Jun"]);
        check("the speakers take turns", &["Host", "Guest"]);
    }

    #[test]
    fn shapes_are_found_in_the_prompt() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let prompt = format!("Data: {{\"x\": 1}}. Answer with JSON like {schema} {{not json}}");
        assert_eq!(shape(&prompt), Some(Shape::Schema(schema)));
        assert_eq!(shape("Like {\"x\": 1}, please"), Some(Shape::Example(json!({"x": 1}))));
        assert_eq!(shape("{{{{"), None);
    }
}
