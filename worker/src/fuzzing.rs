//! Decoders of what comes from outside, each by itself, for the crate `fuzz`. Nothing in the fleet calls this; it is compiled always, so
//! that the fleet is built once, with one set of features.

use common::work::{OutlineInput, OutlineResult, ScriptInput, ScriptPart};
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::audio::{Rejected, decode, wav};
pub use crate::engine::openai_chat::fuzzing as chat;
use crate::engine::openai_http::answer;
use crate::engine::{extractive, openai_speech};
use crate::failure::Failure;

/// A recording as mono samples at 24 kHz, and how much of it is clipped, from 0 to 1.
pub fn decode(bytes: &[u8]) -> Result<(Vec<f32>, f64), Rejected> {
    decode::decode(bytes).map(|decoded| (decoded.samples, decoded.clipped))
}

/// A WAV file with a header that tells the truth.
pub fn rebuild(bytes: &[u8]) -> Result<Vec<u8>, Rejected> {
    wav::rebuild(bytes)
}

/// What a server of speech answered instead of a recording, and the recording as it goes on from there.
pub fn recording(bytes: &[u8]) -> (Option<Failure>, Vec<u8>) {
    let contained = openai_speech::with_header(bytes::Bytes::copy_from_slice(bytes));
    (answer::no_recording(bytes), contained.to_vec())
}

/// What a status other than 2xx means. A header that HTTP does not allow is left out.
pub fn refusal(status: u16, header: (&str, &[u8]), body: &[u8], now: Timestamp) -> Option<Failure> {
    let status = StatusCode::from_u16(status).ok()?;
    let (name, value) = header;
    let header = HeaderName::try_from(name).ok().zip(HeaderValue::from_bytes(value).ok());
    Some(answer::refusal(status, &HeaderMap::from_iter(header), body, now))
}

/// An error in the middle of an answer.
pub fn error_within(error: &serde_json::Value) -> Failure {
    answer::error_within(error)
}

/// The built-in writer's chapters.
pub fn outlined(input: &OutlineInput, source: &str) -> Result<OutlineResult, Failure> {
    extractive::outlined(input, Some(source))
}

/// The built-in writer's turns of one chapter.
pub fn scripted(input: &ScriptInput) -> Result<ScriptPart, Failure> {
    extractive::scripted(input, None)
}
