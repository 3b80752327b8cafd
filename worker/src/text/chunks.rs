//! Cutting text that is longer than an engine should be given at once.

use unicode_segmentation::UnicodeSegmentation;

use super::{sentences, separator};

/// What an engine counts when it limits its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    Characters,
    /// Of UTF-8.
    Bytes,
    /// An estimate: a quarter of a token for an ASCII character, one and a half for any other.
    Tokens,
}

impl Weight {
    /// The weight of a text, rounded up.
    pub fn of(self, text: &str) -> usize {
        self.parts(text).div_ceil(self.parts_of_one())
    }

    /// Weights add up exactly in these parts of the unit.
    fn parts(self, text: &str) -> usize {
        match self {
            Weight::Characters => text.chars().count(),
            Weight::Bytes => text.len(),
            Weight::Tokens => text.chars().map(|c| if c.is_ascii() { 1 } else { 6 }).sum(),
        }
    }

    fn parts_of_one(self) -> usize {
        match self {
            Weight::Characters | Weight::Bytes => 1,
            Weight::Tokens => 4,
        }
    }
}

/// A segment in as few pieces as an engine's limit allows: whole sentences, a longer sentence cut at its clauses, then
/// between words. Inside a word only if that word alone is longer than the limit; never inside a grapheme that is not.
pub fn pieces(text: &str, language: &str, weight: Weight, limit: usize) -> Vec<String> {
    if weight.of(text.trim()) <= limit {
        return if text.trim().is_empty() { Vec::new() } else { vec![text.trim().to_owned()] };
    }
    let separator = separator(language);
    let mut pieces: Vec<String> = Vec::new();
    let mut open = false;
    for sentence in sentences(text, language) {
        if let Some(piece) = pieces.last_mut()
            && open
        {
            let joined = format!("{piece}{separator}{sentence}");
            if weight.of(&joined) <= limit {
                *piece = joined;
                continue;
            }
        }
        let cut = chunks_by(&sentence, weight, limit);
        open = cut.len() == 1;
        pieces.extend(cut);
    }
    pieces
}

/// Pieces of at most `max_chars` characters: cut at clauses where there are any near the middle, else between words,
/// else between graphemes, never inside one. Pieces are of about equal length, so that no lone word is left over.
/// Joined again they are the text, but for the white space at the cuts.
pub fn chunks(text: &str, max_chars: usize) -> Vec<String> {
    chunks_by(text, Weight::Characters, max_chars)
}

fn chunks_by(text: &str, weight: Weight, limit: usize) -> Vec<String> {
    let limit = limit.max(1) * weight.parts_of_one();
    let mut rest = text.trim();
    let mut pieces = Vec::new();
    let mut length = weight.parts(rest);
    while length > limit {
        let target = length / length.div_ceil(limit);
        let cut = best_cut(rest, weight, target, limit);
        let (piece, remainder) = rest.split_at(cut);
        if remainder.trim().is_empty() {
            break;
        }
        pieces.push(piece.trim_end().to_owned());
        rest = remainder.trim_start();
        let gap = &remainder[..remainder.len() - rest.len()];
        length = length.saturating_sub(weight.parts(piece) + weight.parts(gap));
    }
    if !rest.is_empty() {
        pieces.push(rest.to_owned());
    }
    pieces
}

/// The byte offset of the cut nearest to `target` among the best kind that lies within reach.
fn best_cut(text: &str, weight: Weight, target: usize, limit: usize) -> usize {
    let mut clause: Option<(usize, usize)> = None;
    let mut word: Option<(usize, usize)> = None;
    let mut bound: Option<(usize, usize)> = None;
    let mut grapheme = text.len();
    let mut reached = 0;
    // Where Unicode sees a word end (UAX 29): the only sign of one in scripts that put no space there.
    let mut bounds = text.split_word_bound_indices().map(|(offset, _)| offset).peekable();
    // The two graphemes before the cut that is being looked at.
    let (mut before, mut last) = ("", "");
    for (offset, next) in text.grapheme_indices(true) {
        if offset > 0 {
            if reached > limit {
                // A grapheme longer than the limit goes alone, whole.
                grapheme = grapheme.min(offset);
                break;
            }
            while bounds.next_if(|bound| *bound < offset).is_some() {}
            let distance = reached.abs_diff(target);
            if is_clause_end(before, last, next) && reached >= target / 2 {
                keep_nearer(&mut clause, distance, offset);
            } else if is_space(last) && !is_space(next) {
                keep_nearer(&mut word, distance, offset);
            } else if bounds.peek() == Some(&offset) && starts_word(next) {
                keep_nearer(&mut bound, distance, offset);
            }
            grapheme = offset;
        }
        reached += weight.parts(next);
        (before, last) = (last, next);
    }
    clause.or(word).or(bound).map_or(grapheme, |(_, offset)| offset)
}

/// Punctuation stays with the word before it.
fn starts_word(grapheme: &str) -> bool {
    grapheme.chars().next().is_some_and(char::is_alphanumeric)
}

