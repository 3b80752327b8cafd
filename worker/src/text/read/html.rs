//! HTML: where tags begin and end. What they mean stands in `tags`.

use pulldown_cmark::{Event, Parser};

use super::super::Section;
use super::Reader;

/// Elements whose content is no text, up to their end.
const RAW: &[&str] = &["script", "style", "textarea", "title", "xmp", "noembed", "noframes"];

/// A quote that does not end within so many characters never does.
const TAG_MAX_CHARS: usize = 10_000;

/// A character reference is at most this long: `&CounterClockwiseContourIntegral;`.
const REFERENCE_MAX: usize = 34;

/// Whether the source is a page or a piece of one, and not Markdown with a tag here and there.
pub(super) fn is_page(source: &str) -> bool {
    let start = source.trim_start_matches(['\u{FEFF}', ' ', '\n', '\r', '\t']);
    let head: String = start.chars().take(400).collect::<String>().to_ascii_lowercase();
    if head.starts_with("<!doctype html") || ["<html", "<head", "<body"].iter().any(|tag| head.contains(tag))
    {
        return true;
    }
    let marks = |line: &str| {
        let hashes = line.bytes().take_while(|byte| *byte == b'#').count();
        (1..=6).contains(&hashes) && line[hashes..].starts_with(' ') || line.starts_with("```")
    };
    if source.lines().any(marks) || source.contains("](") {
        return false;
    }
    let ends = [
        "</p>",
        "</div>",
        "</li>",
        "</h1>",
        "</h2>",
        "</article>",
        "</section>",
        "<br>",
        "<br/>",
        "<br />",
        "</P>",
        "</DIV>",
    ];
    let found: usize = ends.iter().map(|end| source.matches(end).count()).sum();
    start.starts_with('<') && found > 0 || found >= 3
}

/// A whole page. Without `choosy`, elements that are usually not text are read too.
pub(super) fn page(source: &str, language: &str, choosy: bool) -> Vec<Section> {
    let mut reader = Reader::new(language);
    reader.html.is_choosy = choosy;
    reader.html.main = main_element(source);
    feed(&mut reader, source);
    let title = reader.html.title.take();
    let sections = reader.finish();
    with_title(sections, title)
}

/// The one element that holds the text, if the page names one.
fn main_element(source: &str) -> Option<&'static str> {
    let lower = source.to_ascii_lowercase();
    let articles = lower.matches("<article").count();
    if articles == 1 && lower.contains("</article") {
        Some("article")
    } else if lower.matches("<main").count() == 1 && lower.contains("</main") {
        Some("main")
    } else {
        None
    }
}

/// The page's title, where the text has no first heading: without the site's name behind it.
fn with_title(mut sections: Vec<Section>, title: Option<String>) -> Vec<Section> {
    let has_top = sections.iter().any(|section| section.level == 1);
    if let Some(title) = title.filter(|_| !has_top) {
        let title = [" | ", " - ", " – ", " — ", " :: ", " · "]
            .iter()
            .filter_map(|mark| title.rsplit_once(mark))
            .map(|(name, _)| name)
            .min_by_key(|name| name.len())
            .unwrap_or(&title);
        let title = super::clean(title);
        if super::is_speakable(&title) {
            sections.insert(0, Section { heading: Some(title), level: 1, paragraphs: Vec::new() });
        }
    }
    sections
}

/// Reads HTML, whole or in pieces. What is no tag is text, an angle bracket too.
pub(super) fn feed(reader: &mut Reader<'_>, html: &str) {
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        let (text, tag) = rest.split_at(start);
        push_text(reader, text);
        rest = if let Some(comment) = tag.strip_prefix("<!--") {
            comment.find("-->").map_or("", |at| &comment[at + 3..])
        } else if tag[1..].starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) {
            take_tag(reader, tag)
        } else {
            push_text(reader, "<");
            &tag[1..]
        };
    }
    push_text(reader, rest);
}

/// One tag, and what follows it. The content of scripts and the like goes with its tag.
fn take_tag<'h>(reader: &mut Reader<'_>, tag: &'h str) -> &'h str {
    let end = tag_end(tag);
    let inside = &tag[1..end];
    let closing = inside.starts_with('/');
    let name: String = inside
        .trim_start_matches('/')
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    let name = name.to_ascii_lowercase();
    let after = tag.get(end + 1..).unwrap_or("");
    if closing {
        reader.close(&name);
        return after;
    }
    if RAW.contains(&name.as_str()) {
        let closing = format!("</{name}");
        let at = find_ignoring_case(after, &closing).unwrap_or(after.len());
        if name == "title" && reader.html.title.is_none() && !reader.html.is_skipping() {
            reader.html.title = Some(decoded(&after[..at]).trim().to_owned());
        }
        let close = &after[at..];
        return close.find('>').map_or("", |at| &close[at + 1..]);
    }
    let attributes = inside[name.len().min(inside.len())..].to_ascii_lowercase();
    reader.open_tag(&name, &attributes, after);
    after
}

/// The place of the `>` that ends the tag, outside of quoted attributes.
fn tag_end(tag: &str) -> usize {
    let mut quote = None;
    let mut before = '<';
    for (at, c) in tag.char_indices().skip(1).take(TAG_MAX_CHARS) {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '>' => return at,
            None if matches!(c, '"' | '\'') && before == '=' => quote = Some(c),
            None => {}
        }
        if !c.is_whitespace() {
            before = c;
        }
    }
    // Cut off, or a quote that never ends: the next bracket will do.
    tag.find('>').unwrap_or(tag.len())
}

fn find_ignoring_case(text: &str, wanted: &str) -> Option<usize> {
    text.as_bytes().windows(wanted.len()).position(|window| window.eq_ignore_ascii_case(wanted.as_bytes()))
}

fn push_text(reader: &mut Reader<'_>, text: &str) {
    if !text.is_empty() && !reader.html.is_skipping() {
        let text = decoded(text);
        reader.text_in_html(&text);
    }
}

/// With character references as the characters that they name: the parser of Markdown knows them all.
pub(in crate::text) fn decoded(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        let (before, reference) = rest.split_at(start);
        decoded.push_str(before);
        let name = reference.bytes().skip(1).take(REFERENCE_MAX);
        let length = name.take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'#').count() + 1;
        let closed = reference[length..].starts_with(';');
        let character = if closed { character(&reference[..=length]) } else { None };
        match character {
            Some(text) => {
                decoded.push_str(&text);
                rest = &reference[length + 1..];
            }
            // A number that is no character.
            None if closed && reference.starts_with("&#") => rest = &reference[length + 1..],
            None => {
                decoded.push('&');
                rest = &reference[1..];
            }
        }
    }
    decoded.push_str(rest);
    decoded
}

/// The character for `&eacute;`, `&#233;` or `&#xe9;`; none for a name that is none.
fn character(reference: &str) -> Option<String> {
    match reference {
        "&nbsp;" | "&#160;" | "&ensp;" | "&emsp;" | "&thinsp;" => return Some(" ".into()),
        "&amp;" => return Some("&".into()),
        "&lt;" => return Some("<".into()),
        "&gt;" => return Some(">".into()),
        "&quot;" => return Some("\"".into()),
        _ => {}
    }
    let text: String = Parser::new(reference)
        .filter_map(|event| if let Event::Text(text) = event { Some(text.into_string()) } else { None })
        .collect();
    (text != reference && !text.is_empty()).then_some(text)
}
