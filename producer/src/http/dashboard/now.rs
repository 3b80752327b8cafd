//! How things are right now: lanes, podcasts, what the last hour brought, and what each worker is doing.

use std::sync::Arc;

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
use uuid::Uuid;

use super::super::App;
use super::super::problem::Problem;
use super::super::watch::closed;
use super::acts;
use super::figures::columns;
use super::frame::Visit;
use super::layout::{Here, Page, missing, money, time, took};
use super::live::as_events;
use super::looks::{FleetNow, TenantNow};
use super::parts::Parts;
use super::words::Language;
use crate::Caller;

/// Minutes that are drawn.
const MINUTES: i32 = 60;

/// All that the page tells.
struct Overview {
    fleet: Arc<FleetNow>,
    own: Arc<TenantNow>,
}

/// One answer for all pages that are open here, whoever looks.
async fn overview(app: &App, caller: &Caller) -> Result<Overview, Problem> {
    let fleet = app.looks.fleet(async || fleet_now(app).await.ok()).await.ok_or_else(Problem::unavailable)?;
    let workers = fleet.workers.iter().flatten();
    let tasks: Vec<_> = workers.flat_map(|worker| worker.pulse.holding.iter().copied()).collect();
    let tenant = caller.tenant.as_str();
    let own = app.looks.tenant(tenant, async || tenant_now(app, tenant, &tasks).await.ok()).await;
    Ok(Overview { fleet, own: own.ok_or_else(Problem::unavailable)? })
}

async fn fleet_now(app: &App) -> Result<FleetNow, Problem> {
    let statement = app.env.config.producer.page_timeout();
    app.read(async |client| {
        let mut parts = Parts::new(client, statement);
        Ok(FleetNow {
            workers: parts.read("workers", async |client| overview::workers(client).await).await?,
            lanes: parts.read("lanes", async |client| overview::lanes(client).await).await?,
        })
    })
    .await
}

