//! Chapters: from headings, from the titles that the request names, or of about equal length.

use common::work::{Brief, ChapterPlan, ChapterRequest, OutlineResult, TextRef};

use super::Block;
use super::phrases::{Phrases, part_title};
use crate::failure::Failure;
use crate::text::{Section, per_minute, sections, speakable_units, to_markdown};

/// More chapters than this are no table of contents; small neighbours are put together.
const MAX_CHAPTERS: usize = 30;

/// A source without headings that takes longer than this is divided,
const LONG_MINUTES: u32 = 4;
/// into parts of about this length.
const PART_MINUTES: u32 = 3;

/// A chapter that is being put together.
#[derive(Clone, Debug)]
struct Part {
    title: String,
    brief: String,
    blocks: Vec<Block>,
    units: u32,
    /// The title is the source's own, and is said wherever the text goes.
    headed: bool,
}

pub(super) fn plan(
    brief: &Brief,
    requested: &[ChapterRequest],
    source: &str,
) -> Result<OutlineResult, Failure> {
    let language = &brief.language;
    let sections = sections(source, language);
    if sections.iter().all(|section| section.paragraphs.is_empty()) {
        return Err(Failure::permanent_input(
            "the source has nothing to say aloud: without code, tables, images and addresses no sentence is left",
        ));
    }
    let title = episode_title(brief, &sections);
    let parts = by_headings(sections, &title, language);
    let parts = if !requested.is_empty() {
        by_request(parts, requested, language)?
    } else if let [only] = parts.as_slice() {
        by_length(only, language)
    } else {
        merged(parts)
    };
    Ok(OutlineResult { title, chapters: with_budgets(parts, brief) })
}

/// The request's title, else the source's only top heading, else the topic, else the first heading or words.
fn episode_title(brief: &Brief, sections: &[Section]) -> String {
    let top = source_title(sections).and_then(|place| sections[place].heading.clone());
    let first_heading = || sections.iter().find_map(|section| section.heading.clone());
    let first_words = || {
        let sentence = sections.iter().flat_map(|section| &section.paragraphs).flatten().next()?;
        let title = crate::text::chunks(sentence, 60).into_iter().next()?;
        Some(title.trim_end_matches(['.', ',', '。', '，', '、', ';', ':']).to_owned())
    };
    let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    given(&brief.title)
        .or(top)
        .or_else(|| given(&brief.topic))
        .or_else(first_heading)
        .or_else(first_words)
        .unwrap_or_default()
}

/// The place of the one heading of level 1. Several are chapters.
fn source_title(sections: &[Section]) -> Option<usize> {
    let mut tops = sections.iter().enumerate().filter(|(_, section)| section.level == 1);
    match (tops.next(), tops.next()) {
        (Some((place, _)), None) => Some(place),
        _ => None,
    }
}

/// One part for each heading of the highest level below the title, deeper ones inside; none is empty.
fn by_headings(sections: Vec<Section>, title: &str, language: &str) -> Vec<Part> {
    let title_place = source_title(&sections);
    let headed = sections
        .iter()
        .enumerate()
        .filter(|(place, section)| section.level > 0 && Some(*place) != title_place);
    let chapter_level = headed.map(|(_, section)| section.level).min().unwrap_or(0);
    let introduction =
        Phrases::of(language).map_or_else(|| title.to_owned(), |phrases| phrases.introduction.to_owned());
    let mut parts = vec![(introduction, Vec::new(), false)];
    for (place, mut section) in sections.into_iter().enumerate() {
        let opens_chapter = section.level > 0 && section.level <= chapter_level && Some(place) != title_place;
        if Some(place) == title_place {
            section.heading = None;
        } else if opens_chapter && let Some(heading) = section.heading.take() {
            parts.push((heading, Vec::new(), true));
        }
        if let Some((_, blocks, _)) = parts.last_mut() {
            blocks.extend(Block::of_section(section));
        }
    }
    parts.retain(|(_, blocks, _)| !blocks.is_empty());
    if let [(only, _, false)] = parts.as_mut_slice() {
        *only = title.to_owned();
    }
    let part = |(title, blocks, headed)| Part { headed, ..Part::new(title, String::new(), blocks, language) };
    parts.into_iter().map(part).collect()
}

/// The chapters that the request names: those that are headings of the source get what stands there, the others share
/// the rest in order.
fn by_request(
    mut parts: Vec<Part>,
    requested: &[ChapterRequest],
    language: &str,
) -> Result<Vec<Part>, Failure> {
    let mut chosen: Vec<Option<Vec<Block>>> = Vec::new();
    for chapter in requested {
        let place = parts.iter().position(|part| folded(&part.title) == folded(&chapter.title));
        chosen.push(place.map(|place| parts.remove(place).blocks));
    }
    let missing = chosen.iter().filter(|blocks| blocks.is_none()).count();
    let rest = parts.into_iter().flat_map(Part::into_blocks).collect();
    let mut shares = divided(rest, missing, language).into_iter();
    let mut result = Vec::new();
    for (chapter, blocks) in requested.iter().zip(chosen) {
        let blocks = blocks.or_else(|| shares.next()).filter(|blocks| !blocks.is_empty()).ok_or_else(|| {
            Failure::permanent_input(format!(
                "the source is too short for {} chapters: nothing is left for \"{}\". Ask for fewer chapters",
                requested.len(),
                chapter.title
            ))
        })?;
        let brief = chapter.brief.clone().unwrap_or_default();
        result.push(Part::new(chapter.title.clone(), brief, blocks, language));
    }
    Ok(result)
}

