//! How things are right now: lanes, podcasts, what the last hour brought, and what each worker is doing.

use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use common::access::Role;
use common::store::minutes::{self, Counts, Minute};
use common::store::overview::{self, Held, LaneNow, MOST_COUNTED, WorkerNow};
use common::store::pauses;
use common::work::Kind;
use futures_util::stream;
use jiff::Timestamp;
use maud::{Markup, html};
use std::time::Duration;

use super::super::App;
use super::super::problem::Problem;
use super::super::watch::closed;
use super::acts;
use super::figures::columns;
use super::frame::Visit;
use super::layout::{Here, Page, money, time, took};
use super::live::as_events;
use super::words::Language;
use crate::Caller;

/// Minutes that are drawn.
const MINUTES: i32 = 60;
/// How often an open page is renewed.
const RENEWED: Duration = Duration::from_secs(2);

/// All that the page tells.
struct Overview {
    at: Timestamp,
    lanes: Vec<LaneNow>,
    podcasts: Vec<(String, i64)>,
    minutes: Vec<Minute>,
    workers: Vec<WorkerNow>,
    held: Vec<Held>,
}

async fn overview(app: &App, caller: &Caller) -> Result<Overview, Problem> {
    let tenant = caller.tenant.as_str();
    app.read(async |client| {
        let workers = overview::workers(client).await?;
        let tasks: Vec<_> = workers.iter().flat_map(|worker| worker.pulse.holding.iter().copied()).collect();
        Ok(Overview {
            at: Timestamp::now(),
            lanes: overview::lanes(client).await?,
            podcasts: overview::podcasts(client, tenant).await?,
            minutes: minutes::last(client, tenant, MINUTES).await?,
            held: overview::held(client, tenant, &tasks).await?,
            workers,
        })
    })
    .await
}

pub(in crate::http) async fn show(
    State(app): State<App>,
    caller: Caller,
    visit: Visit,
) -> Result<Response, Problem> {
    let overview = overview(&app, &caller).await?;
    let of = caller.key.is_some().then_some(caller.tenant.as_str());
    let pauses = app.read(async |client| pauses::list(client, of).await).await?;
    let language = visit.language;
    let body = html! {
        div.head {
            h1 { (language.t("Now")) }
            // The script shows it: without one, the page stays as it is.
            button.second type="button" data-pause hidden aria-pressed="false"
                data-running=(language.t("Pause")) data-paused=(language.t("Go on")) { (language.t("Pause")) }
        }
        div data-live="/now/live" {
            p.notice.warn data-lost role="status" hidden { (language.t("The connection is lost. This page goes on by itself when it is back.")) }
            (parts(language, &overview, caller.role))
        }
        (acts::paused(&visit, &caller, &app.env.config, &pauses))
    };
    Ok(Page::new(visit, language.t("Now"), Here::Now, body).into_response())
}

/// The page's parts, again and again.
pub(in crate::http) async fn live(
    State(app): State<App>,
    caller: Caller,
    visit: Visit,
) -> Result<Response, Problem> {
    let events = stream::unfold((app, caller, visit, true), |(app, caller, visit, first)| async move {
        if !first {
            tokio::select! {
                () = tokio::time::sleep(RENEWED) => {}
                () = closed(&app, &caller) => return None,
                () = app.listeners.leaving() => return None,
            }
        }
        // Without the database the stream ends, and the browser asks again.
        let overview = overview(&app, &caller).await.ok()?;
        let event =
            Event::default().event("parts").data(parts(visit.language, &overview, caller.role).into_string());
        Some((event, (app, caller, visit, false)))
    });
    Ok(as_events(events))
}

