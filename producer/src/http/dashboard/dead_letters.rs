//! Dead letters by cause, and one by one; and the replay of all that match.

use axum::extract::{Form, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use common::access::Role;
use common::class::Class;
use common::store::dead_letters::Source;
use common::store::dead_letters::reading::{self, Filter, Group, Letter};
use common::work::Kind;
use deadpool_postgres::Object;
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

use super::super::App;
use super::super::dead_letters::filter::Wanted;
use super::super::dead_letters::settle::reason;
use super::super::extract::Params;
use super::super::problem::Problem;
use super::super::replays::{self, DryRun};
use super::frame::{Visit, encoded};
use super::layout::{Here, Page, missing, money, time, token};
use super::parts::Parts;
use super::words::Language;
use crate::Caller;

/// Groups that are shown above the letters.
const GROUPS: i64 = 20;

pub(in crate::http) async fn list(
    State(app): State<App>,
    caller: Caller,
    visit: Visit,
    Params(wanted): Params<Wanted>,
) -> Result<Response, Problem> {
    let wanted = wanted.without_blanks();
    let (filter, limit, before) = (wanted.filter()?, wanted.limit()?, wanted.before()?);
    let (tenant, statement) = (&caller.tenant, app.env.config.producer.page_timeout());
    let (groups, mut letters) = app
        .read(async |client| {
            // One more than asked for tells whether there is another page.
            let letters = reading::letters(client, tenant, &filter, before, limit + 1).await?;
            // The causes stand above the first page alone.
            let groups = match before {
                None => {
                    let read =
                        async |client: &mut Object| reading::groups(client, tenant, &filter, GROUPS).await;
                    Parts::new(client, statement).read("causes", read).await?
                }
                Some(_) => Some(Vec::new()),
            };
            Ok((groups, letters))
        })
        .await?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = letters.len() > most;
    letters.truncate(most);
    let next = letters.last().filter(|_| more).map(|last| address(&filter, Some(last.id)));
    let language = visit.language;
    let may_settle = caller.role >= Role::Support;
    // Unless they could be counted, there may be some.
    let any_open = groups.as_ref().is_none_or(|groups| groups.iter().any(|group| group.open > 0));
    let body = html! {
        div.head {
            h1 { (language.t("Dead letters")) }
            a href="/replays" { (language.t("Replays of many")) }
        }
        p.hint { (language.t("What was given up, and waits for somebody to decide. A replay goes on where it stopped; what is finished stays.")) }
        (filters(language, &filter))
        @if letters.is_empty() {
            div.empty {
                @if filter == open_ones() { p { (language.t("Nothing was given up. All is well.")) } }
                @else { p { (language.t("No letter is like that.")) } p { a href="/dead-letters" { (language.t("Show what is open")) } } }
            }
        } @else {
            @if before.is_none() {
                h2 { (language.t("By cause")) }
                @match &groups {
                    Some(groups) => (causes(language, &filter, groups)),
                    None => (missing(language)),
                }
            }
            h2 { (language.t("Letters")) }
            (table(language, &letters))
            @if let Some(next) = next { p.pages { a href=(next) rel="next" { (language.t("Older letters")) } } }
            @if may_settle && any_open && before.is_none() { (replay_all(&visit, &filter, "", None)) }
        }
    };
    Ok(Page::new(visit, language.t("Dead letters"), Here::DeadLetters, body).into_response())
}

/// What is listed when nothing is chosen.
fn open_ones() -> Filter {
    Filter { state: Some("open".into()), ..Filter::default() }
}

/// The list's address, with what is chosen in it.
fn address(filter: &Filter, before: Option<Uuid>) -> String {
    let mut query = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        query.extend(value.map(|value| format!("{name}={}", encoded(&value))));
    };
    match filter.state.as_deref() {
        None => add("state", Some("all".into())),
        Some("open") => {}
        Some(state) => add("state", Some(state.into())),
    }
    add("source", filter.source.clone());
    add("kind", filter.kind.clone());
    add("class", filter.class.clone());
    add("engine", filter.engine.clone());
    add("fingerprint", filter.fingerprint.clone());
    add("podcast", filter.podcast.map(|id| id.to_string()));
    add("since", filter.since.map(|time| time.to_string()));
    add("until", filter.until.map(|time| time.to_string()));
    add("cursor", before.map(|id| format!("v1.{}", id.simple())));
    if query.is_empty() { "/dead-letters".into() } else { format!("/dead-letters?{}", query.join("&")) }
}

