//! Text that nobody wrote as Markdown, made to read as such: its headings marked, its indents taken away.

use std::borrow::Cow;

use super::super::normalise::with_times_signs;

/// A line longer than this is no heading.
const HEADING_MAX_CHARS: usize = 60;

/// The source itself when it is Markdown already, with unusual bullets made usual.
pub(super) fn as_markdown(source: &str) -> Cow<'_, str> {
    let source = if source.contains(['\r', '\u{FEFF}']) {
        Cow::Owned(source.replace("\r\n", "\n").replace('\r', "\n").replace('\u{FEFF}', ""))
    } else {
        Cow::Borrowed(source)
    };
    if is_markdown(&source) {
        with_plain_bullets(times(source))
    } else {
        Cow::Owned(times(Cow::Owned(marked_up(&source))).into_owned())
    }
}

/// In `5*3*2` Markdown would take the 3 for emphasis.
fn times(source: Cow<'_, str>) -> Cow<'_, str> {
    match with_times_signs(&source) {
        Cow::Borrowed(_) => source,
        Cow::Owned(signed) => Cow::Owned(signed),
    }
}

/// One sure sign is enough. A single bullet or asterisk is none.
fn is_markdown(source: &str) -> bool {
    let mut previous = "";
    source.lines().any(|line| {
        let hashes = line.bytes().take_while(|byte| *byte == b'#').count();
        let atx = (1..=6).contains(&hashes) && line[hashes..].starts_with(' ');
        let fence = line.starts_with("```") || line.starts_with("~~~");
        let table = line.contains("|--") || line.contains("| --") || line.contains("|:-");
        let underline = is_underline(line) && is_title(previous);
        previous = line;
        let inline = line.contains("](") || line.contains("**") || line.starts_with("[^");
        atx || fence || table || underline || inline
    })
}

fn is_underline(line: &str) -> bool {
    let line = line.trim_end();
    line.len() >= 3 && (line.bytes().all(|byte| byte == b'=') || line.bytes().all(|byte| byte == b'-'))
}

/// Short, with something to say, and not ending as a sentence does.
fn is_title(line: &str) -> bool {
    let line = line.trim();
    super::is_speakable(line)
        && line.chars().count() <= HEADING_MAX_CHARS
        && !line
            .ends_with(['.', '!', '?', '…', ',', ';', ':', '。', '！', '？', '，', '"', '”', '」', '’', ')'])
        && !line.starts_with(['-', '*', '•', '·', '"', '“', '「', '>', '|', '<'])
}

fn marked_up(source: &str) -> String {
    let one_a_line = is_one_paragraph_a_line(source);
    let mut blocks: Vec<Vec<&str>> = vec![Vec::new()];
    for line in source.lines() {
        let text = line.trim();
        if let Some(block) = blocks.last_mut()
            && !text.is_empty()
        {
            // The indent of an item inside an item is kept; any other would make code of prose.
            let nested = !block.is_empty() && text.starts_with(['-', '*', '+']);
            block.push(if nested { line.trim_end() } else { text });
        }
        if text.is_empty() || one_a_line {
            blocks.push(Vec::new());
        }
    }
    blocks.retain(|block| !block.is_empty());
    let mut markdown = String::with_capacity(source.len() + 64);
    for (place, block) in blocks.iter().enumerate() {
        if is_heading(block, blocks.get(place + 1)) {
            markdown.push_str(if place == 0 { "# " } else { "## " });
        }
        for line in block {
            // A line of dashes under text would make a heading of the text.
            if !is_underline(line) {
                markdown.push_str(&with_plain_bullet(line));
                markdown.push('\n');
            }
        }
        markdown.push('\n');
    }
    markdown
}

/// A short line on its own that prose follows. What reads like a sentence is one, and so is a line of verse.
fn is_heading(block: &[&str], next: Option<&Vec<&str>>) -> bool {
    let [line] = block else { return false };
    let Some(next) = next else { return false };
    let length = next.iter().map(|line| line.chars().count()).sum::<usize>();
    let prose = next
        .last()
        .is_some_and(|line| line.ends_with(['.', '!', '?', '…', '。', '！', '？', '"', '”', '」']));
    is_title(line) && prose && length >= 2 * line.chars().count()
}

/// No blank lines, and most lines end a sentence: every line is a paragraph, as in text copied from a web page.
fn is_one_paragraph_a_line(source: &str) -> bool {
    let source = source.trim();
    let lines = source.lines().count();
    let ended = source
        .lines()
        .filter(|line| line.trim_end().ends_with(['.', '!', '?', '。', '！', '？', '"', '”']))
        .count();
    lines > 1 && !source.lines().any(|line| line.trim().is_empty()) && ended * 3 > lines * 2
}

fn with_plain_bullets(source: Cow<'_, str>) -> Cow<'_, str> {
    if !source.contains(BULLETS) {
        return source;
    }
    Cow::Owned(source.lines().map(with_plain_bullet).collect::<Vec<_>>().join("\n"))
}

const BULLETS: [char; 8] = ['•', '◦', '▪', '●', '■', '○', '▶', '·'];

fn with_plain_bullet(line: &str) -> Cow<'_, str> {
    match line.trim_start().strip_prefix(BULLETS) {
        Some(item) if item.starts_with(' ') => Cow::Owned(format!("-{item}")),
        _ => Cow::Borrowed(line),
    }
}
