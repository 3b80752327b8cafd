//! What a finished podcast consists of: its audio, transcripts and chapters.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use common::store::reading;
use common::work::Episode;
use futures_util::stream;
use schemars::JsonSchema;
use serde::Deserialize;

use super::App;
use super::extract::{Params, PodcastId, unknown};
use super::feed::WithToken;
use super::files::{self, File};
use super::problem::Problem;
use crate::Caller;
use crate::listen::Listened;

/// One of an episode's files.
struct Part {
    key: fn(&Episode) -> &str,
    content_type: &'static str,
    ending: &'static str,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AudioQuery")]
pub(super) struct Wanted {
    /// What is finished so far, and the rest as it comes, while the episode is made.
    #[serde(default)]
    partial: bool,
    /// A feed's token, in the place of a key.
    #[allow(dead_code, reason = "the door has read it")]
    token: Option<String>,
}

pub(super) async fn audio(
    app: State<App>,
    caller: Caller,
    id: PodcastId,
    Params(wanted): Params<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if wanted.partial
        && let Some(stream) = listen(&app, &caller, id).await?
    {
        return Ok(stream);
    }
    let part = Part { key: |episode| &episode.audio, content_type: "audio/mpeg", ending: "mp3" };
    serve(&app, &caller, id, &headers, part).await
}

pub(super) async fn transcript_vtt(
    app: State<App>,
    caller: Caller,
    id: PodcastId,
    _: Params<WithToken>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let part = Part { key: |e| &e.transcript_vtt, content_type: "text/vtt; charset=utf-8", ending: "vtt" };
    serve(&app, &caller, id, &headers, part).await
}

pub(super) async fn transcript_srt(
    app: State<App>,
    caller: Caller,
    id: PodcastId,
    _: Params<WithToken>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let part = Part {
        key: |e| &e.transcript_srt,
        content_type: "application/x-subrip; charset=utf-8",
        ending: "srt",
    };
    serve(&app, &caller, id, &headers, part).await
}

pub(super) async fn transcript_json(
    app: State<App>,
    caller: Caller,
    id: PodcastId,
    _: Params<WithToken>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let part =
        Part { key: |e| &e.transcript_json, content_type: "application/json", ending: "transcript.json" };
    serve(&app, &caller, id, &headers, part).await
}

pub(super) async fn transcript_txt(
    app: State<App>,
    caller: Caller,
    id: PodcastId,
    _: Params<WithToken>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let part = Part { key: |e| &e.transcript_txt, content_type: "text/plain; charset=utf-8", ending: "txt" };
    serve(&app, &caller, id, &headers, part).await
}

pub(super) async fn chapters_json(
    app: State<App>,
    caller: Caller,
    id: PodcastId,
    _: Params<WithToken>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let part = Part {
        key: |e| &e.chapters_json,
        content_type: "application/json+chapters",
        ending: "chapters.json",
    };
    serve(&app, &caller, id, &headers, part).await
}

/// Audio as it comes, if the podcast is being made.
async fn listen(app: &App, caller: &Caller, PodcastId(id): PodcastId) -> Result<Option<Response>, Problem> {
    let found = app.read(async |client| reading::podcast(client, &caller.tenant, id).await).await?;
    let podcast = found.ok_or_else(|| unknown(id))?;
    if podcast.episode.is_some() || podcast.state != "running" {
        return Ok(None);
    }
    let listened = Listened { tenant: caller.tenant.clone(), podcast: id, generation: podcast.generation };
    let Some(pieces) = app.listeners.listen(&app.env, listened) else {
        let detail =
            "Too many listen here while episodes are made. Try again in a moment, or when it is finished";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_after(10));
    };
    let pieces = stream::unfold(pieces, |mut pieces| async { Some((pieces.recv().await?, pieces)) });
    let headers = [
        (header::CONTENT_TYPE, "audio/mpeg"),
        // Another one begins at the start again, and hears more.
        (header::CACHE_CONTROL, "private, no-store"),
        (header::ACCEPT_RANGES, "none"),
        // nginx would collect the pieces otherwise.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok(Some((headers, Body::from_stream(pieces)).into_response()))
}

async fn serve(
    app: &App,
    caller: &Caller,
    id: PodcastId,
    headers: &HeaderMap,
    part: Part,
) -> Result<Response, Problem> {
    let PodcastId(id) = id;
    let found = app.read(async |client| reading::podcast(client, &caller.tenant, id).await).await?;
    let podcast = found.ok_or_else(|| unknown(id))?;
    // An edited podcast keeps its last episode until the next one is complete.
    let Some(episode) = &podcast.episode else {
        let detail = match podcast.state.as_str() {
            "running" => format!(
                "The podcast is not finished: it is at the stage {}. Follow its events, or listen with ?partial=true",
                podcast.stage
            ),
            state => format!("The podcast has no audio, because it is {state}"),
        };
        return Err(
            Problem::new(StatusCode::CONFLICT, "not-completed", detail).with("state", podcast.state.clone())
        );
    };
    let file = File {
        key: (part.key)(episode),
        content_type: part.content_type,
        title: podcast.title.as_deref(),
        ending: part.ending,
    };
    files::serve(&app.env.blobs, file, headers).await
}
