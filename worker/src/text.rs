//! Source text as something that can be said aloud: sections, paragraphs, sentences, and how long they take to say.

mod chunks;
mod clean;
pub mod normalise;
mod read;
mod sentences;
mod units;

pub use chunks::{Weight, chunks, pieces};
pub use read::{sections, to_markdown};
pub use sentences::sentences;
pub use units::{counts_words, speakable_units};

/// One sentence, its words as the source has them.
pub type Sentence = String;

/// The sentences between two breaks of the source.
pub type Paragraph = Vec<Sentence>;

/// A heading and what stands under it, up to the next heading of any level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Nothing for what stands before the first heading.
    pub heading: Option<String>,
    /// 1 to 6 as in Markdown; 0 without a heading.
    pub level: u8,
    pub paragraphs: Vec<Paragraph>,
}

/// Whether there is anything to say in it: punctuation alone makes an engine answer with silence.
pub fn is_speakable(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

/// What stands between two sentences of one speaker: nothing where words are not spaced.
pub fn separator(language: &str) -> &'static str {
    if matches!(primary(language).as_str(), "ja" | "zh" | "yue") { "" } else { " " }
}

/// Headings and list items end without a full stop; said aloud they need one, or they run into what follows.
pub fn with_full_stop(text: &str, language: &str) -> Sentence {
    let stop = if separator(language).is_empty() { "。" } else { "." };
    if text.ends_with(char::is_alphanumeric)
        || text.ends_with([')', '%', '\'', '’', '"', '”']) && !ends_closed(text)
    {
        format!("{text}{stop}")
    } else {
        text.to_owned()
    }
}

/// Whether a full stop stands just inside the closing mark: `(so it was.)`.
fn ends_closed(text: &str) -> bool {
    text.trim_end_matches([')', '\'', '’', '"', '”']).ends_with(['.', '!', '?', '…', '。', '！', '？'])
}

/// The primary tag of a BCP 47 tag, in lower case: `ko` for `ko-KR`.
pub(crate) fn primary(language: &str) -> String {
    language.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase()
}

/// Precomposed syllables and the letters they are made of.
pub(crate) fn is_hangul(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{11FF}' | '\u{3130}'..='\u{318F}' | '\u{AC00}'..='\u{D7A3}')
}

/// Chinese characters and kana: scripts that put no space between words.
pub(crate) fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_stops_are_added_where_nothing_ends() {
        let check = |text: &str, language: &str, expected: &str| {
            assert_eq!(with_full_stop(text, language), expected);
        };
        check("The pull of the Moon", "en", "The pull of the Moon.");
        check("Why two?", "en", "Why two?");
        check("Tides (1687)", "en", "Tides (1687).");
        check("\"Why?\"", "en", "\"Why?\"");
        check("염도 3.5%", "ko", "염도 3.5%.");
        check("潮の満ち引き", "ja", "潮の満ち引き。");
    }
}
