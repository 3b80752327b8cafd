//! A podcast: how far it is, what was tried for it, and how it sounds.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use common::access::Role;
use common::store::dead_letters::reading as letters;
use common::store::reading::{self, Summary, Trouble};
use common::store::showing::{self, Asked, Attempt, Chapter, Toll};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

use super::super::App;
use super::super::extract::{Params, PodcastId, unknown};
use super::super::podcasts as api;
use super::super::problem::Problem;
use super::acts;
use super::episode::{self, Texts};
use super::figures::bar;
use super::frame::Visit;
use super::layout::{Here, Page, missing, money, time, token, took};
use super::parts::Parts;
use super::podcasts::state;
use super::waterfall::waterfall;
use super::words::Language;
use crate::Caller;

/// Attempts that are shown at first, and at most.
const FEW: i64 = 60;
const MANY: i64 = 3_000;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Look {
    /// `all`: every attempt.
    attempts: Option<String>,
}

/// All that a page tells of a podcast; what is beside it, unless the database did not tell it in time.
pub(super) struct Story {
    pub(super) podcast: Summary,
    chapters: Option<Vec<Chapter>>,
    attempts: Option<Vec<Attempt>>,
    tolls: Option<Vec<Toll>>,
    troubles: Option<Vec<Trouble>>,
    letters: Option<Vec<Uuid>>,
    all: bool,
}

pub(super) async fn story(app: &App, caller: &Caller, id: Uuid, all: bool) -> Result<Story, Problem> {
    let tenant = &caller.tenant;
    let (limit, statement) = (if all { MANY } else { FEW }, app.env.config.producer.page_timeout());
    let found = app
        .read(async |client| {
            let Some(podcast) = reading::podcast(client, tenant, id).await? else { return Ok(None) };
            let (mut parts, generation) = (Parts::new(client, statement), podcast.generation);
            Ok(Some(Story {
                chapters: parts
                    .read("chapters", async |client| showing::chapters(client, tenant, id, generation).await)
                    .await?,
                troubles: parts
                    .read("troubles", async |client| reading::troubles(client, tenant, id).await)
                    .await?,
                letters: parts
                    .read("letters", async |client| letters::open_of_podcast(client, tenant, id).await)
                    .await?,
                tolls: parts.read("tolls", async |client| showing::tolls(client, tenant, id).await).await?,
                attempts: parts
                    .read("attempts", async |client| showing::attempts(client, tenant, id, limit).await)
                    .await?,
                podcast,
                all,
            }))
        })
        .await?;
    found.ok_or_else(|| unknown(id))
}

pub(in crate::http) async fn show(
    State(app): State<App>,
    caller: Caller,
    visit: Visit,
    PodcastId(id): PodcastId,
    Params(look): Params<Look>,
) -> Result<Response, Problem> {
    let story = story(&app, &caller, id, look.attempts.as_deref() == Some("all")).await?;
    let asked = app.read(async |client| showing::asked(client, &caller.tenant, id).await).await;
    let texts = texts(&app, &story.podcast).await;
    let language = visit.language;
    let title = title(language, &story.podcast).to_owned();
    let live = (story.podcast.state == "running").then(|| format!("/podcasts/{id}/live"));
    let body = html! {
        div data-live=[live] {
            (heading(&title))
            p.notice.warn data-lost role="status" hidden { (language.t("The connection is lost. This page goes on by itself when it is back.")) }
            (status(&visit, &caller, &story))
            (episode::episode(language, &story.podcast, &texts))
            (chapters(language, &story))
            (work(language, &story))
        }
        (acts::choices(&visit, &caller, &story.podcast))
        @match &asked {
            Ok(Some(asked)) => (facts(language, &story.podcast, asked)),
            Ok(None) => {}
            Err(_) => (missing(language)),
        }
    };
    Ok(Page::new(visit, title, Here::Podcasts, body).into_response())
}

pub(super) async fn texts(app: &App, podcast: &Summary) -> Texts {
    match &podcast.episode {
        Some(episode) => episode::texts(&app.env.blobs, episode).await,
        None => Texts::default(),
    }
}

fn title(language: Language, podcast: &Summary) -> &str {
    podcast.title.as_deref().unwrap_or_else(|| language.t("Not titled yet"))
}

