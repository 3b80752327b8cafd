//! Taking out what nobody says aloud: addresses, footnote marks, code.

mod addresses;

use super::{is_unspaced, separator};

/// Stands for an address. A sentence can lose one at its end, but not in its middle.
pub(super) const ADDRESS: &str = "\u{FFFB}";
/// Stands for code that cannot be read as words. A sentence is not said without it.
pub(super) const CODE: &str = "\u{FFFC}";

/// What is longer between two dollar signs is prose about prices.
const FORMULA_MAX_CHARS: usize = 120;

/// No footnote's mark is longer.
const MARK_MAX_CHARS: usize = 60;

/// A sentence of fewer words than this is nothing without the address at its end: `See …`
const LEAST_WORDS: usize = 4;

/// One block of text on one line, without footnote marks, with a mark of ours where addresses were.
pub(super) fn clean(text: &str) -> String {
    let decoded = super::read::decoded(text);
    let without_marks = without_footnote_marks(&decoded);
    let without_raised = without_raised_marks(&without_marks);
    let without_formulas = without_formulas(&without_raised);
    let without_templates = without_templates(&without_formulas);
    let without_highlights = without_highlights(&without_templates);
    let without_addresses = addresses::marked(&without_highlights);
    one_line(&without_addresses)
}

/// The sentence as it can be said, or nothing if something was cut out of it that it needs.
pub(super) fn is_cut(sentence: &str, language: &str) -> Option<String> {
    if sentence.contains(CODE) {
        return None;
    }
    if !sentence.contains(ADDRESS) {
        return Some(sentence.to_owned());
    }
    let end = sentence.trim_end_matches(|c: char| !c.is_alphanumeric()).len();
    let (words, tail) = sentence.split_at(end);
    if words.contains(ADDRESS) {
        return None;
    }
    let words = words.trim_end();
    let count = match separator(language) {
        "" => words.chars().filter(|c| c.is_alphanumeric()).count() / 2,
        _ => words.split_whitespace().count(),
    };
    let stop: String =
        tail.chars().filter(|c| matches!(c, '.' | '!' | '?' | '。' | '"' | '”' | ')')).collect();
    (count >= LEAST_WORDS).then(|| format!("{words}{stop}"))
}

/// Code inside of a sentence: names of plain words are said, anything else is not.
pub(super) fn code(text: &str) -> String {
    let text = text.trim();
    let wordy = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.' | '\'');
    let plain = text.chars().all(wordy) && !text.starts_with(['-', '.', '_']) && text.chars().count() <= 40;
    if plain { text.replace('_', " ") } else { CODE.to_owned() }
}

/// Raised digits: exponents stay raised, so that they can be told from footnote marks later.
pub(super) fn superscript(text: &str) -> String {
    let text = text.trim();
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
        let raise = |c: char| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(c.to_digit(10).unwrap_or(0) as usize).unwrap_or(c);
        return text.chars().map(raise).collect();
    }
    text.to_owned()
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

/// `[3]`, `[1, 2]`, `[^note]`, `[a]` at a word, `[citation needed]`.
fn without_footnote_marks(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(['[', '［']) {
        let (before, bracket) = rest.split_at(start);
        kept.push_str(before);
        let open = bracket.chars().next().map_or(1, char::len_utf8);
        let end = bracket
            .char_indices()
            .take(MARK_MAX_CHARS)
            .find(|(_, c)| matches!(c, ']' | '］'))
            .map(|(at, _)| at);
        let attached = kept.ends_with(|c: char| !c.is_whitespace());
        let mark = end.map(|end| &bracket[open..end]).filter(|mark| is_footnote_mark(mark, attached));
        match (mark, end) {
            (Some(_), Some(end)) => {
                let close = bracket[end..].chars().next().map_or(1, char::len_utf8);
                rest = &bracket[end + close..];
                // `word [3].` leaves no space before the full stop.
                if rest.starts_with(['.', ',', '。']) || rest.is_empty() {
                    kept.truncate(kept.trim_end().len());
                }
            }
            _ => {
                kept.push_str(&bracket[..open]);
                rest = &bracket[open..];
            }
        }
    }
    kept.push_str(rest);
    kept
}

fn is_footnote_mark(mark: &str, attached: bool) -> bool {
    const WORDS: &[&str] = &[
        "citation needed",
        "edit",
        "source?",
        "clarification needed",
        "who?",
        "when?",
        "출처 필요",
        "편집",
        "출처",
        "깨진 링크",
        "bearbeiten",
        "modifier",
        "editar",
        "編集",
        "要出典",
        "编辑",
    ];
    let number = |part: &str| {
        let part = part.trim();
        !part.is_empty() && part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let numbered = mark.len() <= 24 && mark.split([',', '-', '–', ';']).all(number);
    let lettered = attached
        && (mark.len() == 1 && mark.as_bytes()[0].is_ascii_lowercase()
            || mark.starts_with("주 ") && number(&mark["주 ".len()..]));
    let named = mark.starts_with('^') && mark.len() > 1 && !mark.contains(char::is_whitespace);
    numbered || lettered || named || WORDS.contains(&mark.trim().to_lowercase().as_str())
}

/// `$x^2 + y^2$`: with a mark of ours in its place. `$5` and `$6` are prices.
fn without_formulas(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        let (before, formula) = rest.split_at(start);
        kept.push_str(before);
        let inside = formula[1..].char_indices().take(FORMULA_MAX_CHARS).find(|(_, c)| *c == '$');
        let inside = inside.map(|(end, _)| &formula[1..=end]);
        match inside.filter(|inside| inside.contains(['\\', '^', '_', '=']) && inside.trim() == *inside) {
            Some(inside) => {
                kept.push_str(CODE);
                rest = &formula[inside.len() + 2..];
            }
            // `$x$` is a name.
            None if inside.is_some_and(|inside| {
                inside.len() <= 3 && !inside.is_empty() && inside.chars().all(char::is_alphabetic)
            }) =>
            {
                let inside = inside.unwrap_or_default();
                kept.push_str(inside);
                rest = &formula[inside.len() + 2..];
            }
            None => {
                kept.push('$');
                rest = &formula[1..];
            }
        }
    }
    kept.push_str(rest);
    kept
}

