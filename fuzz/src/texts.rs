//! Source texts, from a page to what is said.

use common::work::{OutlineInput, ScriptInput, TextRef};
use worker::fuzzing;
use worker::text::{self, Weight, is_speakable, normalise};

use crate::world::{self, LANGUAGES};
use crate::{choice, text};

/// Marks of the readers' own, where code and addresses stood.
const MARKS: [char; 2] = ['\u{FFFB}', '\u{FFFC}'];

/// Plain text, Markdown and HTML.
pub(crate) fn source(bytes: &[u8]) {
    let Some((choice, rest)) = choice(bytes) else { return };
    let source = text(rest);
    let language = LANGUAGES[choice % LANGUAGES.len()];
    let sections = text::sections(&source, language);
    let mut said = 0;
    for section in &sections {
        assert!(section.level <= 6);
        assert!(section.heading.as_ref().is_none_or(|heading| is_speakable(heading)), "{section:?}");
        for paragraph in &section.paragraphs {
            assert!(!paragraph.is_empty());
            for sentence in paragraph {
                assert!(is_speakable(sentence) && !sentence.contains('\n'), "{sentence:?}");
                said += sentence.len();
            }
        }
    }
    // A character reference of six bytes may be a character of three; an item gets a full stop.
    assert!(said <= 4 * source.len() + 16, "{said} bytes of {}", source.len());
}

/// Sentences, pieces, and what a voice reads.
pub(crate) fn speech(bytes: &[u8]) {
    let Some((choice, rest)) = choice(bytes) else { return };
    let written = text(rest);
    let language = LANGUAGES[choice % LANGUAGES.len()];
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    let sentences = text::sentences(&written, language);
    assert_eq!(squeezed(&sentences.concat()), squeezed(&written), "sentences lose nothing");
    let limit = choice / 4 + 8;
    for pieces in [text::chunks(&written, limit), text::pieces(&written, language, Weight::Bytes, limit)] {
        assert_eq!(squeezed(&pieces.concat()), squeezed(&written), "pieces lose nothing");
        assert!(pieces.iter().all(|piece| !piece.trim().is_empty()), "{pieces:?}");
    }
    let units = text::speakable_units(&written, language);
    assert!(units.is_finite() && units >= 0.0, "{units}");
    let spoken = normalise::spoken(&written, language);
    // A digit and its unit may become a phrase of words.
    assert!(spoken.len() <= 64 * written.len() + 64, "{} bytes of {}", spoken.len(), written.len());
    assert!(!spoken.contains(['*', '|']), "{spoken:?}");
    if language == "en" || language == "ko-KR" {
        assert!(!spoken.contains(|c: char| c.is_ascii_digit()), "{spoken:?}");
    }
}

/// The built-in writer, from the source to every turn.
pub(crate) fn writer(bytes: &[u8]) {
    let Some((choice, rest)) = choice(bytes) else { return };
    let source = text(rest);
    let mut brief = world::brief(LANGUAGES[choice % LANGUAGES.len()]);
    brief.target_minutes = [None, None, Some(1), Some(10)][choice / 4 % 4];
    let input = OutlineInput { brief: brief.clone(), source: None, chapters: Vec::new() };
    let Ok(outline) = fuzzing::outlined(&input, &source) else { return };
    assert!(!outline.chapters.is_empty() && outline.chapters.len() <= 50, "{}", outline.chapters.len());
    brief.title = Some(outline.title);
    let chapters = outline.chapters.len() as u16;
    let titles: Vec<String> = outline.chapters.iter().map(|plan| plan.title.clone()).collect();
    for (place, plan) in outline.chapters.into_iter().enumerate() {
        let has_source = matches!(&plan.source, Some(TextRef::Inline(text)) if is_speakable(text));
        assert!(has_source, "a chapter of nothing: {plan:?}");
        let input = ScriptInput {
            brief: brief.clone(),
            chapter: place as u16,
            chapters,
            plan,
            previous_title: place.checked_sub(1).map(|before| titles[before].clone()),
            next_title: titles.get(place + 1).cloned(),
        };
        let script = fuzzing::scripted(&input);
        assert!(script.as_ref().is_ok_and(|script| !script.turns.is_empty()), "{script:?} of {input:?}");
        for turn in script.map(|script| script.turns).unwrap_or_default() {
            assert!(usize::from(turn.speaker) < brief.speakers.len());
            assert!(is_speakable(&turn.text), "{turn:?}");
            assert!(!turn.text.contains(MARKS), "{turn:?}");
        }
    }
}
