//! Markdown, with the HTML in it.

use pulldown_cmark::{CodeBlockKind, Event, LinkType, Options, Parser, Tag, TagEnd};

use super::super::Section;
use super::super::clean::{ADDRESS, code};
use super::{Reader, html};

pub(super) fn document(markdown: &str, language: &str) -> Vec<Section> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS;
    let mut markdown_reader = MarkdownReader { reader: Reader::new(language), ..MarkdownReader::default() };
    for event in Parser::new_ext(markdown, options) {
        markdown_reader.take(event);
    }
    markdown_reader.reader.finish()
}

#[derive(Default)]
struct MarkdownReader<'a> {
    reader: Reader<'a>,
    /// How deep we are in what is not said at all: code, tables, images, notes, bare addresses.
    skipped: usize,
    /// The open link is a bare address. Links do not nest.
    in_bare_link: bool,
    /// For each open list the number of its next item, if it is numbered.
    numbers: Vec<Option<u64>>,
    /// A fragment of HTML as it comes, line by line: its tags may begin on one and end on another.
    html: String,
}

impl MarkdownReader<'_> {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) if is_skipped(&tag) => {
                if matches!(tag, Tag::Link { .. }) {
                    self.in_bare_link = true;
                    self.reader.push(ADDRESS);
                } else if matches!(tag, Tag::CodeBlock(_) | Tag::Table(_)) {
                    self.reader.drop_announcement();
                }
                self.skipped += 1;
            }
            Event::End(tag) if self.ends_skipped(tag) => self.skipped = self.skipped.saturating_sub(1),
            _ if self.skipped > 0 => {}
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.reader.text_in_html(&text),
            Event::Code(text) => self.reader.push(&code(&text)),
            Event::Html(html) => self.html.push_str(&html),
            Event::InlineHtml(tag) => html::feed(&mut self.reader, &tag),
            Event::SoftBreak | Event::HardBreak => self.reader.push("\n"),
            Event::Rule => self.reader.end_block(),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { level, .. } => {
                self.reader.end_block();
                self.reader.heading = Some(level as u8);
            }
            Tag::List(first) => {
                // A list goes on with the sentence above it, but is a paragraph of its own.
                if self.reader.lists == 0 {
                    self.reader.end_block();
                } else {
                    self.reader.end_item();
                }
                self.reader.lists += 1;
                self.numbers.push(first);
            }
            Tag::Item => {
                // `1986. A great year` is a sentence that Markdown takes for the 1986th item.
                if let Some(Some(number)) = self.numbers.last_mut() {
                    if *number > 99 {
                        self.reader.text = format!("{number}. ");
                    }
                    *number += 1;
                }
            }
            Tag::Link { .. } => self.reader.in_link = true,
            Tag::HtmlBlock | Tag::BlockQuote(_) => self.reader.end_block(),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => self.reader.end_heading(),
            TagEnd::Item => self.reader.end_item(),
            TagEnd::List(_) => {
                self.numbers.pop();
                self.reader.lists = self.reader.lists.saturating_sub(1);
                if self.reader.lists == 0 {
                    self.reader.end_list();
                }
            }
            TagEnd::HtmlBlock => {
                let fragment = std::mem::take(&mut self.html);
                html::feed(&mut self.reader, &fragment);
                self.reader.end_block();
            }
            TagEnd::Paragraph => self.reader.end_block(),
            TagEnd::Link => self.reader.in_link = false,
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
}

fn is_skipped(tag: &Tag<'_>) -> bool {
    match tag {
        Tag::CodeBlock(CodeBlockKind::Fenced(_) | CodeBlockKind::Indented)
        | Tag::Image { .. }
        | Tag::Table(_)
        | Tag::FootnoteDefinition(_)
        | Tag::MetadataBlock(_) => true,
        Tag::Link { link_type, .. } => matches!(link_type, LinkType::Autolink | LinkType::Email),
        _ => false,
    }
}
