//! The source, as a model's context holds it: whole for everybody, or divided among the chapters.

use common::work::{OutlineInput, TextRef};

use super::outline::MAX_CHAPTERS;
use crate::failure::Failure;
use crate::text::{Section, Weight, sections, speakable_units, to_markdown};

/// The source as the chapters' writers get it.
pub(super) enum Material {
    None,
    /// All of it, the same for each.
    Whole(TextRef),
    /// Too long for the model at once: each chapter has its own part.
    Parts(Vec<String>),
}

/// What the chapters get of the source, and what the plan is made from. `room` is in tokens; with `fixed` there are exactly
/// `count` chapters.
pub(super) fn material(
    input: &OutlineInput,
    source: Option<&str>,
    count: usize,
    fixed: bool,
    room: usize,
) -> Result<(Material, Option<String>), Failure> {
    let Some(source) = source else { return Ok((Material::None, None)) };
    let weight = Weight::Tokens.of(source);
    if weight <= room {
        let reference = input.source.clone().unwrap_or_else(|| TextRef::Inline(source.to_owned()));
        return Ok((Material::Whole(reference), Some(source.to_owned())));
    }
    let language = &input.brief.language;
    let count = if fixed { count } else { count.max(weight.div_ceil(room)).min(MAX_CHAPTERS) };
    let blocks: Vec<Section> = sections(source, language).into_iter().flat_map(one_a_paragraph).collect();
    let mut shares = shares(blocks, count, language);
    let Some(last) = shares.last().cloned() else {
        return Err(Failure::permanent_input(
            "the source has nothing to say aloud: without code, tables, images and addresses no sentence is left",
        ));
    };
    if fixed {
        shares.resize(count, last);
    }
    let digest: Vec<String> = shares
        .iter()
        .enumerate()
        .map(|(place, share)| {
            format!(
                "[What chapter {} is about]\n{}",
                place + 1,
                condensed(share, language, room / shares.len())
            )
        })
        .collect();
    let parts = shares.iter().map(|share| condensed(share, language, room)).collect();
    Ok((Material::Parts(parts), Some(digest.join("\n\n"))))
}

fn one_a_paragraph(section: Section) -> impl Iterator<Item = Section> {
    let (mut heading, level) = (section.heading, section.level);
    section.paragraphs.into_iter().map(move |paragraph| Section {
        heading: heading.take(),
        level,
        paragraphs: vec![paragraph],
    })
}

/// Neighbouring paragraphs in up to `count` shares of about equal length; none is empty.
fn shares(blocks: Vec<Section>, count: usize, language: &str) -> Vec<Vec<Section>> {
    let units = |section: &Section| -> f64 {
        section.paragraphs.iter().flatten().map(|sentence| speakable_units(sentence, language)).sum()
    };
    let total: f64 = blocks.iter().map(units).sum::<f64>().max(1.0);
    let mut shares: Vec<Vec<Section>> = vec![Vec::new(); count];
    let mut before = 0.0;
    for block in blocks {
        let size = units(&block);
        let place = ((before + size / 2.0) * count as f64 / total) as usize;
        before += size;
        if let Some(share) = shares.get_mut(place.min(count - 1)) {
            share.push(block);
        }
    }
    shares.retain(|share| !share.is_empty());
    shares
}

/// As many first sentences of all paragraphs as there is room for; then second ones, and so on.
fn condensed(share: &[Section], language: &str, room: usize) -> String {
    let mut kept = vec![0usize; share.len()];
    let mut used = 0;
    let rounds = share.iter().flat_map(|section| &section.paragraphs).map(Vec::len).max().unwrap_or(0);
    'full: for round in 0..rounds {
        for (section, kept) in share.iter().zip(&mut kept) {
            let Some(sentence) = section.paragraphs.first().and_then(|paragraph| paragraph.get(round)) else {
                continue;
            };
            used += Weight::Tokens.of(sentence);
            if used > room {
                break 'full;
            }
            *kept += 1;
        }
    }
    let sentences: Vec<Vec<String>> = share
        .iter()
        .zip(&kept)
        .map(|(section, kept)| section.paragraphs.iter().flatten().take(*kept).cloned().collect())
        .collect();
    let paragraphs: Vec<(Option<&str>, &Vec<String>)> = share
        .iter()
        .zip(&sentences)
        .filter(|(_, sentences)| !sentences.is_empty())
        .map(|(section, sentences)| (section.heading.as_deref(), sentences))
        .collect();
    to_markdown(&paragraphs, language)
}