fn folded(title: &str) -> String {
    title.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

fn by_length(only: &Part, language: &str) -> Vec<Part> {
    let rate = per_minute(language);
    if only.units <= LONG_MINUTES * rate {
        return vec![only.clone()];
    }
    let count =
        (only.units.div_ceil(PART_MINUTES * rate) as usize).clamp(2, MAX_CHAPTERS).min(only.blocks.len());
    let shares = divided(only.blocks.clone(), count, language).into_iter().enumerate();
    let parts = shares
        .map(|(place, blocks)| Part::new(part_title(language, place + 1), String::new(), blocks, language));
    let parts: Vec<Part> = parts.collect();
    if parts.len() == 1 { vec![only.clone()] } else { parts }
}

/// Blocks in `count` shares of about equal length, in order, cut at paragraphs, or at sentences where there are too few.
/// A share is empty only if there are fewer sentences than shares.
fn divided(mut blocks: Vec<Block>, count: usize, language: &str) -> Vec<Vec<Block>> {
    if blocks.len() < count {
        blocks = blocks.into_iter().flat_map(one_block_a_sentence).collect();
    }
    let mut shares = vec![Vec::new(); count];
    let total: u64 = blocks.iter().map(|block| u64::from(units(block, language))).sum();
    let length = blocks.len();
    let (mut before, mut share) = (0, 0);
    for (place, block) in blocks.into_iter().enumerate() {
        let size = u64::from(units(&block, language));
        // Where the block's middle falls decides, but no share is passed over and what is left suffices for the others.
        let middle = ((2 * before + size) * count as u64 / (2 * total).max(1)) as usize;
        let least = share.max(count.saturating_sub(length - place));
        let most = if place == 0 { 0 } else { (share + 1).min(count.saturating_sub(1)) };
        share = middle.max(least).min(most);
        before += size;
        if let Some(share) = shares.get_mut(share) {
            share.push(block);
        }
    }
    shares
}

fn one_block_a_sentence(block: Block) -> impl Iterator<Item = Block> {
    let mut heading = block.heading;
    block
        .sentences
        .into_iter()
        .map(move |sentence| Block { heading: heading.take(), sentences: vec![sentence] })
}

/// At most [`MAX_CHAPTERS`]: the two neighbours that are shortest together become one, until few enough are left.
fn merged(mut parts: Vec<Part>) -> Vec<Part> {
    while parts.len() > MAX_CHAPTERS {
        let pairs = parts.windows(2).map(|pair| u64::from(pair[0].units) + u64::from(pair[1].units));
        let Some((place, _)) = pairs.enumerate().min_by_key(|(_, units)| *units) else { break };
        let next = parts.remove(place + 1);
        parts[place].units += next.units;
        parts[place].blocks.extend(next.into_blocks());
    }
    parts
}

/// The target length, shared in proportion. A source that is shorter than the target is told whole.
fn with_budgets(parts: Vec<Part>, brief: &Brief) -> Vec<ChapterPlan> {
    let total: u64 = parts.iter().map(|part| u64::from(part.units)).sum();
    let target =
        brief.target_minutes.map(|minutes| u64::from(minutes) * u64::from(per_minute(&brief.language)));
    let budget = |part: &Part| match target {
        Some(target) if target < total => (target * u64::from(part.units) / total.max(1)).max(1) as u32,
        _ => 0,
    };
    let plan = |part: Part| ChapterPlan {
        budget: budget(&part),
        source: Some(part.text(&brief.language)),
        title: part.title,
        brief: part.brief,
    };
    parts.into_iter().map(plan).collect()
}

fn units(block: &Block, language: &str) -> u32 {
    let heading = block.heading.iter();
    heading.chain(&block.sentences).map(|sentence| speakable_units(sentence, language)).sum()
}

impl Part {
    fn new(title: String, brief: String, blocks: Vec<Block>, language: &str) -> Part {
        let units = blocks.iter().map(|block| units(block, language)).sum();
        Part { title, brief, blocks, units, headed: false }
    }

    /// Its blocks, for another part: the source's own heading goes with them.
    fn into_blocks(mut self) -> Vec<Block> {
        if self.headed
            && let Some(first) = self.blocks.first_mut()
        {
            first.heading = Some(match first.heading.take() {
                Some(below) => format!("{}: {below}", self.title),
                None => self.title,
            });
        }
        self.blocks
    }

    fn text(&self, language: &str) -> TextRef {
        let paragraphs: Vec<_> =
            self.blocks.iter().map(|block| (block.heading.as_deref(), &block.sentences)).collect();
        TextRef::Inline(to_markdown(&paragraphs, language))
    }
}
