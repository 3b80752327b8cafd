//! How much of the episode each chapter gets.

use common::work::{Brief, ChapterPlan};

use super::Block;
use super::outline::{Part, target_seconds};
use super::script::{Scene, ranking, seconds, turns};

/// How often a chapter's budget is put right until its length fits.
const TRIES: usize = 8;
/// Near enough.
const TOLERANCE_SECONDS: f64 = 0.5;

/// The length asked for, shared in proportion. What one chapter is longer or shorter than its share, because sentences are
/// whole, the next one makes up for. A source that is shorter than the target is told whole.
pub(super) fn with_budgets(parts: Vec<Part>, brief: &Brief) -> Vec<ChapterPlan> {
    let chapters = u16::try_from(parts.len()).unwrap_or(u16::MAX);
    let whole: Vec<f64> = parts
        .iter()
        .enumerate()
        .map(|(place, part)| {
            seconds(&turns(&part.scene(brief, place, chapters), &part.blocks, None, 0), brief)
        })
        .collect();
    let total: f64 = whole.iter().sum();
    let share = target_seconds(brief).filter(|target| *target < total).map(|target| target / total);
    let mut carried = 0.0;
    let mut plans = Vec::new();
    for (place, part) in parts.into_iter().enumerate() {
        let mut budget = 0;
        if let Some(share) = share {
            let aim = whole[place] * share + carried;
            let lasts;
            (budget, lasts) = fitted(&part.scene(brief, place, chapters), &part.blocks, aim);
            carried = aim - lasts;
        }
        let source = Some(part.text(&brief.language));
        plans.push(ChapterPlan { budget, source, title: part.title, brief: part.brief });
    }
    plans
}

/// The budget with which the chapter's script lasts as nearly as can be `aim` seconds, and how long that is.
fn fitted(scene: &Scene<'_>, blocks: &[Block], aim: f64) -> (u32, f64) {
    let ranking = ranking(scene, blocks);
    let units_a_second = f64::from(scene.brief.pace.rate(&scene.brief.language)) / 60.0;
    let mut budget = (aim * units_a_second).max(1.0);
    let mut best = (1, f64::INFINITY);
    for _ in 0..TRIES {
        let asked = budget.round().max(1.0) as u32;
        let lasts = seconds(&turns(scene, blocks, Some(&ranking), asked), scene.brief);
        if (lasts - aim).abs() < (best.1 - aim).abs() {
            best = (asked, lasts);
        }
        if (lasts - aim).abs() <= TOLERANCE_SECONDS {
            break;
        }
        budget = (budget + (aim - lasts) * units_a_second).max(1.0);
    }
    best
}
