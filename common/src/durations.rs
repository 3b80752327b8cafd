//! How long work takes, learnt from what was observed: of each kind, engine and voice, a line through time over size. Pure.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::work::Kind;

/// Fewer observations say nothing yet.
const ENOUGH: f64 = 5.0;
/// Older observations fade: what is kept weighs at most as much as this many.
const MOST: f64 = 200.0;
/// What is kept track of; beyond, all is forgotten and learnt again.
const MOST_LINES: usize = 10_000;

/// Whose time it is. Speech differs by voice; everything else has none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Doer {
    pub kind: Kind,
    pub engine: String,
    pub voice: String,
}

impl Doer {
    pub fn new(kind: Kind, engine: &str, voice: &str) -> Doer {
        Doer { kind, engine: engine.to_owned(), voice: voice.to_owned() }
    }
}

/// Sums of observations (size, milliseconds), as least squares needs them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub count: f64,
    pub size: f64,
    pub ms: f64,
    pub size_size: f64,
    pub size_ms: f64,
}

impl Line {
    pub fn add(&mut self, size: f64, ms: f64) {
        self.count += 1.0;
        self.size += size;
        self.ms += ms;
        self.size_size += size * size;
        self.size_ms += size * ms;
        if self.count > MOST {
            let fade = MOST / self.count;
            for sum in [&mut self.count, &mut self.size, &mut self.ms, &mut self.size_size, &mut self.size_ms]
            {
                *sum *= fade;
            }
        }
    }

    /// Milliseconds that something of this size is expected to take; none while too little was seen.
    pub fn expected_ms(&self, size: f64) -> Option<f64> {
        if self.count < ENOUGH {
            return None;
        }
        let (mean_size, mean_ms) = (self.size / self.count, self.ms / self.count);
        let spread = self.size_size / self.count - mean_size * mean_size;
        // Sizes that hardly differ say nothing of the slope. A slope below 0 is chance.
        let slope = if spread > 0.01 * mean_size * mean_size {
            ((self.size_ms / self.count - mean_size * mean_ms) / spread).max(0.0)
        } else if mean_size > 0.0 {
            mean_ms / mean_size
        } else {
            0.0
        };
        Some((mean_ms + slope * (size - mean_size)).max(0.0))
    }
}

/// Everything that was learnt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Durations {
    lines: HashMap<Doer, Line>,
    /// Learnt since it was last written down.
    changed: HashSet<Doer>,
}

impl Durations {
    /// Goes on from what was written down.
    pub fn known(lines: impl IntoIterator<Item = (Doer, Line)>) -> Durations {
        Durations { lines: lines.into_iter().collect(), changed: HashSet::new() }
    }

    pub fn observe(&mut self, doer: Doer, size: f64, ms: f64) {
        if !(size.is_finite() && ms.is_finite() && size >= 0.0 && ms >= 0.0) {
            return;
        }
        if self.lines.len() >= MOST_LINES && !self.lines.contains_key(&doer) {
            *self = Durations::default();
        }
        // Also for voices that nobody has heard yet.
        let all = Doer { voice: String::new(), ..doer.clone() };
        let both = if doer == all { vec![all] } else { vec![doer, all] };
        for doer in both {
            self.lines.entry(doer.clone()).or_default().add(size, ms);
            self.changed.insert(doer);
        }
    }

    /// Of this voice, or of all voices of its engine.
    pub fn expected_ms(&self, doer: &Doer, size: f64) -> Option<f64> {
        let of = |doer: &Doer| self.lines.get(doer).and_then(|line| line.expected_ms(size));
        of(doer).or_else(|| of(&Doer { voice: String::new(), ..doer.clone() }))
    }

    /// What a task of this kind and engine usually takes.
    pub fn usual_ms(&self, kind: Kind, engine: &str) -> Option<f64> {
        let line = self.lines.get(&Doer::new(kind, engine, ""))?;
        (line.count >= ENOUGH).then(|| line.ms / line.count)
    }

    /// What was learnt since the last call.
    pub fn take_changed(&mut self) -> Vec<(Doer, Line)> {
        let mut changed: Vec<(Doer, Line)> =
            self.changed.drain().filter_map(|doer| self.lines.get(&doer).map(|line| (doer, *line))).collect();
        changed.sort_by(|one, other| one.0.cmp(&other.0));
        changed
    }
}

/// What is left to do of a podcast.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Left {
    /// Chapters whose script is not complete, and how many are written at a time.
    pub scripts: u32,
    pub writers: u32,
    /// Segments to speak: voice and characters. And how many are spoken at a time.
    pub speech: Vec<(String, f64)>,
    pub speakers: u32,
    /// Characters of a chapter, on the average of those that are written.
    pub chapter_chars: f64,
    /// Chapters to mix, and whether the end is still to be joined.
    pub mixes: u32,
}

/// The engines of a podcast, by kind.
#[derive(Clone, Copy, Debug)]
pub struct Doers<'a> {
    pub script: &'a str,
    pub tts: &'a str,
    pub mix: &'a str,
}

