//! Cutting a sentence that is longer than an engine should be given at once.

use unicode_segmentation::UnicodeSegmentation;

/// Pieces of at most `max_chars` characters: cut at clauses where there are any near the middle, else between words,
/// else between graphemes, never inside one. Pieces are of about equal length, so that no lone word is left over.
/// Joined again they are the text, but for the white space at the cuts.
pub fn chunks(text: &str, max_chars: usize) -> Vec<String> {
    let max_chars = max_chars.max(1);
    let mut rest = text.trim();
    let mut pieces = Vec::new();
    let mut length = rest.chars().count();
    while length > max_chars {
        let target = length / length.div_ceil(max_chars);
        let cut = best_cut(rest, target, max_chars);
        let (piece, remainder) = rest.split_at(cut);
        if remainder.trim().is_empty() {
            break;
        }
        pieces.push(piece.trim_end().to_owned());
        rest = remainder.trim_start();
        let gap = remainder[..remainder.len() - rest.len()].chars().count();
        length = length.saturating_sub(piece.chars().count() + gap);
    }
    if !rest.is_empty() {
        pieces.push(rest.to_owned());
    }
    pieces
}

/// The byte offset of the cut nearest to `target` characters among the best kind that lies within reach.
fn best_cut(text: &str, target: usize, max_chars: usize) -> usize {
    let mut clause: Option<(usize, usize)> = None;
    let mut word: Option<(usize, usize)> = None;
    let mut grapheme = text.len();
    let mut chars = 0;
    // The two graphemes before the cut that is being looked at.
    let (mut before, mut last) = ("", "");
    for (offset, next) in text.grapheme_indices(true) {
        if offset > 0 {
            if chars > max_chars {
                // A grapheme longer than the limit goes alone, whole.
                grapheme = grapheme.min(offset);
                break;
            }
            let distance = chars.abs_diff(target);
            if is_clause_end(before, last, next) && chars >= target / 2 {
                keep_nearer(&mut clause, distance, offset);
            } else if is_space(last) && !is_space(next) {
                keep_nearer(&mut word, distance, offset);
            }
            grapheme = offset;
        }
        chars += next.chars().count();
        (before, last) = (last, next);
    }
    clause.or(word).map_or(grapheme, |(_, offset)| offset)
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

    proptest::proptest! {
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