/// `{{ name }}`, with a mark of ours in its place, and `{% include … %}`: what a page's template would have filled in.
fn without_templates(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{{").into_iter().chain(rest.find("{%")).min() {
        let (before, template) = rest.split_at(start);
        let (close, stands_for) = if template.starts_with("{{") { ("}}", CODE) } else { ("%}", "") };
        let Some(end) = template.find(close) else { break };
        kept.push_str(before);
        kept.push_str(stands_for);
        rest = &template[end + close.len()..];
    }
    kept.push_str(rest);
    kept
}

/// `==marked==`, as some kinds of Markdown have it.
fn without_highlights(text: &str) -> String {
    let parts: Vec<&str> = text.split("==").collect();
    let tight = |part: &&str| !part.is_empty() && part.trim() == *part && !part.contains('=');
    // Between pairs of marks stands text without space at its ends; `a == b` has none.
    if parts.len() >= 3 && parts.len() % 2 == 1 && parts.iter().skip(1).step_by(2).all(tight) {
        parts.concat()
    } else {
        text.to_owned()
    }
}

/// Raised digits after a word, daggers, and an asterisk at a word. `m²` and `10³` are no notes.
fn without_raised_marks(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut noted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let begins_word = chars.peek().is_some_and(|next| next.is_alphabetic());
        let raised = matches!(c, '¹' | '²' | '³' | '⁰' | '⁴'..='⁹');
        noted = raised && (noted || is_note_after(&kept));
        let starred = matches!(c, '†' | '‡' | '§')
            && kept.ends_with(|c: char| c.is_alphabetic() || matches!(c, '.' | ','))
            || c == '*'
                && (kept.ends_with(|c: char| !c.is_whitespace() && !c.is_ascii_digit())
                    || begins_word && !kept.ends_with(|c: char| c.is_ascii_digit()));
        if !(noted || starred) {
            kept.push(c);
        }
    }
    kept
}

fn is_note_after(before: &str) -> bool {
    let unit = before.rsplit(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or("");
    let last = before.chars().next_back();
    let after_word = last
        .is_some_and(|c| c.is_alphabetic() || matches!(c, '.' | ',' | '"' | '”' | ')' | '。' | '!' | '?'));
    after_word && !matches!(unit, "m" | "km" | "cm" | "mm" | "ft" | "in" | "s" | "x" | "n" | "r" | "c" | "E")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_gone() {
        let check = |text: &str, expected: &str| assert_eq!(clean(text), expected);
        check("Tides rise.[3] They fall.[^note]", "Tides rise. They fall.");
        check("Tides rise [1, 2]. They fall [4–6].", "Tides rise. They fall.");
        check("So it was[a] in spring[citation needed].", "So it was in spring.");
        check("조석이다.[주 1] 그렇다[출처 필요].", "조석이다. 그렇다.");
        check("An [open] bracket [ stays", "An [open] bracket [ stays");
        check("A word¹ and an end.²³ 5 m² and 10³ stay.", "A word and an end. 5 m² and 10³ stay.");
        check("Price* and star† go, 2 * 3 stays.", "Price and star go, 2 * 3 stays.");
        check("*not emphasised* and *Terms apply.", "not emphasised and Terms apply.");
        check("So ==this== is, and a == b.", "So ==this== is, and a == b.");
        check("So ==this one== and ==that==.", "So this one and that.");
        check("Let $x$ be $5, not $6.", "Let x be $5, not $6.");
        check("Text {% include a.html %}goes on.", "Text goes on.");
        check("Fish &amp; chips &eacute;t&#233; &#xe9; &bogus; a&b", "Fish & chips été é &bogus; a&b");
        check("two\nlines  here", "two lines here");
        check("潮が\n満ちる。\n船", "潮が満ちる。船");
        check("한국어\n문장", "한국어 문장");
    }

    #[test]
    fn a_sentence_is_whole_or_not_said() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(is_cut(&clean(text), "en").as_deref(), expected, "{text}");
        };
        check("The tide has no address.", Some("The tide has no address."));
        check(
            "The rules of the tide stand at https://example.org/a.",
            Some("The rules of the tide stand at."),
        );
        check("See https://example.org.", None);
        check("Go to https://example.org and read what it says.", None);
        check("The project (https://example.org/x_(y)) began late.", Some("The project began late."));
        check("Write to tides@example.org and ask.", None);
        check(&format!("Call {} to begin.", code("f(x)")), None);
        check("Dear {{ name }}, hello.", None);
        check("The sum $x^2 + y = 5$ is known.", None);
        check("It cost $5 then and $6 now = more.", Some("It cost $5 then and $6 now = more."));
        check(&format!("Call {} to begin.", code("start_now")), Some("Call start now to begin."));
    }
}
