//! Replays: a failed podcast goes on where it stopped. One transaction, under the podcast's lock: either all of it happens,
//! once, or nothing does. What becomes of which row is decided in [`mod@revive`]; whether an edited input will do, in [`edit`].

mod amend;
pub mod bulk;
pub mod difference;
pub mod edit;
pub mod estimate;
mod gaps;
pub mod revive;
mod rows;
pub mod steps;

use std::time::Duration;

use deadpool_postgres::Transaction;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::audit::{self, NewAudit};
use super::dead_letters::reading::Settled;
use super::dead_letters::settling::{self, Decision};
use super::podcasts::{self, Podcast, State as PodcastState};
use super::{events, tasks};
use crate::class::Class;
use crate::config::Config;
use crate::plan;
use crate::request::Fault;
use crate::wire::Hint;
use revive::{About, Revival, revive};
use rows::{Stub, TaskOfPodcast};

pub use rows::release_stranded;
pub(super) use rows::{set_text, time_allowed};

/// The wish to replay a letter.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    pub letter: Uuid,
    pub decision: Decision<'a>,
    /// An input that takes the place of the dead task's.
    pub edited: Option<&'a Value>,
}

/// What became of the wish.
#[derive(Debug)]
pub enum Answer {
    Resumed(Box<Resumed>),
    /// Somebody was first.
    Settled(Settled),
    /// There is no such letter, or it is another tenant's.
    Unknown,
    Impossible(Impossible),
    /// The edited input will not do.
    Faulty(Vec<Fault>),
}

/// Why a letter cannot be replayed, and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impossible {
    pub reason: String,
    pub remedy: String,
}

fn impossible(reason: impl Into<String>, remedy: &str) -> Answer {
    Answer::Impossible(Impossible { reason: reason.into(), remedy: remedy.into() })
}

/// A podcast that runs again.
#[derive(Debug)]
pub struct Resumed {
    pub podcast: Uuid,
    /// Tasks that run again.
    pub tasks: usize,
    /// Segments that are spoken and stay.
    pub segments_done: i32,
    pub segments_total: i32,
    /// The deadline was over: from now on it is this one.
    pub deadline_extended_to: Option<Timestamp>,
    /// Other letters of the podcast that are settled with this one.
    pub also_replayed: Vec<Uuid>,
    pub hint: Hint,
}

/// Resumes the podcast of a letter about a task or about a deadline. The caller commits when the answer is
/// [`Answer::Resumed`], and only then.
pub async fn resume(
    tx: &Transaction<'_>,
    config: &Config,
    order: &Order<'_>,
    now: Timestamp,
) -> anyhow::Result<Answer> {
    let (stub, mut podcast) = match lock(tx, order).await? {
        Ok(found) => found,
        Err(answer) => return Ok(answer),
    };
    let before = summary(&podcast);
    let rows = rows::tasks(tx, &podcast).await?;
    let difference = match order.edited {
        None => None,
        Some(edited) => match amend::check(tx, config, &podcast, &stub, &rows, edited).await? {
            Ok(fit) => Some(amend::apply(tx, config, &mut podcast, &fit).await?),
            Err(answer) => return Ok(answer),
        },
    };
    let changes = difference.as_ref().map(serde_json::to_value).transpose()?;
    if !settling::settle(tx, order.letter, "replayed", &order.decision, None, changes.as_ref()).await? {
        // Somebody discarded it just now, which takes no lock of the podcast.
        let settled = settling::settled(tx, order.decision.tenant, order.letter).await?;
        return Ok(settled.map_or(Answer::Unknown, Answer::Settled));
    }
    let (resumed, mut after) = go_on(tx, config, podcast, &rows, &order.decision, &stub.class, now).await?;
    // What was written stays out of the trail; the difference itself is with the letter, and is shown to those who may see it.
    let paths = difference.map(|list| list.into_iter().map(|change| change.path).collect::<Vec<_>>());
    after["edited"] = json!(paths);
    audit_replay(tx, order, before, after).await?;
    if let Some(replay) = order.decision.replay {
        bulk::mark_replayed(tx, replay, order.letter).await?;
    }
    Ok(Answer::Resumed(Box::new(resumed)))
}

/// Segments of a podcast that it is to be finished without, by chapter and segment, both from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without<'a> {
    Nothing,
    /// All that were given up.
    AllGivenUp,
    These(&'a [(i32, i32)]),
}

