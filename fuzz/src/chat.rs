//! What a language model says: thinking, prose, fences, JSON, and turns while they come.

use common::work::{ChapterPlan, OutlineInput};
use worker::fuzzing::chat;
use worker::text::is_speakable;

use crate::world::{self, LANGUAGES};
use crate::{choice, pieces, text};

/// A turn is cut into segments of at most this many characters.
const SEGMENT_CHARS: usize = 400;

pub(crate) fn answer(bytes: &[u8]) {
    let Some((choice, rest)) = choice(bytes) else { return };
    let answer = text(rest);
    let language = LANGUAGES[choice % LANGUAGES.len()];
    let pieces = pieces(&answer, choice / 4 % 16 + 1);
    turns(language, &pieces, choice);
    plan(language, &pieces);
    assert!(chat::objects(&[&*answer]) == chat::objects(&pieces), "objects depend on how they come");
    let values = chat::values(&answer);
    let written: usize = values.iter().map(|value| value.to_string().len()).sum();
    // An escape of six bytes is at most three as a character; a number may grow to some twenty digits.
    assert!(written <= 24 * answer.len() + 2, "{written} bytes of JSON in {}", answer.len());
}

fn turns(language: &str, pieces: &[&str], choice: usize) {
    let plan = ChapterPlan {
        title: "Spring tides".into(),
        brief: "Why they are high".into(),
        source: None,
        budget: if choice >= 128 { 60 } else { 0 },
    };
    let input = world::script(language, plan);
    let (turns, verdict) = chat::turns(&input, pieces);
    assert!(verdict.len() <= 2_000, "{} bytes of verdict", verdict.len());
    for turn in &turns {
        assert!(usize::from(turn.speaker) < input.brief.speakers.len());
        assert!(turn.text.chars().count() <= SEGMENT_CHARS || !turn.text.contains(' '), "{:?}", turn.text);
        assert!(!turn.text.contains(['{', '}', '\\', '\n', '*', '`', '\0']), "{:?}", turn.text);
    }
    // What is cut may leave a piece of punctuation, but not all of a turn.
    assert!(turns.is_empty() || turns.iter().any(|turn| is_speakable(&turn.text)), "{turns:?}");
}

fn plan(language: &str, pieces: &[&str]) {
    let input = OutlineInput { brief: world::brief(language), source: None, chapters: Vec::new() };
    let outline = match chat::plan(&input, pieces, 2) {
        Ok(outline) => outline,
        Err(reason) => return assert!(reason.len() <= 2_000, "{} bytes of reason", reason.len()),
    };
    assert_eq!(outline.chapters.len(), 2);
    assert!(is_speakable(&outline.title));
    for chapter in &outline.chapters {
        assert!(is_speakable(&chapter.title) && chapter.title.chars().count() <= 300, "{:?}", chapter.title);
        assert!(chapter.budget > 0 && chapter.budget < 100_000, "{}", chapter.budget);
        assert!(chapter.brief.chars().count() <= 9_000 && !chapter.brief.contains('\0'));
    }
}
