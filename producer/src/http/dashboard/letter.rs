//! One dead letter: what it means, its story, and what can be decided about it.

use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use common::access::Role;
use common::request::Fault;
use common::store::replay::difference::{Change, difference};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::super::App;
use super::super::dead_letters::settle::{self, reason};
use super::super::dead_letters::{Shown, open};
use super::super::extract::LetterId;
use super::super::problem::Problem;
use super::dead_letters::what;
use super::frame::{Told, Visit, told};
use super::layout::{Here, Page, time, token, took};
use super::words::Language;
use crate::Caller;
use crate::replay::Wish;

pub(in crate::http) async fn show(
    State(app): State<App>,
    caller: Caller,
    visit: Visit,
    LetterId(id): LetterId,
) -> Result<Response, Problem> {
    let shown = open(&app, &caller, id, false).await?;
    Ok(page(visit, &caller, &shown, None).into_response())
}

#[derive(Debug, Deserialize)]
pub(in crate::http) struct Decided {
    reason: Option<String>,
}

/// What somebody writes in place of the payload.
#[derive(Debug, Default, Deserialize)]
pub(in crate::http) struct Edit {
    payload: Option<String>,
    reason: Option<String>,
    /// The difference was seen, and is wanted.
    confirmed: Option<String>,
}

/// Where an edit stands.
#[derive(Default)]
struct Editing {
    text: String,
    why: String,
    changes: Option<Vec<Change>>,
    refused: Option<Told>,
}

pub(in crate::http) async fn replay(
    State(app): State<App>,
    caller: Caller,
    LetterId(id): LetterId,
    Form(form): Form<Decided>,
) -> Result<Response, Problem> {
    let reason = reason(form.reason)?;
    let wish = Wish { caller: &caller, letter: id, reason: &reason, edited: None, many: None };
    let answer = settle::settle(&app, wish).await?;
    Ok(Redirect::to(&format!("/podcasts/{}", answer.podcast)).into_response())
}

pub(in crate::http) async fn discard(
    State(app): State<App>,
    caller: Caller,
    LetterId(id): LetterId,
    Form(form): Form<Decided>,
) -> Result<Response, Problem> {
    let _discarded = settle::set_aside(&app, &caller, id, &reason(form.reason)?).await?;
    Ok(Redirect::to(&format!("/dead-letters/{id}")).into_response())
}

/// Shows the payload, which is written down; then what was changed of it; then replays it so.
pub(in crate::http) async fn edit(
    State(app): State<App>,
    caller: Caller,
    visit: Visit,
    LetterId(id): LetterId,
    Form(form): Form<Edit>,
) -> Result<Response, Problem> {
    let shown = open(&app, &caller, id, true).await?;
    let original = &shown.payload["value"];
    let Some(text) = form.payload else {
        let editing = Editing { text: written(original), ..Editing::default() };
        return Ok(page(visit, &caller, &shown, Some(&editing)).into_response());
    };
    let why = form.reason.clone().unwrap_or_default();
    let mut editing = Editing { text, why, ..Editing::default() };
    let edited: Value = match serde_json::from_str(&editing.text) {
        Ok(value) => value,
        Err(error) => {
            let remedy =
                "Compare the line with those around it: a comma, a quotation mark or a bracket".into();
            let reason = format!("it is not JSON: {error}");
            editing.refused = Some(Told::of_form(vec![Fault { field: "payload".into(), reason, remedy }]));
            return Ok(page(visit, &caller, &shown, Some(&editing)).into_response());
        }
    };
    if form.confirmed.is_some() {
        let reason = reason(form.reason)?;
        let wish = Wish { caller: &caller, letter: id, reason: &reason, edited: Some(&edited), many: None };
        match settle::settle(&app, wish).await {
            Ok(answer) => return Ok(Redirect::to(&format!("/podcasts/{}", answer.podcast)).into_response()),
            Err(problem) => {
                let response = problem.into_response();
                let status = response.status();
                let told = told(response).await.filter(|told| !told.errors.is_empty());
                if told.is_none() {
                    return Err(Problem::new(
                        status,
                        "not-replayable",
                        visit.language.t("It could not be replayed. Open the letter again to see why"),
                    ));
                }
                // What somebody wrote stays.
                editing.refused = told;
            }
        }
    }
    editing.changes = Some(difference(original, &edited));
    Ok(page(visit, &caller, &shown, Some(&editing)).into_response())
}

fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => serde_json::to_string_pretty(value).unwrap_or_default(),
    }
}

fn page(visit: Visit, caller: &Caller, shown: &Shown, editing: Option<&Editing>) -> Page {
    let (language, letter) = (visit.language, &shown.letter);
    let may_settle = caller.role >= Role::Support;
    let body = html! {
        p { a href="/dead-letters" { (language.t("Dead letters")) } }
        h1 { (letter.cause) }
        p { span.state.(letter.state) { (language.state(&letter.state)) } " " (what(language, &letter.source, letter.kind.as_deref(), letter.engine.as_deref())) " · " (language.class(&letter.class)) }
        div.notice {
            p { (language.any(shown.advice)) }
            @if let Some(why_not) = &shown.why_not { p { (why_not) } }
        }
        @if let Some(editing) = editing {
            (editor(&visit, letter.id, editing))
        } @else if may_settle && letter.settled.is_none() {
            (decisions(&visit, shown))
        } @else if letter.settled.is_none() {
            p.hint { (language.t("Whoever has the role support can decide about it.")) }
        }
        (story(language, shown))
        @if editing.is_none() { (payload(&visit, shown, may_settle)) }
        (facts(language, shown))
        (trail(language, shown))
    };
    Page::new(visit, letter.cause.clone(), Here::DeadLetters, body)
}

fn decisions(visit: &Visit, shown: &Shown) -> Markup {
    let (language, id) = (visit.language, shown.letter.id);
    let form = |action: &str, label: &str, button: &str, class: &str| {
        html! {
            form.stack method="post" action=(format!("/dead-letters/{id}/{action}")) {
                (token(visit))
                label for=(action) { (label) }
                input #(action) name="reason" maxlength="500" required autocomplete="off";
                button.(class) type="submit" { (button) }
            }
        }
    };
    html! {
        section #decide {
            h2 { (language.t("Decide")) }
            div.choices {
                @if shown.replayable { (form("replay", language.t("Why is it replayed?"), language.t("Replay"), "first")) }
                (form("discard", language.t("Why is it discarded?"), language.t("Discard"), "danger"))
                @if shown.payload["value"] != Value::Null || shown.payload["redacted"] == true {
                    form.stack method="post" action=(format!("/dead-letters/{id}/edit")) {
                        (token(visit))
                        p { (language.t("Edit what goes in, and replay it so. To see it is noted in the audit trail.")) }
                        button.second type="submit" { (language.t("Show and edit")) }
                    }
                }
            }
        }
    }
}

fn editor(visit: &Visit, id: Uuid, editing: &Editing) -> Markup {
    let language = visit.language;
    let changes = editing.changes.as_deref();
    let can_go_on = changes.is_some_and(|changes| !changes.is_empty());
    html! {
        section #edit {
            h2 { (language.t("Edit and replay")) }
            @if let Some(told) = &editing.refused { (told.notice(language)) }
            form.stack method="post" action=(format!("/dead-letters/{id}/edit")) {
                (token(visit))
                label for="payload" { (language.t("What goes in (JSON)")) }
                textarea #payload.code name="payload" rows="16" spellcheck="false" { (editing.text) }
                @if let Some(changes) = changes { (differences(language, changes)) }
                label for="reason" { (language.t("Why is it replayed?")) }
                input #reason name="reason" maxlength="500" value=(editing.why) required autocomplete="off";
                div {
                    @if can_go_on { button type="submit" name="confirmed" value="on" { (language.t("Replay with these changes")) } " " }
                    button.second type="submit" { (language.t("Show the difference")) }
                    " " a href=(format!("/dead-letters/{id}")) { (language.t("Leave it as it is")) }
                }
            }
        }
    }
}

fn differences(language: Language, changes: &[Change]) -> Markup {
    html! {
        div.difference role="status" {
            @if changes.is_empty() { p { (language.t("Nothing was changed.")) } }
            @for change in changes {
                p { code { @if change.path.is_empty() { "/" } @else { (change.path) } } }
                @if let Some(before) = &change.before { pre { del { (written(before)) } } }
                @if let Some(after) = &change.after { pre { ins { (written(after)) } } }
            }
        }
    }
}