fn filters(language: Language, filter: &Filter) -> Markup {
    let select = |name: &str,
                  label: &str,
                  chosen: Option<&str>,
                  first: Option<&str>,
                  all: Vec<(&str, &str)>| {
        html! {
            label { (label) " "
                select name=(name) {
                    @if let Some(first) = first { option value="" { (first) } }
                    @for (value, text) in all { option value=(value) selected[chosen == Some(value)] { (text) } }
                }
            }
        }
    };
    let any = Some(language.t("All"));
    let states = ["open", "replayed", "discarded"].map(|state| (state, language.state(state)));
    let states = states.into_iter().chain([("all", language.t("All"))]).collect();
    let kinds = Kind::ALL.map(|kind| (kind.as_str(), language.stage(kind.as_str()))).to_vec();
    let classes = Class::ALL.into_iter().filter(|class| is_of_letters(*class));
    let classes = classes.map(|class| (class.as_str(), language.class(class.as_str()))).collect();
    html! {
        form.filters method="get" action="/dead-letters" {
            (select("state", language.t("State"), Some(filter.state.as_deref().unwrap_or("all")), None, states))
            (select("kind", language.t("Work"), filter.kind.as_deref(), any, kinds))
            (select("class", language.t("Why"), filter.class.as_deref(), any, classes))
            @for (name, value) in [("fingerprint", filter.fingerprint.clone()), ("podcast", filter.podcast.map(|id| id.to_string()))] {
                @if let Some(value) = value { input type="hidden" name=(name) value=(value); }
            }
            button.second type="submit" { (language.t("Show")) }
            @if *filter != open_ones() { a href="/dead-letters" { (language.t("Clear")) } }
        }
    }
}

fn is_of_letters(class: Class) -> bool {
    !matches!(class, Class::Success | Class::Returned | Class::Parked | Class::Unsupported)
}

fn causes(language: Language, filter: &Filter, groups: &[Group]) -> Markup {
    html! {
        table.wide {
            thead { tr {
                th scope="col" { (language.t("Cause")) }
                th scope="col" { (language.t("Open")) }
                th scope="col" { (language.t("Podcasts")) }
                th scope="col" { (language.t("Last seen")) }
                th scope="col" { (language.t("Since")) }
            } }
            tbody { @for group in groups {
                @let this = Filter { fingerprint: Some(group.fingerprint.clone()), ..filter.clone() };
                tr {
                    th scope="row" data-label=(language.t("Cause")) {
                        a href=(address(&this, None)) { (group.cause) }
                        span.cause { (what(language, &group.source, group.kind.as_deref(), group.engine.as_deref())) " · " (language.class(&group.class)) }
                    }
                    td.number data-label=(language.t("Open")) { (group.open) }
                    td.number data-label=(language.t("Podcasts")) { (group.podcasts) }
                    td data-label=(language.t("Last seen")) { (time(group.last_seen)) }
                    td data-label=(language.t("Since")) { (time(group.first_seen)) }
                }
            } }
        }
    }
}

fn table(language: Language, letters: &[Letter]) -> Markup {
    html! {
        table.wide {
            thead { tr {
                th scope="col" { (language.t("Cause")) }
                th scope="col" { (language.t("State")) }
                th scope="col" { (language.t("What")) }
                th scope="col" { (language.t("Given up")) }
            } }
            tbody { @for letter in letters { tr {
                th scope="row" data-label=(language.t("Cause")) {
                    a href=(format!("/dead-letters/{}", letter.id)) { (letter.cause) }
                }
                td data-label=(language.t("State")) { span.state.(letter.state) { (language.state(&letter.state)) } }
                td data-label=(language.t("What")) {
                    (what(language, &letter.source, letter.kind.as_deref(), letter.engine.as_deref()))
                    @if let Some(podcast) = letter.podcast { " · " a href=(format!("/podcasts/{podcast}")) { (language.t("podcast")) } }
                }
                td data-label=(language.t("Given up")) { (time(letter.created_at)) }
            } } }
        }
    }
}

/// `Speech by espeak`, `A message`, `A deadline`.
pub(super) fn what(language: Language, source: &str, kind: Option<&str>, engine: Option<&str>) -> String {
    match (Source::parse(source), kind, engine) {
        (Some(Source::Message), ..) => language.t("A message").into(),
        (_, Some(kind), Some(engine)) => language.f("{0} by {1}", &[language.stage(kind), engine]),
        (_, Some(kind), None) => language.stage(kind).into(),
        _ => language.t("A deadline").into(),
    }
}

