//! What a sentence is about, as a bag of terms that needs no dictionary of its language.

use std::collections::{BTreeMap, HashMap};

use unicode_segmentation::UnicodeSegmentation;

use crate::text::{is_hangul, is_unspaced};

/// Letters of a word that count: endings are left to grammar.
const STEM_CHARS: usize = 6;

/// A sentence as weights by term, of length 1 (or empty).
pub(super) type Vector = BTreeMap<u32, f64>;

/// The terms of a text, in order and with repetitions: words cut to their stem; of Korean words, whose particles are many,
/// the pairs of syllables; of scripts without spaces the pairs of characters.
pub(super) fn terms(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    for word in text.unicode_words() {
        let letters: Vec<char> = word.chars().flat_map(char::to_lowercase).collect();
        if letters.iter().any(|c| is_hangul(*c) || is_unspaced(*c)) {
            terms.extend(letters.windows(2).map(|pair| pair.iter().collect::<String>()));
        } else if letters.len() > 2 || letters.iter().any(char::is_ascii_digit) {
            terms.push(letters.iter().take(STEM_CHARS).collect());
        }
    }
    // Words of one character each, as unspaced scripts are cut: their pairs are terms too.
    let unspaced: Vec<char> = text.chars().filter(|c| is_unspaced(*c)).collect();
    terms.extend(unspaced.windows(2).map(|pair| pair.iter().collect::<String>()));
    terms
}

/// TF-IDF vectors of texts among themselves: what stands in most of them says little.
pub(super) fn vectors<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<Vector> {
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut documents: Vec<f64> = Vec::new();
    let mut counted: Vec<BTreeMap<u32, f64>> = Vec::new();
    for text in texts {
        let mut counts = BTreeMap::new();
        for term in terms(text) {
            let next = numbers.len() as u32;
            *counts.entry(*numbers.entry(term).or_insert(next)).or_insert(0.0) += 1.0;
        }
        documents.resize(numbers.len(), 0.0);
        for term in counts.keys() {
            documents[*term as usize] += 1.0;
        }
        counted.push(counts);
    }
    let total = counted.len() as f64;
    for counts in &mut counted {
        for (term, weight) in counts.iter_mut() {
            *weight *= (1.0 + total / documents[*term as usize]).ln();
        }
        normalise(counts);
    }
    counted
}

pub(super) fn normalise(vector: &mut Vector) {
    let length = vector.values().map(|weight| weight * weight).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.values_mut().for_each(|weight| *weight /= length);
    }
}

/// The cosine of two vectors of length 1.
pub(super) fn similarity(a: &Vector, b: &Vector) -> f64 {
    let (small, large) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    small.iter().filter_map(|(term, weight)| Some(weight * large.get(term)?)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_need_no_dictionary() {
        assert_eq!(terms("The Tides are tidal."), ["the", "tides", "are", "tidal"]);
        assert_eq!(terms("김치는 김치의"), ["김치", "치는", "김치", "치의"]);
        assert!(terms("潮が満ちる").contains(&"潮が".to_owned()));
    }

    #[test]
    fn sentences_on_one_thing_are_alike() {
        let found = vectors(["The moon pulls the sea.", "The sea follows the moon.", "Bread needs salt."]);
        assert!(similarity(&found[0], &found[1]) > 0.3);
        assert!(similarity(&found[0], &found[2]) < 0.1);
    }
}
