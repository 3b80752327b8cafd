//! How long a model's words are. It counts words, and a length is one in words of usual length: what one chapter shows of a model, the
//! next ones are asked for with.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::text::counts_words;

/// What is shorter says little of a model's words.
const ENOUGH_UNITS: f64 = 50.0;
const MOST_LANGUAGES: usize = 100;

/// Of one engine, by language: how many of its words make one of usual length.
#[derive(Debug, Default)]
pub(super) struct Words(Mutex<HashMap<String, f64>>);

impl Words {
    /// By what the model has written of this chapter, so many units, or else by what it wrote before.
    pub(super) fn a_unit(&self, language: &str, written: &[(String, String)], units: f64) -> f64 {
        if !counts_words(language) {
            return 1.0;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if units < ENOUGH_UNITS {
            return known.get(language).copied().unwrap_or(1.0);
        }
        let words: usize = written.iter().map(|(_, text)| text.split_whitespace().count()).sum();
        let ratio = (words as f64 / units).clamp(0.7, 1.4);
        if known.len() < MOST_LANGUAGES || known.contains_key(language) {
            known
                .entry(language.to_owned())
                .and_modify(|before| *before = (*before + ratio) / 2.0)
                .or_insert(ratio);
        }
        ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chapter_teaches_the_next_one() {
        let words = Words::default();
        let written = |count: usize| vec![("Ada".to_owned(), "tide ".repeat(count))];
        assert_eq!(words.a_unit("en", &[], 0.0), 1.0);
        assert_eq!(words.a_unit("en", &written(60), 50.0), 1.2);
        assert_eq!(words.a_unit("en", &[], 0.0), 1.2);
        assert_eq!(words.a_unit("en", &written(50), 50.0), 1.0);
        assert!((words.a_unit("en", &written(10), 10.0) - 1.1).abs() < 1e-9);
        assert_eq!(words.a_unit("de", &[], 0.0), 1.0);
        assert_eq!(words.a_unit("ko", &written(60), 50.0), 1.0);
        assert_eq!(words.a_unit("en", &written(900), 50.0), 1.4);
    }
}
