//! Edits: the new input of a dead task, checked and written.

use deadpool_postgres::Transaction;
use serde_json::Value;

use super::difference::{Change, difference};
use super::edit::{self, Edited};
use super::rows::{self, Stub, TaskOfPodcast};
use super::{Answer, impossible};
use crate::config::Config;
use crate::plan;
use crate::store::podcasts::Podcast;
use crate::store::tasks::{self, State};
use crate::work::Kind;

/// An edit that was found to be fit.
pub(super) struct Fit<'a> {
    task: &'a TaskOfPodcast,
    original: Value,
    edited: Edited,
}

pub(super) async fn check<'a>(
    tx: &Transaction<'_>,
    config: &Config,
    podcast: &Podcast,
    stub: &Stub,
    rows: &'a [TaskOfPodcast],
    edited: &Value,
) -> anyhow::Result<Result<Fit<'a>, Answer>> {
    let Some(task) = stub.task.and_then(|id| rows.iter().find(|task| task.row.id == id)) else {
        let reason = "it is about a deadline, and not about one task: there is no input to edit";
        return Ok(Err(impossible(reason, "Replay it as it is: the podcast gets its time again")));
    };
    if task.row.state != State::Dead {
        let reason =
            format!("its task is {} meanwhile, so its input cannot change any more", task.row.state.as_str());
        return Ok(Err(impossible(reason, "Replay it as it is: what is unfinished goes on")));
    }
    let Some(input) = tasks::input(tx, podcast.id, task.row.id).await? else {
        return Ok(Err(impossible("its task is gone", "Discard it")));
    };
    let original: Value = serde_json::from_str(input.get())?;
    Ok(match edit::check(config, podcast, task.row.kind, task.parts, &original, edited) {
        Ok(edited) => Ok(Fit { task, original, edited }),
        Err(faults) => Err(Answer::Faulty(faults)),
    })
}

/// The task gets its new input, under a new hash: whatever still comes of the old one does not count.
pub(super) async fn apply(
    tx: &Transaction<'_>,
    config: &Config,
    podcast: &mut Podcast,
    fit: &Fit<'_>,
) -> anyhow::Result<Vec<Change>> {
    let Fit { task, original, edited } = fit;
    let identity = plan::identity(config, &task.engine);
    let hash = tasks::input_hash(task.row.kind, &task.engine, &identity, &edited.json);
    rows::set_input(tx, podcast.id, task.row.id, &edited.json, &hash).await?;
    if let Some(brief) = &edited.brief {
        rows::set_brief(tx, podcast.id, brief).await?;
        podcast.brief = brief.clone();
    }
    if let (Some(text), Kind::Tts) = (&edited.text, task.row.kind) {
        rows::set_text(tx, podcast, task.row.chapter, task.segment, text).await?;
    }
    Ok(difference(original, &edited.input))
}
