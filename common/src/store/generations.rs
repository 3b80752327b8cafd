//! The next generation of a finished podcast: it is made once more, but for what stays as it is. A segment is in it for a reason: its
//! text was edited, or it is to be said another time. Only that segment is spoken again, only its chapter is mixed again, and the episode
//! before plays until the new one is there.
//!
//! Rows of the old generation stay what they are. The new one gets copies of chapters, segments and finished tasks, so every question
//! about a podcast is still answered by the rows of one generation; recordings and mixed chapters are shared, because they are blobs.

use anyhow::Context;
use deadpool_postgres::Transaction;
use jiff::Timestamp;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::audit::{self, NewAudit};
use super::podcasts::{self, Podcast, State};
use super::replay::{Impossible, edit};
use super::tasks::NewTask;
use super::{events, replay, tasks};
use crate::config::Config;
use crate::plan;
use crate::request::Fault;
use crate::wire::Hint;
use crate::work::{Kind, SpeechInput};

/// Segments that change in one generation.
pub const MOST_SEGMENTS: usize = 200;

/// A segment that is spoken again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Both from 0.
    pub chapter: i32,
    pub segment: i32,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It says something else.
    Edited(String),
    /// It says the same, in another way: what is known of its recording is not used.
    AnotherTake,
}

/// The wish for a next generation.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    pub tenant: &'a str,
    pub principal: &'a str,
    pub reason: Option<&'a str>,
    pub podcast: Uuid,
    /// The generation that whoever asks has seen; another one is refused. `None`: whichever there is.
    pub seen: Option<i32>,
    pub changed: &'a [Changed],
}

/// What became of the wish.
#[derive(Debug)]
pub enum Answer {
    Begun(Box<Begun>),
    /// There is no such podcast, or it is another tenant's.
    Unknown,
    Impossible(Impossible),
    Faulty(Vec<Fault>),
}

/// A podcast that is being made once more.
#[derive(Debug)]
pub struct Begun {
    pub podcast: Uuid,
    pub generation: i32,
    /// Segments that are spoken again, and all there are.
    pub segments: usize,
    pub segments_total: i32,
    pub chapters: usize,
    pub hint: Hint,
}

fn impossible(reason: impl Into<String>, remedy: &str) -> Answer {
    Answer::Impossible(Impossible { reason: reason.into(), remedy: remedy.into() })
}

/// Begins the next generation. The caller commits when the answer is [`Answer::Begun`], and only then.
pub async fn begin(
    tx: &Transaction<'_>,
    config: &Config,
    order: &Order<'_>,
    now: Timestamp,
) -> anyhow::Result<Answer> {
    let Some(mut podcast) = podcasts::lock_of(tx, order.tenant, order.podcast).await? else {
        return Ok(Answer::Unknown);
    };
    if let Some(why) = why_not(&podcast, order.seen) {
        return Ok(Answer::Impossible(why));
    }
    if let Some(fault) = fault_of_list(order.changed) {
        return Ok(Answer::Faulty(vec![fault]));
    }
    let before = podcast.generation;
    podcast.generation += 1;
    let mut spoken = Vec::with_capacity(order.changed.len());
    let mut faults = Vec::new();
    for (index, changed) in order.changed.iter().enumerate() {
        let Some(input) = input(tx, podcast.id, before, changed).await? else {
            let place = format!("chapter {}, segment {}", changed.chapter, changed.segment);
            let remedy = "Count chapters and segments from 0, as the transcript lists them";
            return Ok(impossible(format!("there is no {place}"), remedy));
        };
        match next_input(config, &podcast, &input, &changed.why) {
            Ok(input) => spoken.push((changed, input)),
            Err(found) => faults.extend(found.into_iter().map(|fault| of_segment(index, fault))),
        }
    }
    if !faults.is_empty() {
        return Ok(Answer::Faulty(faults));
    }
    podcast.deadline =
        now.saturating_add(replay::time_allowed(tx, podcast.id).await?).unwrap_or(Timestamp::MAX);
    copy(tx, &podcast, before, order.changed).await?;
    let mut new = Vec::with_capacity(spoken.len());
    for (changed, input) in spoken {
        if let Why::Edited(text) = &changed.why {
            replay::set_text(tx, &podcast, changed.chapter, changed.segment, text.trim()).await?;
        }
        new.push(speech(&podcast, config, changed, input)?);
    }
    // None of them is dispatched here, so no publisher is named.
    tasks::insert(tx, &new, Uuid::nil()).await?;
    let chapters = write(tx, &mut podcast, order.changed).await?;
    let hint = tell(tx, &mut podcast).await?;
    audit_it(tx, order, before).await?;
    let Podcast { id, generation, segments_total, .. } = podcast;
    let segments = order.changed.len();
    Ok(Answer::Begun(Box::new(Begun { podcast: id, generation, segments, segments_total, chapters, hint })))
}

