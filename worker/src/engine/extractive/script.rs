//! Turns: the chapter's sentences, whole and in order, shared among the speakers.

use common::work::{Format, Pause, ScriptInput, ScriptPart, Turn};

use super::Block;
use super::phrases::Phrases;
use crate::failure::Failure;
use crate::text::{chunks, per_minute, sections, separator, speakable_units, with_full_stop};

/// A turn is a segment of speech: long enough to sound like one, short enough to be said again cheaply.
const TURN_MAX_SENTENCES: usize = 3;
const TURN_MAX_CHARS: usize = 300;
const TURN_MAX_SECONDS: u32 = 15;

/// Something to say, before its pause is known. `breath` numbers what is said without a pause longer than a sentence's.
struct Line {
    speaker: u8,
    breath: usize,
    text: String,
}

pub(super) fn write(input: &ScriptInput, source: &str) -> Result<ScriptPart, Failure> {
    let language = &input.brief.language;
    let blocks: Vec<Block> = sections(source, language).into_iter().flat_map(Block::of_section).collect();
    if blocks.is_empty() {
        let message = format!("chapter {} (\"{}\") has no text to say", input.chapter + 1, input.plan.title);
        return Err(Failure::permanent_input(message));
    }
    let mut lines = Lines { language, lines: Vec::new(), breath: 0 };
    lines.opening(input);
    // The titles come out of the budget; a chapter without room for anything else still says one sentence.
    let budget = match input.plan.budget {
        0 => 0,
        budget => budget.saturating_sub(lines.units()).max(1),
    };
    for (place, block) in chosen(blocks, budget, language).into_iter().enumerate() {
        lines.block(speaker(input, place), &block);
    }
    if input.chapter + 1 >= input.chapters
        && let Some(phrases) = Phrases::of(language)
    {
        lines.add(0, phrases.closing.to_owned());
    }
    Ok(ScriptPart { turns: with_pauses(lines.lines) })
}

/// Speakers take turns at paragraphs; chapters begin with another one each.
fn speaker(input: &ScriptInput, paragraph: usize) -> u8 {
    let speakers = input.brief.speakers.len().clamp(1, 256);
    match input.brief.format {
        Format::Monologue => 0,
        Format::Dialogue | Format::Interview | Format::Debate => {
            ((usize::from(input.chapter) + paragraph) % speakers) as u8
        }
    }
}

/// What fits the budget: first sentences of all paragraphs before second ones, for a paragraph's lead says most.
/// A budget of 0 is everything. Paragraphs of which nothing fits are left out.
fn chosen(mut blocks: Vec<Block>, budget: u32, language: &str) -> Vec<Block> {
    if budget == 0 {
        return blocks;
    }
    let mut kept = vec![0; blocks.len()];
    let mut used = 0;
    let rounds = blocks.iter().map(|block| block.sentences.len()).max().unwrap_or(0);
    'filled: for round in 0..rounds {
        for (block, kept) in blocks.iter().zip(&mut kept) {
            let Some(sentence) = block.sentences.get(round) else { continue };
            let units = speakable_units(sentence, language);
            // Over by less than half a sentence is nearer than under by more than half; one is always said.
            if used > 0 && used + units / 2 > budget {
                break 'filled;
            }
            used += units;
            *kept += 1;
        }
    }
    for (block, kept) in blocks.iter_mut().zip(kept) {
        block.sentences.truncate(kept);
    }
    blocks.retain(|block| !block.sentences.is_empty());
    blocks
}

struct Lines<'a> {
    language: &'a str,
    lines: Vec<Line>,
    breath: usize,
}

impl Lines<'_> {
    /// The episode's title before the first chapter, and every chapter's own.
    fn opening(&mut self, input: &ScriptInput) {
        let first = speaker(input, 0);
        let introduction = Phrases::of(self.language).map(|phrases| phrases.introduction);
        let title = &input.plan.title;
        let episode = input.brief.title.as_ref().filter(|_| input.chapter == 0);
        if let Some(episode) = episode {
            self.heading(first, episode);
        }
        if episode.is_none() || (episode != Some(title) && introduction != Some(title.as_str())) {
            self.heading(first, title);
        }
    }

    fn heading(&mut self, speaker: u8, heading: &str) {
        for piece in chunks(&with_full_stop(heading, self.language), TURN_MAX_CHARS) {
            self.add(speaker, piece);
        }
    }

    fn block(&mut self, speaker: u8, block: &Block) {
        if let Some(heading) = &block.heading {
            self.heading(speaker, heading);
        }
        self.breath += 1;
        let breath = self.breath;
        for text in grouped(&block.sentences, self.language) {
            self.lines.push(Line { speaker, breath, text });
        }
    }

    fn units(&self) -> u32 {
        self.lines.iter().map(|line| speakable_units(&line.text, self.language)).sum()
    }

    /// A line that stands on its own.
    fn add(&mut self, speaker: u8, text: String) {
        if crate::text::is_speakable(&text) {
            self.breath += 1;
            self.lines.push(Line { speaker, breath: self.breath, text });
        }
    }
}

/// One to three sentences each; a sentence that is too long is cut at its clauses.
fn grouped(sentences: &[String], language: &str) -> Vec<String> {
    let max_units = per_minute(language) * TURN_MAX_SECONDS / 60;
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
        .map(|(line, next)| Turn { speaker: line.speaker, pause: pause(&line, next), text: line.text })
        .collect()
}