/// Resumes a failed podcast with everything that was given up in it, as one act; or without some segments that were. The caller
/// commits when the answer is [`Answer::Resumed`], and only then.
pub async fn resume_podcast(
    tx: &Transaction<'_>,
    config: &Config,
    decision: &Decision<'_>,
    podcast: Uuid,
    without: Without<'_>,
    now: Timestamp,
) -> anyhow::Result<Answer> {
    let Some(podcast) = podcasts::lock_of(tx, decision.tenant, podcast).await? else {
        return Ok(Answer::Unknown);
    };
    if podcast.state != PodcastState::Failed {
        let reason = format!("it is {}", podcast.state.as_str());
        return Ok(impossible(reason, "Only a podcast that has failed can be replayed"));
    }
    let before = summary(&podcast);
    let mut rows = rows::tasks(tx, &podcast).await?;
    let gaps = match gaps::find(without, &rows) {
        Ok(gaps) => gaps,
        Err(why) => return Ok(Answer::Impossible(why)),
    };
    if let Some(why) = gaps::leave_out(tx, &podcast, &mut rows, &gaps).await? {
        return Ok(Answer::Impossible(why));
    }
    let class = podcast.failure.as_ref().map_or(Class::Transient, |failure| failure.class);
    let (resumed, mut after) = go_on(tx, config, podcast, &rows, decision, class.as_str(), now).await?;
    if !gaps.is_empty() {
        after["left_out"] = json!(gaps);
    }
    let entry = NewAudit {
        tenant: decision.tenant,
        principal: decision.principal,
        action: if gaps.is_empty() { "podcast.replay" } else { "podcast.finish_without" },
        subject: podcasts::subject(resumed.podcast),
        reason: Some(decision.reason),
        before: Some(before),
        after: Some(after),
    };
    audit::insert(tx, &entry).await?;
    Ok(Answer::Resumed(Box::new(resumed)))
}

/// A locked podcast runs again, and its open letters are settled. Returns what the audit trail keeps of it, too.
async fn go_on(
    tx: &Transaction<'_>,
    config: &Config,
    mut podcast: Podcast,
    rows: &[TaskOfPodcast],
    decision: &Decision<'_>,
    class: &str,
    now: Timestamp,
) -> anyhow::Result<(Resumed, Value)> {
    let also_replayed = settling::settle_others(tx, podcast.id, decision).await?;
    let deadline_extended_to = extend_deadline(tx, &mut podcast, class, now).await?;
    let revival = revival(tx, &podcast, rows, deadline_extended_to.is_some()).await?;
    let tasks = write(tx, config, &mut podcast, &revival).await?;
    let hint = tell(tx, &mut podcast, deadline_extended_to).await?;
    let mut after = summary(&podcast);
    after["tasks"] = json!(tasks);
    after["also_replayed"] = json!(also_replayed);
    let Podcast { id: podcast, segments_done, segments_total, .. } = podcast;
    let resumed =
        Resumed { podcast, tasks, segments_done, segments_total, deadline_extended_to, also_replayed, hint };
    Ok((resumed, after))
}

/// The letter's podcast under its lock, if the letter is open and the podcast can go on.
async fn lock(tx: &Transaction<'_>, order: &Order<'_>) -> anyhow::Result<Result<(Stub, Podcast), Answer>> {
    let tenant = order.decision.tenant;
    let Some(stub) = rows::stub(tx, tenant, order.letter).await? else { return Ok(Err(Answer::Unknown)) };
    let gone = || Ok(Err(impossible("its podcast is gone", "Discard it")));
    let Some(podcast) = stub.podcast else { return gone() };
    let Some(podcast) = podcasts::lock(tx, &[podcast]).await?.pop() else { return gone() };
    // From here on nobody else replays any of its letters.
    if let Some(settled) = settling::settled(tx, tenant, order.letter).await? {
        return Ok(Err(Answer::Settled(settled)));
    }
    if let ended @ (PodcastState::Completed | PodcastState::Cancelled) = podcast.state {
        let reason = format!("its podcast is {}", ended.as_str());
        return Ok(Err(impossible(reason, "Discard it: there is nothing left to do")));
    }
    Ok(Ok((stub, podcast)))
}

/// Saves the podcast, with an event for its watchers.
async fn tell(
    tx: &Transaction<'_>,
    podcast: &mut Podcast,
    deadline_extended_to: Option<Timestamp>,
) -> anyhow::Result<Hint> {
    let mut event = events::next(podcast, "replayed");
    if let Some(deadline) = deadline_extended_to {
        event.data["deadline"] = json!(deadline);
    }
    podcasts::save(tx, &[&*podcast]).await?;
    events::insert(tx, std::slice::from_ref(&event)).await?;
    Ok(events::hint(event))
}

async fn audit_replay(
    tx: &Transaction<'_>,
    order: &Order<'_>,
    before: Value,
    after: Value,
) -> anyhow::Result<()> {
    let decision = &order.decision;
    let entry = NewAudit {
        tenant: decision.tenant,
        principal: decision.principal,
        action: if order.edited.is_some() { "dead_letter.edit_replay" } else { "dead_letter.replay" },
        subject: subject(order.letter),
        reason: Some(decision.reason),
        before: Some(json!({"letter": "open", "podcast": before})),
        after: Some(json!({"letter": "replayed", "podcast": after, "replay": decision.replay})),
    };
    audit::insert(tx, &entry).await
}

