//! Where a sentence ends. In doubt it goes on: a sentence that is too long can be cut at a clause later, one that was
//! cut inside sounds wrong for good.

mod words;

use std::ops::Range;

use super::{Sentence, is_hangul, is_unspaced, primary};

/// A quotation or bracket up to this long belongs to one sentence, whatever ends inside it.
const QUOTED_MAX_CHARS: usize = 200;

/// The sentences of one paragraph, in order. Words and punctuation stay as they are; a blank line always ends one.
pub fn sentences(text: &str, language: &str) -> Vec<Sentence> {
    text.split("\n\n").flat_map(|paragraph| in_paragraph(paragraph.trim(), language)).collect()
}

fn in_paragraph(text: &str, language: &str) -> Vec<Sentence> {
    let language = primary(language);
    let quoted = quotations(text, language == "ko");
    let mut found = Vec::new();
    let mut start = 0;
    for stop in stops(text) {
        // Quotations stand in order and apart: the last that begins before the stop is the one that may hold it.
        let last = quoted.partition_point(|range| range.start < stop.mark).checked_sub(1);
        let inside = last.is_some_and(|last| stop.end < quoted[last].end);
        if !inside && ends_sentence(&text[start..], &stop.relative_to(start), &language) {
            found.push(text[start..stop.end].trim().to_owned());
            start = stop.end;
        }
    }
    found.push(text[start..].trim().to_owned());
    found.retain(|sentence| !sentence.is_empty());
    found
}

/// A run of full stops and the like, with the closing quotes and brackets that follow it. Byte offsets.
#[derive(Debug)]
struct Stop {
    mark: usize,
    marks_end: usize,
    end: usize,
}

impl Stop {
    fn relative_to(&self, start: usize) -> Stop {
        Stop { mark: self.mark - start, marks_end: self.marks_end - start, end: self.end - start }
    }
}

fn stops(text: &str) -> Vec<Stop> {
    let mut stops: Vec<Stop> = Vec::new();
    // The mark that opens a quotation in English closes one in German.
    let german = text.contains('„');
    let closes = |c: char| is_closer(c) || (c == '“' && german);
    for (at, c) in text.char_indices() {
        let after = at + c.len_utf8();
        match stops.last_mut() {
            Some(last) if last.end == at && is_mark(c) => {
                if last.marks_end == at {
                    last.marks_end = after;
                }
                last.end = after;
            }
            Some(last) if last.end == at && closes(c) => last.end = after,
            // « Oui. »
            Some(last)
                if c == '»' && text[last.end..at].trim().is_empty() && is_open_guillemet(&text[..at]) =>
            {
                last.end = after;
            }
            _ if is_mark(c) => stops.push(Stop { mark: at, marks_end: after, end: after }),
            _ => {}
        }
    }
    stops
}

/// `text` begins with the sentence that may end at `stop`.
fn ends_sentence(text: &str, stop: &Stop, language: &str) -> bool {
    let rest = &text[stop.end..];
    let after = rest.trim_start();
    let (Some(next), Some(previous)) = (after.chars().next(), text[..stop.mark].chars().next_back()) else {
        return after.is_empty();
    };
    let marks = &text[stop.mark..stop.marks_end];
    let closed = stop.end > stop.marks_end;
    if after.len() == rest.len() {
        // （…。） alone is a sentence.
        if text.starts_with('（') && text[..stop.end].ends_with('）') {
            return true;
        }
        return ends_without_space(marks, closed, previous, after);
    }
    // A dash after a quotation leads on to who said it, or in some languages to the next speaker.
    let words = after.trim_start_matches(|c| is_opener(c) || is_dash(c) || c == ' ');
    // `So . . . we` goes on after its spaced dots.
    if matches!(next, ',' | ';' | ':') || is_mark(next) || (closed && continues_korean_quotation(after)) {
        return false;
    }
    let caseless = is_hangul(previous) || is_unspaced(previous);
    if !caseless && words::starts_in_lower_case(words) {
        return false;
    }
    match marks {
        "." => !words::is_abbreviation(&text[..stop.mark], words, language),
        _ if is_ellipsis(marks) && is_hangul(previous) => closed || is_korean_ending(previous),
        _ => true,
    }
}