/// A podcast gets its title while it is made.
fn heading(title: &str) -> Markup {
    html! { h1 #title { (title) } }
}

/// What changes while a podcast is made. The player comes along when its sound has changed.
pub(super) fn changing(visit: &Visit, caller: &Caller, story: &Story, texts: Option<&Texts>) -> Markup {
    let language = visit.language;
    html! {
        (heading(title(language, &story.podcast)))
        (status(visit, caller, story))
        @if let Some(texts) = texts { (episode::episode(language, &story.podcast, texts)) }
        (chapters(language, story))
        (work(language, story))
    }
}

fn status(visit: &Visit, caller: &Caller, story: &Story) -> Markup {
    let (language, podcast) = (visit.language, &story.podcast);
    let progress = podcast.progress;
    html! {
        section #status data-state=(podcast.state) {
            p.lead { (state(language, podcast)) }
            @if podcast.state == "running" {
                ol.stages aria-label=(language.t("Stages")) {
                    @for stage in ["outline", "script", "tts", "mix", "join"] {
                        li aria-current=[(stage == podcast.stage).then_some("step")] { (language.stage(stage)) }
                    }
                }
                @if let Some(seconds) = podcast.estimate_seconds {
                    p { (language.f("About {0} more, at its pace so far.", &[&took((seconds * 1000.0) as i64)])) }
                } @else if progress.chapters_total == 0 {
                    p { (language.t("It waits for its outline. If nothing moves for long, see whether workers run.")) }
                }
                @if caller.role >= Role::Submit {
                    form method="post" action=(format!("/podcasts/{}/cancel", podcast.id)) {
                        (token(visit))
                        button.danger type="submit" { (language.t("Cancel this podcast")) }
                    }
                }
            }
            @if podcast.state == "running" && podcast.episode.is_some() {
                p.notice { (language.t("The next version is being made; until it is there, this one plays.")) }
            }
            @if podcast.state != "running" && podcast.episode.is_some() && caller.role >= Role::Submit {
                p { a href=(format!("/podcasts/{}/script", podcast.id)) { (language.t("Edit the script")) } }
            }
            @if let Some(failure) = &podcast.failure {
                div.notice.bad {
                    p { b { (language.f("It failed at the stage {0}: {1}.", &[language.stage(&failure.stage), language.class(failure.class.as_str())])) } }
                    p { (failure.error.message) }
                    @if let Some(letter) = story.letters.iter().flatten().next() {
                        p { a href=(format!("/dead-letters/{letter}")) { (language.t("See what can be done")) } }
                    }
                }
            }
            @match story.troubles.as_deref().filter(|_| podcast.state == "running") {
                Some([]) | None => {}
                Some(troubles) => div.notice.warn {
                    p { (language.t("Some of its work failed, and is tried again:")) }
                    ul { @for trouble in troubles { (trouble_line(language, trouble)) } }
                }
            }
            @if story.troubles.is_none() || story.letters.is_none() { (missing(language)) }
        }
    }
}

fn trouble_line(language: Language, trouble: &Trouble) -> Markup {
    html! {
        li {
            (language.stage(&trouble.kind)) " " (trouble.chapter + 1)
            @if trouble.kind == "tts" { "." (trouble.segment + 1) }
            ": " (language.class(trouble.class.as_deref().unwrap_or_default()))
            @if let Some(message) = &trouble.message { span.cause { (message) } }
            @if let Some(next) = trouble.next_attempt_at { " " (language.t("Next attempt:")) " " (time(next)) }
        }
    }
}

fn chapters(language: Language, story: &Story) -> Markup {
    let running = story.podcast.state == "running";
    html! {
        section #chapters {
            @if running && story.chapters.is_none() {
                h2 { (language.t("Chapters")) }
                (missing(language))
            }
            @if let Some(chapters) = story.chapters.as_ref().filter(|chapters| running && !chapters.is_empty()) {
                h2 { (language.t("Chapters")) }
                ol.progress {
                    @for chapter in chapters {
                        li {
                            span.title { (chapter.title) } " "
                            span.stage { (chapter_state(language, chapter)) }
                            (bar(chapter.segments_done.into(), chapter.segments_total.into(), language.t("Segments spoken")))
                        }
                    }
                }
            }
        }
    }
}

fn chapter_state(language: Language, chapter: &Chapter) -> &'static str {
    if chapter.duration_ms.is_some() {
        language.t("ready")
    } else if !chapter.written {
        language.t("is being written")
    } else if chapter.segments_done < chapter.segments_total {
        language.t("is being spoken")
    } else {
        language.t("is being mixed")
    }
}

