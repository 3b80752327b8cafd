//! From "this has become possible" to the rows and tickets of it.

use anyhow::Context;
use common::config::Config;
use common::publisher::Outgoing;
use common::store::podcasts::{Podcast, State};
use common::store::tasks::{self, NewTask, Start};
use common::work::Kind;
use serde::Serialize;
use uuid::Uuid;

/// Completion credit, in microseconds of virtual time: work that finishes a podcast comes before work that begins another.
fn credit(kind: Kind) -> i64 {
    match kind {
        Kind::Outline => 0,
        Kind::Script => 1_000_000,
        Kind::Tts => 2_000_000,
        Kind::Mix => 5_000_000,
        Kind::Join => 10_000_000,
    }
}

/// A task of a podcast. Within a podcast, earlier chapters and segments rank first, so that it can be heard from its start.
pub(crate) fn task<T: Serialize>(
    podcast: &Podcast,
    config: &Config,
    kind: Kind,
    (chapter, segment): (i32, i32),
    input: &T,
) -> anyhow::Result<NewTask> {
    let engine = podcast.engines.engine(kind);
    let json =
        serde_json::value::to_raw_value(input).with_context(|| format!("the input of a {kind} task"))?;
    let identity = config.engines.get(engine).map(|engine| engine.identity()).unwrap_or_default();
    let input_hash = tasks::input_hash(kind, engine, &identity, &json);
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
        rank: podcast.rank - credit(kind) + i64::from(chapter) * 1_000 + i64::from(segment),
        engine: engine.to_owned(),
        input: json,
        input_hash,
        deadline: podcast.deadline,
        traceparent: podcast.traceparent.clone(),
        start: if podcast.state == State::Running { Start::Ready } else { Start::Held },
    })
}

/// The ticket of a task that is inserted as dispatched.
pub(crate) fn outgoing(task: &NewTask, seq: i64, config: &Config) -> Outgoing {
    Outgoing::first_attempt(task, seq, expected_ms(config, task.kind, &task.engine))
}

/// What a task usually takes: decides whether tickets share a message.
pub(crate) fn expected_ms(config: &Config, kind: Kind, engine: &str) -> u32 {
    match (config.engines.get(engine), kind) {
        (Some(engine), _) => engine.expected_ms,
        (None, _) => 1_000,
    }
}