async fn tenant_now(app: &App, tenant: &str, tasks: &[Uuid]) -> Result<TenantNow, Problem> {
    let statement = app.env.config.producer.page_timeout();
    app.read(async |client| {
        let mut parts = Parts::new(client, statement);
        Ok(TenantNow {
            at: Timestamp::now(),
            podcasts: parts.read("podcasts", async |client| overview::podcasts(client, tenant).await).await?,
            minutes: parts
                .read("minutes", async |client| minutes::last(client, tenant, MINUTES).await)
                .await?,
            held: parts.read("held", async |client| overview::held(client, tenant, tasks).await).await?,
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
    let pauses = app.read(async |client| pauses::list(client, of).await).await.ok();
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
        (acts::paused(&visit, &caller, &app.env.config, pauses.as_deref()))
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
                () = app.looks.next_turn() => {}
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
    let own = &overview.own;
    html! {
        dl.figures {
            @if let Some(podcasts) = &own.podcasts {
                @for state in ["running", "completed", "failed", "cancelled"] {
                    @let count = podcasts.iter().find(|(known, _)| known == state).map_or(0, |(_, count)| *count);
                    div.figure {
                        dt { (language.state(state)) }
                        dd { a href=(format!("/podcasts?state={state}")) { (bounded(count)) } }
                    }
                }
            }
            @if let Some(minutes) = &own.minutes { (figures_of(language, own.at, minutes)) }
        }
        @if own.podcasts.is_none() || own.minutes.is_none() { (missing(language)) }
        p.hint { (language.t("Podcasts: those that are being made, and those that ended in the last day. Figures: your own, of the last hour.")) }
    }
}

fn figures_of(language: Language, now: Timestamp, minutes: &[Minute]) -> Markup {
    let sum = |kind: Option<Kind>| {
        let mut sum = Counts::default();
        for minute in minutes.iter().filter(|minute| kind.is_none_or(|kind| minute.kind == kind.as_str())) {
            sum.add(&minute.counts);
        }
        sum
    };
    let (all, speech) = (sum(None), sum(Some(Kind::Tts)));
    let share = |part: i64, of: i64| if of == 0 { "–".into() } else { format!("{} %", part * 100 / of) };
    let quantile =
        |share: f64| speech.quantile_ms(share).map_or("–".into(), |ms| format!("< {}", took(ms)));
    let figure = |name: &str, value: String| html! { div.figure { dt { (name) } dd { (value) } } };
    html! {
        (figure(language.t("Segments a second, last minute"), format!("{:.1}", last_minute(now, minutes))))
        (figure(language.t("Half of speech took"), quantile(0.5)))
        (figure(language.t("95 of 100 took"), quantile(0.95)))
        (figure(language.t("Attempts failed"), share(all.failed, all.done + all.failed)))
        (figure(language.t("Found, not made again"), share(all.cached, all.done)))
        (figure(language.t("Cost"), money(all.cost_micros)))
    }
}

/// Of the last whole minute.
fn last_minute(now: Timestamp, minutes: &[Minute]) -> f64 {
    let begun = |minute: &Minute| now.as_second() - minute.at.as_second();
    let speech = minutes.iter().filter(|minute| minute.kind == "tts");
    let whole = speech.filter(|minute| (60..120).contains(&begun(minute)));
    whole.map(|minute| minute.counts.done).sum::<i64>() as f64 / 60.0
}

fn bounded(count: i64) -> String {
    if count >= MOST_COUNTED { format!("{MOST_COUNTED}+") } else { count.to_string() }
}

/// The last hour as columns, with the table beside them.
fn hour(language: Language, overview: &Overview) -> Markup {
    html! {
        h2 { (language.t("Work of the last hour, by the minute")) }
        @match &overview.own.minutes {
            Some(minutes) => (by_the_minute(language, overview.own.at, minutes)),
            None => (missing(language)),
        }
    }
}

fn by_the_minute(language: Language, now: Timestamp, minutes: &[Minute]) -> Markup {
    let now = now.as_second() / 60;
    let each: Vec<(i64, Counts)> = (0..i64::from(MINUTES))
        .map(|ago| now - i64::from(MINUTES) + 1 + ago)
        .map(|minute| {
            let mut sum = Counts::default();
            for part in minutes.iter().filter(|part| part.at.as_second() / 60 == minute) {
                sum.add(&part.counts);
            }
            (minute, sum)
        })
        .collect();
    let bars: Vec<[i64; 3]> =
        each.iter().map(|(_, counts)| [counts.done - counts.cached, counts.cached, counts.failed]).collect();
    let names = [language.t("Made"), language.t("Found, not made again"), language.t("Failed")];
    html! {
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
    let now = overview.own.at;
    let age = |since: Timestamp| i64::try_from(now.duration_since(since).as_millis()).unwrap_or(i64::MAX);
    html! {
        h2 { (language.t("Lanes of the whole fleet")) }
        @if let Some(lanes) = &overview.fleet.lanes { table.wide {
            thead { tr {
                th scope="col" { (language.t("Work")) }
                th scope="col" { (language.t("Lane")) }
                th scope="col" { (language.t("Waiting")) }
                th scope="col" { (language.t("Under way")) }
                th scope="col" { (language.t("The first in line has waited")) }
            } }
            tbody { @for lane in lanes.iter().filter(busy) { tr {
                th scope="row" data-label=(language.t("Work")) { (language.stage(&lane.kind)) }
                td data-label=(language.t("Lane")) { @if lane.lane == "alone" { (language.t("Alone")) } @else { (language.priority(&lane.lane)) } }
                td.number data-label=(language.t("Waiting")) { (bounded(lane.waiting)) }
                td.number data-label=(language.t("Under way")) { (bounded(lane.under_way)) }
                td.number data-label=(language.t("The first in line has waited")) { @if let Some(since) = lane.since { (took(age(since))) } @else { "–" } }
            } } }
        } } @else { (missing(language)) }
    }
}

fn workers(language: Language, overview: &Overview) -> Markup {
    html! {
        h2 { (language.t("Workers")) }
        @match overview.fleet.workers.as_deref() {
            None => (missing(language)),
            Some([]) => {
            div.notice.warn { p { (language.t("No worker has told of itself in the last two minutes. Start one: podfleet worker")) } }
            }
            Some(workers) => {
            p.hint { (language.t("As each told of itself, at most half a minute ago.")) }
            table.wide {
                thead { tr {
                    th scope="col" { (language.t("Worker")) }
                    th scope="col" { (language.t("Is doing")) }
                    th scope="col" { (language.t("At a time")) }
                    th scope="col" { (language.t("Engines")) }
                    th scope="col" { (language.t("Last seen")) }
                } }
                tbody { @for worker in workers { (worker_row(language, overview, worker)) } }
            }
            }
        }
    }
}

fn worker_row(language: Language, overview: &Overview, worker: &WorkerNow) -> Markup {
    let pulse = &worker.pulse;
    let held = overview.own.held.iter().flatten();
    let own: Vec<&Held> = held.filter(|held| pulse.holding.contains(&held.task)).collect();
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
