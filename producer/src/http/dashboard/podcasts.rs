//! The list of podcasts.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{Html, IntoResponse, Redirect, Response};
use common::access::Role;
use common::store::reading::{self, Filter, Summary};
use jiff::civil::Date;
use maud::{Markup, html};

use super::super::App;
use super::super::extract::Params;
use super::super::paging::page;
use super::super::podcasts::{Wanted, filter};
use super::super::problem::Problem;
use super::figures::bar;
use super::frame::{Visit, encoded};
use super::layout::{Here, Page, clock, time};
use super::new::in_itself;
use super::words::Language;
use crate::Caller;

const STATES: [&str; 4] = ["running", "completed", "failed", "cancelled"];
const PRIORITIES: [&str; 3] = ["high", "normal", "low"];

pub(in crate::http) async fn home() -> Redirect {
    Redirect::to("/podcasts")
}

pub(in crate::http) async fn list(
    State(app): State<App>,
    caller: Caller,
    visit: Visit,
    headers: HeaderMap,
    Params(wanted): Params<Wanted>,
) -> Result<Response, Problem> {
    let wanted = wanted.without_blanks();
    let (chosen, first_page) = (Wanted { cursor: None, ..wanted.clone() }, wanted.cursor.is_none());
    let filter = filter(by_days(wanted))?;
    let limit = filter.limit;
    let query = Filter { limit: limit + 1, ..filter };
    let found = app.read(async |client| reading::podcasts(client, &caller.tenant, &query).await).await?;
    let (found, next) = page(found, limit, |podcast| podcast.id);
    let next = next.map(|cursor| address(&chosen, Some(&cursor)));
    let shown = Shown { visit: &visit, podcasts: &found, chosen: &chosen, first_page, next };
    if headers.contains_key("hx-request") {
        return Ok(Html(table(&shown).into_string()).into_response());
    }
    let languages = app.env.config.engines.get(&app.env.config.defaults.tts);
    let languages = languages.map(|engine| engine.languages.as_slice()).unwrap_or_default();
    let body = whole(&shown, languages, caller.role >= Role::Submit);
    Ok(Page::new(visit.clone(), visit.language.t("Podcasts"), Here::Podcasts, body).into_response())
}

struct Shown<'a> {
    visit: &'a Visit,
    podcasts: &'a [Summary],
    /// What the address says, but for the page.
    chosen: &'a Wanted,
    first_page: bool,
    next: Option<String>,
}

/// A day stands for its beginning, and as an end for the beginning of the next one: the day itself is meant, too. By UTC.
fn by_days(wanted: Wanted) -> Wanted {
    let day = |text: &String| text.parse::<Date>().ok().filter(|_| text.len() == DAY.len());
    let begin = |day: Date| format!("{day}T00:00:00Z");
    let since = wanted.since.as_ref().and_then(day).map(begin);
    let until = wanted.until.as_ref().and_then(day).and_then(|day| day.tomorrow().ok()).map(begin);
    Wanted { since: since.or(wanted.since), until: until.or(wanted.until), ..wanted }
}

const DAY: &str = "2026-01-31";

/// The list's address, with what is chosen in it.
fn address(chosen: &Wanted, cursor: Option<&str>) -> String {
    let limit = chosen.limit.map(|limit| limit.to_string());
    let parts = [
        ("state", chosen.state.as_deref()),
        ("priority", chosen.priority.as_deref()),
        ("language", chosen.language.as_deref()),
        ("since", chosen.since.as_deref()),
        ("until", chosen.until.as_deref()),
        ("limit", limit.as_deref()),
        ("cursor", cursor),
    ];
    let chosen = parts.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value?))));
    let query: Vec<String> = chosen.collect();
    if query.is_empty() { "/podcasts".into() } else { format!("/podcasts?{}", query.join("&")) }
}

fn whole(shown: &Shown<'_>, languages: &[String], may_submit: bool) -> Markup {
    let language = shown.visit.language;
    html! {
        div.head {
            h1 { (language.t("Podcasts")) }
            @if may_submit { a.button href="/podcasts/new" { (language.t("New podcast")) } }
        }
        (filters(language, shown.chosen, languages))
        (table(shown))
    }
}

