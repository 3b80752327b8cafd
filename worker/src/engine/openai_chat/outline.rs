//! Chapters from a language model: checked, with their share of the length, and with what connects them.

use common::work::{Brief, ChapterPlan, ChapterRequest, OutlineInput, OutlineResult, TextRef};
use serde::Deserialize;
use serde_json::Value;

use super::answer::{Visible, values};
use super::checks::{self, Tongue, tongue};
use super::material::{Material, material};
use super::prompt::{self, Prompt};
use super::{Ended, Flow, MAX_ASKS, OpenAiChat, Reader, wrong};
use crate::engine::Call;
use crate::engine::openai_http::answer::bounded;
use crate::engine::pace::planned;
use crate::failure::Failure;
use crate::text::{is_speakable, speakable_units};

/// Without a length asked for: as long as the source takes, at most this many minutes.
const DEFAULT_MINUTES: u32 = 6;
const CHAPTER_MINUTES: u32 = 4;
/// Of a plan. Requests name no more.
pub(super) const MAX_CHAPTERS: usize = 50;
const MAX_TITLE: usize = 300;
/// What is kept of each line of a plan.
const MAX_LINE: usize = 2_000;
/// What rules, plan and schema take of a model's context, roughly, in tokens.
const OVERHEAD_TOKENS: usize = 4_000;
/// A plan has no more than this.
const MAX_BYTES: usize = 256 * 1024;

#[derive(Debug, Deserialize)]
pub(super) struct Plan {
    title: String,
    chapters: Vec<Chapter>,
}

#[derive(Debug, Deserialize)]
struct Chapter {
    title: String,
    brief: String,
    #[serde(default)]
    before: String,
    #[serde(default)]
    after: String,
    #[serde(default)]
    opens: String,
    #[serde(default)]
    share: f64,
}

/// Collects an answer, within bounds.
#[derive(Default)]
pub(super) struct Whole {
    visible: Visible,
    checked: usize,
    stopped: Option<&'static str>,
}

impl Reader for Whole {
    fn push(&mut self, text: &str) -> Flow {
        self.visible.push(text);
        if self.visible.bytes() > MAX_BYTES {
            self.stopped = Some("it had no end");
        } else if self.visible.bytes() > self.checked + 1_024 {
            self.checked = self.visible.bytes();
            if self.visible.loops() {
                self.stopped = Some("it repeated itself without end");
            }
        }
        if self.stopped.is_some() { Flow::Stop } else { Flow::Go }
    }
}

pub(super) async fn plan(
    engine: &OpenAiChat,
    input: &OutlineInput,
    source: Option<&str>,
    call: &Call,
) -> Result<OutlineResult, Failure> {
    let brief = &input.brief;
    if source.is_some_and(|source| !is_speakable(source)) {
        return Err(Failure::permanent_input("the source has nothing to say aloud"));
    }
    let minutes = minutes(brief, source);
    let asked = input.chapters.len();
    let count = if asked > 0 { asked } else { minutes.div_ceil(CHAPTER_MINUTES) as usize };
    let count = count.clamp(1, MAX_CHAPTERS);
    let room = engine.room().saturating_sub(OVERHEAD_TOKENS).max(500);
    let (material, shown) = material(input, source, count, asked > 0, room)?;
    let count = if let Material::Parts(parts) = &material { parts.len() } else { count };
    let requested: Vec<_> =
        input.chapters.iter().map(|chapter| (chapter.title.clone(), chapter.brief.clone())).collect();
    let task = prompt::outline(brief, &requested, count, minutes);
    let mut note: Option<String> = None;
    for ask in 0..MAX_ASKS {
        let again = note.as_ref().map(|note| format!("Your last answer could not be used: {note}.\n"));
        let prompt = Prompt {
            system: prompt::system(brief),
            user: format!("{}{task}{}", prompt::source(shown.as_deref()), again.unwrap_or_default()),
            name: "outline",
            schema: prompt::outline_schema(count, brief),
        };
        let mut reader = Whole::default();
        let ended = engine.converse(&prompt, call, ask, &mut reader).await?;
        match read(&reader, ended, brief, &input.chapters, count) {
            Ok(plan) => return Ok(outlined(plan, input, minutes, material)),
            Err(reason) => note = Some(reason),
        }
    }
    Err(wrong(&engine.name, note.as_deref().unwrap_or_default()))
}