/// Workers' machines are no concern of those who only look.
fn parts(language: Language, overview: &Overview, role: Role) -> Markup {
    html! {
        section #figures { (figures(language, overview)) }
        section #hour { (hour(language, overview)) }
        section #lanes { (lanes(language, overview)) }
        @if role >= Role::Support { section #workers { (workers(language, overview)) } }
    }
}

fn figures(language: Language, overview: &Overview) -> Markup {
    let sum = |kind: Option<Kind>| {
        let mut sum = Counts::default();
        for minute in
            overview.minutes.iter().filter(|minute| kind.is_none_or(|kind| minute.kind == kind.as_str()))
        {
            sum.add(&minute.counts);
        }
        sum
    };
    let (all, speech) = (sum(None), sum(Some(Kind::Tts)));
    let count = |state: &str| {
        overview.podcasts.iter().find(|(known, _)| known == state).map_or(0, |(_, count)| *count)
    };
    let share = |part: i64, of: i64| if of == 0 { "–".into() } else { format!("{} %", part * 100 / of) };
    let quantile =
        |share: f64| speech.quantile_ms(share).map_or("–".into(), |ms| format!("< {}", took(ms)));
    let figure = |name: &str, value: String| html! { div.figure { dt { (name) } dd { (value) } } };
    html! {
        dl.figures {
            @for state in ["running", "completed", "failed", "cancelled"] {
                div.figure {
                    dt { (language.state(state)) }
                    dd { a href=(format!("/podcasts?state={state}")) { (bounded(count(state))) } }
                }
            }
            (figure(language.t("Segments a second, last minute"), format!("{:.1}", last_minute(overview))))
            (figure(language.t("Half of speech took"), quantile(0.5)))
            (figure(language.t("95 of 100 took"), quantile(0.95)))
            (figure(language.t("Attempts failed"), share(all.failed, all.done + all.failed)))
            (figure(language.t("Found, not made again"), share(all.cached, all.done)))
            (figure(language.t("Cost"), money(all.cost_micros)))
        }
        p.hint { (language.t("Podcasts: those that are being made, and those that ended in the last day. Figures: your own, of the last hour.")) }
    }
}

/// Of the last whole minute.
fn last_minute(overview: &Overview) -> f64 {
    let begun = |minute: &Minute| overview.at.as_second() - minute.at.as_second();
    let speech = overview.minutes.iter().filter(|minute| minute.kind == "tts");
    let whole = speech.filter(|minute| (60..120).contains(&begun(minute)));
    whole.map(|minute| minute.counts.done).sum::<i64>() as f64 / 60.0
}

fn bounded(count: i64) -> String {
    if count >= MOST_COUNTED { format!("{MOST_COUNTED}+") } else { count.to_string() }
}

/// The last hour as columns, with the table beside them.
fn hour(language: Language, overview: &Overview) -> Markup {
    let now = overview.at.as_second() / 60;
    let each: Vec<(i64, Counts)> = (0..i64::from(MINUTES))
        .map(|ago| now - i64::from(MINUTES) + 1 + ago)
        .map(|minute| {
            let mut sum = Counts::default();
            for part in overview.minutes.iter().filter(|part| part.at.as_second() / 60 == minute) {
                sum.add(&part.counts);
            }
            (minute, sum)
        })
        .collect();
    let bars: Vec<[i64; 3]> =
        each.iter().map(|(_, counts)| [counts.done - counts.cached, counts.cached, counts.failed]).collect();
    let names = [language.t("Made"), language.t("Found, not made again"), language.t("Failed")];
    html! {
        h2 { (language.t("Work of the last hour, by the minute")) }
        figure {
            (columns(&bars, ["good", "cached", "bad"], language.t("Answered attempts of each minute; the table below tells the same")))
            figcaption {
                @for (name, class) in names.iter().zip(["fill-good", "fill-cached", "fill-bad"]) {
                    span.legend { svg width="10" height="10" aria-hidden="true" { rect.(class) width="10" height="10" rx="2" {} } " " (name) }
                }
            }
        }
        details {
            summary { (language.t("As a table")) }
            table.wide {
                thead { tr {
                    th scope="col" { (language.t("Minute")) }
                    @for name in names { th scope="col" { (name) } }
                    th scope="col" { (language.t("Cost")) }
                } }
                tbody { @for (minute, counts) in each.iter().rev().filter(|(_, counts)| counts.done + counts.failed > 0) {
                    tr {
                        th scope="row" data-label=(language.t("Minute")) { @if let Ok(at) = Timestamp::from_second(minute * 60) { (time(at)) } }
                        td.number data-label=(names[0]) { (counts.done - counts.cached) }
                        td.number data-label=(names[1]) { (counts.cached) }
                        td.number data-label=(names[2]) { (counts.failed) }
                        td.number data-label=(language.t("Cost")) { (money(counts.cost_micros)) }
                    }
                } }
            }
        }
    }
}

fn lanes(language: Language, overview: &Overview) -> Markup {
    let busy = |lane: &&LaneNow| lane.lane != "alone" || lane.waiting + lane.under_way > 0;
    let age =
        |since: Timestamp| i64::try_from(overview.at.duration_since(since).as_millis()).unwrap_or(i64::MAX);
    html! {
        h2 { (language.t("Lanes of the whole fleet")) }
        table.wide {
            thead { tr {
                th scope="col" { (language.t("Work")) }
                th scope="col" { (language.t("Lane")) }
                th scope="col" { (language.t("Waiting")) }
                th scope="col" { (language.t("Under way")) }
                th scope="col" { (language.t("The first in line has waited")) }
            } }
            tbody { @for lane in overview.lanes.iter().filter(busy) { tr {
                th scope="row" data-label=(language.t("Work")) { (language.stage(&lane.kind)) }
                td data-label=(language.t("Lane")) { @if lane.lane == "alone" { (language.t("Alone")) } @else { (language.priority(&lane.lane)) } }
                td.number data-label=(language.t("Waiting")) { (bounded(lane.waiting)) }
                td.number data-label=(language.t("Under way")) { (bounded(lane.under_way)) }
                td.number data-label=(language.t("The first in line has waited")) { @if let Some(since) = lane.since { (took(age(since))) } @else { "–" } }
            } } }
        }
    }
}

fn workers(language: Language, overview: &Overview) -> Markup {
    html! {
        h2 { (language.t("Workers")) }
        @if overview.workers.is_empty() {
            div.notice.warn { p { (language.t("No worker has told of itself in the last two minutes. Start one: podfleet worker")) } }
        } @else {
            p.hint { (language.t("As each told of itself, at most half a minute ago.")) }
            table.wide {
                thead { tr {
                    th scope="col" { (language.t("Worker")) }
                    th scope="col" { (language.t("Is doing")) }
                    th scope="col" { (language.t("At a time")) }
                    th scope="col" { (language.t("Engines")) }
                    th scope="col" { (language.t("Last seen")) }
                } }
                tbody { @for worker in &overview.workers { (worker_row(language, overview, worker)) } }
            }
        }
    }
}

fn worker_row(language: Language, overview: &Overview, worker: &WorkerNow) -> Markup {
    let pulse = &worker.pulse;
    let own: Vec<&Held> = overview.held.iter().filter(|held| pulse.holding.contains(&held.task)).collect();
    let others = pulse.holding.len() - own.len();
    html! {
        tr {
            th scope="row" data-label=(language.t("Worker")) { (pulse.host) " · " (pulse.pid) @if pulse.draining { " · " (language.t("leaving")) } }
            td data-label=(language.t("Is doing")) {
                @if pulse.holding.is_empty() { (language.t("nothing")) }
                @for held in own.iter().take(5) {
                    a.task href=(format!("/podcasts/{}", held.podcast)) { (language.stage(&held.kind)) " " (held.chapter + 1) @if held.kind == "tts" { "." (held.segment + 1) } } " "
                }
                @if own.len() > 5 { (language.f("and {0} more", &[&(own.len() - 5).to_string()])) " " }
                @if others > 0 { (language.f("{0} tasks of others, or done since", &[&others.to_string()])) }
            }
            td data-label=(language.t("At a time")) { @for (i, (kind, permits)) in pulse.permits.iter().enumerate() { @if i > 0 { ", " } (language.stage(kind.as_str())) " " (permits) } }
            td data-label=(language.t("Engines")) { (pulse.engines.join(", ")) }
            td data-label=(language.t("Last seen")) { (time(worker.seen_at)) }
        }
    }
}