/// Why there can be no next generation now, and what to do instead.
fn why_not(podcast: &Podcast, seen: Option<i32>) -> Option<Impossible> {
    let (reason, remedy) = match podcast.state {
        State::Completed if seen.is_none_or(|seen| seen == podcast.generation) => return None,
        State::Completed => (
            format!("it was changed meanwhile: its generation is {}", podcast.generation),
            "Look at it again, and ask for the change of what it is now",
        ),
        State::Running => ("it is being made".into(), "Wait until it is finished"),
        State::Failed => ("it has failed".into(), "Replay it first; its dead letter says what is in its way"),
        State::Cancelled => ("it is cancelled".into(), "Ask for it anew"),
    };
    Some(Impossible { reason, remedy: remedy.into() })
}

fn fault_of_list(changed: &[Changed]) -> Option<Fault> {
    let refuse = |reason: String, remedy: String| Some(Fault { field: "segments".into(), reason, remedy });
    if !(1..=MOST_SEGMENTS).contains(&changed.len()) {
        return refuse(format!("there are {}", changed.len()), format!("Give 1 to {MOST_SEGMENTS} of them"));
    }
    let twice = changed.iter().enumerate().find(|(index, one)| {
        changed[..*index].iter().any(|other| (other.chapter, other.segment) == (one.chapter, one.segment))
    });
    let (_, one) = twice?;
    refuse(
        format!("chapter {}, segment {} is given twice", one.chapter, one.segment),
        "Name each segment once".into(),
    )
}

/// What is said of an input is about the segment that it is for.
fn of_segment(index: usize, fault: Fault) -> Fault {
    let field = fault.field.strip_prefix("payload").unwrap_or(&fault.field);
    Fault { field: format!("segments[{index}]{field}"), ..fault }
}

/// The input of a segment's speech for the next generation.
fn next_input(
    config: &Config,
    podcast: &Podcast,
    input: &SpeechInput,
    why: &Why,
) -> Result<Box<RawValue>, Vec<Fault>> {
    let broken = |error: serde_json::Error| {
        vec![Fault { field: "payload".into(), reason: error.to_string(), remedy: "Report this".into() }]
    };
    match why {
        // The number of the generation was never a take before, whatever was changed how often.
        Why::AnotherTake => {
            let take = u16::try_from(podcast.generation).unwrap_or(u16::MAX);
            to_raw_value(&SpeechInput { take, ..input.clone() }).map_err(broken)
        }
        Why::Edited(text) => {
            let original = serde_json::to_value(input).map_err(broken)?;
            let mut edited = original.clone();
            edited["text"] = json!(text.trim());
            edit::check(config, podcast, Kind::Tts, 0, &original, &edited).map(|edited| edited.json)
        }
    }
}

fn speech(
    podcast: &Podcast,
    config: &Config,
    changed: &Changed,
    input: Box<RawValue>,
) -> anyhow::Result<NewTask> {
    // The state is written below; for the task the podcast runs already.
    let running = Podcast { state: State::Running, ..podcast.clone() };
    plan::task(&running, config, Kind::Tts, (changed.chapter, changed.segment), &input)
}

/// What a segment's speech was made of.
async fn input(
    tx: &Transaction<'_>,
    podcast: Uuid,
    generation: i32,
    changed: &Changed,
) -> anyhow::Result<Option<SpeechInput>> {
    let select = tx
        .prepare_cached(
            "select input from tasks
             where podcast_id = $1 and generation = $2 and kind = 'tts' and chapter = $3 and segment = $4",
        )
        .await?;
    let row = tx.query_opt(&select, &[&podcast, &generation, &changed.chapter, &changed.segment]).await?;
    let Some(row) = row else { return Ok(None) };
    let Json(input) = row.try_get::<_, Json<SpeechInput>>(0).context("reading the input of a segment")?;
    Ok(Some(input))
}