/// The plan in an answer, or what is wrong with it in words that the model can act on.
pub(super) fn read(
    reader: &Whole,
    ended: Ended,
    brief: &Brief,
    requested: &[ChapterRequest],
    count: usize,
) -> Result<Plan, String> {
    if let Some(reason) = reader.stopped {
        return Err(reason.to_owned());
    }
    let (text, unclosed) = reader.visible.settled();
    let mut found = values(text);
    if unclosed {
        // The last thing it came to while it was thinking.
        found.reverse();
    }
    let mut reason = match ended {
        Ended::Length => "it was cut off because it was too long".to_owned(),
        _ if text.trim().is_empty() => "it was empty".to_owned(),
        _ => "there was no complete JSON object in it".to_owned(),
    };
    for value in found.into_iter().filter(Value::is_object) {
        match serde_json::from_value::<Plan>(value) {
            Ok(plan) => match check(plan, brief, requested, count) {
                Ok(plan) => return Ok(plan),
                Err(wrong) => reason = wrong,
            },
            Err(error) => {
                reason = format!("the JSON does not fit the schema: {}", bounded(&error.to_string()))
            }
        }
    }
    Err(reason)
}

fn check(mut plan: Plan, brief: &Brief, requested: &[ChapterRequest], count: usize) -> Result<Plan, String> {
    if plan.chapters.len() != count {
        return Err(format!("it has {} chapters instead of {count}", plan.chapters.len()));
    }
    plan.title = title(&plan.title)?;
    for (place, chapter) in plan.chapters.iter_mut().enumerate() {
        chapter.title = match requested.get(place) {
            Some(asked) => asked.title.clone(),
            None => title(&chapter.title)?,
        };
        if chapter.brief.trim().is_empty() {
            return Err(format!("chapter {} has no brief", place + 1));
        }
        if !brief.speakers.iter().any(|speaker| speaker.name == chapter.opens.trim()) {
            chapter.opens.clear();
        }
    }
    for (place, chapter) in plan.chapters.iter().enumerate() {
        if requested.is_empty() && plan.chapters[..place].iter().any(|other| other.title == chapter.title) {
            return Err("two chapters have the same title".to_owned());
        }
    }
    let titles: Vec<&str> = plan.chapters.iter().map(|chapter| chapter.title.as_str()).collect();
    let briefs: Vec<&str> = plan.chapters.iter().map(|chapter| chapter.brief.as_str()).collect();
    let text = format!("{}. {}. {}", plan.title, titles.join(". "), briefs.join(" "));
    match tongue(&text, &brief.language) {
        Tongue::Wrong(found) if requested.is_empty() => {
            Err(format!("it is in {found} and must be in {}", brief.language))
        }
        _ => Ok(plan),
    }
}

fn title(text: &str) -> Result<String, String> {
    let title = checks::spoken(text, std::iter::empty())
        .map_err(|wrong| format!("a title cannot be used: {wrong}"))?;
    Ok(title.chars().take(MAX_TITLE).collect())
}

pub(super) fn outlined(plan: Plan, input: &OutlineInput, minutes: u32, material: Material) -> OutlineResult {
    let total = f64::from(minutes) * planned(&input.brief);
    let even = 100.0 / plan.chapters.len() as f64;
    // A plan that gives a chapter nearly nothing, or nearly all, has not understood the question.
    let share = |chapter: &Chapter| {
        let asked = if chapter.share.is_finite() && chapter.share > 0.0 { chapter.share } else { even };
        asked.clamp(even * 0.5, even * 2.0)
    };
    let sum: f64 = plan.chapters.iter().map(share).sum();
    let chapters = plan.chapters.iter().enumerate().map(|(place, chapter)| ChapterPlan {
        title: chapter.title.clone(),
        brief: continuity(chapter),
        source: match &material {
            Material::None => None,
            Material::Whole(source) => Some(source.clone()),
            Material::Parts(parts) => parts.get(place).cloned().map(TextRef::Inline),
        },
        budget: (total * share(chapter) / sum).round().max(1.0) as u32,
    });
    let title = input.brief.title.clone().unwrap_or(plan.title);
    OutlineResult { title, chapters: chapters.collect() }
}

/// What its writer must know, beyond the titles of its neighbours.
fn continuity(chapter: &Chapter) -> String {
    let line = |label: &str, text: &str| {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_LINE).collect();
        if text.is_empty() { String::new() } else { format!("{label}{text}\n") }
    };
    [
        line("It tells: ", &chapter.brief),
        line("What listeners know by then: ", &chapter.before),
        line("What it hands over: ", &chapter.after),
        line("It is opened by: ", &chapter.opens),
    ]
    .concat()
    .trim_end()
    .to_owned()
}

fn minutes(brief: &Brief, source: Option<&str>) -> u32 {
    brief.target_minutes.map_or_else(
        || {
            let units = source.map_or(f64::INFINITY, |source| speakable_units(source, &brief.language));
            (units / planned(brief)).ceil().clamp(1.0, f64::from(DEFAULT_MINUTES)) as u32
        },
        u32::from,
    )
}
