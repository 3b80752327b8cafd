//! What users ask for: a podcast of five chapters, each of five segments.

use serde_json::{Value, json};

use crate::providers::Settings;

const CHAPTERS: usize = 5;
/// Turns that the simulated writer gives a chapter.
const TURNS: usize = 5;
/// A turn is a sentence: some four seconds.
const WORDS: usize = 8;
/// Where the writer plans. Where the outline is given, nobody counts words.
const MINUTES: u16 = 1;

/// Equal numbers are equal requests, and others share nothing.
pub fn request(article: usize) -> Value {
    story(article, CHAPTERS)
}

/// The same, longer or shorter.
pub(super) fn story(article: usize, chapters: usize) -> Value {
    let minutes = u16::try_from(chapters.div_ceil(CHAPTERS)).unwrap_or(u16::MAX).saturating_mul(MINUTES);
    let chapters: Vec<Value> = (1..=chapters)
        .map(|chapter| json!({"title": format!("Part {chapter} of story {article}"), "brief": format!("What happens in part {chapter}")}))
        .collect();
    json!({
        "topic": format!("The story with the number {article} in a long series of stories"),
        "title": format!("Story {article}"),
        "language": "en",
        "format": "dialogue",
        "target_minutes": minutes,
        "chapters": chapters,
    })
}

/// Providers with the latencies of the performance goals, so many times as fast, which write what [`request`] asks for.
pub fn providers(seed: u64, faster: f64) -> Settings {
    let mut settings = Settings::performance_goals();
    settings.seed = seed;
    settings.speech.latency = settings.speech.latency.faster(faster);
    settings.chat.first_token = settings.chat.first_token.faster(faster);
    settings.chat.whole = settings.chat.whole.map(|whole| whole.faster(faster));
    settings.chat.writing.chapters = CHAPTERS;
    settings.chat.writing.turns = TURNS;
    settings.chat.writing.words = WORDS;
    settings
}
