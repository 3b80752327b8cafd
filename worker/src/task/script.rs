//! `script`: the turns of one chapter. Long scripts travel in parts, so that no outcome grows large and speech can start on
//! the first part.

use common::wire::{INLINE_BYTES, Ticket};
use common::work::{ScriptInput, ScriptPart, Turn};

use super::{Done, cached, input, remember, result_hash, text, to_json, writing_revision};
use crate::Env;
use crate::engine::{Built, Call};
use crate::failure::Failure;

pub(super) async fn run(env: &Env, ticket: &Ticket, call: &Call) -> Result<Done, Failure> {
    let input: ScriptInput = input(env, ticket).await?;
    let hash = result_hash(ticket, &writing_revision());
    if let Some(script) = cached::<ScriptPart>(env, ticket, &hash).await {
        return Ok(Done { cached: true, ..in_parts(ticket, script)? });
    }
    let source = text(env, input.plan.source.as_ref()).await?;
    let (engine, _permit) = env.engines.acquire(&ticket.engine).await?;
    let Built::Writing(engine) = engine else {
        return Err(Failure::permanent_config(format!("the engine \"{}\" cannot write", ticket.engine)));
    };
    let script = engine.script(&input, source.as_deref(), call).await?;
    remember(env, ticket, &hash, &script).await;
    in_parts(ticket, script)
}

/// Turns that an earlier attempt had accepted stay accepted: this attempt goes on after them.
fn in_parts(ticket: &Ticket, script: ScriptPart) -> Result<Done, Failure> {
    let units = script.turns.iter().map(|turn| turn.text.chars().count() as u64).sum();
    let committed = usize::try_from(ticket.committed_turns).unwrap_or(0);
    let mut parts = Vec::new();
    let mut part = ScriptPart::default();
    let mut bytes = 0;
    for turn in script.turns.into_iter().skip(committed) {
        let size = size(&turn);
        if bytes + size > INLINE_BYTES && !part.turns.is_empty() {
            parts.push(to_json(&std::mem::take(&mut part))?);
            bytes = 0;
        }
        bytes += size;
        part.turns.push(turn);
    }
    // The last part may be empty: everything was accepted before, and the chapter only has to be closed.
    parts.push(to_json(&part)?);
    Ok(Done { parts, units, cached: false })
}

fn size(turn: &Turn) -> usize {
    turn.text.len() + 64
}