/// A plain form, which the script sends as soon as something is chosen.
fn filters(language: Language, chosen: &Wanted, languages: &[String]) -> Markup {
    let state = |name| (name, language.state(name));
    let priority = |name| (name, language.priority(name));
    // Of a time only its day is shown: the form sends days.
    let day =
        |text: &Option<String>| text.as_deref().and_then(|text| text.get(..DAY.len())).map(str::to_owned);
    html! {
        form.filters method="get" action="/podcasts"
            hx-get="/podcasts" hx-trigger="change" hx-target="#podcasts" hx-swap="outerHTML" hx-push-url="true" {
            (select(language, "state", language.t("State"), chosen.state.as_deref(), STATES.map(state)))
            (select(language, "priority", language.t("Priority"), chosen.priority.as_deref(), PRIORITIES.map(priority)))
            label { (language.t("Language")) " " input name="language" value=[chosen.language.as_deref()] list="languages" size="8" autocomplete="off"; }
            datalist #languages { @for code in languages { option value=(code) { (in_itself(code)) } } }
            label { (language.t("From (day, UTC)")) " " input type="date" name="since" value=[day(&chosen.since)]; }
            label { (language.t("To (day, UTC)")) " " input type="date" name="until" value=[day(&chosen.until)]; }
            button.second type="submit" { (language.t("Show")) }
            @if address(chosen, None) != "/podcasts" { a href="/podcasts" { (language.t("Clear")) } }
        }
    }
}

fn select<const N: usize>(
    language: Language,
    name: &str,
    label: &str,
    chosen: Option<&str>,
    all: [(&str, &str); N],
) -> Markup {
    html! {
        label { (label) " "
            select #(name) name=(name) {
                option value="" { (language.t("All")) }
                @for (value, text) in all { option value=(value) selected[chosen == Some(value)] { (text) } }
            }
        }
    }
}

fn table(shown: &Shown<'_>) -> Markup {
    let language = shown.visit.language;
    // The first page is kept fresh: it is where new podcasts appear.
    let address = address(shown.chosen, None);
    let filtered = address != "/podcasts";
    let refresh = shown.first_page.then_some(address);
    html! {
        div #podcasts hx-get=[refresh] hx-trigger=[shown.first_page.then_some("every 4s")] hx-swap="outerHTML" {
            @if shown.podcasts.is_empty() {
                div.empty {
                    @if filtered || !shown.first_page {
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
        let nothing = Wanted::default();
        assert_eq!(address(&nothing, None), "/podcasts");
        let chosen = Wanted {
            state: Some("failed".into()),
            priority: Some("low".into()),
            language: Some("ko".into()),
            since: Some("2026-01-31T00:00:00+09:00".into()),
            until: Some("2026-02-01".into()),
            limit: Some(50),
            cursor: None,
        };
        let first = "/podcasts?state=failed&priority=low&language=ko&since=2026-01-31T00%3A00%3A00%2B09%3A00&until=2026-02-01&limit=50";
        assert_eq!(address(&chosen, None), first);
        assert_eq!(address(&chosen, Some("v1.7")), format!("{first}&cursor=v1.7"));
    }

    #[test]
    fn days_are_whole_days() {
        let bounds = |since: &str, until: &str| {
            let wanted = Wanted { since: Some(since.into()), until: Some(until.into()), ..Wanted::default() };
            let wanted = by_days(wanted);
            (wanted.since.unwrap_or_default(), wanted.until.unwrap_or_default())
        };
        let told = |since: &str, until: &str| (since.to_owned(), until.to_owned());
        assert_eq!(bounds("2026-01-31", "2026-01-31"), told("2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z"));
        let exact = ("2026-01-31T12:00:00Z", "2026-01-31T13:00:00+09:00");
        assert_eq!(bounds(exact.0, exact.1), told(exact.0, exact.1), "a time is that time");
        assert_eq!(bounds("2026-02-30", "9999-12-31"), told("2026-02-30", "9999-12-31"), "refused later on");
    }
}
