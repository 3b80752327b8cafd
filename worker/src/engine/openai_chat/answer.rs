//! The JSON in what a language model says: behind its thinking, within prose and code fences, turn by turn while it comes.

use serde_json::Value;

/// What a model may open its thinking with.
const THINKING: [&str; 4] = ["<think>", "<thinking>", "<thought>", "<reasoning>"];
/// And what ends it: the longest is looked for across two pieces.
const ENDS: [&str; 4] = ["</think>", "</thinking>", "</thought>", "</reasoning>"];
const LONGEST_END: usize = 12;

/// The part of an answer that is not thinking, as far as that can be told while it comes.
#[derive(Debug, Default)]
pub(super) struct Visible {
    raw: String,
    state: State,
    /// Where to look for the end of thinking next.
    searched: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Start,
    Thinking {
        from: usize,
    },
    Answer {
        from: usize,
    },
}

impl Visible {
    pub(super) fn push(&mut self, text: &str) {
        self.raw.push_str(text);
        if self.state == State::Start {
            let start = self.raw.trim_start();
            if start.is_empty() {
                return;
            }
            if let Some(tag) = THINKING.iter().find(|tag| start.starts_with(**tag)) {
                self.state = State::Thinking { from: self.raw.len() - start.len() + tag.len() };
            } else if !THINKING.iter().any(|tag| tag.starts_with(start)) {
                self.state = State::Answer { from: 0 };
            }
        }
        if let State::Thinking { .. } = self.state {
            let mut from = self.searched.min(self.raw.len());
            while !self.raw.is_char_boundary(from) {
                from -= 1;
            }
            match first_end(&self.raw[from..]) {
                Some(end) => self.state = State::Answer { from: from + end },
                None => self.searched = self.raw.len().saturating_sub(LONGEST_END),
            }
        }
    }

    /// What has been said openly so far, if it begins as JSON does: prose may turn out as thinking that was never opened.
    pub(super) fn json_so_far(&self) -> &str {
        let State::Answer { from } = self.state else { return "" };
        let text = self.raw.get(from..).unwrap_or_default();
        if text.trim_start().starts_with(['{', '[', '`']) { text } else { "" }
    }

    /// At the end: the answer, and whether it is only thinking that was never closed.
    pub(super) fn settled(&self) -> (&str, bool) {
        let last_end = ENDS.iter().filter_map(|end| self.raw.rfind(end).map(|at| at + end.len())).max();
        match (self.state, last_end) {
            (_, Some(end)) => (self.raw.get(end..).unwrap_or_default(), false),
            (State::Thinking { from }, None) => (self.raw.get(from..).unwrap_or_default(), true),
            (_, None) => (&self.raw, false),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.raw.len()
    }

    /// Whether the end says the same again and again, or nothing.
    pub(super) fn loops(&self) -> bool {
        loops(&self.raw)
    }
}

fn first_end(text: &str) -> Option<usize> {
    ENDS.iter().filter_map(|end| text.find(end).map(|at| at + end.len())).min()
}

/// Whether the last 1,600 bytes are one short piece over and over.
pub(super) fn loops(text: &str) -> bool {
    const LONGEST_PIECE: usize = 400;
    const REPEATED: usize = 1_600;
    let bytes = text.as_bytes();
    let Some(start) = bytes.len().checked_sub(REPEATED) else { return false };
    (1..=LONGEST_PIECE).any(|piece| bytes[start + piece..].iter().zip(&bytes[start..]).all(|(a, b)| a == b))
}

/// Finds objects that stand in a list, one by one while the text grows, in the first JSON value of it.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    at: usize,
    /// Opening brackets that are not closed, with their places.
    open: Vec<(u8, usize)>,
    in_string: bool,
    escaped: bool,
    /// The value is closed.
    pub(super) complete: bool,
}

/// Brackets in brackets: deeper is no answer of ours.
const DEEPEST: usize = 32;

impl Scanner {
    /// Places of the objects that are complete with what has come since the last call. `text` must begin as before.
    pub(super) fn objects(&mut self, text: &str) -> Vec<std::ops::Range<usize>> {
        let bytes = text.as_bytes();
        let mut found = Vec::new();
        while self.at < bytes.len() && !self.complete {
            let byte = bytes[self.at];
            if self.open.is_empty() {
                match begins_json(&bytes[self.at..]) {
                    Some(true) => self.open.push((byte, self.at)),
                    Some(false) => {}
                    // The next byte decides.
                    None => break,
                }
            } else if self.in_string {
                self.in_string = byte != b'"' || self.escaped;
                self.escaped = byte == b'\\' && !self.escaped;
            } else {
                match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' if self.open.len() < DEEPEST => self.open.push((byte, self.at)),
                    b'}' | b']' => self.close(&mut found),
                    _ => {}
                }
            }
            self.at += 1;
        }
        found
    }

    fn close(&mut self, found: &mut Vec<std::ops::Range<usize>>) {
        let Some((kind, start)) = self.open.pop() else { return };
        let in_list = self.open.last().is_some_and(|(kind, _)| *kind == b'[');
        if kind == b'{' && in_list {
            found.push(start..self.at + 1);
        }
        self.complete = self.open.is_empty();
    }
}

