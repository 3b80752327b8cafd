//! Parts of a result that leave while the rest is still being made.

use common::work::{ScriptPart, Turn};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::to_json;
use crate::failure::Failure;

/// Where finished parts go. A part is accepted when it is taken: it is never withdrawn.
pub(crate) trait PartSink: Sync {
    fn part(&self, part: Box<RawValue>) -> impl Future<Output = ()> + Send;
}

/// Sends turns on as parts while `writing` goes on, as many in a part as are there. When `writing` ends, with success or
/// not, everything it gave has been sent.
pub(super) async fn sent_on<T>(
    writing: impl Future<Output = T>,
    mut turns: mpsc::UnboundedReceiver<Turn>,
    parts: &impl PartSink,
) -> Result<T, Failure> {
    tokio::pin!(writing);
    loop {
        tokio::select! {
            biased;
            Some(first) = turns.recv() => send(first, &mut turns, parts).await?,
            done = &mut writing => {
                while let Ok(first) = turns.try_recv() {
                    send(first, &mut turns, parts).await?;
                }
                return Ok(done);
            }
        }
    }
}

async fn send(
    first: Turn,
    turns: &mut mpsc::UnboundedReceiver<Turn>,
    parts: &impl PartSink,
) -> Result<(), Failure> {
    let mut part = ScriptPart { turns: vec![first] };
    let mut bytes = 0;
    while bytes < super::script::PART_BYTES
        && let Ok(turn) = turns.try_recv()
    {
        bytes += super::script::size(&turn);
        part.turns.push(turn);
    }
    parts.part(to_json(&part)?).await;
    Ok(())
}
