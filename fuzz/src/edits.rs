//! Inputs of dead tasks, edited by support.

use std::sync::OnceLock;

use common::store::podcasts::State;
use common::store::replay::edit;
use common::work::{ChapterPlan, Kind, OutlineInput, SpeechInput, TextRef};
use serde_json::{Value, json};

use crate::requests::{has_nul, refused};
use crate::{choice, world};

pub(crate) fn edit(bytes: &[u8]) {
    let Some((choice, rest)) = choice(bytes) else { return };
    let Ok(edited) = serde_json::from_slice::<Value>(rest) else { return };
    let (kind, original) = &originals()[choice % originals().len()];
    let podcast = world::podcast(State::Failed);
    match edit::check(world::config(), &podcast, *kind, 0, original, &edited) {
        Ok(checked) => {
            assert!(!has_nul(checked.json.get().as_bytes()), "PostgreSQL keeps no NUL");
            let again = edit::check(world::config(), &podcast, *kind, 0, original, &checked.input);
            // Only when nothing of the edit was left after all is it the same as before.
            assert!(again.is_ok() || checked.input == *original, "{again:?}");
        }
        Err(faults) => refused(&faults),
    }
}

fn originals() -> &'static [(Kind, Value)] {
    static ORIGINALS: OnceLock<Vec<(Kind, Value)>> = OnceLock::new();
    ORIGINALS.get_or_init(|| {
        let plan = ChapterPlan {
            title: "Spring tides".into(),
            brief: "Why they are high".into(),
            source: Some(TextRef::Blob("t/sources/1".into())),
            budget: 100,
        };
        let outline = OutlineInput {
            brief: world::brief("en"),
            source: Some(TextRef::Inline("The sea comes back.".into())),
            chapters: Vec::new(),
        };
        let speech =
            SpeechInput { text: "Twice a day.".into(), voice: "f2".into(), language: "en".into(), take: 0 };
        vec![
            (Kind::Outline, json!(outline)),
            (Kind::Script, json!(world::script("en", plan))),
            (Kind::Tts, json!(speech)),
            (Kind::Mix, json!({"segments": []})),
        ]
    })
}
