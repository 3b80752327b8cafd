//! What HTML's elements mean to a reader: blocks, lists, headings, and what is no text at all.

use super::super::clean::{CODE, code, superscript};
use super::Reader;

/// Never read, whatever stands inside.
const NEVER: &[&str] = &[
    "nav",
    "footer",
    "aside",
    "form",
    "button",
    "select",
    "dialog",
    "menu",
    "template",
    "noscript",
    "svg",
    "math",
    "iframe",
    "object",
    "canvas",
    "video",
    "audio",
    "figure",
    "figcaption",
    "picture",
    "pre",
    "map",
    "datalist",
    "address",
    "rt",
    "rp",
    "del",
];

/// Elements that hold no others.
const VOID: &[&str] = &[
    "br", "hr", "img", "input", "meta", "link", "wbr", "source", "track", "area", "base", "col", "embed",
    "param",
];

const BLOCKS: &[&str] = &[
    "p",
    "div",
    "section",
    "article",
    "main",
    "header",
    "blockquote",
    "body",
    "html",
    "head",
    "center",
    "details",
    "summary",
    "hgroup",
    "td",
    "th",
    "tr",
    "table",
    "tbody",
    "thead",
    "tfoot",
    "caption",
    "fieldset",
    "figure",
];

/// Words in `class` and `id` of what belongs to the page and not to its text.
const PAGE_WORDS: &[&str] = &[
    "nav",
    "navbar",
    "navigation",
    "breadcrumb",
    "breadcrumbs",
    "sidebar",
    "footer",
    "gnb",
    "lnb",
    "share",
    "sharing",
    "social",
    "sns",
    "newsletter",
    "subscribe",
    "subscription",
    "advert",
    "advertisement",
    "ads",
    "adsbygoogle",
    "promo",
    "skip",
    "toc",
    "pagination",
    "pager",
    "reflist",
    "editsection",
    "noprint",
    "navbox",
    "catlinks",
    "hatnote",
    "infobox",
    "popup",
    "modal",
    "consent",
    "gdpr",
    "byline",
    "paywall",
    "related",
    "recommended",
    "comments",
];

/// Elements that a word in `class` or `id` may leave out.
const JUDGED: &[&str] = &["div", "section", "ul", "ol", "header", "span", "p", "a", "li", "dl", "table"];

/// So much of a table is looked at to tell what it is for.
const TABLE_MAX_CHARS: usize = 5_000;

/// Where in a page the reader is.
#[derive(Debug)]
pub(super) struct State {
    pub(super) is_choosy: bool,
    /// The element that holds the text; what stands outside of it is not read.
    pub(super) main: Option<&'static str>,
    pub(super) title: Option<String>,
    in_main: usize,
    /// The element that is left out, and how many of its name are open in it.
    skipping: Option<(String, usize)>,
    /// Text of the open `code`, `sup` or `sub`, which depends on what it turns out to be.
    held: Option<(String, String)>,
    held_link: bool,
    /// In the page's head above the text only headings and whole sentences are read.
    headers: usize,
}

impl Default for State {
    fn default() -> State {
        State {
            is_choosy: true,
            main: None,
            title: None,
            in_main: 0,
            skipping: None,
            held: None,
            held_link: false,
            headers: 0,
        }
    }
}

impl State {
    pub(super) fn is_skipping(&self) -> bool {
        self.skipping.is_some()
    }

    fn is_outside(&self) -> bool {
        self.is_choosy && self.main.is_some() && self.in_main == 0
    }
}

impl Reader<'_> {
    pub(super) fn text_in_html(&mut self, text: &str) {
        if let Some((_, held)) = &mut self.html.held {
            held.push_str(text);
        } else if !self.html.is_outside() || self.heading == Some(1) {
            self.push(text);
        }
    }

    /// `after` is what follows the tag, for tables: only their content tells what they are for.
    pub(super) fn open_tag(&mut self, name: &str, attributes: &str, after: &str) {
        if let Some((skipped, open)) = &mut self.html.skipping {
            if skipped == name && !attributes.ends_with('/') {
                *open += 1;
            }
            return;
        }
        if !VOID.contains(&name)
            && !attributes.ends_with('/')
            && self.html.is_left_out(name, attributes, after)
        {
            if is_block(name) {
                self.end_block();
            }
            match name {
                "pre" | "table" => self.drop_announcement(),
                "math" => self.push(CODE),
                _ => {}
            }
            self.html.skipping = Some((name.to_owned(), 1));
            return;
        }
        if self.html.main == Some(name) {
            self.end_block();
            self.html.in_main += 1;
        }
        match name {
            "br" if self.text.trim_end_matches(' ').ends_with('\n') => self.end_block(),
            "br" => self.push("\n"),
            "a" => {
                self.in_link = true;
                self.html.held_link |= self.html.held.is_some();
            }
            "code" | "tt" | "kbd" | "samp" | "sup" | "sub" => {
                self.html.held = Some((name.to_owned(), String::new()))
            }
            "q" => self.push("“"),
            "ul" | "ol" | "dl" => {
                self.end_block();
                self.lists += 1;
            }
            "li" | "dt" | "dd" | "hr" => self.end_block(),
            "header" => {
                self.end_block();
                self.html.headers += 1;
            }
            _ => {
                if let Some(level) = heading_level(name) {
                    self.end_block();
                    self.heading = Some(level);
                } else if is_block(name) {
                    self.end_block();
                }
            }
        }
    }

    pub(super) fn close(&mut self, name: &str) {
        if let Some((skipped, open)) = &mut self.html.skipping {
            if skipped == name {
                *open -= 1;
                if *open == 0 {
                    self.html.skipping = None;
                }
            }
            return;
        }
        match name {
            "a" => self.in_link = false,
            "code" | "tt" | "kbd" | "samp" | "sup" | "sub" => self.end_held(name),
            "q" => self.push("”"),
            "ul" | "ol" | "dl" => {
                self.end_block();
                self.lists = self.lists.saturating_sub(1);
                if self.lists == 0 {
                    self.end_list();
                }
            }
            "header" => {
                self.end_block();
                self.html.headers = self.html.headers.saturating_sub(1);
            }
            _ if is_block(name) || heading_level(name).is_some() || matches!(name, "li" | "dt" | "dd") => {
                self.end_block();
            }
            _ => {}
        }
        if self.html.main == Some(name) {
            self.html.in_main = self.html.in_main.saturating_sub(1);
        }
    }

    fn end_held(&mut self, name: &str) {
        let is_link = std::mem::take(&mut self.html.held_link);
        let Some((held, text)) = self.html.held.take().filter(|(held, _)| held == name) else { return };
        match held.as_str() {
            "code" | "tt" | "kbd" | "samp" => self.push(&code(&text)),
            // A raised link is a footnote's mark.
            "sup" if is_link => {}
            "sup" => self.push(&superscript(&text)),
            _ => self.push(&text),
        }
    }
}

