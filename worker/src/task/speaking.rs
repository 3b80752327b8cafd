//! One segment from one engine: in pieces that it takes at once, each checked, joined and made ready to be mixed.

use bytes::Bytes;
use common::config::Engines;
use common::wire::Ticket;
use common::work::SpeechInput;

use crate::Env;
use crate::audio::segment;
use crate::engine::pace::VoiceName;
use crate::engine::{Built, Call, SpeechEngine};
use crate::failure::Failure;

/// More pieces than this are no segment.
const MAX_PIECES: usize = 200;

/// A segment as an engine spoke it.
pub(super) struct Spoken {
    pub(super) prepared: segment::Prepared,
    pub(super) voice: VoiceName,
    /// Engine and voice, where they are not those that were asked for.
    pub(super) other_voice: Option<String>,
}

/// Has the engine `name` speak the segment: the ticket's own, or one of its fallbacks.
pub(super) async fn speak(
    env: &Env,
    ticket: &Ticket,
    name: &str,
    input: &SpeechInput,
    call: &Call,
) -> Result<Spoken, Failure> {
    let voice = voice(&env.config.engines, &ticket.engine, name, &input.voice)?;
    let (engine, mut permit) = env.engines.acquire(name, ticket).await?;
    let asked = SpeechInput { voice: voice.name.clone(), ..input.clone() };
    let recordings = match engine {
        Built::Speech(engine) => record(env, name, &*engine, &asked, call).await,
        _ => Err(Failure::permanent_config(format!("the engine \"{name}\" cannot speak"))),
    };
    permit.free();
    // What cannot be used as a recording is the engine's failure, too.
    let prepared = match recordings {
        Ok(recordings) => prepare(env, name, recordings).await,
        Err(failure) => Err(failure),
    };
    let prepared = permit.settle(prepared).await?;
    Ok(Spoken {
        prepared,
        voice: VoiceName::new(&env.config, name, &voice.name, &input.language),
        other_voice: voice.changed.then(|| format!("{name} {}", voice.name)),
    })
}

async fn prepare(
    env: &Env,
    name: &str,
    recordings: Vec<(Bytes, String)>,
) -> Result<segment::Prepared, Failure> {
    let settings = env.config.audio.clone();
    tokio::task::spawn_blocking(move || segment::prepare_joined(&recordings, &settings))
        .await
        .map_err(|error| Failure::transient("decoding the recording panicked").because(error))?
        .map_err(|rejected| Failure::new(rejected.class(), format!("engine {name}: {rejected}")))
}

/// All recordings of a segment together: its longest, a quarter of an hour, as 48 kHz stereo in 16 bits, and half of that again.
const MAX_BYTES: usize = 256 * 1024 * 1024;

/// The recordings of all pieces with their texts, each paid for when it came.
async fn record(
    env: &Env,
    name: &str,
    engine: &dyn SpeechEngine,
    input: &SpeechInput,
    call: &Call,
) -> Result<Vec<(Bytes, String)>, Failure> {
    let pieces = engine.pieces(&input.text, &input.language);
    if pieces.len() > MAX_PIECES {
        let message =
            format!("the segment would be spoken in {} pieces; at most {MAX_PIECES} are", pieces.len());
        return Err(Failure::permanent_input(message));
    }
    let count = pieces.len();
    let (mut recordings, mut bytes) = (Vec::with_capacity(count), 0);
    for (place, text) in pieces.into_iter().enumerate() {
        let mut call = call.clone();
        if count > 1 {
            call.idempotency_key.push_str(&format!("-p{place}"));
        }
        let piece = SpeechInput { text, ..input.clone() };
        let recording = engine.speak(&piece, &call).await?;
        let cost = env.config.engines.get(name).map_or(0, |engine| engine.cost_micros(recording.units, 0, 0));
        call.bill.add(recording.units, cost);
        bytes += recording.bytes.len();
        if bytes > MAX_BYTES {
            let message =
                format!("engine {name}: the recordings of a segment have more than {MAX_BYTES} bytes");
            return Err(Failure::transient(message));
        }
        recordings.push((recording.bytes, piece.text));
    }
    Ok(recordings)
}

#[derive(Debug, PartialEq)]
struct Voice {
    name: String,
    changed: bool,
}

/// The voice to ask of `engine` where `first` was to speak with `voice`. Engines that sound alike keep it; others get the
/// voice at the same place in their list, so that two speakers stay two, and only if that is allowed.
fn voice(engines: &Engines, first: &str, engine: &str, voice: &str) -> Result<Voice, Failure> {
    let same = |changed| Ok(Voice { name: voice.to_owned(), changed });
    let (Some(settings), Some(other)) = (engines.get(first), engines.get(engine)) else { return same(false) };
    if first == engine || settings.sounds_like(other) {
        return same(false);
    }
    if !settings.fallback_changes_voice {
        let message =
            format!("engine {engine} would speak with another voice, which engines.{first} does not allow");
        return Err(Failure::permanent_config(message));
    }
    if other.voices.is_empty() || other.voices.iter().any(|known| known == voice) {
        return same(true);
    }
    let place = settings.voices.iter().position(|known| known == voice).unwrap_or(0);
    let name = other.voices.get(place % other.voices.len()).cloned().unwrap_or_default();
    Ok(Voice { name, changed: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voice_changes_only_where_it_may_and_speakers_stay_apart() {
        let engine = |model: &str, voices: &str, changes: bool| {
            serde_json::json!({"type": "openai", "kinds": "tts", "url": "http://a", "model": model, "voices": voices,
                               "fallback_changes_voice": changes})
        };
        let table = serde_json::json!({
            "strict": engine("m", "x,y", false), "twin": engine("m", "x,y,z", false),
            "free": engine("m", "x,y", true), "other": engine("n", "p,q", false), "one": engine("n", "p", false),
        });
        let engines: Engines = serde_json::from_value(table).unwrap();
        let check = |first: &str, second: &str, asked: &str, expected: Option<(&str, bool)>| {
            let found = voice(&engines, first, second, asked).ok().map(|voice| (voice.name, voice.changed));
            assert_eq!(
                found,
                expected.map(|(name, changed)| (name.to_owned(), changed)),
                "{first} {second} {asked}"
            );
        };
        check("strict", "strict", "x", Some(("x", false)));
        check("strict", "twin", "y", Some(("y", false)));
        check("strict", "other", "x", None);
        check("free", "other", "x", Some(("p", true)));
        check("free", "other", "y", Some(("q", true)));
        check("free", "one", "y", Some(("p", true)));
    }
}
