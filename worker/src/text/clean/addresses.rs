//! Finding addresses: of pages, of people, of papers.

use super::ADDRESS;

const PREFIXES: &[&str] =
    &["https://", "http://", "ftp://", "www.", "mailto:", "doi:", "doi.org/", "HTTP://", "HTTPS://", "WWW."];

/// Ends of host names, for addresses without a prefix: `example.org/page`. With no path behind it, a host is a name.
const TOP_LEVEL: &[&str] = &[
    "com", "org", "net", "io", "kr", "jp", "de", "uk", "edu", "gov", "dev", "app", "me", "co", "ai", "fr",
    "es", "it", "pt", "cn", "tv", "info", "ly", "be", "eu", "us", "ca", "br", "nl",
];

/// With a mark where addresses were. Brackets around nothing but an address go with it.
pub(super) fn marked(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut done = 0;
    for start in starts(text) {
        if start < done {
            continue;
        }
        let before = &text[done..start];
        let end = start + length(&text[start..]);
        let after = &text[end..];
        if before.ends_with('(') && after.starts_with(')') {
            let before = before.trim_end_matches('(');
            let hangs = after.len() == 1 || after[1..].starts_with(['.', ',', ';', ':', '!', '?']);
            kept.push_str(if hangs { before.trim_end() } else { before });
            done = end + 1;
        } else {
            kept.push_str(before);
            kept.push_str(ADDRESS);
            done = end;
        }
    }
    kept.push_str(&text[done..]);
    kept
}

/// Where addresses may begin, in order.
fn starts(text: &str) -> Vec<usize> {
    let free = |at: &usize| !text[..*at].ends_with(|c: char| c.is_ascii_alphanumeric());
    let prefixed =
        PREFIXES.iter().flat_map(|prefix| text.match_indices(prefix)).map(|(at, _)| at).filter(free);
    let persons = text.match_indices('@').filter_map(|(at, _)| person(text, at));
    let pages = text.match_indices('/').filter_map(|(at, _)| page(text, at));
    let mut starts: Vec<usize> = prefixed.chain(persons).chain(pages).collect();
    starts.sort_unstable();
    starts
}

/// Where `name@host.tld` begins, around an `@`.
fn person(text: &str, at: usize) -> Option<usize> {
    let start = start_of(&text[..at], |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+'));
    let host: String = text[at + 1..].chars().take_while(|c| is_host(*c)).collect();
    (start < at && host.trim_end_matches('.').contains('.')).then_some(start)
}

/// Where `example.org/page` begins, around its first `/`.
fn page(text: &str, at: usize) -> Option<usize> {
    let start = start_of(&text[..at], is_host);
    let (name, top) = text[start..at].rsplit_once('.')?;
    (!name.is_empty() && TOP_LEVEL.contains(&top)).then_some(start)
}

fn start_of(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.char_indices().rev().take_while(|(_, c)| belongs(*c)).last().map_or(text.len(), |(at, _)| at)
}

fn is_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-')
}

/// Up to white space or text in another script; closing punctuation belongs to the sentence.
fn length(text: &str) -> usize {
    let mut open = 0;
    let mut end = text.len();
    for (at, c) in text.char_indices() {
        match c {
            '(' => open += 1,
            ')' if open > 0 => open -= 1,
            ')' | ']' | '>' | '<' | '"' => {
                end = at;
                break;
            }
            _ if c.is_whitespace() || !c.is_ascii() => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    text[..end].trim_end_matches(['.', ',', ';', ':', '!', '?', '\'']).len().max(1)
}
