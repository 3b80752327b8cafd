//! Transcripts and chapter lists in the formats that players read.

use std::fmt::Write as _;

use common::work::{Cue, Place};
use serde::Serialize;
use unicode_segmentation::UnicodeSegmentation;

use super::episode::Mark;

/// Longer caption lines do not fit a phone (Podcasting 2.0 recommends at most 65 characters).
const LINE: usize = 65;

/// WebVTT (W3C) with a voice span for the speaker.
pub fn vtt(cues: &[Cue]) -> String {
    let mut out = String::from("WEBVTT\n");
    for cue in cues {
        let lines = wrap(&cue.text, LINE).iter().map(|line| escape(line)).collect::<Vec<_>>().join("\n");
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "\n{} --> {}\n<v {}>{lines}</v>",
            clock(cue.start_ms, '.'),
            clock(last_ms(cue), '.'),
            escape(&one_line(&cue.speaker)),
        );
    }
    out
}

/// SubRip. The speaker stands before the text, as there is no place of its own for it.
pub fn srt(cues: &[Cue]) -> String {
    let mut out = String::new();
    for (index, cue) in cues.iter().enumerate() {
        let lines = wrap(&format!("{}: {}", cue.speaker, cue.text), LINE).join("\n");
        let (start, end) = (clock(cue.start_ms, ','), clock(last_ms(cue), ','));
        let _ =
            writeln!(out, "{}{}\n{start} --> {end}\n{lines}", if index > 0 { "\n" } else { "" }, index + 1);
    }
    out
}

/// Transcript JSON, version 1.0.0 (Podcasting 2.0); times are in seconds.
pub fn json(cues: &[Cue]) -> String {
    #[derive(Serialize)]
    struct Transcript<'a> {
        version: &'static str,
        segments: Vec<Segment<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Segment<'a> {
        speaker: &'a str,
        start_time: f64,
        end_time: f64,
        body: &'a str,
        /// Ours: whose words these may be.
        place: Place,
    }
    let segments = cues
        .iter()
        .map(|cue| Segment {
            speaker: &cue.speaker,
            start_time: seconds(cue.start_ms),
            end_time: seconds(cue.end_ms),
            body: &cue.text,
            place: cue.place,
        })
        .collect();
    document(&Transcript { version: "1.0.0", segments })
}

/// For reading: chapter titles as headings, then who says what.
pub fn text(cues: &[Cue], marks: &[Mark]) -> String {
    let mut out = String::new();
    let mut marks = marks.iter().peekable();
    for cue in cues {
        while let Some(mark) = marks.next_if(|mark| mark.start_ms <= cue.start_ms) {
            let _ = writeln!(out, "{}# {}\n", if out.is_empty() { "" } else { "\n" }, one_line(&mark.title));
        }
        let _ = writeln!(out, "{}: {}", one_line(&cue.speaker), one_line(&cue.text));
    }
    out
}

/// Chapters JSON, version 1.2.0 (Podcasting 2.0, `application/json+chapters`); times are in seconds.
pub fn chapters(marks: &[Mark]) -> String {
    #[derive(Serialize)]
    struct Chapters<'a> {
        version: &'static str,
        chapters: Vec<Chapter<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Chapter<'a> {
        start_time: f64,
        title: &'a str,
    }
    let chapters =
        marks.iter().map(|mark| Chapter { start_time: seconds(mark.start_ms), title: &mark.title }).collect();
    document(&Chapters { version: "1.2.0", chapters })
}

