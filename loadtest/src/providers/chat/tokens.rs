//! Tokens as a provider counts them, nearly, and what it remembers of prompts.

use std::collections::{HashSet, VecDeque};

/// Providers cache prompts in steps (OpenAI: 128 tokens).
const STEP: usize = 128;
/// Steps that are remembered: some hundred long prompts.
const REMEMBERED: usize = 65_536;

/// Four ASCII characters are one token, any other character is one of its own.
pub(super) fn count(text: &str) -> u64 {
    let ascii = text.bytes().filter(u8::is_ascii).count();
    let others = text.chars().filter(|c| !c.is_ascii()).count();
    (ascii.div_ceil(4) + others) as u64
}

/// The text in pieces of about `size` tokens. Put together again they are the text.
pub(super) fn pieces(text: &str, size: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut quarters = 0;
        let end = rest.char_indices().find_map(|(place, c)| {
            quarters += if c.is_ascii() { 1 } else { 4 };
            (quarters >= 4 * size.max(1)).then_some(place + c.len_utf8())
        });
        let (piece, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// The beginnings of prompts that were seen.
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    known: HashSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl Prefixes {
    /// How many tokens of the prompt's beginning were seen before; from now on all of it was.
    pub(super) fn look_up(&mut self, prompt: &str, min_tokens: u64) -> u64 {
        let mut so_far = blake3::Hasher::new();
        let mut cached = 0;
        let mut all_known = true;
        for step in pieces(prompt, STEP).filter(|step| count(step) >= STEP as u64) {
            so_far.update(step.as_bytes());
            let hash = *so_far.finalize().as_bytes();
            all_known &= self.known.contains(&hash);
            if all_known {
                cached += STEP as u64;
            } else {
                self.remember(hash);
            }
        }
        if cached >= min_tokens { cached } else { 0 }
    }

    fn remember(&mut self, hash: [u8; 32]) {
        if self.known.insert(hash) {
            self.order.push_back(hash);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_text_again() {
        let text = "The tide comes twice a day. 밀물은 하루에 두 번 옵니다.";
        for size in [1, 3, 100] {
            let split: Vec<&str> = pieces(text, size).collect();
            assert_eq!(split.concat(), text);
            assert!(split.iter().all(|piece| count(piece) <= size as u64 + 1), "{split:?}");
        }
        assert_eq!(count("abcd"), 1);
        assert_eq!(count("하루"), 2);
    }

    #[test]
    fn a_prompt_that_begins_like_another_is_cached_so_far() {
        let mut prefixes = Prefixes::default();
        let stable = "word ".repeat(1200);
        assert_eq!(prefixes.look_up(&format!("{stable} first"), 1024), 0);
        let cached = prefixes.look_up(&format!("{stable} second, and more"), 1024);
        assert!((1408..=1500).contains(&cached) && cached % 128 == 0, "{cached}");
        assert_eq!(prefixes.look_up(&format!("other {stable}"), 1024), 0);
        // Short ones are not worth it.
        assert_eq!(prefixes.look_up(&stable[..2000], 1024), 0);
        assert_eq!(prefixes.look_up(&stable[..2000], 128), 384);
    }

    #[test]
    fn memory_is_bounded() {
        let mut prefixes = Prefixes::default();
        for number in 0..REMEMBERED + 10 {
            prefixes.remember(*blake3::hash(&number.to_le_bytes()).as_bytes());
        }
        assert_eq!((prefixes.known.len(), prefixes.order.len()), (REMEMBERED, REMEMBERED));
    }
}
