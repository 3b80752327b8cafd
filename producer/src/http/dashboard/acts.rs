//! What people decide about a podcast, and what they pause: forms that say what the API is told.

use axum::body::{Body, to_bytes};
use axum::extract::{Form, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use common::access::Role;
use common::config::Config;
use common::store::pauses::Pause;
use common::store::reading::Summary;
use common::work::Kind;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::App;
use super::super::extract::{PauseId, PodcastId};
use super::super::problem::Problem;
use super::super::{acts as api, erase as erasing, pauses};
use super::frame::Visit;
use super::layout::{Here, Page, missing, time, token};
use super::words::Language;
use crate::Caller;

/// Longest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// A body as the API reads it.
fn told(value: &Value) -> (HeaderMap, Body) {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (headers, Body::from(value.to_string()))
}

#[derive(Debug, Deserialize)]
pub(in crate::http) struct WithReason {
    reason: Option<String>,
}

pub(in crate::http) async fn replay(
    app: State<App>,
    caller: Caller,
    id: PodcastId,
    Form(form): Form<WithReason>,
) -> Result<Response, Problem> {
    let (headers, body) = told(&json!({"reason": form.reason}));
    let _replayed = api::replay(app, caller, id, headers, body).await?;
    Ok(back_to(id))
}

pub(in crate::http) async fn finish_without(
    app: State<App>,
    caller: Caller,
    id: PodcastId,
    Form(form): Form<WithReason>,
) -> Result<Response, Problem> {
    let (headers, body) = told(&json!({"reason": form.reason}));
    let _replayed = api::finish_without(app, caller, id, headers, body).await?;
    Ok(back_to(id))
}

#[derive(Debug, Deserialize)]
pub(in crate::http) struct WithPriority {
    priority: Option<String>,
}

pub(in crate::http) async fn prioritise(
    app: State<App>,
    caller: Caller,
    id: PodcastId,
    Form(form): Form<WithPriority>,
) -> Result<Response, Problem> {
    let (headers, body) = told(&json!({"priority": form.priority}));
    let _reordered = api::prioritise(app, caller, id, headers, body).await?;
    Ok(back_to(id))
}

pub(in crate::http) async fn erase(
    app: State<App>,
    caller: Caller,
    id: PodcastId,
    visit: Visit,
    Form(form): Form<Erased>,
) -> Result<Response, Problem> {
    let confirmed = form.confirmed.is_some();
    let why = form.reason.clone().unwrap_or_default();
    let (headers, body) = told(&json!({"reason": form.reason, "dry_run": !confirmed}));
    let answer = erasing::erase(app, caller, id, headers, body).await?;
    if confirmed {
        return Ok(Redirect::to("/podcasts").into_response());
    }
    let bytes =
        to_bytes(answer.into_body(), MAX_ANSWER).await.map_err(|error| Problem::unexpected(&error.into()))?;
    let trial: Value = serde_json::from_slice(&bytes).map_err(|error| Problem::unexpected(&error.into()))?;
    Ok(would_erase(visit, id, &why, &trial["would_erase"]).into_response())
}

#[derive(Debug, Deserialize)]
pub(in crate::http) struct Erased {
    reason: Option<String>,
    /// What would go was seen, and is to go.
    confirmed: Option<String>,
}

fn would_erase(visit: Visit, PodcastId(id): PodcastId, why: &str, extent: &Value) -> Page {
    let language = visit.language;
    let count = |name: &str| extent[name].as_u64().unwrap_or_default();
    let title = language.t("Erase for ever");
    let body = html! {
        h1 { (title) }
        div.notice.bad {
            p { b { (language.t("Nothing is erased yet. This would go:")) } }
            dl {
                dt { (language.t("Segments")) } dd { (count("segments")) }
                dt { (language.t("Dead letters")) } dd { (count("dead_letters")) }
                dt { (language.t("Files")) } dd { (count("blobs")) }
                dt { (language.t("Files that others need, which stay")) } dd { (count("shared_blobs")) }
            }
        }
        form.stack method="post" action=(format!("/podcasts/{id}/erase")) {
            (token(&visit))
            input type="hidden" name="reason" value=(why);
            div {
                button.danger type="submit" name="confirmed" value="on" { (title) } " "
                a href=(format!("/podcasts/{id}")) { (language.t("Leave it as it is")) }
            }
        }
    };
    Page::new(visit, title, Here::Podcasts, body)
}

fn back_to(PodcastId(id): PodcastId) -> Response {
    Redirect::to(&format!("/podcasts/{id}")).into_response()
}

#[derive(Debug, Deserialize)]
pub(in crate::http) struct Paused {
    kind: Option<String>,
    engine: Option<String>,
    reason: Option<String>,
}

pub(in crate::http) async fn pause(
    app: State<App>,
    caller: Caller,
    Form(form): Form<Paused>,
) -> Result<Response, Problem> {
    let chosen = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (headers, body) =
        told(&json!({"kind": chosen(form.kind), "engine": chosen(form.engine), "reason": form.reason}));
    let _paused = pauses::pause(app, caller, headers, body).await?;
    Ok(Redirect::to("/now").into_response())
}

pub(in crate::http) async fn resume(
    app: State<App>,
    caller: Caller,
    id: PauseId,
    Form(form): Form<WithReason>,
) -> Result<Response, Problem> {
    let (headers, body) = told(&json!({"reason": form.reason}));
    let _ended = pauses::resume(app, caller, id, headers, body).await?;
    Ok(Redirect::to("/now").into_response())
}

/// What can be decided about a podcast as it is.
pub(super) fn choices(visit: &Visit, caller: &Caller, podcast: &Summary) -> Markup {
    let (language, this) = (visit.language, format!("/podcasts/{}", podcast.id));
    let may_settle = caller.role >= Role::Support;
    let (running, failed) = (podcast.state == "running", podcast.state == "failed");
    let with_reason = |action: &str, title: &str, hint: &str, class: &str| {
        html! {
            form.stack method="post" action=(format!("{this}/{action}")) {
                (token(visit))
                p { (hint) }
                label for=(format!("why-{action}")) { (language.t("Why?")) }
                input #(format!("why-{action}")) name="reason" maxlength="500" required autocomplete="off";
                button.(class) type="submit" { (title) }
            }
        }
    };
    html! {
        @if (running || failed) && caller.role >= Role::Submit || may_settle {
            section #choices {
                h2 { (language.t("Decide")) }
                div.choices {
                    @if running || failed {
                        form.stack method="post" action=(format!("{this}/priority")) {
                            (token(visit))
                            label for="new-priority" { (language.t("Priority of what waits")) }
                            select #new-priority name="priority" {
                                @for priority in ["high", "normal", "low"] {
                                    option value=(priority) selected[podcast.priority == priority] { (language.priority(priority)) }
                                }
                            }
                            button.second type="submit" { (language.t("Change the priority")) }
                        }
                    }
                    @if may_settle && failed {
                        (with_reason("replay", language.t("Replay"), language.t("It goes on where it stopped; what is finished stays."), "first"))
                        (with_reason("finish-without", language.t("Finish without"), language.t("Segments that could not be spoken are left out; the transcript says so."), "second"))
                    }
                    @if may_settle && !running {
                        (with_reason("erase", language.t("Erase for ever"), language.t("Removes the podcast, its sound, its texts and what is cached of it. Nobody can bring it back."), "danger"))
                    }
                }
            }
        }
    }
}