/// Whether JSON begins here and not just a bracket in prose. Nothing while that depends on what comes.
fn begins_json(bytes: &[u8]) -> Option<bool> {
    let (first, rest) = bytes.split_first()?;
    if !matches!(first, b'{' | b'[') {
        return Some(false);
    }
    let next = rest.trim_ascii_start().first()?;
    Some(matches!(next, b'"' | b'{' | b'[' | b'}' | b']'))
}

/// Every JSON value that begins in the text outside of another one, in order.
pub(super) fn values(text: &str) -> Vec<Value> {
    /// Brackets at which JSON might begin.
    const MOST_TRIES: usize = 200;
    let mut values = Vec::new();
    let mut at = 0;
    let mut tries = 0;
    while let Some(offset) = text.get(at..).and_then(|rest| rest.find(['{', '['])) {
        at += offset;
        tries += 1;
        if tries > MOST_TRIES {
            break;
        }
        let mut stream = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        match stream.next() {
            Some(Ok(value)) => {
                at += stream.byte_offset().max(1);
                values.push(value);
            }
            _ => at += 1,
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible(text: &str, step: usize) -> Visible {
        let mut visible = Visible::default();
        let chars: Vec<char> = text.chars().collect();
        for chunk in chars.chunks(step) {
            visible.push(&chunk.iter().collect::<String>());
        }
        visible
    }

    #[test]
    fn thinking_is_not_the_answer() {
        let check = |text: &str, streamed: &str, settled: &str, unclosed: bool| {
            for step in [1, 3, 1000] {
                let visible = visible(text, step);
                assert_eq!(visible.json_so_far().trim(), streamed, "{text} {step}");
                let (answer, open) = visible.settled();
                assert_eq!((answer.trim(), open), (settled, unclosed), "{text} {step}");
            }
        };
        check("{\"a\":1}", "{\"a\":1}", "{\"a\":1}", false);
        check(" <think>{\"no\":1}</think> {\"a\":1}", "{\"a\":1}", "{\"a\":1}", false);
        check("<thinking>생각</thinking>[1]", "[1]", "[1]", false);
        check("<think>생각 {\"a\":1}", "", "생각 {\"a\":1}", true);
        check("I think {\"no\":1}</think>{\"a\":1}", "", "{\"a\":1}", false);
        check("Here it is: {\"a\":1}", "", "Here it is: {\"a\":1}", false);
        check("<thi", "", "<thi", false);
    }

    #[test]
    fn objects_of_a_list_are_found_as_they_come() {
        let check = |text: &str, expected: &[&str], complete: bool| {
            for step in [1, 2, 5, 1000] {
                let (mut scanner, mut found, mut so_far) = (Scanner::default(), Vec::new(), String::new());
                let chars: Vec<char> = text.chars().collect();
                for chunk in chars.chunks(step) {
                    so_far.extend(chunk);
                    found.extend(scanner.objects(&so_far).into_iter().map(|range| so_far[range].to_owned()));
                }
                assert_eq!(found, expected, "{text} {step}");
                assert_eq!(scanner.complete, complete, "{text} {step}");
            }
        };
        check(r#"{"turns":[{"a":"}"},{"b":"\"]"}]}"#, &[r#"{"a":"}"}"#, r#"{"b":"\"]"}"#], true);
        check(r#"{"turns":[{"a":"x"},{"b":"#, &[r#"{"a":"x"}"#], false);
        check("```json\n[{\"a\":\"한\"}]\n```", &["{\"a\":\"한\"}"], true);
        check("a {set} and [1]: {\"t\": [{\"a\":\"\"}]} {\"t\":[{}]}", &["{\"a\":\"\"}"], true);
        check("{\"t\":[]}", &[], true);
        check("]}", &[], false);
    }

    #[test]
    fn values_are_found_in_prose() {
        let found = values("As [1] says, {this}: ```json\n{\"a\": {\"b\": 1}}\n``` or {\"c\":2}");
        assert_eq!(
            found,
            [serde_json::json!([1]), serde_json::json!({"a": {"b": 1}}), serde_json::json!({"c": 2})]
        );
        assert!(values(&"[".repeat(100_000)).is_empty());
    }

    #[test]
    fn loops_are_heard() {
        assert!(loops(&"그리고 ".repeat(200)));
        assert!(loops(&format!("A beginning that differs. {}", "\n".repeat(1_700))));
        let counted: String = (0..400).map(|n| format!("{n} and ")).collect();
        assert!(!loops(&counted));
        assert!(!loops("short short short"));
    }
}
