//! Messages between the roles.

use std::collections::BTreeMap;
use std::time::Duration;

use collector::advance::{self, Rows};
use common::config::Policy;
use common::policy::Budgets;
use common::store::chapters::Chapter;
use common::store::podcasts::State as PodcastState;
use common::store::tasks::{State, Task};
use common::topology::Lane;
use common::wire::{self, Decoded, Hint, Input, Outcome, Pulse, Ticket, TicketStub};
use common::work::{JoinInput, Kind, MixInput, OutlineInput, ScriptInput, SpeechInput};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::world;

pub(crate) fn ticket(bytes: &[u8]) {
    let Some(decoded) = read::<Ticket>(bytes) else { return };
    for (element, _) in &decoded.unreadable {
        // What a worker hands back when the ticket is newer than itself.
        let _ = serde_json::from_str::<TicketStub>(element.get());
    }
    for ticket in &decoded.items {
        if let Input::Inline(json) = &ticket.input {
            match ticket.kind {
                Kind::Outline => settled::<OutlineInput>(json.get()),
                Kind::Script => settled::<ScriptInput>(json.get()),
                Kind::Tts => settled::<SpeechInput>(json.get()),
                Kind::Mix => settled::<MixInput>(json.get()),
                Kind::Join => settled::<JoinInput>(json.get()),
            }
        }
    }
}

/// Outcomes, and what they change in a podcast that has a task of each kind.
pub(crate) fn outcome(bytes: &[u8]) {
    let Some(decoded) = read::<Outcome>(bytes) else { return };
    let mut outcomes = decoded.items;
    let mut rows = rows();
    for (place, outcome) in outcomes.iter_mut().enumerate() {
        // Ids and hashes are hard to guess, and workers send right ones.
        if place % 4 != 3 {
            outcome.task = id(outcome.kind);
            outcome.input_hash = "h".into();
            outcome.generation = 1;
        }
    }
    let changes = advance::apply(&mut rows, &outcomes, &|_: &str| Policy::default(), world::now(), || 0.5);
    assert!(changes.attempts.len() <= outcomes.len());
    let finished: Vec<Uuid> = changes.finished.iter().map(|finished| finished.id).collect();
    for (place, task) in finished.iter().enumerate() {
        assert!(!finished[..place].contains(task), "a task is done twice");
        assert!(rows.tasks.get(task).is_some_and(|task| task.state == State::Done));
        assert!(changes.moved.iter().all(|moved| moved.id != *task), "and is tried again");
    }
    for podcast in rows.podcasts.values() {
        let sensible = [podcast.chapters_total, podcast.segments_total, podcast.segments_done];
        assert!(sensible.iter().all(|count| *count >= 0), "{podcast:?}");
    }
}

pub(crate) fn pulse(bytes: &[u8]) {
    settled::<Pulse>(&crate::text(bytes));
    settled::<Hint>(&crate::text(bytes));
    let _ = read::<Hint>(bytes);
}

/// Reads a message; what was read is written and read again as the same.
fn read<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Option<Decoded<T>> {
    let decoded = wire::decode::<T>(bytes).ok()?;
    let written = wire::encode(&decoded.items);
    assert!(written.is_ok(), "{written:?}");
    let written = written.unwrap_or_default();
    let again = wire::decode::<T>(&written);
    assert!(again.is_ok(), "{:?}", again.err());
    if let Ok(again) = again {
        assert!(again.unreadable.is_empty() && again.items.len() == decoded.items.len());
        assert!(wire::encode(&again.items).is_ok_and(|twice| twice == written), "it changes when it is read");
    }
    Some(decoded)
}

/// The same of a single value.
fn settled<T: DeserializeOwned + Serialize>(json: &str) {
    let Ok(value) = serde_json::from_str::<T>(json) else { return };
    let written = serde_json::to_string(&value).unwrap_or_default();
    let again = serde_json::from_str::<T>(&written);
    assert!(again.is_ok(), "{:?} in {written}", again.err());
    // Fractions are read to within the last digit; none of ours decides anything.
    let fractional = serde_json::from_str(&written).is_ok_and(|value| has_fraction(&value));
    assert!(
        fractional
            || again.is_ok_and(|again| serde_json::to_string(&again).is_ok_and(|twice| twice == written))
    );
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(entries) => entries.iter().any(has_fraction),
        Value::Object(fields) => fields.values().any(has_fraction),
        _ => false,
    }
}

fn id(kind: Kind) -> Uuid {
    Uuid::from_u128(kind as u128 + 1)
}

fn rows() -> Rows {
    let podcast = world::podcast(PodcastState::Running);
    let task = |kind: Kind| Task {
        podcast_id: podcast.id,
        id: id(kind),
        tenant: "t".into(),
        principal: "p".into(),
        generation: 1,
        kind,
        chapter: 0,
        segment: 0,
        state: State::Dispatched,
        lane: Lane::Normal,
        rank: 0,
        engine: "e".into(),
        input_hash: "h".into(),
        attempt: 1,
        budgets: Budgets::default(),
        parts: 0,
        turns: 0,
        deadline: world::now() + Duration::from_secs(3_600),
    };
    let chapter = Chapter {
        podcast_id: podcast.id,
        generation: 1,
        chapter: 0,
        written: false,
        segments_total: 1,
        segments_done: 0,
        mix: None,
    };
    Rows {
        tasks: Kind::ALL.into_iter().map(|kind| (id(kind), task(kind))).collect(),
        chapters: BTreeMap::from([((podcast.id, 1, 0), chapter)]),
        podcasts: BTreeMap::from([(podcast.id, podcast)]),
    }
}
