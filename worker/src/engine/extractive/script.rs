//! Turns: the chapter's sentences, whole and in order, shared among the speakers.

use common::work::{Brief, Format, Pause, Place, ScriptInput, ScriptPart, Turn};

use super::Block;
use super::phrases::{Phrases, closing, opening, transition};
use super::telling::{Candidate, Ranking};
use crate::failure::Failure;
use crate::text::{chunks, is_speakable, sections, separator, speakable_units, with_full_stop};

/// A turn is a segment of speech: long enough to sound like one, short enough to be said again cheaply.
const TURN_MAX_SENTENCES: usize = 3;
const TURN_MAX_CHARS: usize = 300;
const TURN_MAX_SECONDS: f64 = 15.0;

/// A chapter where it stands in its episode. The brief's title is the episode's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub(super) brief: &'a Brief,
    pub(super) chapter: u16,
    pub(super) chapters: u16,
    pub(super) title: &'a str,
}

pub(super) fn write(input: &ScriptInput, source: &str) -> Result<ScriptPart, Failure> {
    let language = &input.brief.language;
    let blocks: Vec<Block> = sections(source, language).into_iter().flat_map(Block::of_section).collect();
    if blocks.is_empty() {
        let message = format!("chapter {} (\"{}\") has no text to say", input.chapter + 1, input.plan.title);
        return Err(Failure::permanent_input(message));
    }
    let scene = Scene {
        brief: &input.brief,
        chapter: input.chapter,
        chapters: input.chapters,
        title: &input.plan.title,
    };
    let ranking = (input.plan.budget > 0).then(|| ranking(&scene, &blocks));
    Ok(ScriptPart { turns: turns(&scene, &blocks, ranking.as_ref(), input.plan.budget) })
}

/// How much each sentence of the chapter tells.
pub(super) fn ranking(scene: &Scene<'_>, blocks: &[Block]) -> Ranking {
    let language = &scene.brief.language;
    let candidates: Vec<Candidate<'_>> = blocks
        .iter()
        .flat_map(|block| {
            block.sentences.iter().enumerate().map(|(place, text)| Candidate {
                text,
                units: speakable_units(text, language),
                leads_paragraph: place == 0,
            })
        })
        .collect();
    let episode = scene.brief.title.as_deref().unwrap_or_default();
    Ranking::of(&candidates, &format!("{} {episode}", scene.title), language)
}

/// The chapter's turns. A budget of 0, or no ranking, is everything.
pub(super) fn turns(
    scene: &Scene<'_>,
    blocks: &[Block],
    ranking: Option<&Ranking>,
    budget: u32,
) -> Vec<Turn> {
    let mut lines = Lines { scene, lines: Vec::new(), breath: 0, place: usize::from(scene.chapter) };
    lines.opening();
    let ending = (scene.chapter + 1 >= scene.chapters)
        .then(|| closing(&scene.brief.language, scene.brief.title.as_deref().unwrap_or(scene.title)))
        .flatten();
    match ranking.filter(|_| budget > 0) {
        None => blocks.iter().for_each(|block| lines.block(block)),
        Some(ranking) => {
            // What is said beside the text comes out of the budget; one sentence is always said.
            let ending = ending.as_ref().map_or(0.0, |text| speakable_units(text, &scene.brief.language));
            let budget = (f64::from(budget) - lines.units() - ending).max(1.0);
            kept(blocks, &ranking.chosen(budget)).iter().for_each(|block| lines.block(block));
        }
    }
    if let Some(ending) = ending {
        lines.aside(Place::Closing, &ending);
    }
    with_pauses(lines.lines)
}

/// How long the turns will last, silences included, by the pace of the brief.
pub(super) fn seconds(turns: &[Turn], brief: &Brief) -> f64 {
    let units = turns.iter().map(|turn| speakable_units(&turn.text, &brief.language)).sum::<f64>();
    let silences =
        turns.iter().map(|turn| f64::from(brief.pace.pauses.after(turn.pause)) / 1000.0).sum::<f64>();
    units * 60.0 / f64::from(brief.pace.rate(&brief.language)) + silences
}

/// The blocks with the sentences that were chosen. Paragraphs of which none was are left out.
fn kept(blocks: &[Block], chosen: &[bool]) -> Vec<Block> {
    let mut chosen = chosen.iter();
    let keep = |block: &Block| {
        let sentences = block.sentences.iter().zip(chosen.by_ref()).filter(|(_, chosen)| **chosen);
        let sentences: Vec<String> = sentences.map(|(sentence, _)| sentence.clone()).collect();
        Block { heading: block.heading.clone(), sentences }
    };
    blocks.iter().map(keep).filter(|block| !block.sentences.is_empty()).collect()
}