fn keep_nearer(kept: &mut Option<(usize, usize)>, distance: usize, offset: usize) {
    if kept.is_none_or(|(nearest, _)| distance < nearest) {
        *kept = Some((distance, offset));
    }
}

/// After a comma and its space, or after a wide comma, which has none. `1,000` and `12:30` are no clauses.
fn is_clause_end(before: &str, last: &str, next: &str) -> bool {
    let closes = |grapheme: &str| {
        matches!(grapheme, "," | ";" | ":" | "–" | "—" | "." | "!" | "?" | "…" | ")" | "\"" | "”" | "،" | "؛")
    };
    let wide = matches!(last, "，" | "、" | "；" | "：" | "。" | "！" | "？");
    (is_space(last) && closes(before)) || (wide && !matches!(next, "」" | "』" | "”" | "）"))
}

fn is_space(grapheme: &str) -> bool {
    grapheme.chars().all(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_where_a_reader_would_breathe() {
        let check =
            |text: &str, max: usize, expected: &[&str]| assert_eq!(chunks(text, max), expected, "{text}");
        check("", 10, &[]);
        check("   ", 10, &[]);
        check("short", 10, &["short"]);
        check("one two, three four", 12, &["one two,", "three four"]);
        check("a price of 1,000 or 12:30 hours", 20, &["a price of 1,000", "or 12:30 hours"]);
        check("갯벌은 숨을 쉬고, 바다는 기다린다", 12, &["갯벌은 숨을 쉬고,", "바다는 기다린다"]);
        check("潮が満ちて、船が出る", 8, &["潮が満ちて、", "船が出る"]);
        check("abcdefghij", 4, &["abcd", "efgh", "ij"]);
        check("👨‍👩‍👧‍👦👨‍👩‍👧‍👦", 3, &["👨‍👩‍👧‍👦", "👨‍👩‍👧‍👦"]);
        check("한국한국", 3, &["한국한", "국"]);
    }

    #[test]
    fn pieces_are_whole_sentences_first() {
        let check = |text: &str, language: &str, weight: Weight, limit: usize, expected: &[&str]| {
            assert_eq!(pieces(text, language, weight, limit), expected, "{text} {weight:?} {limit}");
        };
        check("  ", "en", Weight::Characters, 5, &[]);
        check("One. Two. Three.", "en", Weight::Characters, 100, &["One. Two. Three."]);
        check("One. Two. Three.", "en", Weight::Characters, 10, &["One. Two.", "Three."]);
        check("물이 온다. 배가 간다.", "ko", Weight::Characters, 8, &["물이 온다.", "배가 간다."]);
        check("물이 온다. 배가 간다.", "ko", Weight::Bytes, 16, &["물이 온다.", "배가 간다."]);
        check("물이 온다. 배가 간다.", "ko", Weight::Bytes, 30, &["물이 온다. 배가 간다."]);
        check("潮が満ちる。船が出る。", "ja", Weight::Characters, 7, &["潮が満ちる。", "船が出る。"]);
        check(
            "One. When two comes, three goes. Four.",
            "en",
            Weight::Characters,
            18,
            &["One.", "When two comes,", "three goes.", "Four."],
        );
        // 22 characters of ASCII are six tokens.
        check("abcd efgh ijkl mnop qr", "en", Weight::Tokens, 3, &["abcd efgh", "ijkl mnop qr"]);
    }

    #[test]
    fn words_without_spaces_stay_whole_while_they_fit() {
        // Katakana words are words to Unicode.
        assert_eq!(chunks("美味しいチョコレート大好き", 9), ["美味しい", "チョコレート大好き"]);
    }

    proptest::proptest! {
        #[test]
        fn no_word_is_cut_that_fits_and_no_piece_weighs_too_much(
            words in proptest::collection::vec("[a-z가-힣é]{1,9}[.,]?", 1..40),
            limit in 12usize..60,
            bytes in proptest::bool::ANY,
        ) {
            let weight = if bytes { Weight::Bytes } else { Weight::Characters };
            let text = words.join(" ");
            let pieces = pieces(&text, "en", weight, limit);
            let said: Vec<&str> = pieces.iter().flat_map(|piece| piece.split_whitespace()).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            if words.iter().all(|word| weight.of(word) <= limit) {
                proptest::prop_assert_eq!(said, words);
            }
            for piece in &pieces {
                proptest::prop_assert!(weight.of(piece) <= limit, "{:?}", piece);
            }
        }

        #[test]
        fn nothing_is_lost_and_no_piece_is_too_long(text in "[a-c가-나、, ]{0,80}", max in 1usize..30) {
            let pieces = chunks(&text, max);
            let squeeze = |text: &str| text.split_whitespace().collect::<String>();
            proptest::prop_assert_eq!(squeeze(&pieces.concat()), squeeze(&text));
            for piece in &pieces {
                proptest::prop_assert!(!piece.trim().is_empty());
                proptest::prop_assert!(piece.chars().count() <= max, "{:?}", piece);
            }
        }
    }
}
