//! What pages say, in English and Korean. The English text stands in the pages and is its own key; a test sees to it that each
//! has its Korean one.

mod korean;

use axum::http::{HeaderMap, header};

use super::frame::{LANGUAGE, cookie};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Language {
    English,
    Korean,
}

impl Language {
    pub(super) const ALL: [Language; 2] = [Language::English, Language::Korean];

    pub(super) fn code(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Korean => "ko",
        }
    }

    /// In itself.
    pub(super) fn name(self) -> &'static str {
        match self {
            Language::English => "English",
            Language::Korean => "한국어",
        }
    }

    pub(super) fn parse(code: &str) -> Option<Language> {
        Language::ALL.into_iter().find(|language| language.code() == code)
    }

    /// What was chosen here, else what the browser asks for first.
    pub(super) fn of(headers: &HeaderMap) -> Language {
        let chosen = cookie(headers, LANGUAGE).and_then(Language::parse);
        chosen.unwrap_or_else(|| {
            let asked = headers
                .get(header::ACCEPT_LANGUAGE)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            let tags = asked.split(',').map(|tag| tag.split([';', '-']).next().unwrap_or_default().trim());
            tags.filter_map(Language::parse).next().unwrap_or(Language::English)
        })
    }

    /// A fixed text.
    pub(super) fn t(self, english: &'static str) -> &'static str {
        match self {
            Language::English => english,
            Language::Korean => korean::of(english).unwrap_or(english),
        }
    }

    /// A text with places `{0}`, `{1}` to fill in.
    pub(super) fn f(self, english: &'static str, values: &[&str]) -> String {
        let mut out = String::new();
        let mut rest = self.t(english);
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let (number, after) = after.split_once('}').unwrap_or((after, ""));
            out.push_str(number.parse().ok().and_then(|number: usize| values.get(number)).unwrap_or(&""));
            rest = after;
        }
        out.push_str(rest);
        out
    }

    /// A text that is worded elsewhere; the test of words knows where.
    pub(super) fn any(self, english: &'static str) -> &'static str {
        self.t(english)
    }

    /// What a type of problem means, before the API's own words. `None`: they are in this language already.
    pub(super) fn problem(self, kind: &str) -> Option<&'static str> {
        match self {
            Language::English => None,
            Language::Korean => korean::problem(kind),
        }
    }

    /// What somebody did, as the audit trail names it.
    pub(super) fn action(self, action: &str) -> &str {
        match action {
            "dead_letter.replay" => self.t("was replayed"),
            "dead_letter.edit_replay" => self.t("was edited and replayed"),
            "dead_letter.discard" => self.t("was discarded"),
            "dead_letter.view_payload" => self.t("was looked at in full"),
            other => other,
        }
    }

    pub(super) fn state(self, state: &str) -> &'static str {
        match state {
            "running" => self.t("Being made"),
            "completed" => self.t("Finished"),
            "failed" => self.t("Failed"),
            "cancelled" => self.t("Cancelled"),
            "open" => self.t("Open"),
            "replayed" => self.t("Replayed"),
            "discarded" => self.t("Discarded"),
            "stopped" => self.t("Stopped"),
            _ => self.t("Unknown"),
        }
    }

    /// A kind of work, which is also a stage of a podcast.
    pub(super) fn stage(self, kind: &str) -> &'static str {
        match kind {
            "outline" => self.t("Outline"),
            "script" => self.t("Script"),
            "tts" => self.t("Speech"),
            "mix" => self.t("Mix"),
            "join" => self.t("Episode"),
            "end" => self.t("End"),
            _ => self.t("Unknown"),
        }
    }

    /// How an attempt ended, in plain words.
    pub(super) fn class(self, class: &str) -> &'static str {
        match class {
            "success" => self.t("Done"),
            "transient" => self.t("The engine failed"),
            "throttled" => self.t("The engine asked to wait"),
            "timeout" => self.t("No answer in time"),
            "interrupted" => self.t("Its worker was interrupted"),
            "returned" => self.t("Handed back, not started"),
            "parked" => self.t("Waits until the engine is tried again"),
            "permanent_input" => self.t("This input cannot succeed"),
            "permanent_config" => self.t("The engine is set up wrongly"),
            "unsupported" => self.t("An older worker handed it back"),
            "expired" => self.t("Time ran out"),
            _ => self.t("Unknown"),
        }
    }

    pub(super) fn priority(self, priority: &str) -> &'static str {
        match priority {
            "high" => self.t("High"),
            "low" => self.t("Low"),
            _ => self.t("Normal"),
        }
    }

    pub(super) fn format(self, format: &str) -> &'static str {
        match format {
            "monologue" => self.t("Monologue"),
            "interview" => self.t("Interview"),
            "debate" => self.t("Debate"),
            _ => self.t("Dialogue"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The texts that a source file hands to `t` and `f`.
    fn texts(source: &str) -> Vec<String> {
        let mut found = Vec::new();
        for name in ["t", "f"] {
            let call = format!(".{name}(");
            for (at, _) in source.match_indices(&call) {
                let rest = source[at + call.len()..].trim_start();
                let Some(rest) = rest.strip_prefix('"') else { continue };
                let end = rest.find('"').unwrap();
                found.push(rest[..end].to_owned());
            }
        }
        found
    }

    fn sources(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn every_text_has_its_korean_one_with_the_same_places() {
        let mut files = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/dashboard"), &mut files);
        let advices = super::super::letter::advices().into_iter().map(str::to_owned);
        let texts: Vec<String> = files.iter().flat_map(|file| texts(file)).chain(advices).collect();
        assert!(texts.len() > 60, "{}", texts.len());
        let places = |text: &str| (0..9).filter(|i| text.contains(&format!("{{{i}}}"))).collect::<Vec<_>>();
        let mut missing: Vec<&String> = texts
            .iter()
            .filter(|text| korean::of(text).is_none_or(|korean| places(korean) != places(text)))
            .collect();
        missing.sort();
        missing.dedup();
        assert!(missing.is_empty(), "{missing:#?}");
    }

    /// The words that stand for types of problems.
    fn problems(source: &str) -> Vec<String> {
        let calls = ["Problem::new(", "impossible("].into_iter();
        let calls =
            calls.flat_map(|call| source.match_indices(call).map(|(at, found)| &source[at + found.len()..]));
        let word = |rest: &str| {
            let arguments = rest.split(')').next().unwrap_or_default();
            let word = arguments.split('"').nth(1)?;
            let is_word = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            is_word.then(|| word.to_owned())
        };
        calls.filter_map(word).collect()
    }

    #[test]
    fn every_problem_has_its_korean_sentence() {
        let mut files = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http"), &mut files);
        let mut kinds: Vec<String> = files.iter().flat_map(|file| problems(file)).collect();
        kinds.sort();
        kinds.dedup();
        assert!(kinds.len() > 20 && kinds.iter().any(|kind| kind == "not-replayable"), "{kinds:?}");
        kinds.retain(|kind| Language::Korean.problem(kind).is_none());
        assert!(kinds.is_empty(), "{kinds:?}");
    }

    #[test]
    fn places_are_filled_in() {
        assert_eq!(Language::English.f("{0}, {1} MB", &["1:02", "3.5"]), "1:02, 3.5 MB");
    }

    #[test]
    fn the_language_is_the_chosen_one_or_the_browsers_first() {
        let check = |headers: &[(&'static str, &str)], expected: Language| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().unwrap());
            }
            assert_eq!(Language::of(&map), expected, "{headers:?}");
        };
        check(&[], Language::English);
        check(&[("accept-language", "ko-KR,ko;q=0.9,en;q=0.8")], Language::Korean);
        check(&[("accept-language", "fr-FR,en;q=0.8,ko;q=0.7")], Language::English);
        check(&[("accept-language", "en"), ("cookie", "podfleet_language=ko")], Language::Korean);
    }
}
