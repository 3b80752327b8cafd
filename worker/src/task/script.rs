//! `script`: the turns of one chapter. They travel in parts: an engine that writes turn by turn has each one spoken while it
//! writes the next, and no outcome grows large.

use common::config::EngineType;
use common::wire::{INLINE_BYTES, Ticket};
use common::work::{Price, ScriptInput, ScriptPart, Turn};

use super::once::{Remembered, Work};
use super::parts::{PartSink, sent_on};
use super::{Chain, Done, as_asked, input, pace, pace_step, result_hash, text, to_json, writing_revision};
use crate::Env;
use crate::engine::pace::Pace;
use crate::engine::{Built, Call, Draft, WritingEngine};
use crate::failure::Failure;

/// About as much as one part holds.
pub(super) const PART_BYTES: usize = INLINE_BYTES;

/// About a tenth each.
const STEPS_A_DOUBLING: f64 = 7.0;

/// What an engine wrote, and whether it went on after what had been accepted.
struct Written {
    rest: ScriptPart,
    goes_on: bool,
    /// All of it is the work of the ticket's own engine.
    as_asked: bool,
}

pub(super) async fn run(
    env: &Env,
    ticket: &Ticket,
    call: Call,
    parts: &impl PartSink,
) -> Result<Done, Failure> {
    let input: ScriptInput = input(env, ticket).await?;
    let pace = pace(env, &input.brief);
    let hash = result_hash(ticket, &revision(env, ticket, &input, &pace).await);
    let work = Work::new(env, ticket, &hash);
    let call = Call { pace, ..call };
    // What an earlier attempt had accepted may not be how another script of this chapter begins.
    if ticket.committed_turns > 0 {
        return write_on(env, ticket, &input, &work, call, parts).await;
    }
    if let Some(known) = work.known::<ScriptPart>().await {
        return remembered(known);
    }
    work.once(async |known| remembered(known), write_on(env, ticket, &input, &work, call, parts)).await
}

fn remembered(known: Remembered<ScriptPart>) -> Result<Done, Failure> {
    Ok(Done { cached: true, saved: known.paid, ..in_parts(known.result.turns, 0)? })
}

/// Writes the chapter, or what follows after the turns that were accepted before.
async fn write_on(
    env: &Env,
    ticket: &Ticket,
    input: &ScriptInput,
    work: &Work<'_>,
    call: Call,
    parts: &impl PartSink,
) -> Result<Done, Failure> {
    let source = text(env, input.plan.source.as_ref()).await?;
    let (draft, turns) = Draft::after(ticket.written.clone());
    let call = Call { draft, ..call };
    let writing = write_somewhere(env, ticket, input, source.as_deref(), &call);
    let written = sent_on(writing, turns, parts).await??;
    let given = call.draft.given();
    let committed = usize::try_from(ticket.committed_turns).unwrap_or(0);
    let skip = if written.goes_on { 0 } else { committed + given.len() };
    // What a fallback wrote, or only went on with, is not what was asked for.
    if committed == 0 && written.as_asked {
        let turns = if written.goes_on {
            [given, written.rest.turns.clone()].concat()
        } else {
            written.rest.turns.clone()
        };
        work.remember(&ScriptPart { turns }, call.bill.price()).await;
    }
    let paid = call.bill.sum().0 > 0;
    let units = written.rest.turns.iter().map(|turn| turn.text.chars().count() as u64).sum();
    let done = Done { units: if paid { 0 } else { units }, ..in_parts(written.rest.turns, skip)? };
    // The rest of a script says nothing of a whole one.
    Ok(if committed == 0 { done.measured("", 0) } else { done })
}

/// What a script depends on besides its input. One that was written to a length is not the same for a voice that was found
/// to be a tenth faster or slower since.
async fn revision(env: &Env, ticket: &Ticket, input: &ScriptInput, pace: &Pace) -> String {
    let paced =
        env.config.engines.get(&ticket.engine).is_some_and(|engine| engine.r#type == EngineType::OpenAi);
    if !paced || input.plan.budget == 0 {
        return writing_revision();
    }
    format!("{} {}", writing_revision(), pace_step(pace, &input.brief, STEPS_A_DOUBLING).await)
}

async fn write_somewhere(
    env: &Env,
    ticket: &Ticket,
    input: &ScriptInput,
    source: Option<&str>,
    call: &Call,
) -> Result<Written, Failure> {
    let mut chain = Chain::of(env, ticket);
    loop {
        let (name, call) = chain.next(call)?;
        match write(env, ticket, name, input, source, &call).await {
            Ok(written) => return Ok(written),
            Err(failure) => chain.failed(name, failure)?,
        }
    }
}

async fn write(
    env: &Env,
    ticket: &Ticket,
    name: &str,
    input: &ScriptInput,
    source: Option<&str>,
    call: &Call,
) -> Result<Written, Failure> {
    let as_asked = as_asked(env, ticket, name);
    let (engine, permit) = env.engines.acquire(name, ticket).await?;
    let written = match engine {
        Built::Writing(engine) => write_with(&*engine, ticket, name, input, source, call).await,
        _ => Err(Failure::permanent_config(format!("the engine \"{name}\" cannot write"))),
    };
    permit.settle(written).await.map(|written| Written { as_asked, ..written })
}

async fn write_with(
    engine: &dyn WritingEngine,
    ticket: &Ticket,
    name: &str,
    input: &ScriptInput,
    source: Option<&str>,
    call: &Call,
) -> Result<Written, Failure> {
    let begun = !call.draft.written().is_empty() || !call.draft.given().is_empty();
    // An engine that always writes the same goes on after its own turns only.
    if begun && !engine.goes_on() && name != ticket.engine {
        return Err(Failure::transient(format!("engine {name} cannot go on where another one stopped")));
    }
    let rest = engine.script(input, source, call).await?;
    Ok(Written { rest, goes_on: engine.goes_on(), as_asked: true })
}

/// Turns that were accepted before stay accepted: `skip` of them are not sent again.
fn in_parts(turns: Vec<Turn>, skip: usize) -> Result<Done, Failure> {
    let mut parts = Vec::new();
    let mut part = ScriptPart::default();
    let mut bytes = 0;
    for turn in turns.into_iter().skip(skip) {
        let size = size(&turn);
        if bytes + size > PART_BYTES && !part.turns.is_empty() {
            parts.push(to_json(&std::mem::take(&mut part))?);
            bytes = 0;
        }
        bytes += size;
        part.turns.push(turn);
    }
    // The last part may be empty: everything was accepted before, and the chapter only has to be closed.
    parts.push(to_json(&part)?);
    Ok(Done { parts, units: 0, cached: false, saved: Price::default(), measure: None })
}

pub(super) fn size(turn: &Turn) -> usize {
    turn.text.len() + 64
}
