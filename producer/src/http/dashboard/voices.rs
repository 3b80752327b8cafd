//! Voices, to be heard before one is chosen: each says a sentence, once, and what it said is kept.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use common::blobs;
use common::config::Config;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::super::App;
use super::super::extract::Params;
use super::super::files::{self, File};
use super::super::problem::Problem;
use crate::Caller;

/// Has a voice of the default engine say a sentence in a language: a WAV file.
pub type Say = fn(Arc<Config>, String, String) -> BoxFuture<'static, anyhow::Result<Vec<u8>>>;

/// Samples that are made at a time.
const AT_A_TIME: usize = 2;
/// Raised when samples are made in another way.
const REVISION: u32 = 1;

#[derive(Clone, Debug)]
pub(in crate::http) struct Samples {
    say: Say,
    room: Arc<Semaphore>,
}

impl Samples {
    pub(in crate::http) fn new(say: Say) -> Samples {
        Samples { say, room: Arc::new(Semaphore::new(AT_A_TIME)) }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Wanted {
    language: Option<String>,
}

pub(in crate::http) async fn sample(
    State(app): State<App>,
    caller: Caller,
    Path(voice): Path<String>,
    Params(wanted): Params<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let language = wanted.language.filter(|language| !language.is_empty()).unwrap_or_else(|| "en".into());
    let config = &app.env.config;
    let engine = config.engines.get(&config.defaults.tts);
    // Only what is configured: anything else would be asked of the engine, and paid.
    let known = engine.is_some_and(|engine| engine.voices.contains(&voice) && engine.speaks(&language));
    if !known {
        let detail = format!("No voice {voice} speaks {language} here");
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-found", detail));
    }
    let identity = engine.map(|engine| engine.identity()).unwrap_or_default();
    let what = format!("{}\0{identity}\0{voice}\0{language}\0{REVISION}", config.defaults.tts);
    let key = blobs::key(&caller.tenant, "sample", &blake3::hash(what.as_bytes()).to_hex(), "wav");
    let blobs = &app.env.blobs;
    let there = blobs.size(&key).await.map_err(|error| Problem::unexpected(&error))?.is_some();
    if !there {
        let Ok(_room) = app.samples.room.try_acquire() else {
            let detail = "Other voices are being heard just now. Try again in a moment";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_after(2));
        };
        let said = (app.samples.say)(config.clone(), voice.clone(), language).await;
        let wav = said.map_err(|error| {
            tracing::warn!(voice, error = format!("{error:#}"), "a voice could not be heard");
            let detail = "The voice cannot be heard here now. It may all the same speak a podcast";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no-sample", detail).retry_after(10)
        })?;
        blobs.put_if_absent(&key, Bytes::from(wav)).await.map_err(|error| Problem::unexpected(&error))?;
    }
    let file = File { key: &key, content_type: "audio/wav", title: Some(&voice), ending: "wav" };
    files::serve(blobs, file, &headers).await
}
