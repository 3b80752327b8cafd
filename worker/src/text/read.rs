//! Plain text, Markdown and HTML as sections of sentences.

mod html;
mod left_out;
mod markdown;
mod plain;
mod tags;

pub(super) use html::decoded;

use super::clean::{clean, is_cut};
use super::{Paragraph, Section, is_speakable, sentences, with_full_stop};

/// A longer heading is a paragraph above a line of dashes.
const HEADING_MAX_CHARS: usize = 120;

/// The source as sections in order, without what is not said aloud: marks, addresses, code, tables, images, notes, and
/// what belongs to the page and not to the text (navigation, banners, link lists, references). `language` (BCP 47)
/// decides where sentences end. Headings without text of their own are kept, empty.
pub fn sections(source: &str, language: &str) -> Vec<Section> {
    if html::is_page(source) {
        let read = html::page(source, language, true);
        if read.iter().any(|section| !section.paragraphs.is_empty()) {
            return read;
        }
        // A broken page, with everything inside of an element that never ends: better too much than nothing.
        return html::page(source, language, false);
    }
    markdown::document(&plain::as_markdown(source), language)
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

/// An item of the list that is being read.
#[derive(Debug)]
struct Item {
    text: String,
    is_link: bool,
}

/// What has been read of the block that is being read, and everything before it.
#[derive(Debug, Default)]
struct Reader<'a> {
    language: &'a str,
    sections: Vec<Section>,
    text: String,
    /// Letters and digits of `text` that stand in links.
    linked: usize,
    in_link: bool,
    heading: Option<u8>,
    /// How many lists are open.
    lists: usize,
    /// A list is one paragraph, an item at least one sentence.
    items: Vec<Item>,
    /// Under a heading of this level that only lists sources and links: nothing is read up to the next such heading.
    back_matter: Option<u8>,
    html: tags::State,
}

impl<'a> Reader<'a> {
    fn new(language: &'a str) -> Reader<'a> {
        Reader { language, ..Reader::default() }
    }

    fn push(&mut self, text: &str) {
        if self.html.is_skipping() {
            return;
        }
        if self.in_link {
            self.linked += letters(text);
        }
        self.text.push_str(text);
    }

    /// The text of the block that ends here, cleaned, and whether all of it was a link.
    fn take_text(&mut self) -> (String, bool) {
        let text = std::mem::take(&mut self.text);
        let linked = std::mem::take(&mut self.linked);
        let is_link = linked > 0 && linked * 10 >= letters(&text) * 9;
        (clean(&text), is_link)
    }

    fn end_heading(&mut self) {
        let level = self.heading.take();
        let (text, _) = self.take_text();
        if !is_speakable(&text) {
            return;
        }
        match level {
            Some(level) if text.chars().count() <= HEADING_MAX_CHARS => self.open(text, level),
            _ => self.add_paragraph(&text, false),
        }
    }

    fn end_item(&mut self) {
        let (text, is_link) = self.take_text();
        if is_speakable(&text) && !left_out::is_boilerplate(&text) {
            self.items.push(Item { text, is_link });
        }
    }

    fn end_block(&mut self) {
        if self.heading.is_some() {
            return self.end_heading();
        }
        if self.lists > 0 {
            return self.end_item();
        }
        self.end_list();
        let (text, is_link) = self.take_text();
        self.add_paragraph(&text, is_link);
    }

    fn end_list(&mut self) {
        let items = std::mem::take(&mut self.items);
        // Menus, tables of contents, further reading: nothing but links.
        let links = items.iter().filter(|item| item.is_link).count();
        if items.is_empty() || links * 5 >= items.len() * 4 && links > 0 {
            return;
        }
        let said = items
            .iter()
            .flat_map(|item| speakable_sentences(&with_full_stop(&item.text, self.language), self.language));
        let paragraph: Paragraph = said.collect();
        if !paragraph.is_empty() && self.back_matter.is_none() {
            self.section().paragraphs.push(paragraph);
        }
    }

    fn open(&mut self, heading: String, level: u8) {
        if self.back_matter.is_some_and(|above| level > above) {
            return;
        }
        self.back_matter = None;
        if !self.sections.is_empty() && left_out::is_back_matter(&heading) {
            self.back_matter = Some(level);
        } else if !left_out::is_boilerplate(&heading) {
            self.sections.push(Section { heading: Some(heading), level, paragraphs: Vec::new() });
        }
    }

    fn add_paragraph(&mut self, text: &str, is_link: bool) {
        let ends = text.trim_end_matches(['"', '”', '’', '\'', ')', '」']).ends_with(ENDS);
        if (is_link && !ends) || self.back_matter.is_some() || left_out::is_boilerplate(text) {
            return;
        }
        let paragraph = speakable_sentences(text, self.language);
        if !paragraph.is_empty() {
            self.section().paragraphs.push(paragraph);
        }
    }

    /// `For example:` above code or a table that is left out announces nothing.
    fn drop_announcement(&mut self) {
        let Some(paragraphs) = self.sections.last_mut().map(|section| &mut section.paragraphs) else {
            return;
        };
        if let Some(paragraph) = paragraphs.last_mut()
            && paragraph.last().is_some_and(|sentence| sentence.ends_with([':', '：']))
        {
            paragraph.pop();
            if paragraph.is_empty() {
                paragraphs.pop();
            }
        }
    }

    fn section(&mut self) -> &mut Section {
        if self.sections.is_empty() {
            self.sections.push(Section::default());
        }
        let last = self.sections.len() - 1;
        &mut self.sections[last]
    }

    fn finish(mut self) -> Vec<Section> {
        self.end_block();
        self.lists = 0;
        self.end_block();
        self.sections
    }
}

const ENDS: [char; 7] = ['.', '!', '?', '…', '。', '！', '？'];

/// The sentences that can be said whole: one with a hole where code or an address stood is left out.
fn speakable_sentences(text: &str, language: &str) -> Paragraph {
    let whole = sentences(text, language).into_iter().filter_map(|sentence| is_cut(&sentence, language));
    whole.filter(|sentence| is_speakable(sentence)).collect()
}

fn letters(text: &str) -> usize {
    text.chars().filter(|c| c.is_alphanumeric()).count()
}

#[cfg(test)]
mod tests;
