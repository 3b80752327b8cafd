//! `POST /v1/audio/speech`: says the first number of its text in tones.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Response, StatusCode};
use serde::Deserialize;

use super::call::{Call, idempotency_key};
use super::faults::{self, Filling, invalid};
use super::ledger::{Arrival, Tokens};
use super::plan::Plan;
use super::rules::{Asked, Endpoint, Misbehaviour};
use super::settings::Settings;
use super::socket::Switch;
use super::{Shared, containers, tones};

/// As of OpenAI.
const MOST_CHARACTERS: usize = 4096;
/// A WAV header that does not know its length.
const STREAMED_WAV: &[u8] =
    b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\xc0\x5d\0\0\x80\xbb\0\0\x02\0\x10\0data\xff\xff\xff\xff";

/// What is read of a request; the rest is the provider's business, and this one does not mind.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Request {
    input: String,
    voice: Voice,
    response_format: Option<Format>,
}

/// A name, or `{"id": …}`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Voice {
    Name(String),
    Custom { id: String },
}

impl Default for Voice {
    fn default() -> Self {
        Voice::Name(String::new())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Mp3,
    Wav,
    Pcm,
    Flac,
    Opus,
    Aac,
}

pub(super) async fn speak(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(switch): ConnectInfo<Switch>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let read = serde_json::from_slice::<Request>(&body);
    let (request, unreadable) = match read {
        Ok(request) => (request, None),
        Err(error) => (Request::default(), Some(error.to_string())),
    };
    let voice = match &request.voice {
        Voice::Name(voice) | Voice::Custom { id: voice } => voice.as_str(),
    };
    let asked = Asked { endpoint: Endpoint::Speech, text: &request.input, schema: None, voice };
    let arrival = Arrival {
        endpoint: Endpoint::Speech,
        input: &request.input,
        voice,
        idempotency_key: idempotency_key(&headers),
        bytes_in: body.len() as u64,
    };
    let mut call = Call::begin(shared.clone(), switch, &asked, &arrival);
    if let Some(wrong) = check(&request, unreadable) {
        return call.answer(wrong);
    }
    if let Err(refused) = call.enter(&shared.speech_gate).await {
        return call.answer(refused);
    }
    let wait = call.latency(shared.settings.speech.latency);
    call.wait(wait).await;
    let characters = request.input.chars().count() as f64;
    call.pay(Tokens::default(), characters * shared.settings.speech.price_per_million);
    let wrong = call.misbehaviour();
    // Minutes of audio are made here: other calls must not wait for that.
    let made = tokio::task::spawn_blocking(move || plan(&shared.settings, &request, wrong)).await;
    match made.map_err(anyhow::Error::from).and_then(|made| made) {
        Ok(plan) => call.answer(plan),
        Err(error) => call.answer(faults::problem(500, "server_error", None, None, &error.to_string())),
    }
}

fn check(request: &Request, unreadable: Option<String>) -> Option<Plan> {
    if let Some(reason) = unreadable {
        return Some(invalid("body", &format!("the request cannot be read: {reason}")));
    }
    let characters = request.input.chars().count();
    if characters == 0 || characters > MOST_CHARACTERS {
        let message = format!("input has {characters} characters; give 1 to {MOST_CHARACTERS}");
        return Some(invalid("input", &message));
    }
    match request.response_format {
        Some(Format::Opus | Format::Aac) => {
            Some(invalid("response_format", "this server knows mp3, wav, pcm and flac"))
        }
        _ => None,
    }
}

fn plan(settings: &Settings, request: &Request, wrong: Option<Misbehaviour>) -> anyhow::Result<Plan> {
    // A text without a number says 0.
    let number = tones::number_in(&request.input).unwrap_or(0);
    let samples = tones::encode(number, settings.speech.length.samples(&request.input));
    let seconds = samples.len() as f64 / f64::from(tones::RATE);
    let audio = |content_type, bytes: Vec<u8>| Plan::whole(StatusCode::OK, content_type, bytes);
    let wav = || audio("audio/wav", tones::wav(&samples));
    let good = || {
        anyhow::Ok(match request.response_format.unwrap_or(Format::Mp3) {
            Format::Pcm => audio("audio/pcm", containers::pcm(&samples)),
            Format::Flac => audio("audio/flac", containers::flac(&samples)),
            Format::Wav => wav(),
            Format::Mp3 | Format::Opus | Format::Aac => audio("audio/mpeg", containers::mp3(&samples)?),
        })
    };
    Ok(match wrong {
        None => good()?,
        Some(Misbehaviour::TruncatedAudio) => {
            let whole = tones::wav(&samples);
            audio("audio/wav", whole[..44 + (whole.len() - 44) / 4 * 2].to_vec()).misbehaved()
        }
        Some(Misbehaviour::HeaderOnlyWav) => audio("audio/wav", tones::wav(&[])).misbehaved(),
        // The header still says what was asked for, as it happens.
        Some(Misbehaviour::WrongContainerMp3) => audio("audio/wav", containers::mp3(&samples)?).misbehaved(),
        Some(Misbehaviour::WrongContainerOgg) => {
            audio("audio/wav", containers::ogg_opus(seconds)).misbehaved()
        }
        Some(Misbehaviour::LyingMp3) => audio("audio/mpeg", containers::lying_mp3(&samples)?).misbehaved(),
        Some(other) => faults::spoil(wav(), other, Filling { start: STREAMED_WAV, filler: 0 }),
    })
}
