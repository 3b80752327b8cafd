//! Replays of many letters: how far each is, as it happens.

use axum::extract::State;
use axum::response::{Html, IntoResponse, Redirect, Response};
use common::access::Role;
use common::store::replay::bulk::{self, Progress};
use maud::{Markup, html};

use super::super::App;
use super::super::extract::ReplayId;
use super::super::problem::Problem;
use super::super::replays::{self, LISTED, Shown};
use super::figures::bar;
use super::frame::Visit;
use super::layout::{Here, Page, time, token};
use super::words::Language;
use crate::Caller;

pub(in crate::http) async fn list(
    State(app): State<App>,
    caller: Caller,
    visit: Visit,
) -> Result<Response, Problem> {
    let found = app.read(async |client| bulk::latest(client, &caller.tenant, None, LISTED).await).await?;
    let language = visit.language;
    let body = html! {
        p { a href="/dead-letters" { (language.t("Dead letters")) } }
        h1 { (language.t("Replays of many")) }
        @if found.is_empty() {
            div.empty { p { (language.t("Nobody has replayed many letters at once yet.")) } }
        } @else {
            table.wide {
                thead { tr {
                    th scope="col" { (language.t("Why")) }
                    th scope="col" { (language.t("State")) }
                    th scope="col" { (language.t("Replayed")) }
                    th scope="col" { (language.t("By")) }
                    th scope="col" { (language.t("Begun")) }
                } }
                tbody { @for replay in &found { tr {
                    th scope="row" data-label=(language.t("Why")) { a href=(format!("/replays/{}", replay.id)) { (replay.reason) } }
                    td data-label=(language.t("State")) { (state(language, replay)) }
                    td data-label=(language.t("Replayed")) { (bar(replay.replayed, replay.total.into(), language.t("Replayed"))) }
                    td data-label=(language.t("By")) { (replay.by) }
                    td data-label=(language.t("Begun")) { (time(replay.created_at)) }
                } } }
            }
        }
    };
    Ok(Page::new(visit, language.t("Replays of many"), Here::DeadLetters, body).into_response())
}

pub(in crate::http) async fn show(
    State(app): State<App>,
    caller: Caller,
    visit: Visit,
    ReplayId(id): ReplayId,
) -> Result<Response, Problem> {
    let shown = replays::look(&app, &caller, id).await?;
    let may_cancel = caller.role >= Role::Support;
    let part = progress(&visit, &shown, may_cancel);
    if visit.partial {
        return Ok(Html(part.into_string()).into_response());
    }
    let language = visit.language;
    let title = shown.progress.reason.clone();
    let body = html! {
        p { a href="/replays" { (language.t("Replays of many")) } }
        h1 { (title) }
        (part)
    };
    Ok(Page::new(visit, title, Here::DeadLetters, body).into_response())
}

pub(in crate::http) async fn cancel(
    app: State<App>,
    caller: Caller,
    ReplayId(id): ReplayId,
) -> Result<Response, Problem> {
    let _progress = replays::cancel(app, caller, ReplayId(id)).await?;
    Ok(Redirect::to(&format!("/replays/{id}")).into_response())
}

fn state(language: Language, replay: &Progress) -> Markup {
    html! { span.state.(replay.state) { (language.state(&replay.state)) } }
}

fn progress(visit: &Visit, shown: &Shown, may_cancel: bool) -> Markup {
    let (language, replay) = (visit.language, &shown.progress);
    let running = replay.state == "running";
    let done = replay.replayed + replay.skipped + replay.failed;
    let this = format!("/replays/{}", replay.id);
    html! {
        div #replay data-state=(replay.state) hx-get=[running.then_some(&this)] hx-trigger=[running.then_some("every 1s")] hx-swap="outerHTML" {
            p.lead { (state(language, replay)) " " (bar(done, replay.total.into(), language.t("Letters decided about"))) }
            dl {
                dt { (language.t("Replayed")) } dd { (replay.replayed) }
                dt { (language.t("Passed over")) } dd { (replay.skipped + replay.failed) }
                dt { (language.t("Waiting")) } dd { (replay.waiting) }
                @if running { dt { (language.t("Step")) } dd { (language.f("{0}, of up to {1} letters", &[&replay.step.to_string(), &replay.step_size.to_string()])) } }
                dt { (language.t("Letters a minute, at most")) } dd { (replay.rate_per_minute) }
                dt { (language.t("By")) } dd { (replay.by) ", " (time(replay.created_at)) }
                @if let Some(finished) = replay.finished_at { dt { (language.t("Ended")) } dd { (time(finished)) } }
            }
            @if let Some(remark) = &replay.remark { div.notice.warn { p { (remark) } } }
            @if running && may_cancel {
                form method="post" action=(format!("{this}/cancel")) {
                    (token(visit))
                    button.danger type="submit" { (language.t("Stop it; what waits stays open")) }
                }
            }
            @if !shown.passed_over.is_empty() {
                h2 { (language.t("Passed over")) }
                ul { @for letter in &shown.passed_over {
                    li { a href=(format!("/dead-letters/{}", letter.letter)) { (letter.letter) }
                        @if let Some(detail) = &letter.detail { ": " (detail) } }
                } }
            }
        }
    }
}
