//! Fixtures at once, for benchmarks of the fleet itself: five chapters of five segments.

use common::wire::Ticket;
use common::work::{
    ChapterPlan, Episode, Kind, MixResult, OutlineResult, Pause, Place, ScriptPart, SpeechResult, Turn,
};

use super::Done;
use crate::failure::Failure;

const CHAPTERS: usize = 5;
const SEGMENTS: usize = 5;

pub(super) async fn run(ticket: &Ticket) -> Result<Done, Failure> {
    let nothing = String::new;
    match ticket.kind {
        Kind::Outline => {
            let chapter = |index| ChapterPlan {
                title: format!("Chapter {index}"),
                brief: nothing(),
                source: None,
                budget: 0,
            };
            Done::new(
                &OutlineResult { title: "Noop".into(), chapters: (0..CHAPTERS).map(chapter).collect() },
                0,
            )
        }
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
            let mix = MixResult { audio: nothing(), cues: nothing(), frames: 1, duration_ms: 1, segments: 1 };
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