/// Copies what the generations share: chapters, of which the changed ones are not mixed; segments, of which those that change are no
/// gaps any more; scripts, and speech of what has
/// not changed, as finished.
async fn copy(tx: &Transaction<'_>, podcast: &Podcast, from: i32, changed: &[Changed]) -> anyhow::Result<()> {
    let chapters: Vec<i32> = changed.iter().map(|one| one.chapter).collect();
    let segments: Vec<i32> = changed.iter().map(|one| one.segment).collect();
    let copy_chapters = tx
        .prepare_cached(
            "insert into chapters (podcast_id, generation, chapter, tenant, principal, title, written, segments_total,
                                   segments_done, mix)
             select podcast_id, $3, chapter, tenant, principal, title, written, segments_total,
                    segments_total - cardinality(array_positions($4::int[], chapter)),
                    case when chapter = any($4) then null else mix end
             from chapters where podcast_id = $1 and generation = $2",
        )
        .await?;
    tx.execute(&copy_chapters, &[&podcast.id, &from, &podcast.generation, &chapters]).await?;
    let copy_segments = tx
        .prepare_cached(
            "insert into segments (podcast_id, generation, chapter, segment, tenant, principal, speaker, text, pause, place)
             select podcast_id, $3, chapter, segment, tenant, principal, speaker, text, pause,
                    case when place = 'gap' and exists (
                        select from unnest($4::int[], $5::int[]) c (chapter, segment)
                        where c.chapter = s.chapter and c.segment = s.segment) then 'body' else place end
             from segments s where podcast_id = $1 and generation = $2",
        )
        .await?;
    tx.execute(&copy_segments, &[&podcast.id, &from, &podcast.generation, &chapters, &segments]).await?;
    let copy_tasks = tx
        .prepare_cached(
            "insert into tasks (podcast_id, id, tenant, principal, generation, kind, chapter, segment, state, lane, rank, engine,
                                input, input_hash, result, attempt, parts, turns, deadline, traceparent, last_class)
             select podcast_id, gen_random_uuid(), tenant, principal, $3, kind, chapter, segment, state, lane, rank, engine,
                    input, input_hash, result, attempt, parts, turns, $4, traceparent, last_class
             from tasks t
             where podcast_id = $1 and generation = $2 and state = 'done' and kind in ('outline', 'script', 'tts')
                   and not (kind = 'tts' and exists (
                       select from unnest($5::int[], $6::int[]) c (chapter, segment)
                       where c.chapter = t.chapter and c.segment = t.segment))",
        )
        .await?;
    tx.execute(
        &copy_tasks,
        &[&podcast.id, &from, &podcast.generation, &podcast.deadline, &chapters, &segments],
    )
    .await?;
    Ok(())
}

/// The podcast runs again. Returns how many chapters are mixed again.
async fn write(tx: &Transaction<'_>, podcast: &mut Podcast, changed: &[Changed]) -> anyhow::Result<usize> {
    let mut chapters: Vec<i32> = changed.iter().map(|one| one.chapter).collect();
    chapters.sort_unstable();
    chapters.dedup();
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    podcast.state = State::Running;
    podcast.chapters_mixed = podcast.chapters_total - count(chapters.len());
    podcast.segments_done = podcast.segments_total - count(changed.len());
    let update =
        tx.prepare_cached("update podcasts set generation = $2, deadline = $3 where id = $1").await?;
    tx.execute(&update, &[&podcast.id, &podcast.generation, &podcast.deadline]).await?;
    Ok(chapters.len())
}

/// Saves the podcast, with an event for its watchers.
async fn tell(tx: &Transaction<'_>, podcast: &mut Podcast) -> anyhow::Result<Hint> {
    let mut event = events::next(podcast, "revised");
    event.data["generation"] = json!(podcast.generation);
    podcasts::save(tx, &[&*podcast]).await?;
    events::insert(tx, std::slice::from_ref(&event)).await?;
    Ok(events::hint(event))
}

/// What was written stays out of the trail; which segments, and why, is in it.
async fn audit_it(tx: &Transaction<'_>, order: &Order<'_>, before: i32) -> anyhow::Result<()> {
    let segments: Vec<Value> = order
        .changed
        .iter()
        .map(|one| {
            let why = if one.why == Why::AnotherTake { "another take" } else { "edited" };
            json!({"chapter": one.chapter, "segment": one.segment, "why": why})
        })
        .collect();
    let entry = NewAudit {
        tenant: order.tenant,
        principal: order.principal,
        action: "podcast.revise",
        subject: podcasts::subject(order.podcast),
        reason: order.reason,
        before: Some(json!({"generation": before})),
        after: Some(json!({"generation": before + 1, "segments": segments})),
    };
    audit::insert(tx, &entry).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(chapter: i32, segment: i32) -> Changed {
        Changed { chapter, segment, why: Why::AnotherTake }
    }

    #[test]
    fn each_segment_is_named_once() {
        assert_eq!(fault_of_list(&[changed(0, 1), changed(1, 1), changed(0, 2)]), None);
        let check = |list: &[Changed], expected: &str| {
            let fault = fault_of_list(list).unwrap();
            assert!(fault.reason.contains(expected), "{fault}");
        };
        check(&[], "there are 0");
        check(&[changed(0, 1), changed(0, 2), changed(0, 1)], "chapter 0, segment 1 is given twice");
        let many: Vec<Changed> = (0..=MOST_SEGMENTS).map(|n| changed(0, i32::try_from(n).unwrap())).collect();
        check(&many, "there are 201");
    }

    #[test]
    fn faults_name_the_segment() {
        let fault = |field: &str| Fault { field: field.into(), reason: String::new(), remedy: String::new() };
        assert_eq!(of_segment(3, fault("payload.text")).field, "segments[3].text");
        assert_eq!(of_segment(0, fault("payload")).field, "segments[0]");
    }
}
