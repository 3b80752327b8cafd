//! Where a text without headings turns to something else.
//!
//! After TextTiling (M. Hearst, "TextTiling: Segmenting Text into Multi-paragraph Subtopic Passages", Computational
//! Linguistics 23(1), 1997): at each gap between paragraphs the words before it are compared with those after it; the gaps
//! where likeness falls deepest between two peaks are the shifts of topic.

use super::terms::{Vector, normalise, similarity, vectors};

/// How many paragraphs on each side of a gap are compared.
const WINDOW: usize = 3;

/// Starts of parts (the first is 0), at most `most` parts. `texts` are the paragraphs and `sizes` their lengths; no part is
/// shorter than `least`, unless the whole is.
pub(super) fn shifts(texts: &[&str], sizes: &[f64], most: usize, least: f64) -> Vec<usize> {
    let depths = depths(&vectors(texts.iter().copied()));
    // Lengths up to each paragraph.
    let mut before = vec![0.0; texts.len() + 1];
    for (place, size) in sizes.iter().enumerate().take(texts.len()) {
        before[place + 1] = before[place] + size;
    }
    let total = before[texts.len()];
    let mut gaps: Vec<usize> = (1..texts.len()).collect();
    // Deepest first; of equals the one that divides more evenly.
    let unevenness = |gap: usize| (before[gap] - total / 2.0).abs();
    gaps.sort_by(|a, b| depths[*b].total_cmp(&depths[*a]).then(unevenness(*a).total_cmp(&unevenness(*b))));
    let mut starts = vec![0];
    for gap in gaps {
        if starts.len() >= most {
            break;
        }
        let previous = starts.iter().copied().filter(|start| *start < gap).max().unwrap_or(0);
        let next = starts.iter().copied().filter(|start| *start > gap).min().unwrap_or(texts.len());
        let length = |from: usize, to: usize| before[to] - before[from];
        if length(previous, gap) >= least && length(gap, next) >= least && !starts.contains(&gap) {
            starts.push(gap);
        }
    }
    starts.sort_unstable();
    starts
}

/// For each gap (before paragraph `n`) how far likeness falls there from the peaks on both sides.
fn depths(paragraphs: &[Vector]) -> Vec<f64> {
    let cohesion: Vec<f64> = (0..paragraphs.len()).map(|gap| cohesion(paragraphs, gap)).collect();
    let climb = |gap: usize, next: &dyn Fn(usize) -> Option<usize>| {
        let mut peak = cohesion[gap];
        let mut at = gap;
        while let Some(beside) = next(at).filter(|beside| cohesion[*beside] >= peak) {
            peak = cohesion[beside];
            at = beside;
        }
        peak - cohesion[gap]
    };
    let depth = |gap: usize| {
        let left = climb(gap, &|at| (at > 1).then(|| at - 1));
        let right = climb(gap, &|at| (at + 1 < cohesion.len()).then_some(at + 1));
        left + right
    };
    (0..cohesion.len()).map(|gap| if gap == 0 { 0.0 } else { depth(gap) }).collect()
}

fn cohesion(paragraphs: &[Vector], gap: usize) -> f64 {
    let before = sum(&paragraphs[gap.saturating_sub(WINDOW)..gap]);
    let after = sum(&paragraphs[gap..(gap + WINDOW).min(paragraphs.len())]);
    similarity(&before, &after)
}

fn sum(paragraphs: &[Vector]) -> Vector {
    let mut sum = Vector::new();
    for (term, weight) in paragraphs.iter().flatten() {
        *sum.entry(*term).or_default() += weight;
    }
    normalise(&mut sum);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_where_its_topic_changes() {
        let texts = [
            "The moon pulls the sea, and the sea rises in tides.",
            "Tides follow the moon; the sea falls when the moon has passed.",
            "A high sea at full moon makes a spring tide.",
            "Bread begins with flour, water and yeast in a dough.",
            "The dough rises while yeast eats the flour.",
            "Baked dough is bread, and the yeast is gone.",
        ];
        assert_eq!(shifts(&texts, &[10.0; 6], 2, 10.0), [0, 3]);
        assert_eq!(shifts(&texts, &[10.0; 6], 1, 10.0), [0]);
        let korean = [
            "달이 바다를 당기면 조석이 생긴다.",
            "바다의 조석은 달을 따라 움직인다.",
            "빵은 밀가루와 효모로 만든다.",
            "효모가 밀가루 반죽을 부풀린다.",
        ];
        assert_eq!(shifts(&korean, &[10.0; 4], 2, 10.0), [0, 2]);
    }

    #[test]
    fn no_part_is_too_short() {
        let texts = ["One thing.", "Another matter.", "Quite different.", "Elsewhere now."];
        assert_eq!(shifts(&texts, &[1.0, 1.0, 1.0, 1.0], 4, 2.0), [0, 2]);
        assert_eq!(shifts(&texts[..1], &[1.0], 4, 2.0), [0]);
        assert_eq!(shifts(&[], &[], 4, 2.0), [0]);
    }
}
