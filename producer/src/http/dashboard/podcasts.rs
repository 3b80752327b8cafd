//! The list of podcasts.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{Html, IntoResponse, Redirect, Response};
use common::access::Role;
use common::store::reading::{self, Filter, Summary};
use maud::{Markup, html};

use super::super::App;
use super::super::extract::Params;
use super::super::paging::page;
use super::super::podcasts::{Wanted, filter};
use super::super::problem::Problem;
use super::figures::bar;
use super::frame::Visit;
use super::layout::{Here, Page, clock, time};
use super::words::Language;
use crate::Caller;

const STATES: [&str; 4] = ["running", "completed", "failed", "cancelled"];

pub(in crate::http) async fn home() -> Redirect {
    Redirect::to("/podcasts")
}

pub(in crate::http) async fn list(
    State(app): State<App>,
    caller: Caller,
    visit: Visit,
    headers: HeaderMap,
    Params(mut wanted): Params<Wanted>,
) -> Result<Response, Problem> {
    // A form sends what nobody chose as an empty text.
    wanted.state = wanted.state.filter(|state| !state.is_empty());
    let (state, first_page) = (wanted.state.clone(), wanted.cursor.is_none());
    let filter = filter(wanted)?;
    let limit = filter.limit;
    let query = Filter { limit: limit + 1, ..filter };
    let found = app.read(async |client| reading::podcasts(client, &caller.tenant, &query).await).await?;
    let (found, next) = page(found, limit, |podcast| podcast.id);
    let next = next.map(|cursor| address(state.as_deref(), Some(&cursor)));
    let shown = Shown { visit: &visit, podcasts: &found, state: state.as_deref(), first_page, next };
    if headers.contains_key("hx-request") {
        return Ok(Html(table(&shown).into_string()).into_response());
    }
    let may_submit = caller.role >= Role::Submit;
    let body = whole(&shown, may_submit);
    Ok(Page::new(visit.clone(), visit.language.t("Podcasts"), Here::Podcasts, body).into_response())
}

struct Shown<'a> {
    visit: &'a Visit,
    podcasts: &'a [Summary],
    state: Option<&'a str>,
    first_page: bool,
    next: Option<String>,
}

fn address(state: Option<&str>, cursor: Option<&str>) -> String {
    let parts =
        [state.map(|state| format!("state={state}")), cursor.map(|cursor| format!("cursor={cursor}"))];
    let query: Vec<String> = parts.into_iter().flatten().collect();
    if query.is_empty() { "/podcasts".into() } else { format!("/podcasts?{}", query.join("&")) }
}

fn whole(shown: &Shown<'_>, may_submit: bool) -> Markup {
    let language = shown.visit.language;
    html! {
        div.head {
            h1 { (language.t("Podcasts")) }
            @if may_submit { a.button href="/podcasts/new" { (language.t("New podcast")) } }
        }
        form.filters method="get" action="/podcasts" {
            label for="state" { (language.t("State")) }
            select #state name="state" hx-get="/podcasts" hx-target="#podcasts" hx-swap="outerHTML" hx-push-url="true" {
                option value="" { (language.t("All")) }
                @for state in STATES {
                    option value=(state) selected[shown.state == Some(state)] { (language.state(state)) }
                }
            }
            noscript { button type="submit" { (language.t("Show")) } }
        }
        (table(shown))
    }
}

fn table(shown: &Shown<'_>) -> Markup {
    let language = shown.visit.language;
    // The first page is kept fresh: it is where new podcasts appear.
    let refresh = shown.first_page.then(|| address(shown.state, None));
    html! {
        div #podcasts hx-get=[refresh] hx-trigger=[shown.first_page.then_some("every 4s")] hx-swap="outerHTML" {
            @if shown.podcasts.is_empty() {
                div.empty {
                    @if shown.state.is_some() || !shown.first_page {
                        p { (language.t("No podcast is like that.")) }
                        p { a href="/podcasts" { (language.t("Show all podcasts")) } }
                    } @else {
                        p { (language.t("There are no podcasts yet.")) }
                        p { (language.t("Paste an article, and hear it a minute later.")) }
                    }
                }
            } @else {
                table.wide {
                    thead { tr {
                        th scope="col" { (language.t("Title")) }
                        th scope="col" { (language.t("State")) }
                        th scope="col" { (language.t("Length")) }
                        th scope="col" { (language.t("Language")) }
                        th scope="col" { (language.t("Priority")) }
                        th scope="col" { (language.t("Asked for")) }
                    } }
                    tbody { @for podcast in shown.podcasts { (row(language, podcast)) } }
                }
                @if let Some(next) = &shown.next {
                    p.pages { a href=(next) rel="next" { (language.t("Older podcasts")) } }
                }
            }
        }
    }
}

fn row(language: Language, podcast: &Summary) -> Markup {
    let title = podcast.title.as_deref().unwrap_or_else(|| language.t("Not titled yet"));
    html! {
        tr {
            th scope="row" data-label=(language.t("Title")) {
                a #(format!("p{}", podcast.id.simple())) href=(format!("/podcasts/{}", podcast.id)) { (title) }
            }
            td data-label=(language.t("State")) { (state(language, podcast)) }
            td.number data-label=(language.t("Length")) {
                @if let Some(ms) = podcast.duration_ms { (clock(ms)) } @else { "–" }
            }
            td data-label=(language.t("Language")) { (podcast.language) }
            td data-label=(language.t("Priority")) { (language.priority(&podcast.priority)) }
            td data-label=(language.t("Asked for")) { (time(podcast.created_at)) }
        }
    }
}

/// The state in a word, and how far it is while it runs.
pub(super) fn state(language: Language, podcast: &Summary) -> Markup {
    let progress = podcast.progress;
    html! {
        span.state.(podcast.state) { (language.state(&podcast.state)) }
        @if podcast.state == "running" {
            " " span.stage { (language.stage(podcast.stage)) }
            @if progress.segments_total > 0 {
                (bar(progress.segments_done.into(), progress.segments_total.into(), language.t("Segments spoken")))
            }
        }
        @if let Some(failure) = &podcast.failure {
            span.cause { (failure.error.message) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_chosen_stands_in_the_address() {
        assert_eq!(address(None, None), "/podcasts");
        assert_eq!(address(Some("failed"), Some("v1.7")), "/podcasts?state=failed&cursor=v1.7");
    }
}
