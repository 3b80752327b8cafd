//! Fixtures at once, for benchmarks of the fleet itself: the chapters that were given, else five, of five segments.

use common::wire::{Input, Ticket};
use common::work::{
    ChapterPlan, Episode, Kind, MixResult, OutlineInput, OutlineResult, Pause, Place, ScriptPart,
    SpeechResult, Turn,
};

use super::Done;
use crate::failure::Failure;

const CHAPTERS: usize = 5;
const SEGMENTS: usize = 5;

pub(super) async fn run(ticket: &Ticket) -> Result<Done, Failure> {
    let nothing = String::new;
    match ticket.kind {
        Kind::Outline => Done::new(&outline(ticket), 0),
        Kind::Script => {
            let turn = |index| Turn {
                speaker: 0,
                text: format!("Segment {index}."),
                pause: Pause::Turn,
                place: Place::Body,
            };
            Done::new(&ScriptPart { turns: (0..SEGMENTS).map(turn).collect() }, 0)
        }
        Kind::Tts => {
            let speech = SpeechResult { audio: nothing(), samples: 1, lufs: None, true_peak_dbtp: -1.0 };
            Done::new(&speech, 0)
        }
        Kind::Mix => {
            let mix = MixResult {
                audio: nothing(),
                cues: nothing(),
                frames: 1,
                duration_ms: 1,
                segments: 1,
                loudness: Vec::new(),
                true_peak_dbtp: None,
            };
            Done::new(&mix, 0)
        }
        Kind::Join => Done::new(
            &Episode {
                audio: nothing(),
                transcript_vtt: nothing(),
                transcript_srt: nothing(),
                transcript_json: nothing(),
                transcript_txt: nothing(),
                chapters_json: nothing(),
                bytes: 0,
                duration_ms: 0,
                segments: 0,
                lufs: None,
                true_peak_dbtp: None,
            },
            0,
        ),
    }
}

fn outline(ticket: &Ticket) -> OutlineResult {
    let plan = |title: String, brief: String| ChapterPlan { title, brief, source: None, budget: 0 };
    let given = match &ticket.input {
        Input::Inline(json) => serde_json::from_str::<OutlineInput>(json.get()).ok(),
        Input::Blob(_) => None,
    };
    let title = given.as_ref().and_then(|given| given.brief.title.clone());
    let given = given.map(|given| given.chapters).unwrap_or_default();
    let mut chapters: Vec<ChapterPlan> =
        given.into_iter().map(|chapter| plan(chapter.title, chapter.brief.unwrap_or_default())).collect();
    if chapters.is_empty() {
        chapters = (0..CHAPTERS).map(|index| plan(format!("Chapter {index}"), String::new())).collect();
    }
    OutlineResult { title: title.unwrap_or_else(|| "Noop".to_owned()), chapters }
}
