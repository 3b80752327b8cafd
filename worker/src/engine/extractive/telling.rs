//! Which sentences tell most of a text.
//!
//! The score of a sentence is its centrality by LexRank (G. Erkan and D. Radev, "LexRank: Graph-based Lexical Centrality
//! as Salience in Text Summarization", JAIR 22, 2004; its continuous form, with similarity as the weight of an edge),
//! and what H. P. Edmundson found to tell beside it ("New Methods in Automatic Extracting", JACM 16(2), 1969): words of the title,
//! cue phrases, and the place in the text. What repeats a sentence that was chosen is passed over.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::cues::{is_dangling, telling_cue};
use super::terms::{Vector, similarity, vectors};

/// The chance that the walk starts anew, as in PageRank.
const DAMPING: f64 = 0.15;
const ROUNDS: usize = 30;

/// Two sentences this alike say the same.
const SAME: f64 = 0.7;
const HEAVY_TERMS: usize = 3;
/// With so many earlier ones that share a term a sentence is compared at most, or long texts would take for ever.
const COMPARED: usize = 64;

/// What the others count beside centrality, which lies between 0 and 1.
const TITLE: f64 = 0.5;
const CUE: f64 = 0.9;
const NUMBER: f64 = 0.15;
const FIRST_OF_CHAPTER: f64 = 0.5;
const FIRST_OF_PARAGRAPH: f64 = 0.15;
const LAST_OF_CHAPTER: f64 = 0.15;

/// Taken off a sentence that leans on the one before it (`However, this …`) while that one is not chosen.
const DANGLING: f64 = 0.35;
const ANNOUNCING: f64 = 0.5;
const FRAGMENT: f64 = 0.4;
/// A sentence shorter than this part of the usual one is hardly one.
const FRAGMENT_PART: f64 = 0.35;

/// What is chosen comes from the better part of the sentences: this many times as many as there is room for. A gap is left
/// rather than filled with what tells nothing because it is short.
const CHOICE: f64 = 1.6;

/// A sentence that may be chosen.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'t> {
    pub(super) text: &'t str,
    pub(super) units: f64,
    pub(super) leads_paragraph: bool,
}

/// How much each sentence tells, worked out once; then for any budget what to say.
#[derive(Clone, Debug)]
pub(super) struct Ranking {
    scores: Vec<f64>,
    leaning: Vec<bool>,
    /// Says what an earlier sentence says.
    repeats: Vec<bool>,
    units: Vec<f64>,
}