/// The form that replays all that match; below it what it would come to, once somebody has asked.
fn replay_all(visit: &Visit, filter: &Filter, why: &str, estimate: Option<&DryRun>) -> Markup {
    let language = visit.language;
    let text = serde_json::to_string(filter).unwrap_or_default();
    html! {
        section #replay-all {
            h2 { (language.t("Replay all that match")) }
            form.stack method="post" action="/dead-letters/replay" hx-target="#dry-run" {
                (token(visit))
                input type="hidden" name="filter" value=(text);
                label for="why" { (language.t("Why (whoever reads the audit trail sees it)")) }
                input #why name="reason" maxlength="500" value=(why) autocomplete="off";
                label for="rate" { (language.t("Letters a minute, at most")) }
                input #rate type="number" name="rate_per_minute" min="1" max="1200" value="60";
                div {
                    button.second type="submit" name="dry_run" value="on" hx-post="/dead-letters/replay" { (language.t("What would it come to?")) }
                    " " button type="submit" { (language.t("Replay them")) }
                }
                p.hint { (language.t("It begins with one letter, then a few, then more; it stops by itself when the same cause comes back.")) }
            }
            div #dry-run role="status" { @if let Some(estimate) = estimate { (dry_run(language, estimate)) } }
        }
    }
}

fn dry_run(language: Language, run: &DryRun) -> Markup {
    let estimate = &run.estimate;
    let number = |count: i64| count.to_string();
    html! {
        div.notice {
            p { b { (language.f("{0} letters of {1} podcasts would be replayed. Nothing has happened yet.", &[&number(estimate.letters), &number(estimate.podcasts)])) } }
            @if estimate.not_replayable > 0 {
                p { (language.f("{0} more match and cannot be replayed: messages of the fleet's own.", &[&number(estimate.not_replayable)])) }
            }
            @if estimate.requests > 0 { p { (language.f("{0} of them are requests, which would be handed in again.", &[&number(estimate.requests)])) } }
            @if !estimate.work.is_empty() {
                ul { @for work in &estimate.work {
                    li { (language.stage(&work.kind)) " (" (work.engine) "): " (language.f("{0} tasks", &[&number(work.tasks)])) }
                } }
            }
            p {
                @match estimate.cost_micros {
                    Some(cost) => (language.f("It would cost about {0}, at the prices of these podcasts so far.", &[&money(cost)])),
                    None => (language.t("What it would cost is not known: nothing of the kind was paid for in these podcasts yet.")),
                }
                " " (language.f("At this rate it takes {0} minutes or more.", &[&number(run.minutes_at_least)]))
            }
        }
    }
}

#[derive(Debug, Deserialize)]
pub(in crate::http) struct ReplayAll {
    #[serde(default)]
    filter: Option<String>,
    reason: Option<String>,
    rate_per_minute: Option<i32>,
    dry_run: Option<String>,
}

pub(in crate::http) async fn replay(
    State(app): State<App>,
    caller: Caller,
    visit: Visit,
    Form(form): Form<ReplayAll>,
) -> Result<Response, Problem> {
    let filter: Filter = match form.filter.as_deref() {
        None => open_ones(),
        Some(text) => serde_json::from_str(text).map_err(|error| {
            Problem::bad_request("filter", error.to_string(), "Open the list of dead letters again")
        })?,
    };
    let rate = replays::checked(&filter, form.rate_per_minute)?;
    if form.dry_run.is_some() {
        let estimate = replays::dry_run(&app, &caller, &filter, rate).await?;
        let language = visit.language;
        if visit.partial {
            return Ok(Html(dry_run(language, &estimate).into_string()).into_response());
        }
        let body = html! {
            h1 { (language.t("Replay all that match")) }
            (replay_all(&visit, &filter, form.reason.as_deref().unwrap_or_default(), Some(&estimate)))
            p { a href=(address(&filter, None)) { (language.t("Back to the letters")) } }
        };
        return Ok(
            Page::new(visit, language.t("Replay all that match"), Here::DeadLetters, body).into_response()
        );
    }
    let progress = replays::begin(&app, &caller, &filter, &reason(form.reason)?, rate).await?;
    Ok(Redirect::to(&format!("/replays/{}", progress.id)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_chosen_stands_in_the_address() {
        let mut filter = open_ones();
        assert_eq!(address(&filter, None), "/dead-letters");
        filter.kind = Some("tts".into());
        assert_eq!(
            address(&filter, Some(Uuid::nil())),
            format!("/dead-letters?kind=tts&cursor=v1.{}", "0".repeat(32))
        );
        filter.state = None;
        assert_eq!(address(&filter, None), "/dead-letters?state=all&kind=tts");
    }

    #[test]
    fn a_letter_says_what_it_is_about() {
        let what = |source, kind, engine| what(Language::English, source, kind, engine);
        assert_eq!(what("task", Some("tts"), Some("espeak")), "Speech by espeak");
        assert_eq!(what("message", None, None), "A message");
        assert_eq!(what("podcast", None, None), "A deadline");
    }
}