fn work(language: Language, story: &Story) -> Markup {
    let podcast = &story.podcast;
    let end = podcast.finished_at.unwrap_or_else(Timestamp::now);
    let count = story.tolls.as_ref().map(|tolls| tolls.iter().map(|toll| toll.attempts).sum::<i64>());
    html! {
        section #work {
            @if count != Some(0) { h2 { (language.t("What it took")) } }
            @if let Some(tolls) = story.tolls.as_ref().filter(|tolls| !tolls.is_empty()) { (totals(language, podcast, tolls)) }
            @if story.tolls.is_none() || story.attempts.is_none() { (missing(language)) }
            @if let (Some(attempts), Some(count)) = (&story.attempts, count) && count > 0 {
                details open[story.all] {
                    summary { (language.f("Every attempt ({0})", &[&count.to_string()])) }
                    @if (attempts.len() as i64) < count {
                        p { (language.f("The newest {0} are shown.", &[&attempts.len().to_string()])) " "
                            a href=(format!("/podcasts/{}?attempts=all", podcast.id)) { (language.t("Show all")) } }
                    }
                    (waterfall(language, attempts, podcast.created_at, end))
                }
            }
        }
    }
}

fn totals(language: Language, podcast: &Summary, tolls: &[Toll]) -> Markup {
    let cost: i64 = tolls.iter().map(|toll| toll.cost_micros).sum();
    let kinds = ["outline", "script", "tts", "mix", "join"];
    let in_order = kinds.iter().filter_map(|kind| tolls.iter().find(|toll| toll.kind == *kind));
    let saved = podcast.saved;
    html! {
        table.wide {
            thead { tr {
                th scope="col" { (language.t("Work")) }
                th scope="col" { (language.t("Attempts")) }
                th scope="col" { (language.t("Found, not made again")) }
                th scope="col" { (language.t("Failed")) }
                th scope="col" { (language.t("Time of work")) }
                th scope="col" { (language.t("Cost")) }
            } }
            tbody {
                @for toll in in_order {
                    tr {
                        th scope="row" data-label=(language.t("Work")) { (language.stage(&toll.kind)) }
                        td.number data-label=(language.t("Attempts")) { (toll.attempts) }
                        td.number data-label=(language.t("Found, not made again")) { (toll.cached) }
                        td.number data-label=(language.t("Failed")) { (toll.failed) }
                        td.number data-label=(language.t("Time of work")) { (took(toll.busy_ms)) }
                        td.number data-label=(language.t("Cost")) { (money(toll.cost_micros)) }
                    }
                }
            }
        }
        p {
            (language.f("In all it cost {0}.", &[&money(cost)]))
            @if saved.calls > 0 {
                " " (language.f("Equal work that was done before saved {0} calls and {1}.", &[&saved.calls.to_string(), &money(saved.micros)]))
            }
        }
    }
}

fn facts(language: Language, podcast: &Summary, asked: &Asked) -> Markup {
    let brief = &asked.brief;
    html! {
        section #facts {
            h2 { (language.t("What was asked for")) }
            dl {
                dt { (language.t("By")) } dd { (asked.principal) }
                dt { (language.t("Asked for")) } dd { (time(podcast.created_at)) }
                dt { (language.t("Language")) } dd { (brief.language) }
                dt { (language.t("Format")) } dd { (language.format(brief.format.as_str())) }
                dt { (language.t("Speakers")) }
                dd { @for (i, speaker) in brief.speakers.iter().enumerate() {
                    @if i > 0 { ", " } (speaker.name) " (" (speaker.voice) ")"
                } }
                @if let Some(minutes) = brief.target_minutes {
                    dt { (language.t("Length")) } dd { (language.f("{0} minutes", &[&minutes.to_string()])) }
                }
                dt { (language.t("Priority")) } dd { (language.priority(&podcast.priority)) }
                dt { (language.t("Engines")) }
                dd { (asked.engines.outline) ", " (asked.engines.script) ", " (asked.engines.tts) }
                dt { (language.t("Has time until")) } dd { (time(podcast.deadline)) }
                @if podcast.generation > 1 { dt { (language.t("Version")) } dd { (podcast.generation) } }
                dt { (language.t("Number")) } dd { code { (podcast.id) } }
            }
        }
    }
}

pub(in crate::http) async fn cancel(
    app: State<App>,
    caller: Caller,
    PodcastId(id): PodcastId,
) -> Result<Response, Problem> {
    let _ended = api::cancel(app, caller, PodcastId(id)).await?;
    Ok(Redirect::to(&format!("/podcasts/{id}")).into_response())
}
