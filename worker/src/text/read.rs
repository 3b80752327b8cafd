//! Markdown and plain text as sections of sentences.

mod plain;

use pulldown_cmark::{Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd};

use super::clean::{clean, html_pieces};
use super::{Paragraph, Section, is_speakable, sentences, with_full_stop};

/// A longer heading is a paragraph above a line of dashes.
const HEADING_MAX_CHARS: usize = 120;

/// The source as sections in order, without what is not said aloud: marks, addresses, code, tables, images, notes.
/// `language` (BCP 47) decides where sentences end. Headings without text of their own are kept, empty.
pub fn sections(source: &str, language: &str) -> Vec<Section> {
    let markdown = plain::as_markdown(source);
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut reader = Reader { language, ..Reader::default() };
    for event in Parser::new_ext(&markdown, options) {
        reader.take(event);
    }
    reader.end_block();
    reader.sections
}

/// Sections as Markdown that reads back as the same sentences.
pub fn to_markdown(paragraphs: &[(Option<&str>, &Paragraph)], language: &str) -> String {
    let mut markdown = String::new();
    for (heading, paragraph) in paragraphs {
        if let Some(heading) = heading {
            markdown.push_str("### ");
            markdown.push_str(&escaped(heading));
            markdown.push_str("\n\n");
        }
        markdown.push_str(&escaped(&paragraph.join(super::separator(language))));
        markdown.push_str("\n\n");
    }
    markdown.truncate(markdown.trim_end().len());
    markdown
}

/// What a heading or a paragraph of prose must not contain, or Markdown would take it for its own.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    let number = text.bytes().take_while(u8::is_ascii_digit).count();
    for (at, c) in text.char_indices() {
        let marks_line = at == 0 && matches!(c, '#' | '>' | '-' | '+' | '=' | '|' | '~')
            || at == number && at > 0 && matches!(c, '.' | ')');
        if marks_line || matches!(c, '\\' | '*' | '_' | '`' | '<' | '[' | '&') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// What has been read of the block that is being read, and everything before it.
#[derive(Default)]
struct Reader<'a> {
    language: &'a str,
    sections: Vec<Section>,
    text: String,
    heading: Option<HeadingLevel>,
    /// How deep we are in what is not said at all: code, tables, images, notes, bare addresses.
    skipped: usize,
    /// The open link is a bare address. Links do not nest.
    in_bare_link: bool,
    /// For each open list the number of its next item, if it is numbered.
    lists: Vec<Option<u64>>,
    /// Items of the open list: a list is one paragraph, an item at least one sentence.
    items: Paragraph,
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) if is_skipped(&tag) => {
                self.in_bare_link |= matches!(tag, Tag::Link { .. });
                self.skipped += 1;
            }
            Event::End(tag) if self.ends_skipped(tag) => self.skipped = self.skipped.saturating_sub(1),
            _ if self.skipped > 0 => {}
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::Code(text) | Event::Html(text) => self.text.push_str(&text),
            Event::SoftBreak | Event::HardBreak => self.text.push('\n'),
            Event::InlineHtml(tag) if is_line_break(&tag) => self.text.push('\n'),
            Event::Rule => self.end_block(),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { level, .. } => {
                self.end_block();
                self.heading = Some(level);
            }
            Tag::List(first) => {
                self.end_item();
                self.lists.push(first);
            }
            Tag::Item => {
                // `1986. A great year` is a sentence that Markdown takes for the 1986th item.
                if let Some(Some(number)) = self.lists.last_mut() {
                    if *number > 99 {
                        self.text = format!("{number}. ");
                    }
                    *number += 1;
                }
            }
            Tag::HtmlBlock | Tag::BlockQuote(_) => self.end_block(),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => self.end_heading(),
            TagEnd::Item => self.end_item(),
            TagEnd::List(_) => {
                self.lists.pop();
                if self.lists.is_empty() {
                    self.end_block();
                }
            }
            TagEnd::HtmlBlock => self.end_html(),
            TagEnd::Paragraph => self.end_block(),
            _ => {}
        }
    }

    fn ends_skipped(&mut self, tag: TagEnd) -> bool {
        match tag {
            TagEnd::Link => std::mem::take(&mut self.in_bare_link),
            TagEnd::CodeBlock | TagEnd::Image | TagEnd::Table => true,
            TagEnd::FootnoteDefinition | TagEnd::MetadataBlock(_) => true,
            _ => false,
        }
    }

    fn end_heading(&mut self) {
        let level = self.heading.take();
        let text = clean(&std::mem::take(&mut self.text));
        if !is_speakable(&text) {
            return;
        }
        match level {
            Some(level) if text.chars().count() <= HEADING_MAX_CHARS => self.open(text, level as u8),
            _ => self.add_paragraph(&text),
        }
    }

    fn end_html(&mut self) {
        for (level, text) in html_pieces(&std::mem::take(&mut self.text)) {
            let text = clean(&text);
            match level {
                0 => self.add_paragraph(&text),
                _ => self.open(text, level),
            }
        }
    }

    fn end_item(&mut self) {
        let text = clean(&std::mem::take(&mut self.text));
        if is_speakable(&text) {
            self.items.extend(sentences(&with_full_stop(&text, self.language), self.language));
        }
    }

    fn end_block(&mut self) {
        if !self.lists.is_empty() {
            return self.end_item();
        }
        let items = std::mem::take(&mut self.items);
        if !items.is_empty() {
            self.section().paragraphs.push(items);
        }
        let text = clean(&std::mem::take(&mut self.text));
        self.add_paragraph(&text);
    }

    fn open(&mut self, heading: String, level: u8) {
        self.sections.push(Section { heading: Some(heading), level, paragraphs: Vec::new() });
    }

    fn add_paragraph(&mut self, text: &str) {
        let mut paragraph = sentences(text, self.language);
        paragraph.retain(|sentence| is_speakable(sentence));
        if !paragraph.is_empty() {
            self.section().paragraphs.push(paragraph);
        }
    }

    fn section(&mut self) -> &mut Section {
        if self.sections.is_empty() {
            self.sections.push(Section::default());
        }
        let last = self.sections.len() - 1;
        &mut self.sections[last]
    }
}

fn is_skipped(tag: &Tag<'_>) -> bool {
    match tag {
        Tag::CodeBlock(_)
        | Tag::Image { .. }
        | Tag::Table(_)
        | Tag::FootnoteDefinition(_)
        | Tag::MetadataBlock(_) => true,
        Tag::Link { link_type, .. } => matches!(link_type, LinkType::Autolink | LinkType::Email),
        _ => false,
    }
}

fn is_line_break(tag: &str) -> bool {
    tag.starts_with("<br")
}

#[cfg(test)]
mod tests;
