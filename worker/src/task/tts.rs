//! `tts`: one segment of speech, ready to be mixed.

use bytes::Bytes;
use common::blobs;
use common::config::Audio;
use common::crash;
use common::wire::Ticket;
use common::work::{Price, SpeechInput, SpeechResult};

use super::once::{Remembered, Work};
use super::room;
use super::speaking::speak;
use super::{Chain, Done, input, result_hash};
use crate::Env;
use crate::audio::{SAMPLE_RATE, segment};
use crate::engine::Call;
use crate::failure::Failure;
use crate::text::{normalise, speakable_units};

/// Bytes before the samples of a WAV file as [`segment::prepare`] writes it.
const WAV_HEADER: u64 = 44;

pub(super) async fn run(env: &Env, ticket: &Ticket, call: &Call) -> Result<Done, Failure> {
    let input: SpeechInput = input(env, ticket).await?;
    crash::on_text(&input.text);
    let hash = result_hash(ticket, &revision(&env.config.audio));
    if let Some(known) = find(env, ticket, &hash).await? {
        return Done::remembered(&known);
    }
    let known = async |known: Remembered<SpeechResult>| {
        env.blobs.keep(&[&known.result.audio, &mark_key(ticket, &hash)]).await?;
        Done::remembered(&known)
    };
    Work::new(env, ticket, &hash).once(known, speak_somewhere(env, ticket, &input, &hash, call)).await
}

async fn speak_somewhere(
    env: &Env,
    ticket: &Ticket,
    input: &SpeechInput,
    hash: &str,
    call: &Call,
) -> Result<Done, Failure> {
    let mut chain = Chain::of(env, ticket);
    let spoken = loop {
        let (name, call) = chain.next(call)?;
        match speak(env, ticket, name, input, &call).await {
            Ok(spoken) => break spoken,
            Err(failure) => chain.failed(name, failure)?,
        }
    };
    crash::point("worker.after_engine_before_store");
    // Another voice is another recording: it does not lie under the name of the one that was asked for.
    let hash = spoken.other_voice.as_ref().map_or(hash.to_owned(), |voice| {
        result_hash(ticket, &format!("{} {voice}", revision(&env.config.audio)))
    });
    let paid = call.bill.price();
    let speech = store(env, ticket, &hash, spoken.prepared, paid).await?;
    crash::point("worker.after_store_before_outcome");
    Work::new(env, ticket, &hash).remember(&speech, paid).await;
    let ms = speech.samples * 1_000 / u64::from(SAMPLE_RATE);
    env.measured.observe(&spoken.voice, speakable_units(&input.text, &input.language), ms).await;
    Ok(Done::new(&speech, 0)?.measured(&input.voice, input.text.chars().count()))
}

/// What the stored segment depends on besides the input: how numbers are read, and how it is cut, levelled and faded.
fn revision(audio: &Audio) -> String {
    revision_of(normalise::VERSION, segment::VERSION, audio)
}

pub(super) fn revision_of(text: u32, segment: u32, audio: &Audio) -> String {
    let Audio { target_lufs, max_true_peak_dbtp, fade_ms, .. } = audio;
    format!("text {text} segment {segment} {target_lufs} {max_true_peak_dbtp} {fade_ms}")
}

/// A segment that is already there, by the cache's word or by its commit mark in the blob store. Only a whole one counts.
async fn find(env: &Env, ticket: &Ticket, hash: &str) -> Result<Option<Remembered<SpeechResult>>, Failure> {
    let known = match Work::new(env, ticket, hash).known::<SpeechResult>().await {
        Some(known) => Some(known),
        None => match env.blobs.find(&mark_key(ticket, hash)).await? {
            Some(mark) => serde_json::from_slice(&mark).ok(),
            None => None,
        },
    };
    let Some(known) = known else { return Ok(None) };
    let Remembered { result: SpeechResult { audio, samples, .. }, .. } = &known;
    // First said that it is used, then looked at: from then on nobody collects it.
    env.blobs.keep(&[audio, &mark_key(ticket, hash)]).await?;
    let whole = env.blobs.size(audio).await? == Some(WAV_HEADER + 2 * samples);
    if !whole {
        // Gone or cut off: it is made again, under the same name.
        Work::new(env, ticket, hash).forget().await;
        env.blobs.delete(audio).await?;
        env.blobs.delete(&mark_key(ticket, hash)).await?;
    }
    Ok(whole.then_some(known))
}

/// Audio first, its JSON last as the commit mark. Whoever loses a race reports the winner's figures.
async fn store(
    env: &Env,
    ticket: &Ticket,
    hash: &str,
    prepared: segment::Prepared,
    paid: Price,
) -> Result<SpeechResult, Failure> {
    let audio = blobs::key(&ticket.tenant, "tts", hash, "wav");
    let speech = SpeechResult {
        audio,
        samples: prepared.samples,
        lufs: prepared.lufs,
        true_peak_dbtp: prepared.true_peak_dbtp,
    };
    if !room::store(env, &speech.audio, Bytes::from(prepared.wav)).await? {
        let size = env.blobs.size(&speech.audio).await?.unwrap_or(WAV_HEADER);
        if size != WAV_HEADER + 2 * speech.samples {
            // Another attempt spoke it a little differently and was first: what lies there is what counts.
            return adopt(env, ticket, hash, speech, paid).await;
        }
    }
    mark(env, ticket, hash, &speech, paid).await?;
    Ok(speech)
}

/// The winner's mark, or one of our own for his audio when he died before he could leave it.
async fn adopt(
    env: &Env,
    ticket: &Ticket,
    hash: &str,
    ours: SpeechResult,
    paid: Price,
) -> Result<SpeechResult, Failure> {
    if let Some(mark) = env.blobs.find(&mark_key(ticket, hash)).await?
        && let Ok(theirs) = serde_json::from_slice(&mark)
    {
        return Ok(theirs);
    }
    let bytes = env.blobs.get(&ours.audio).await?;
    let samples = (bytes.len() as u64).saturating_sub(WAV_HEADER) / 2;
    let theirs = SpeechResult { samples, ..ours };
    mark(env, ticket, hash, &theirs, paid).await?;
    Ok(theirs)
}

async fn mark(
    env: &Env,
    ticket: &Ticket,
    hash: &str,
    speech: &SpeechResult,
    paid: Price,
) -> Result<(), Failure> {
    let json = serde_json::to_vec(&Remembered { result: speech, paid }).map_err(anyhow::Error::from)?;
    room::store(env, &mark_key(ticket, hash), Bytes::from(json)).await?;
    Ok(())
}

fn mark_key(ticket: &Ticket, hash: &str) -> String {
    blobs::key(&ticket.tenant, "tts", hash, "json")
}
