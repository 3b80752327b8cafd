//! `outline`: title and chapters, each with the part of the source that it tells.

use bytes::Bytes;
use common::blobs;
use common::config::EngineType;
use common::wire::{INLINE_BYTES, Ticket};
use common::work::{OutlineInput, OutlineResult, TextRef};

use super::hearing::hear_voices;
use super::once::{Remembered, Work};
use super::{Chain, Done, as_asked, input, pace, pace_step, result_hash, room, text, writing_revision};
use crate::Env;
use crate::engine::pace::Pace;
use crate::engine::{Built, Call};
use crate::failure::Failure;

/// About a thirtieth each: what the built-in writer chose is not put right by what speech lasts.
const STEPS_A_DOUBLING: f64 = 20.0;

pub(super) async fn run(env: &Env, ticket: &Ticket, call: &Call) -> Result<Done, Failure> {
    let mut input: OutlineInput = input(env, ticket).await?;
    let source = text(env, input.source.as_ref()).await?;
    let mut revision = writing_revision();
    if let (Some(TextRef::Url(_)), Some(page)) = (&input.source, &source) {
        // It may say something else tomorrow: what is remembered is about what it says now.
        revision.push_str(&format!(" page {}", blake3::hash(page.as_bytes())));
        input.source = Some(TextRef::Inline(page.clone()));
    }
    let source = source.as_deref();
    // The episode has a length to keep: the one that was asked for, or that of the model's plan.
    if !is(env, &ticket.engine, EngineType::OpenAi) && input.brief.target_minutes.is_some() {
        hear_voices(env, ticket, &input.brief, source, call).await;
        revision.push(' ');
        revision.push_str(&pace_step(&pace(env, &input.brief), &input.brief, STEPS_A_DOUBLING).await);
    }
    let hash = result_hash(ticket, &revision);
    let work = Work::new(env, ticket, &hash);
    if let Some(known) = work.known::<OutlineResult>().await {
        return Done::remembered(&known);
    }
    let known = async |known: Remembered<OutlineResult>| Done::remembered(&known);
    work.once(known, plan_somewhere(env, ticket, &input, source, &work, call)).await
}

async fn plan_somewhere(
    env: &Env,
    ticket: &Ticket,
    input: &OutlineInput,
    source: Option<&str>,
    work: &Work<'_>,
    call: &Call,
) -> Result<Done, Failure> {
    if is(env, &ticket.engine, EngineType::OpenAi) {
        hear_voices(env, ticket, &input.brief, source, call).await;
    }
    let pace = pace(env, &input.brief);
    let mut chain = Chain::of(env, ticket);
    let (name, mut outline) = loop {
        let (name, call) = chain.next(call)?;
        match plan(env, ticket, name, input, &pace, source, &call).await {
            Ok(outline) => break (name, outline),
            Err(failure) => chain.failed(name, failure)?,
        }
    };
    for chapter in &mut outline.chapters {
        if let Some(TextRef::Inline(text)) = &chapter.source
            && text.len() > INLINE_BYTES / 2
        {
            chapter.source = Some(TextRef::Blob(stow(env, ticket, text).await?));
        }
    }
    // What a fallback planned is not what was asked for: it is good enough now, and not to be had again.
    if as_asked(env, ticket, name) {
        work.remember(&outline, call.bill.price()).await;
    }
    let paid = call.bill.sum().0 > 0;
    Done::new(&outline, source.filter(|_| !paid).map_or(0, |source| source.chars().count() as u64))
}

async fn plan(
    env: &Env,
    ticket: &Ticket,
    name: &str,
    input: &OutlineInput,
    pace: &Pace,
    source: Option<&str>,
    call: &Call,
) -> Result<OutlineResult, Failure> {
    let mut input = input.clone();
    // It chooses sentences once and for all; a language model is told the measured length with each chapter.
    if is(env, name, EngineType::Extractive)
        && let Some(per_minute) = pace.per_minute(&input.brief).await
    {
        input.brief.pace.per_minute = per_minute;
    }
    let (engine, permit) = env.engines.acquire(name, ticket).await?;
    let outline = match engine {
        Built::Writing(engine) => engine.outline(&input, source, call).await,
        _ => Err(Failure::permanent_config(format!("the engine \"{name}\" cannot write"))),
    };
    permit.settle(outline).await
}

fn is(env: &Env, engine: &str, r#type: EngineType) -> bool {
    env.config.engines.get(engine).is_some_and(|engine| engine.r#type == r#type)
}

/// A long chapter travels as a blob, so that the outcome and the chapter's ticket stay small.
async fn stow(env: &Env, ticket: &Ticket, text: &str) -> Result<String, Failure> {
    let key = blobs::key(&ticket.tenant, "source", blake3::hash(text.as_bytes()).to_hex().as_str(), "txt");
    room::store(env, &key, Bytes::copy_from_slice(text.as_bytes())).await?;
    Ok(key)
}