/// Milliseconds until the podcast is likely to be finished; none while nothing is known of its speech.
pub fn left_ms(known: &Durations, doers: Doers<'_>, left: &Left) -> Option<f64> {
    let at_a_time = |count: u32| f64::from(count.max(1));
    let speak = |voice: &str, chars: f64| known.expected_ms(&Doer::new(Kind::Tts, doers.tts, voice), chars);
    let mut speech = Vec::with_capacity(left.speech.len());
    for (voice, chars) in &left.speech {
        speech.push(speak(voice, *chars)?);
    }
    // Chapters that are not written yet will be about as long as the others.
    let unwritten = f64::from(left.scripts) * left.chapter_chars;
    let sum = speech.iter().sum::<f64>() + if unwritten > 0.0 { speak("", unwritten)? } else { 0.0 };
    let longest = speech.iter().copied().fold(0.0, f64::max);
    let spoken = (sum / at_a_time(left.speakers)).max(longest);
    let script = if left.scripts > 0 {
        let one = known.expected_ms(&Doer::new(Kind::Script, doers.script, ""), 0.0)?;
        one * (f64::from(left.scripts) / at_a_time(left.writers)).ceil()
    } else {
        0.0
    };
    let mixing = |kind, size| known.expected_ms(&Doer::new(kind, doers.mix, ""), size).unwrap_or(0.0);
    // All chapters but the last one are mixed while others are spoken.
    let mix = if left.mixes > 0 { mixing(Kind::Mix, left.chapter_chars) } else { 0.0 };
    Some(script + spoken + mix + mixing(Kind::Join, 0.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn voice(name: &str) -> Doer {
        Doer::new(Kind::Tts, "e", name)
    }

    fn learnt() -> Durations {
        let mut known = Durations::default();
        for n in 1..=20 {
            let chars = f64::from(n) * 10.0;
            known.observe(voice("fast"), chars, 200.0 + 5.0 * chars);
            known.observe(voice("slow"), chars, 200.0 + 15.0 * chars);
            known.observe(Doer::new(Kind::Script, "w", ""), 0.0, 9_500.0);
            known.observe(Doer::new(Kind::Mix, "builtin", ""), chars, 10.0 * chars);
            known.observe(Doer::new(Kind::Join, "builtin", ""), 0.0, 300.0);
        }
        known
    }

    #[test]
    fn voices_are_told_apart_and_an_unknown_one_is_like_the_others() {
        let known = learnt();
        let expected = |name: &str, chars| known.expected_ms(&voice(name), chars).unwrap().round();
        assert_eq!((expected("fast", 100.0), expected("slow", 100.0)), (700.0, 1_700.0));
        assert_eq!(expected("fast", 400.0), 2_200.0, "beyond what was seen");
        assert_eq!(expected("new", 100.0), 1_200.0);
        assert_eq!(known.expected_ms(&Doer::new(Kind::Tts, "other", "fast"), 1.0), None);
    }

    #[test]
    fn little_says_nothing_and_what_is_old_fades() {
        let mut line = Line::default();
        for _ in 0..4 {
            line.add(10.0, 100.0);
        }
        assert_eq!(line.expected_ms(10.0), None);
        for _ in 0..2_000 {
            line.add(10.0, 900.0);
        }
        assert!((line.expected_ms(10.0).unwrap() - 900.0).abs() < 1.0);
        assert!((line.expected_ms(20.0).unwrap() - 1_800.0).abs() < 2.0, "one size: in proportion");
    }

    #[test]
    fn what_changed_is_told_once() {
        let mut known = learnt();
        let changed = known.take_changed();
        assert_eq!(changed.len(), 6);
        assert!(known.take_changed().is_empty());
        let again = Durations::known(changed);
        assert_eq!(again.expected_ms(&voice("slow"), 70.0), known.expected_ms(&voice("slow"), 70.0));
    }

    #[test]
    fn a_podcast_lasts_until_its_last_step() {
        let (known, doers) = (learnt(), Doers { script: "w", tts: "e", mix: "builtin" });
        let left = |left: Left| left_ms(&known, doers, &left).map(f64::round);
        let speech = vec![("fast".to_owned(), 100.0); 8];
        let spoken =
            Left { speech: speech.clone(), speakers: 4, chapter_chars: 100.0, mixes: 1, ..Left::default() };
        // Two rounds of speech, the last chapter's mix, the join.
        assert_eq!(left(spoken.clone()), Some(1_400.0 + 1_000.0 + 300.0));
        assert_eq!(
            left(Left { speakers: 100, ..spoken.clone() }),
            Some(700.0 + 1_000.0 + 300.0),
            "one segment at least"
        );
        assert_eq!(left(Left::default()), Some(300.0));
        let unwritten = Left { scripts: 4, writers: 2, ..spoken };
        assert!(left(unwritten).unwrap() > 2.0 * 9_500.0);
        let unknown = Left { speech, ..Left::default() };
        assert_eq!(left_ms(&Durations::default(), doers, &unknown), None);
    }

    proptest! {
        #[test]
        fn expectations_are_never_absurd(seen in proptest::collection::vec((0.0..1e6f64, 0.0..1e7f64), 0..300), size in 0.0..1e6f64) {
            let mut line = Line::default();
            for (size, ms) in &seen {
                line.add(*size, *ms);
            }
            if let Some(expected) = line.expected_ms(size) {
                prop_assert!(expected.is_finite() && expected >= 0.0);
            } else {
                prop_assert!(seen.len() < 5);
            }
        }
    }
}