impl State {
    fn is_left_out(&self, name: &str, attributes: &str, after: &str) -> bool {
        if name == "table" {
            return !is_layout(after, attributes);
        }
        if !self.is_choosy {
            return matches!(name, "svg" | "math" | "pre" | "template" | "rt" | "rp");
        }
        if NEVER.contains(&name) || is_hidden(attributes) {
            return !matches!(name, "body" | "html" | "main" | "article");
        }
        let role = attribute(attributes, "role");
        let page_role = [
            "navigation",
            "contentinfo",
            "complementary",
            "dialog",
            "alertdialog",
            "search",
            "menu",
            "menubar",
            "banner",
        ];
        if page_role.contains(&role) && !(role == "banner" && self.in_main > 0) {
            return true;
        }
        JUDGED.contains(&name) && is_of_the_page(attributes)
    }
}

fn is_hidden(attributes: &str) -> bool {
    let style: String = attribute(attributes, "style").split_whitespace().collect();
    attribute(attributes, "aria-hidden") == "true"
        || style.contains("display:none")
        || style.contains("visibility:hidden")
        || attributes.split_whitespace().any(|word| word == "hidden" || word == "hidden=\"\"")
}

fn is_of_the_page(attributes: &str) -> bool {
    let words = || {
        [attribute(attributes, "class"), attribute(attributes, "id")]
            .into_iter()
            .flat_map(|names| names.split(|c: char| !c.is_ascii_alphanumeric()))
    };
    // A recipe for cookies is no banner.
    let cookies = words().any(|word| word.starts_with("cookie"))
        && words().any(|word| {
            matches!(word, "banner" | "notice" | "bar" | "policy" | "overlay" | "message" | "law")
        });
    cookies || words().any(|word| PAGE_WORDS.contains(&word))
}

/// Old pages and letters lay out their text in tables; a table of data holds no paragraphs.
fn is_layout(after: &str, attributes: &str) -> bool {
    let near = after.char_indices().nth(TABLE_MAX_CHARS).map_or(after, |(end, _)| &after[..end]);
    let end = near.find("</table").or_else(|| near.find("</TABLE")).unwrap_or(near.len());
    let inside = &near[..end];
    let prose = ["<p>", "<p ", "<h1", "<h2", "<P>"].iter().any(|tag| inside.contains(tag));
    !inside.contains("<th") && (prose || attribute(attributes, "role") == "presentation")
}

/// The value of an attribute, or nothing.
fn attribute<'t>(attributes: &'t str, name: &str) -> &'t str {
    let mut rest = attributes;
    while let Some(at) = rest.find(name) {
        let alone = rest[..at].ends_with([' ', '\n', '\t', '"', '\'']);
        let after = rest[at + name.len()..].trim_start();
        if let Some(value) = after.strip_prefix('=').filter(|_| alone) {
            let value = value.trim_start();
            return match value.chars().next() {
                Some(quote @ ('"' | '\'')) => value[1..].split(quote).next().unwrap_or(""),
                _ => value.split(|c: char| c.is_whitespace() || c == '>').next().unwrap_or(""),
            };
        }
        rest = &rest[at + name.len()..];
    }
    ""
}

fn is_block(name: &str) -> bool {
    BLOCKS.contains(&name)
        || NEVER.contains(&name) && !matches!(name, "button" | "rt" | "rp" | "del" | "svg" | "math")
}

fn heading_level(name: &str) -> Option<u8> {
    match name.as_bytes() {
        [b'h', digit @ b'1'..=b'6'] => Some(digit - b'0'),
        _ => None,
    }
}