/// The chain of causes, and every attempt.
fn story(language: Language, shown: &Shown) -> Markup {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (chain, history) = (list(&shown.chain), list(&shown.history));
    html! {
        @if !chain.is_empty() {
            section { h2 { (language.t("Because")) } ol { @for cause in &chain { li { (written(cause)) } } } }
        }
        @if !history.is_empty() {
            section {
                h2 { (language.t("Every attempt")) }
                table.wide {
                    thead { tr {
                        th scope="col" { (language.t("Attempt")) }
                        th scope="col" { (language.t("What came of it")) }
                        th scope="col" { (language.t("Worker")) }
                        th scope="col" { (language.t("Ended")) }
                        th scope="col" { (language.t("Took")) }
                    } }
                    tbody { @for attempt in &history {
                        @let text = |name: &str| attempt[name].as_str().unwrap_or_default();
                        @let (begun, ended) = (at(&attempt["started_at"]), at(&attempt["finished_at"]));
                        tr {
                            th scope="row" data-label=(language.t("Attempt")) { (attempt["attempt"].as_i64().unwrap_or_default()) }
                            td data-label=(language.t("What came of it")) {
                                (language.class(text("class")))
                                @if !text("message").is_empty() { span.cause { (text("message")) } }
                            }
                            td data-label=(language.t("Worker")) { (text("worker")) }
                            td data-label=(language.t("Ended")) { @if let Some(ended) = ended { (time(ended)) } }
                            td.number data-label=(language.t("Took")) {
                                @if let (Some(begun), Some(ended)) = (begun, ended) { (took(i64::try_from(ended.duration_since(begun).as_millis()).unwrap_or(i64::MAX))) }
                            }
                        }
                    } }
                }
            }
        }
    }
}

fn at(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn payload(visit: &Visit, shown: &Shown, may_look: bool) -> Markup {
    let language = visit.language;
    html! {
        @if !shown.payload.is_null() {
            section {
                h2 { (language.t("What went in")) }
                @if shown.payload["redacted"] == true {
                    p.hint {
                        (language.t("What people wrote is hidden."))
                        @if !may_look { " " (language.t("Whoever has the role support can see it.")) }
                    }
                }
                pre tabindex="0" { (written(&shown.payload["value"])) }
            }
        }
    }
}

fn facts(language: Language, shown: &Shown) -> Markup {
    let letter = &shown.letter;
    html! {
        section {
            h2 { (language.t("About this letter")) }
            dl {
                @if let Some(podcast) = letter.podcast {
                    dt { (language.t("Podcast")) } dd { a href=(format!("/podcasts/{podcast}")) { (podcast) } }
                }
                dt { (language.t("By")) } dd { (shown.principal) }
                dt { (language.t("Given up")) } dd { (time(letter.created_at)) }
                dt { (language.t("This cause")) }
                dd { (language.f("seen {0} times", &[&letter.seen.to_string()])) ", " (time(letter.first_seen)) " – " (time(letter.last_seen)) " · "
                    a href=(format!("/dead-letters?fingerprint={}", letter.fingerprint)) { (language.t("all letters of it")) } }
                dt { (language.t("Number")) } dd { code { (letter.id) } }
                dt { (language.t("Version")) } dd { (letter.version) }
            }
        }
    }
}

fn trail(language: Language, shown: &Shown) -> Markup {
    html! {
        @if !shown.audit.is_empty() {
            section {
                h2 { (language.t("Audit trail")) }
                ul { @for entry in &shown.audit {
                    li { (time(entry.at)) " " (language.action(&entry.action)) " · " (entry.by)
                        @if let Some(reason) = &entry.reason { ": " (reason) } }
                } }
            }
        }
    }
}

/// Every advice there is, for the test of words.
#[cfg(test)]
pub(super) fn advices() -> Vec<&'static str> {
    use common::class::Class;
    use common::store::dead_letters::Source;
    use common::store::dead_letters::advice::advice;
    let pairs = Source::ALL.into_iter().flat_map(|source| Class::ALL.map(|class| (source, class)));
    pairs.map(|(source, class)| advice(source, class)).collect()
}