/// Something to say, before its pause is known. `breath` numbers what is said without a pause longer than a sentence's.
#[derive(Debug)]
struct Line {
    speaker: u8,
    breath: usize,
    place: Place,
    text: String,
}

struct Lines<'a> {
    scene: &'a Scene<'a>,
    lines: Vec<Line>,
    breath: usize,
    /// Counts what is said by one speaker in one go: the next one is another's.
    place: usize,
}

impl Lines<'_> {
    /// The episode's title before the first chapter, and every chapter's own.
    fn opening(&mut self) {
        let Scene { brief, chapter, chapters, title } = *self.scene;
        let introduction = Phrases::of(&brief.language).map(|phrases| phrases.introduction);
        let episode = brief.title.as_deref().filter(|_| chapter == 0);
        if let Some(episode) = episode {
            self.aside(Place::Opening, &opening(&brief.language, episode));
        }
        if episode.is_none() || (episode != Some(title) && introduction != Some(title)) {
            self.aside(Place::Transition, &transition(&brief.language, title, chapter, chapters));
        }
    }

    /// Said between paragraphs, as a turn of its own.
    fn aside(&mut self, place: Place, text: &str) {
        let speaker = self.next_speaker();
        self.pieces(speaker, place, text);
    }

    fn block(&mut self, block: &Block) {
        let speaker = self.next_speaker();
        if let Some(heading) = &block.heading {
            self.pieces(speaker, Place::Transition, heading);
        }
        self.breath += 1;
        let breath = self.breath;
        for text in grouped(&block.sentences, self.scene.brief) {
            self.lines.push(Line { speaker, breath, place: Place::Body, text });
        }
    }

    fn pieces(&mut self, speaker: u8, place: Place, text: &str) {
        for text in chunks(&with_full_stop(text, &self.scene.brief.language), TURN_MAX_CHARS) {
            if is_speakable(&text) {
                self.breath += 1;
                self.lines.push(Line { speaker, breath: self.breath, place, text });
            }
        }
    }

    /// Speakers take turns at paragraphs; chapters begin with another one each.
    fn next_speaker(&mut self) -> u8 {
        let speakers = self.scene.brief.speakers.len().clamp(1, 256);
        let place = self.place;
        self.place += 1;
        match self.scene.brief.format {
            Format::Monologue => 0,
            Format::Dialogue | Format::Interview | Format::Debate => (place % speakers) as u8,
        }
    }

    fn units(&self) -> f64 {
        self.lines.iter().map(|line| speakable_units(&line.text, &self.scene.brief.language)).sum()
    }
}

/// One to three sentences each; a sentence that is too long is cut at its clauses.
fn grouped(sentences: &[String], brief: &Brief) -> Vec<String> {
    let language = &brief.language;
    let max_units = f64::from(brief.pace.rate(language)) * TURN_MAX_SECONDS / 60.0;
    let separator = separator(language);
    let mut groups: Vec<String> = Vec::new();
    let mut open = 0;
    for sentence in sentences {
        let units = speakable_units(sentence, language);
        if let Some(group) = groups.last_mut()
            && (1..TURN_MAX_SENTENCES).contains(&open)
            && group.chars().count() + sentence.chars().count() < TURN_MAX_CHARS
            && speakable_units(group, language) + units <= max_units
        {
            group.push_str(separator);
            group.push_str(sentence);
            open += 1;
            continue;
        }
        groups.extend(chunks(sentence, TURN_MAX_CHARS));
        open = 1;
    }
    groups
}

/// The pause after each line follows from the next one.
fn with_pauses(lines: Vec<Line>) -> Vec<Turn> {
    let next: Vec<Option<(u8, usize)>> =
        lines.iter().skip(1).map(|line| Some((line.speaker, line.breath))).chain([None]).collect();
    let pause = |line: &Line, next: Option<(u8, usize)>| match next {
        None => Pause::Chapter,
        Some((speaker, _)) if speaker != line.speaker => Pause::Turn,
        Some((_, breath)) if breath != line.breath => Pause::Paragraph,
        Some(_) => Pause::Sentence,
    };
    let turns = lines.into_iter().zip(next);
    turns
        .map(|(line, next)| {
            let pause = pause(&line, next);
            Turn { speaker: line.speaker, text: line.text, pause, place: line.place }
        })
        .collect()
}