/// What the audit trail calls a letter.
pub fn subject(letter: Uuid) -> String {
    format!("dead_letter/{letter}")
}

/// The podcast as the audit trail keeps it.
fn summary(podcast: &Podcast) -> Value {
    json!({
        "id": podcast.id,
        "state": podcast.state.as_str(),
        "deadline": podcast.deadline,
        "chapters_written": podcast.chapters_written,
        "chapters_mixed": podcast.chapters_mixed,
        "segments_done": podcast.segments_done,
        "segments_total": podcast.segments_total,
    })
}

async fn extend_deadline(
    tx: &Transaction<'_>,
    podcast: &mut Podcast,
    class: &str,
    now: Timestamp,
) -> anyhow::Result<Option<Timestamp>> {
    let allowed = rows::time_allowed(tx, podcast.id).await?;
    let Some(deadline) = new_deadline(podcast.deadline, class, allowed, now) else { return Ok(None) };
    podcast.deadline = deadline;
    rows::set_deadline(tx, podcast).await?;
    Ok(Some(deadline))
}

/// A podcast whose time is over, or that died because there was too little of it left, gets the time again that it was given.
fn new_deadline(deadline: Timestamp, class: &str, allowed: Duration, now: Timestamp) -> Option<Timestamp> {
    let over = deadline <= now || class == Class::Expired.as_str();
    // Never less than it has.
    over.then(|| now.saturating_add(allowed).unwrap_or(Timestamp::MAX).max(deadline))
}

async fn revival(
    tx: &Transaction<'_>,
    podcast: &Podcast,
    rows: &[TaskOfPodcast],
    deadline_extended: bool,
) -> anyhow::Result<Revival> {
    let about = About {
        lane: podcast.lane,
        mixes_chapters: podcast.engines.mixes_chapters(),
        // Of a later generation that failed, the episode is the one before.
        has_episode: podcast.episode.is_some() && podcast.generation == 1,
        deadline_extended,
    };
    let stored = rows::chapters(tx, podcast).await?;
    let tasks: Vec<_> = rows.iter().map(|task| task.row.clone()).collect();
    let revival = revive(about, &tasks, &stored);
    let drifted = revival.chapters != stored
        || (revival.segments_done, revival.segments_total) != (podcast.segments_done, podcast.segments_total)
        || (revival.chapters_written, revival.chapters_mixed)
            != (podcast.chapters_written, podcast.chapters_mixed);
    if drifted {
        tracing::warn!(podcast.id = %podcast.id, "the counters of a podcast did not agree with its tasks; a replay has corrected them");
        metrics::counter!("podfleet_counter_drift_total").increment(1);
    }
    Ok(revival)
}

/// Writes the revival, and the podcast as running. Returns how many tasks run again or for the first time.
async fn write(
    tx: &Transaction<'_>,
    config: &Config,
    podcast: &mut Podcast,
    revival: &Revival,
) -> anyhow::Result<usize> {
    podcast.state = PodcastState::Running;
    podcast.failure = None;
    podcast.chapters_total = i32::try_from(revival.chapters.len()).unwrap_or(i32::MAX);
    podcast.chapters_written = revival.chapters_written;
    podcast.chapters_mixed = revival.chapters_mixed;
    podcast.segments_total = revival.segments_total;
    podcast.segments_done = revival.segments_done;
    rows::revive_tasks(tx, podcast.id, &revival.tasks).await?;
    rows::save_counters(tx, podcast, &revival.chapters).await?;
    let mut new = Vec::with_capacity(revival.mixes.len() + 1);
    for chapter in &revival.mixes {
        new.push(plan::mix(tx, podcast, config, *chapter).await?);
    }
    if revival.join {
        new.push(plan::join(tx, podcast, config).await?);
    }
    // None of them is dispatched here, so no publisher is named.
    let inserted = tasks::insert(tx, &new, Uuid::nil()).await?;
    Ok(revival.tasks.len() + inserted.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_given_again_when_it_is_over_or_was_too_short() {
        let now = Timestamp::from_second(1_000).unwrap();
        let check = |deadline: i64, class: Class, expected: Option<i64>| {
            let deadline = Timestamp::from_second(deadline).unwrap();
            let new = new_deadline(deadline, class.as_str(), Duration::from_secs(60), now);
            assert_eq!(new.map(Timestamp::as_second), expected, "{deadline} {class}");
        };
        check(1_001, Class::Timeout, None);
        check(1_000, Class::Timeout, Some(1_060));
        check(5, Class::Expired, Some(1_060));
        check(1_001, Class::Expired, Some(1_060));
        check(2_000, Class::Expired, Some(2_000));
    }
}