impl Ranking {
    pub(super) fn of(candidates: &[Candidate<'_>], title: &str, language: &str) -> Ranking {
        let texts = candidates.iter().map(|candidate| candidate.text).chain([title]);
        let mut vectors = vectors(texts);
        let title = vectors.pop().unwrap_or_default();
        Ranking {
            scores: scores(candidates, &vectors, &title, language),
            leaning: candidates.iter().map(|candidate| is_dangling(candidate.text, language)).collect(),
            repeats: repeats(&vectors),
            units: candidates.iter().map(|candidate| candidate.units).collect(),
        }
    }

    /// For each candidate whether it is said, so that the units of all that are come as near to the budget as can be. At
    /// least one is.
    pub(super) fn chosen(&self, budget: f64) -> Vec<bool> {
        let mut chosen = vec![false; self.scores.len()];
        let all = || (0..self.scores.len()).filter(|place| !self.repeats[*place]);
        // The first one need not fit.
        let Some(first) = all().max_by(|a, b| self.order(&chosen, *a, *b)) else { return chosen };
        chosen[first] = true;
        let mut left = budget - self.units[first];
        let floor = self.floor(budget);
        let open: Vec<usize> = all().filter(|place| self.scores[*place] >= floor).collect();
        while let Some(best) = self.best(&open, &chosen, left, floor) {
            chosen[best] = true;
            left -= self.units[best];
        }
        if let Some(one_more) = self.nearest(&open, &chosen, left, floor) {
            chosen[one_more] = true;
        }
        chosen
    }

    /// The least that a sentence must tell to be said with this budget.
    fn floor(&self, budget: f64) -> f64 {
        let total: f64 = self.units.iter().sum();
        let mut scores = self.scores.clone();
        scores.sort_by(|a, b| b.total_cmp(a));
        let choice = CHOICE * budget / total.max(1.0) * scores.len() as f64;
        scores.get(choice as usize).copied().unwrap_or(f64::MIN)
    }

    /// What a sentence tells where it stands: less if it leans on one that is not said.
    fn value(&self, chosen: &[bool], place: usize) -> f64 {
        let leans = self.leaning[place] && (place == 0 || !chosen[place - 1]);
        self.scores[place] - if leans { DANGLING } else { 0.0 }
    }

    /// The better one is greater; of equals the earlier.
    fn order(&self, chosen: &[bool], a: usize, b: usize) -> Ordering {
        self.value(chosen, a).total_cmp(&self.value(chosen, b)).then(b.cmp(&a))
    }

    /// The best sentence that fits into what is left.
    fn best(&self, open: &[usize], chosen: &[bool], left: f64, floor: f64) -> Option<usize> {
        let fits = |place: &usize| {
            !chosen[*place] && self.units[*place] <= left && self.value(chosen, *place) >= floor
        };
        open.iter().copied().filter(fits).max_by(|a, b| self.order(chosen, *a, *b))
    }

    /// What is left is too little for any sentence: one more may still come nearer to the budget than none.
    fn nearest(&self, open: &[usize], chosen: &[bool], left: f64, floor: f64) -> Option<usize> {
        let over = |place: usize| (left - self.units[place]).abs();
        let fits = |place: &usize| {
            !chosen[*place] && over(*place) < left.abs() && self.value(chosen, *place) >= floor
        };
        open.iter().copied().filter(fits).min_by(|a, b| over(*a).total_cmp(&over(*b)))
    }
}

/// Which sentences say what an earlier one says. Only those are compared that share one of the terms that weigh most.
fn repeats(vectors: &[Vector]) -> Vec<bool> {
    let mut seen: HashMap<u32, Vec<usize>> = HashMap::new();
    let mut repeats = vec![false; vectors.len()];
    for (place, vector) in vectors.iter().enumerate() {
        let mut heavy: Vec<(u32, f64)> = vector.iter().map(|(term, weight)| (*term, *weight)).collect();
        heavy.sort_by(|a, b| b.1.total_cmp(&a.1));
        heavy.truncate(HEAVY_TERMS);
        let others = || heavy.iter().filter_map(|(term, _)| seen.get(term)).flatten();
        repeats[place] = others().any(|other| similarity(&vectors[*other], vector) > SAME);
        if !repeats[place] {
            for (term, _) in heavy {
                let places = seen.entry(term).or_default();
                if places.len() < COMPARED {
                    places.push(place);
                }
            }
        }
    }
    repeats
}

fn scores(candidates: &[Candidate<'_>], vectors: &[Vector], title: &Vector, language: &str) -> Vec<f64> {
    let central = centrality(vectors);
    let last = candidates.len().saturating_sub(1);
    let usual =
        candidates.iter().map(|candidate| candidate.units).sum::<f64>() / candidates.len().max(1) as f64;
    let score = |place: usize| {
        let candidate = &candidates[place];
        let mut score = central[place] + TITLE * similarity(&vectors[place], title).sqrt();
        score += CUE * telling_cue(candidate.text, language);
        score += if candidate.text.contains(|c: char| c.is_ascii_digit()) { NUMBER } else { 0.0 };
        score += match place {
            0 => FIRST_OF_CHAPTER,
            _ if place == last => LAST_OF_CHAPTER,
            _ if candidate.leads_paragraph => FIRST_OF_PARAGRAPH,
            _ => 0.0,
        };
        // `There are three:` needs what follows it; a question needs its answer.
        if candidate.text.ends_with([':', '：', '?', '？']) {
            score -= ANNOUNCING;
        }
        if candidate.units < usual * FRAGMENT_PART {
            score -= FRAGMENT;
        }
        score
    };
    (0..candidates.len()).map(score).collect()
}

/// The stationary distribution of a walk from sentence to sentence along their likeness, the largest being 1. The matrix of
/// likenesses is never built: it is the product of the sentences' vectors, which are sparse.
fn centrality(vectors: &[Vector]) -> Vec<f64> {
    let count = vectors.len();
    let terms = vectors
        .iter()
        .filter_map(|vector| vector.keys().next_back())
        .max()
        .map_or(0, |most| *most as usize + 1);
    // Likeness to all others together: to the sum of their vectors, without itself.
    let spread = |weights: &[f64]| {
        let mut sum = vec![0.0; terms];
        for (vector, weight) in vectors.iter().zip(weights) {
            for (term, value) in vector {
                sum[*term as usize] += value * weight;
            }
        }
        sum
    };
    let gather = |sum: &[f64], vector: &Vector, own: f64| {
        let all: f64 = vector.iter().map(|(term, value)| value * sum[*term as usize]).sum();
        let itself: f64 = vector.values().map(|value| value * value).sum();
        (all - itself * own).max(0.0)
    };
    let everything = spread(&vec![1.0; count]);
    let degrees: Vec<f64> = vectors.iter().map(|vector| gather(&everything, vector, 1.0)).collect();
    let mut ranks = vec![1.0 / count.max(1) as f64; count];
    for _ in 0..ROUNDS {
        let handed: Vec<f64> = ranks
            .iter()
            .zip(&degrees)
            .map(|(rank, degree)| if *degree > 1e-9 { rank / degree } else { 0.0 })
            .collect();
        let sum = spread(&handed);
        let walk = vectors.iter().zip(&handed).map(|(vector, own)| gather(&sum, vector, *own));
        ranks = walk.map(|rank| DAMPING / count as f64 + (1.0 - DAMPING) * rank).collect();
    }
    let most = ranks.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    ranks.iter().map(|rank| rank / most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(texts: &[&str], title: &str, language: &str, budget: f64, expected: &[usize]) {
        let candidates: Vec<Candidate<'_>> = texts
            .iter()
            .map(|text| Candidate {
                text,
                units: crate::text::speakable_units(text, language),
                leads_paragraph: false,
            })
            .collect();
        let found = Ranking::of(&candidates, title, language).chosen(budget);
        let found: Vec<usize> = (0..texts.len()).filter(|place| found[*place]).collect();
        assert_eq!(found, expected);
    }

    const TIDES: [&str; 6] = [
        "My aunt had a boat when she was young.",
        "The tide rises because the moon pulls the sea.",
        "She painted the boat green one summer.",
        "The moon pulls the near sea more than the far sea, and so the tide rises twice.",
        "It rained a lot that year.",
        "In short, the most important point is that the moon, not the wind, moves the tide.",
    ];

    #[test]
    fn what_tells_most_is_kept_wherever_it_stands() {
        check(&TIDES, "Why the tide follows the moon", "en", 15.0, &[5]);
        check(&TIDES, "Why the tide follows the moon", "en", 38.0, &[1, 3, 5]);
        check(&TIDES, "Why the tide follows the moon", "en", 1000.0, &[0, 1, 2, 3, 4, 5]);
        check(&TIDES, "", "en", 0.0, &[5]);
    }

    #[test]
    fn what_repeats_is_said_once() {
        check(
            &[
                "The moon pulls the deep sea.",
                "The moon pulls the deep sea!",
                "Bread needs much salt and time.",
            ],
            "The moon",
            "en",
            100.0,
            &[0, 2],
        );
    }

    #[test]
    fn odd_texts_are_survived() {
        check(&[], "T", "en", 10.0, &[]);
        check(&["…", "1"], "", "xx", 10.0, &[0, 1]);
    }
}
