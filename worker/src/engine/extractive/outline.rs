//! Chapters: from headings, from the titles that the request names, or from shifts of topic.

use common::work::{Brief, ChapterRequest, OutlineResult, TextRef};

use super::lengths::with_budgets;
use super::phrases::{Phrases, part_title};
use super::script::Scene;
use super::{Block, topics};
use crate::failure::Failure;
use crate::text::{Section, sections, speakable_units, to_markdown};

/// More chapters than this are no table of contents; small neighbours are put together.
const MAX_CHAPTERS: usize = 30;

/// Of a source without headings, what is told longer than this is divided,
const LONG_SECONDS: f64 = 240.0;
/// into parts of about this length, and none much shorter.
const PART_SECONDS: f64 = 180.0;

/// A chapter that gets less time than this says little but its title; neighbours share one.
const LEAST_SECONDS: f64 = 20.0;

/// Paragraphs longer than this hide where the topic shifts when there are few of them.
const SENTENCES_A_BLOCK: usize = 4;

/// A chapter that is being put together.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) title: String,
    pub(super) brief: String,
    pub(super) blocks: Vec<Block>,
    units: f64,
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
    // What the script will know: the episode's title stands in its brief.
    let brief = &Brief { title: Some(title.clone()), ..brief.clone() };
    let parts = by_headings(sections, &title, language);
    let parts = if !requested.is_empty() {
        by_request(parts, requested, language)?
    } else if let [only] = parts.as_slice() {
        by_topic(only, brief)
    } else {
        let most = target_seconds(brief).map_or(MAX_CHAPTERS, |target| (target / LEAST_SECONDS) as usize);
        merged(parts, most.clamp(1, MAX_CHAPTERS))
    };
    Ok(OutlineResult { title, chapters: with_budgets(parts, brief) })
}

pub(super) fn target_seconds(brief: &Brief) -> Option<f64> {
    brief.target_minutes.map(|minutes| f64::from(minutes) * 60.0)
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

/// A source without headings, cut where its topic shifts, if what will be told of it is long.
fn by_topic(only: &Part, brief: &Brief) -> Vec<Part> {
    let language = &brief.language;
    let whole = only.units * 60.0 / f64::from(brief.pace.rate(language));
    let told = target_seconds(brief).map_or(whole, |target| target.min(whole));
    if told <= LONG_SECONDS {
        return vec![only.clone()];
    }
    let count = ((told / PART_SECONDS).round() as usize).clamp(2, MAX_CHAPTERS);
    let blocks = if only.blocks.len() < 3 * count {
        only.blocks.iter().cloned().flat_map(|block| split(block, SENTENCES_A_BLOCK)).collect()
    } else {
        only.blocks.clone()
    };
    let texts: Vec<String> = blocks.iter().map(|block| block.sentences.join(" ")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let sizes: Vec<f64> = blocks.iter().map(|block| units(block, language)).collect();
    let least = only.units / count as f64 / 2.0;
    let mut starts = topics::shifts(&texts, &sizes, count, least);
    starts.push(blocks.len());
    if starts.len() < 3 {
        return vec![only.clone()];
    }
    let parts = starts.windows(2).enumerate().map(|(place, range)| {
        Part::new(
            part_title(language, place + 1),
            String::new(),
            blocks[range[0]..range[1]].to_vec(),
            language,
        )
    });
    parts.collect()
}

/// Blocks in `count` shares of about equal length, in order, cut at paragraphs, or at sentences where there are too few.
/// A share is empty only if there are fewer sentences than shares.
fn divided(mut blocks: Vec<Block>, count: usize, language: &str) -> Vec<Vec<Block>> {
    if blocks.len() < count {
        blocks = blocks.into_iter().flat_map(|block| split(block, 1)).collect();
    }
    let mut shares = vec![Vec::new(); count];
    let total: f64 = blocks.iter().map(|block| units(block, language)).sum();
    let length = blocks.len();
    let (mut before, mut share) = (0.0, 0);
    for (place, block) in blocks.into_iter().enumerate() {
        let size = units(&block, language);
        // Where the block's middle falls decides, but no share is passed over and what is left suffices for the others.
        let middle = ((before + size / 2.0) * count as f64 / total.max(1.0)) as usize;
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

/// In blocks of at most `most` sentences.
fn split(block: Block, most: usize) -> Vec<Block> {
    let mut heading = block.heading;
    let pieces = block.sentences.chunks(most);
    pieces.map(|sentences| Block { heading: heading.take(), sentences: sentences.to_vec() }).collect()
}

/// At most `most`: the two neighbours that are shortest together become one, until few enough are left.
fn merged(mut parts: Vec<Part>, most: usize) -> Vec<Part> {
    while parts.len() > most {
        let pairs = parts.windows(2).map(|pair| pair[0].units + pair[1].units).enumerate();
        let Some((place, _)) = pairs.min_by(|a, b| a.1.total_cmp(&b.1)) else { break };
        let next = parts.remove(place + 1);
        parts[place].units += next.units;
        parts[place].blocks.extend(next.into_blocks());
    }
    parts
}

fn units(block: &Block, language: &str) -> f64 {
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

    pub(super) fn scene<'a>(&'a self, brief: &'a Brief, place: usize, chapters: u16) -> Scene<'a> {
        Scene { brief, chapter: u16::try_from(place).unwrap_or(u16::MAX), chapters, title: &self.title }
    }

    pub(super) fn text(&self, language: &str) -> TextRef {
        let paragraphs: Vec<_> =
            self.blocks.iter().map(|block| (block.heading.as_deref(), &block.sentences)).collect();
        TextRef::Inline(to_markdown(&paragraphs, language))
    }
}