/// Wide marks need no space after them; other text without one is a number, an address or a slip.
fn ends_without_space(marks: &str, closed: bool, previous: char, after: &str) -> bool {
    let next = after.chars().next().unwrap_or(' ');
    if closed {
        // 「行く。」と言った goes on, 「行く。」「待て。」 does not.
        return is_opener(next);
    }
    if marks.contains(['。', '！', '？', '｡', '．']) {
        return !matches!(next, '、' | '，' | '—' | '…');
    }
    is_korean_ending(previous) && is_hangul(next) && !is_ellipsis(marks) && !continues_korean_quotation(after)
}

fn is_mark(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | '。' | '！' | '？' | '｡' | '．' | '؟' | '۔' | '।' | '॥' | '‽')
}

fn is_closer(c: char) -> bool {
    matches!(c, '"' | '\'' | '”' | '’' | '»' | ')' | ']' | '」' | '』' | '）' | '》' | '〉' | '】')
}

fn is_opener(c: char) -> bool {
    matches!(
        c,
        '"' | '\''
            | '“'
            | '‘'
            | '„'
            | '‚'
            | '«'
            | '('
            | '['
            | '「'
            | '『'
            | '（'
            | '《'
            | '〈'
            | '【'
            | '¿'
            | '¡'
    )
}

fn is_dash(c: char) -> bool {
    matches!(c, '-' | '–' | '—' | '―')
}

/// Some languages point them the other way: »so«.
fn is_open_guillemet(before: &str) -> bool {
    before.rfind('«') > before.rfind('»')
}

fn is_ellipsis(marks: &str) -> bool {
    !marks.contains(['?', '!', '？', '！'])
        && (marks.contains('…') || (marks.len() > 1 && marks.bytes().all(|byte| byte == b'.')))
}

/// The last syllable of most Korean sentences.
fn is_korean_ending(c: char) -> bool {
    matches!(c, '다' | '요' | '죠' | '까' | '네' | '군' | '오')
}

/// `"갑니다." 라고 했다`: the particle belongs to the quotation, spaced or not.
fn continues_korean_quotation(after: &str) -> bool {
    ["라고", "이라고", "하고", "라는", "이라는", "라며", "이라며", "하며", "라면서", "하면서", "고 "]
        .iter()
        .any(|particle| after.starts_with(particle))
}

/// Where quotations and brackets stand. An apostrophe is a quotation mark only in Korean, which has no elisions.
fn quotations(text: &str, korean: bool) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut previous = ' ';
    for (at, c) in text.char_indices() {
        let free = found.last().is_none_or(|range| range.end <= at);
        let straight = matches!(c, '"' | '\'');
        let opens = is_opener(c) && (c != '\'' || korean) && (!straight || !previous.is_alphanumeric());
        if free
            && opens
            && let Some(length) = quotation_length(&text[at..], c)
        {
            found.push(at..at + length);
        }
        previous = c;
    }
    found
}

/// The length in bytes of the quotation with which `text` begins, with both its marks.
fn quotation_length(text: &str, opener: char) -> Option<usize> {
    let closers: &[char] = match opener {
        '"' => &['"'],
        '\'' => &['\''],
        '“' => &['”'],
        '‘' => &['’'],
        '„' => &['“', '”'],
        '‚' => &['‘', '’'],
        '«' => &['»'],
        '(' => &[')'],
        '[' => &[']'],
        '「' => &['」'],
        '『' => &['』'],
        '（' => &['）'],
        '《' => &['》'],
        '〈' => &['〉'],
        '【' => &['】'],
        _ => return None,
    };
    let mut chars = text.char_indices().skip(1).take(QUOTED_MAX_CHARS).peekable();
    while let Some((at, c)) = chars.next() {
        // In “the dogs’ tails” and “don’t” the mark is an apostrophe when a letter follows; Korean particles may follow.
        let apostrophe =
            c == '’' && chars.peek().is_some_and(|(_, next)| next.is_alphanumeric() && !is_hangul(*next));
        if closers.contains(&c) && !apostrophe {
            return Some(at + c.len_utf8());
        }
    }
    None
}

#[cfg(test)]
mod tests;
