//! Taking out what nobody says aloud: addresses, footnote marks, tags.

use super::is_unspaced;

/// One block of text on one line, without bare addresses and footnote marks.
pub(super) fn clean(text: &str) -> String {
    let without_marks = without_footnote_marks(text);
    let without_addresses = without_addresses(&without_marks);
    one_line(&without_addresses)
}

/// Lines are joined with a space, except where the script has none.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut gap: Option<bool> = None;
    for c in text.chars().filter(|c| !matches!(c, '\u{200B}' | '\u{FEFF}' | '\u{AD}')) {
        if c.is_whitespace() {
            gap = Some(gap.unwrap_or(false) || c == '\n');
            continue;
        }
        if let Some(broken) = gap.take()
            && let Some(previous) = line.chars().next_back()
        {
            let unspaced =
                |c: char| is_unspaced(c) || matches!(c, '。' | '、' | '，' | '！' | '？' | '」' | '「');
            if !(broken && unspaced(previous) && unspaced(c)) {
                line.push(' ');
            }
        }
        line.push(c);
    }
    line
}

/// `[3]` and `[^note]`.
fn without_footnote_marks(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('[') {
        let (before, bracket) = rest.split_at(start);
        kept.push_str(before);
        let mark = bracket.find(']').map(|end| &bracket[1..end]).filter(|mark| is_footnote_mark(mark));
        let length = mark.map_or(1, |mark| mark.len() + 2);
        if mark.is_none() {
            kept.push('[');
        }
        rest = &bracket[length..];
    }
    kept.push_str(rest);
    kept
}

fn is_footnote_mark(mark: &str) -> bool {
    let numbered = !mark.is_empty() && mark.len() <= 3 && mark.bytes().all(|byte| byte.is_ascii_digit());
    numbered || (mark.starts_with('^') && mark.len() > 1 && !mark.contains(char::is_whitespace))
}

fn without_addresses(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = next_address(rest) {
        let (before, address) = rest.split_at(start);
        let length = address_length(address);
        let after = &address[length..];
        // Brackets around nothing but the address go with it, and the space before what it leaves behind.
        let bracketed = before.ends_with('(') && after.starts_with(')');
        let (before, after) =
            if bracketed { (before.trim_end_matches('('), &after[1..]) } else { (before, after) };
        let hangs = after.is_empty() || after.starts_with(['.', ',', ';', ':', '!', '?', ')']);
        kept.push_str(if hangs { before.trim_end() } else { before });
        rest = after;
    }
    kept.push_str(rest);
    kept
}

fn next_address(text: &str) -> Option<usize> {
    ["https://", "http://", "www."]
        .iter()
        .filter_map(|prefix| {
            text.match_indices(prefix)
                .map(|(at, _)| at)
                .find(|at| !text[..*at].ends_with(|c: char| c.is_ascii_alphanumeric()))
        })
        .min()
}

/// Up to white space or text in another script; closing punctuation belongs to the sentence.
fn address_length(text: &str) -> usize {
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

/// The text of an HTML block, piece by piece: a heading with its level, or a paragraph with level 0.
pub(super) fn html_pieces(html: &str) -> Vec<(u8, String)> {
    let mut pieces = vec![(0, String::new())];
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        push_text(&mut pieces, &rest[..start]);
        let tag = &rest[start..];
        let name: String = tag[1..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '/').collect();
        let name = name.to_ascii_lowercase();
        let end = match name.as_str() {
            _ if tag.starts_with("<!--") => tag.find("-->").map(|at| at + 3),
            "script" | "style" => tag.find(&format!("</{name}")).or(Some(tag.len())),
            "" => Some(1),
            _ => tag.find('>').map(|at| at + 1),
        };
        if is_block_tag(&name) {
            pieces.push((heading_level(&name), String::new()));
        } else if name.is_empty() && !tag.starts_with("<!--") {
            push_text(&mut pieces, "<");
        }
        rest = &tag[end.unwrap_or(tag.len())..];
    }
    push_text(&mut pieces, rest);
    pieces.retain(|(_, text)| !text.trim().is_empty());
    pieces
}

fn push_text(pieces: &mut [(u8, String)], text: &str) {
    if let Some((_, piece)) = pieces.last_mut() {
        piece.push_str(&decoded(text));
    }
}

fn is_block_tag(name: &str) -> bool {
    matches!(
        name.trim_start_matches('/'),
        "p" | "div" | "li" | "ul" | "ol" | "br" | "br/" | "td" | "tr" | "blockquote"
    ) || heading_level(name.trim_start_matches('/')) > 0
}

fn heading_level(name: &str) -> u8 {
    match name.as_bytes() {
        [b'h', digit @ b'1'..=b'6'] => digit - b'0',
        _ => 0,
    }
}

fn decoded(text: &str) -> String {
    let mut decoded = text.to_owned();
    for (entity, plain) in [
        ("&nbsp;", " "),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ] {
        decoded = decoded.replace(entity, plain);
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_gone() {
        let check = |text: &str, expected: &str| assert_eq!(clean(text), expected);
        check("Tides rise.[3] They fall.[^note]", "Tides rise. They fall.");
        check("An [open] bracket [ stays", "An [open] bracket [ stays");
        check("See https://example.org/a?b=c.", "See.");
        check("See (https://example.org/a_(b)) for more.", "See for more.");
        check("At www.example.org, today", "At, today");
        check("주소는 https://example.org입니다.", "주소는 입니다.");
        check("xhttp://no", "xhttp://no");
        check("two\nlines  here", "two lines here");
        check("潮が\n満ちる。\n船", "潮が満ちる。船");
        check("한국어\n문장", "한국어 문장");
    }

    #[test]
    fn html_becomes_pieces() {
        let check = |html: &str, expected: &[(u8, &str)]| {
            let pieces = html_pieces(html);
            let pieces: Vec<(u8, &str)> = pieces.iter().map(|(level, text)| (*level, text.trim())).collect();
            assert_eq!(pieces, expected);
        };
        check("<p>One <b>two</b> &amp; three.</p><p>Four.</p>", &[(0, "One two & three."), (0, "Four.")]);
        check("<h2>Title</h2>text", &[(2, "Title"), (0, "text")]);
        check("<!-- no --><script>x < 1</script>yes", &[(0, "yes")]);
        check("1 < 2", &[(0, "1 < 2")]);
        check("<unclosed", &[]);
    }
}
