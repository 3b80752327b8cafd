//! The writer on six texts that were written for it; see `samples/writer`.

use super::super::script::seconds;
use super::*;
use crate::text::speakable_units;

struct Text {
    name: &'static str,
    language: &'static str,
    minutes: u16,
    source: &'static str,
    keys: &'static str,
}

macro_rules! text {
    ($name:literal, $ending:literal, $language:literal, $minutes:literal) => {
        Text {
            name: $name,
            language: $language,
            minutes: $minutes,
            source: include_str!(concat!("../../../../../samples/writer/", $name, ".", $ending)),
            keys: include_str!(concat!("../../../../../samples/writer/", $name, ".keys")),
        }
    };
}

const TEXTS: [Text; 6] = [
    text!("en-short", "txt", "en", 1),
    text!("en-middle", "md", "en", 2),
    text!("en-long", "txt", "en", 4),
    text!("ko-short", "txt", "ko", 1),
    text!("ko-middle", "html", "ko", 2),
    text!("ko-long", "md", "ko", 4),
];

impl Text {
    fn keys(&self) -> Vec<&str> {
        self.keys.lines().collect()
    }

    fn brief(&self, minutes: Option<u16>) -> Brief {
        brief(self.language, Format::Dialogue, minutes)
    }

    fn turns(&self, minutes: Option<u16>) -> Vec<Turn> {
        let result = outline(Some(self.source), self.brief(minutes), &[]).unwrap();
        let count = u16::try_from(result.chapters.len()).unwrap();
        (0..count)
            .zip(&result.chapters)
            .flat_map(|(n, plan)| script(self.brief(minutes), &result.title, plan, n, count))
            .collect()
    }

    /// As many first sentences as take the time asked for: what a writer would say that chooses nothing.
    fn first_sentences(&self) -> Vec<String> {
        let brief = self.brief(None);
        let mut left = f64::from(self.minutes) * f64::from(brief.pace.rate(self.language));
        let sentences =
            sections(self.source, self.language).into_iter().flat_map(|section| section.paragraphs).flatten();
        let fits = |sentence: &String| {
            left -= speakable_units(sentence, self.language);
            left > 0.0
        };
        sentences.take_while(fits).collect()
    }
}

/// Letters and digits alone: what is left of a text however it was marked up.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

#[test]
fn they_are_what_they_say() {
    for (text, minutes) in TEXTS.iter().zip([2.0, 6.0, 15.0].iter().cycle()) {
        let lasts = seconds(&text.turns(None), &text.brief(None)) / 60.0;
        assert!(lasts > *minutes, "{} lasts {lasts} minutes", text.name);
        assert_eq!(common::request::detect_language(text.source), text.language, "{}", text.name);
        let all: Vec<String> =
            sections(text.source, text.language).into_iter().flat_map(|s| s.paragraphs).flatten().collect();
        assert!(text.keys().len() >= 3);
        for key in text.keys() {
            let place = all.iter().position(|sentence| sentence == key);
            let place = place.unwrap_or_else(|| panic!("{}: no sentence of it: {key}", text.name));
            assert!(place * 2 >= all.len(), "{}: not in the later half: {key}", text.name);
        }
    }
}

#[test]
fn more_key_sentences_are_kept_than_the_first_sentences_hold() {
    for text in &TEXTS {
        let told =
            text.turns(Some(text.minutes)).into_iter().map(|turn| turn.text).collect::<Vec<_>>().join(" ");
        let first = text.first_sentences().join(" ");
        let keys = text.keys();
        let count = |told: &str| keys.iter().filter(|key| told.contains(**key)).count();
        let (kept, baseline) = (count(&told), count(&first));
        println!("{}: {kept} of {} key sentences, first sentences {baseline}", text.name, keys.len());
        for key in keys.iter().filter(|key| !told.contains(**key)) {
            println!("  not kept: {key}");
        }
        assert!(kept > baseline, "{}: {kept} kept, {baseline} by the first sentences", text.name);
        assert!(kept * 2 >= keys.len(), "{}: only {kept} of {}: {told}", text.name, keys.len());
    }
}

#[test]
fn what_is_not_the_writers_own_stands_in_the_source_in_order() {
    for text in &TEXTS {
        let source = squeezed(text.source);
        for minutes in [None, Some(text.minutes)] {
            let turns = text.turns(minutes);
            let body: Vec<&Turn> = turns.iter().filter(|turn| turn.place == Place::Body).collect();
            assert!(body.len() * 2 > turns.len(), "{}: mostly the writer's own words", text.name);
            let mut from = 0;
            for sentence in body.iter().flat_map(|turn| crate::text::sentences(&turn.text, text.language)) {
                let wanted = squeezed(&sentence);
                let at = source[from..]
                    .find(&wanted)
                    .unwrap_or_else(|| panic!("{}: not in the source: {sentence}", text.name));
                from += at + wanted.len();
            }
            assert_eq!(turns[0].place, Place::Opening);
            assert_eq!(turns.last().map(|turn| turn.place), Some(Place::Closing));
            let speakers: std::collections::BTreeSet<u8> = turns.iter().map(|turn| turn.speaker).collect();
            assert_eq!(speakers.len(), 2, "{}", text.name);
        }
    }
}

#[test]
fn the_length_asked_for_is_planned_closely() {
    for text in &TEXTS {
        let brief = text.brief(Some(text.minutes));
        let lasts = seconds(&text.turns(Some(text.minutes)), &brief);
        let asked = f64::from(text.minutes) * 60.0;
        assert!((lasts / asked - 1.0).abs() < 0.05, "{}: {lasts} s planned, {asked} s asked for", text.name);
    }
}

#[test]
fn nothing_of_the_page_or_the_markup_is_said() {
    for text in &TEXTS {
        for turn in text.turns(None) {
            assert!(!turn.text.contains(['*', '|', '<', '#', '[', '`', '_']), "{}: {}", text.name, turn.text);
            for word in ["http", "쿠키", "바로가기", "무단", "기사", "Read more", "&nbsp", "&copy"]
            {
                assert!(!turn.text.contains(word), "{}: {}", text.name, turn.text);
            }
        }
    }
}