/// What is paused, and the form that pauses more.
/// `None`: which pauses there are could not be read.
pub(super) fn paused(visit: &Visit, caller: &Caller, config: &Config, pauses: Option<&[Pause]>) -> Markup {
    let language = visit.language;
    let may = caller.role >= Role::Support;
    let in_force = pauses.into_iter().flatten().filter(|pause| pause.resumed_at.is_none());
    html! {
        section #pauses {
            h2 { (language.t("Pauses")) }
            @if pauses.is_none() { (missing(language)) }
            @else if in_force.clone().next().is_none() { p.hint { (language.t("Nothing is paused.")) } }
            @for pause in in_force {
                div.notice.warn {
                    p { b { (scope(language, pause)) } ": " (pause.reason) " · " (pause.by) ", " (time(pause.since)) }
                    @if may {
                        form.filters method="post" action=(format!("/pauses/{}/resume", pause.id)) {
                            (token(visit))
                            input name="reason" maxlength="500" required autocomplete="off" aria-label=(language.t("Why does it go on?")) placeholder=(language.t("Why does it go on?"));
                            button.second type="submit" { (language.t("Go on")) }
                        }
                    }
                }
            }
            @if may {
                details {
                    summary { (language.t("Pause work")) }
                    form.filters method="post" action="/pauses" {
                        (token(visit))
                        label { (language.t("Work")) " " select name="kind" {
                            option value="" { (language.t("All")) }
                            @for kind in Kind::ALL { option value=(kind.as_str()) { (language.stage(kind.as_str())) } }
                        } }
                        label { (language.t("Engine")) " " select name="engine" {
                            option value="" { (language.t("All")) }
                            @for (name, _) in config.engines.iter() { option value=(name) { (name) } }
                        } }
                        input name="reason" maxlength="500" required autocomplete="off" aria-label=(language.t("Why is it paused?")) placeholder=(language.t("Why is it paused?"));
                        button.second type="submit" { (language.t("Pause")) }
                    }
                    p.hint { (language.t("Of your tenant. What is under way is finished; what waits, waits until somebody lets it go on.")) }
                }
            }
        }
    }
}

fn scope(language: Language, pause: &Pause) -> String {
    let scope = &pause.scope;
    let parts = [
        scope.tenant.clone().unwrap_or_else(|| language.t("all tenants").into()),
        scope.kind.map_or_else(|| language.t("all work").into(), |kind| language.stage(kind.as_str()).into()),
    ];
    let more = [scope.lane.map(|lane| lane.as_str().to_owned()), scope.engine.clone()];
    parts.into_iter().chain(more.into_iter().flatten()).collect::<Vec<_>>().join(" · ")
}