/// Strings and finite numbers under string keys always have a JSON form.
fn document(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A cue must end after it starts.
fn last_ms(cue: &Cue) -> u64 {
    cue.end_ms.max(cue.start_ms + 1)
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn clock(ms: u64, point: char) -> String {
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{point}{:03}", ms % 1000)
}

/// A line break would end a voice's name, and a blank line the cue.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Breaks `text` at spaces into lines of about equal length and at most `limit` characters. A word that is longer than a line
/// (or a script without spaces) is broken where it has to be.
fn wrap(text: &str, limit: usize) -> Vec<String> {
    let text = one_line(text);
    let length = text.graphemes(true).count();
    if length <= limit {
        return vec![text];
    }
    // A last line of one word looks lost: the least width that needs no more lines spreads the text evenly.
    let fewest = fill(&text, limit).len();
    let even = length.div_ceil(fewest);
    (even..limit)
        .map(|width| fill(&text, width))
        .find(|lines| lines.len() == fewest)
        .unwrap_or_else(|| fill(&text, limit))
}

fn fill(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.graphemes(true).count();
        if used > 0 && used + 1 + length <= width {
            line.push(' ');
            line.push_str(word);
            used += 1 + length;
            continue;
        }
        for (n, grapheme) in word.graphemes(true).enumerate() {
            if used > 0 && (n == 0 || used == width) {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push_str(grapheme);
            used += 1;
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cue(start_ms: u64, speaker: &str, text: &str) -> Cue {
        Cue {
            start_ms,
            end_ms: start_ms + 1_500,
            speaker: speaker.into(),
            text: text.into(),
            place: Place::Body,
        }
    }

    fn marks() -> Vec<Mark> {
        let mark = |title: &str, start_ms, end_ms| Mark { title: title.into(), start_ms, end_ms };
        vec![mark("Start", 0, 5_000), mark("끝", 5_000, 9_000)]
    }

    #[test]
    fn vtt_names_voices_and_escapes() {
        let cues = [cue(0, "Ada", "1 < 2 & 3 --> 4"), cue(3_723_004, "Ben\n> Bo", "네,\n\n맞아요.")];
        let expected = "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n<v Ada>1 &lt; 2 &amp; 3 --&gt; 4</v>\n\n\
                        01:02:03.004 --> 01:02:04.504\n<v Ben &gt; Bo>네, 맞아요.</v>\n";
        assert_eq!(vtt(&cues), expected);
    }

    #[test]
    fn srt_counts_from_one() {
        let expected =
            "1\n00:00:00,000 --> 00:00:01,500\nAda: Hello.\n\n2\n00:00:02,000 --> 00:00:03,500\nBen: Hi.\n";
        assert_eq!(srt(&[cue(0, "Ada", "Hello."), cue(2_000, "Ben", "Hi.")]), expected);
    }

    #[test]
    fn json_has_seconds() {
        let hello = Cue { place: Place::Opening, ..cue(1_250, "Ada", "\"Hi\"") };
        let found: serde_json::Value = serde_json::from_str(&json(&[hello])).unwrap();
        let segment = serde_json::json!({"speaker": "Ada", "startTime": 1.25, "endTime": 2.75, "body": "\"Hi\"",
                                         "place": "opening"});
        assert_eq!(found, serde_json::json!({"version": "1.0.0", "segments": [segment]}));
        let found: serde_json::Value = serde_json::from_str(&chapters(&marks())).unwrap();
        let expected =
            serde_json::json!([{"startTime": 0.0, "title": "Start"}, {"startTime": 5.0, "title": "끝"}]);
        assert_eq!(found, serde_json::json!({"version": "1.2.0", "chapters": expected}));
    }

    #[test]
    fn text_has_headings() {
        let cues = [cue(0, "Ada", "Hello."), cue(2_000, "Ben", "Hi."), cue(5_000, "Ada", "안녕.")];
        assert_eq!(text(&cues, &marks()), "# Start\n\nAda: Hello.\nBen: Hi.\n\n# 끝\n\nAda: 안녕.\n");
    }

    fn check_wrap(text: &str, expected: &[&str]) {
        assert_eq!(wrap(text, 10), expected, "{text:?}");
    }

    #[test]
    fn lines_are_short_and_even() {
        check_wrap("", &[""]);
        check_wrap("short", &["short"]);
        check_wrap("one two three four", &["one two", "three four"]);
        check_wrap("one two  three four five six", &["one two", "three four", "five six"]);
        check_wrap("abcdefghijklmno", &["abcdefgh", "ijklmno"]);
        check_wrap("이것은 공백이 있는 문장입니다", &["이것은 공백이", "있는 문장입니다"]);
        for length in 1..200 {
            let text = "words and 낱말 ".repeat(length);
            let lines = wrap(&text, LINE);
            assert!(lines.iter().all(|line| line.graphemes(true).count() <= LINE && !line.is_empty()));
            assert_eq!(lines.join(" "), text.trim());
        }
    }
}
