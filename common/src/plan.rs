//! From "this has become possible" to the row of a task.

use anyhow::Context;
use serde::Serialize;
use uuid::Uuid;

use crate::config::Config;
use crate::order;
use crate::store::podcasts::{Podcast, State};
use crate::store::tasks::{self, NewTask, Start};
use crate::store::{Transaction, chapters};
use crate::work::{JoinInput, Kind, MixInput, Pause, Place};

/// A task of a podcast. Within a podcast, earlier chapters and segments rank first, so that it can be heard from its start.
pub fn task<T: Serialize>(
    podcast: &Podcast,
    config: &Config,
    kind: Kind,
    (chapter, segment): (i32, i32),
    input: &T,
) -> anyhow::Result<NewTask> {
    let engine = podcast.engines.engine(kind);
    let json =
        serde_json::value::to_raw_value(input).with_context(|| format!("the input of a {kind} task"))?;
    let input_hash = tasks::input_hash(kind, engine, &identity(config, engine), &json);
    Ok(NewTask {
        id: Uuid::now_v7(),
        podcast_id: podcast.id,
        tenant: podcast.tenant.clone(),
        principal: podcast.principal.clone(),
        generation: podcast.generation,
        kind,
        chapter,
        segment,
        lane: podcast.lane,
        rank: podcast.rank - order::credit_us(kind) + i64::from(chapter) * 1_000 + i64::from(segment),
        engine: engine.to_owned(),
        input: json,
        input_hash,
        deadline: podcast.deadline,
        traceparent: podcast.traceparent.clone(),
        start: if podcast.state == State::Running { Start::Ready } else { Start::Held },
    })
}

/// What distinguishes an engine's results from those of another one of the same name.
pub fn identity(config: &Config, engine: &str) -> String {
    config.engines.get(engine).map(|engine| engine.identity()).unwrap_or_default()
}

/// What a transcript says in place of what is left out.
fn missing(language: &str) -> &'static str {
    if language == "ko" || language.starts_with("ko-") {
        "[이 대목은 소리로 옮기지 못해 빠졌습니다.]"
    } else {
        "[A passage is missing here: it could not be spoken.]"
    }
}

/// The mix of a full chapter: its input is read from the rows of its segments.
pub async fn mix(
    tx: &Transaction<'_>,
    podcast: &Podcast,
    config: &Config,
    chapter: i32,
) -> anyhow::Result<NewTask> {
    let mut segments = chapters::spoken_segments(tx, podcast.id, podcast.generation, chapter).await?;
    for gap in segments.iter_mut().filter(|segment| segment.place == Place::Gap) {
        gap.text = missing(&podcast.brief.language).to_owned();
    }
    // A turn may have been accepted before anybody knew that it would be the last.
    if let Some(last) = segments.last_mut() {
        last.pause = Pause::Chapter;
    }
    task(podcast, config, Kind::Mix, (chapter, 0), &MixInput { segments })
}

/// The join of a podcast whose chapters are all mixed: its input is read from their rows.
pub async fn join(tx: &Transaction<'_>, podcast: &Podcast, config: &Config) -> anyhow::Result<NewTask> {
    let input = JoinInput {
        title: podcast.title.clone().unwrap_or_default(),
        language: podcast.brief.language.clone(),
        chapters: chapters::mixed_chapters(tx, podcast.id, podcast.generation).await?,
    };
    task(podcast, config, Kind::Join, (0, 0), &input)
}
