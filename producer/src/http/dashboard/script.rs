//! The script of a finished podcast, to be edited: each line that was changed is spoken again, and nothing else.

use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use common::store::generations::{Answer, Changed, Order, Why};
use common::store::reading::{self, Script, ScriptChapter, ScriptSegment, Summary};
use maud::{Markup, html};

use super::super::App;
use super::super::acts;
use super::super::dead_letters::settle::reason;
use super::super::extract::{PodcastId, unknown};
use super::super::problem::Problem;
use super::frame::{Told, Visit};
use super::layout::{Here, Page, token};
use crate::Caller;

pub(in crate::http) async fn show(
    State(app): State<App>,
    caller: Caller,
    visit: Visit,
    PodcastId(id): PodcastId,
) -> Result<Page, Problem> {
    let (podcast, script) = read(&app, &caller, id).await?;
    Ok(page(visit, &podcast, &script, &Sent::default(), None))
}

async fn read(app: &App, caller: &Caller, id: uuid::Uuid) -> Result<(Summary, Script), Problem> {
    let tenant = &caller.tenant;
    let found = app
        .read(async |client| {
            let podcast = reading::podcast(client, tenant, id).await?;
            Ok(podcast.zip(reading::script(client, tenant, id).await?))
        })
        .await?;
    found.ok_or_else(|| unknown(id))
}

/// What the form brought: fields as they are called.
#[derive(Clone, Debug, Default)]
struct Sent(Vec<(String, String)>);

impl Sent {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The line as it was written, where it was written at all. A browser ends lines as it likes.
    fn text(&self, chapter: i32, segment: i32) -> Option<String> {
        self.get(&field("text", chapter, segment)).map(|text| text.replace("\r\n", "\n").trim().to_owned())
    }

    /// What differs from the script, or is to be said another time.
    fn changed(&self, script: &Script) -> Vec<Changed> {
        let lines = script
            .chapters
            .iter()
            .flat_map(|chapter| chapter.segments.iter().map(|line| (chapter.chapter, line)));
        lines
            .filter_map(|(chapter, line)| {
                let edited = self.text(chapter, line.segment).filter(|text| *text != line.text.trim());
                let again = self.get(&field("again", chapter, line.segment)).is_some();
                let why = match edited {
                    Some(text) => Why::Edited(text),
                    None if again => Why::AnotherTake,
                    None => return None,
                };
                Some(Changed { chapter, segment: line.segment, why })
            })
            .collect()
    }
}

fn field(what: &str, chapter: i32, segment: i32) -> String {
    format!("{what}-{chapter}-{segment}")
}

pub(in crate::http) async fn revise(
    State(app): State<App>,
    caller: Caller,
    visit: Visit,
    PodcastId(id): PodcastId,
    Form(sent): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let sent = Sent(sent);
    let (podcast, script) = read(&app, &caller, id).await?;
    let language = visit.language;
    let refused = |visit: Visit, status: StatusCode, notice: &Markup| {
        page(visit, &podcast, &script, &sent, Some(notice)).with_status(status).into_response()
    };
    let changed = sent.changed(&script);
    if changed.is_empty() {
        let nothing = html! { div.notice.bad role="alert" { p { (language.t("Nothing was changed.")) } } };
        return Ok(refused(visit, StatusCode::UNPROCESSABLE_ENTITY, &nothing));
    }
    let why = sent.get("reason").map(str::trim).filter(|why| !why.is_empty());
    let why = why.map(|why| reason(Some(why.to_owned()))).transpose()?;
    let order = Order {
        tenant: &caller.tenant,
        principal: &caller.principal,
        reason: why.as_deref(),
        podcast: id,
        seen: sent.get("generation").and_then(|seen| seen.parse().ok()),
        changed: &changed,
    };
    match acts::begin(&app, &order).await? {
        Answer::Begun(_) => Ok(Redirect::to(&format!("/podcasts/{id}")).into_response()),
        Answer::Unknown => Err(unknown(id)),
        Answer::Impossible(why) => {
            let told = Told::of_state("not-revisable", format!("{}. {}", why.reason, why.remedy));
            Ok(refused(visit, StatusCode::CONFLICT, &told.notice(language)))
        }
        Answer::Faulty(faults) => {
            let notice = Told::of_form(faults).notice(language);
            Ok(refused(visit, StatusCode::UNPROCESSABLE_ENTITY, &notice))
        }
    }
}

fn page(visit: Visit, podcast: &Summary, script: &Script, sent: &Sent, refused: Option<&Markup>) -> Page {
    let language = visit.language;
    let title = podcast.title.clone().unwrap_or_else(|| language.t("Not titled yet").into());
    let body = html! {
        p { a href=(format!("/podcasts/{}", podcast.id)) { (title) } }
        h1 { (language.t("Edit the script")) }
        @if podcast.state == "running" {
            div.notice.warn { p { (language.t("The podcast is being made. It can be edited when it is finished.")) } }
        }
        @if let Some(notice) = refused { (notice) }
        p.hint { (language.t("Only lines that you change are spoken again, and only their chapters are mixed again. The episode plays as it is until the new one is there.")) }
        form.script method="post" action=(format!("/podcasts/{}/script", podcast.id)) {
            (token(&visit))
            input type="hidden" name="generation" value=(script.generation);
            @for chapter in &script.chapters {
                h2 { (chapter.title) }
                @for line in &chapter.segments { (line_fields(&visit, chapter, line, sent)) }
            }
            div.stack.end {
                label for="reason" { (language.t("Why (may be left open)")) }
                input #reason name="reason" maxlength="500" autocomplete="off" value=(sent.get("reason").unwrap_or_default());
                button type="submit" { (language.t("Make the next version")) }
            }
        }
    };
    Page::new(visit, title, Here::Podcasts, body)
}

fn line_fields(visit: &Visit, chapter: &ScriptChapter, line: &ScriptSegment, sent: &Sent) -> Markup {
    let language = visit.language;
    let name = field("text", chapter.chapter, line.segment);
    let again = field("again", chapter.chapter, line.segment);
    let text = sent.text(chapter.chapter, line.segment).unwrap_or_else(|| line.text.clone());
    let rows = (text.chars().count() / 70 + 1).min(12);
    html! {
        div.said {
            label for=(name) { (line.speaker) }
            textarea #(name) name=(name) rows=(rows) { "\n" (text) }
            label.again { input type="checkbox" name=(again) value="on" checked[sent.get(&again).is_some()]; " " (language.t("say it another way")) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> Script {
        let line = |segment, text: &str| ScriptSegment {
            segment,
            speaker: "Ada".into(),
            text: text.into(),
            place: "body".into(),
            spoken: true,
        };
        let chapters = vec![ScriptChapter {
            chapter: 1,
            title: "T".into(),
            segments: vec![line(0, "One.\nTwo."), line(1, "Three.")],
        }];
        Script { id: uuid::Uuid::nil(), generation: 1, chapters }
    }

    #[test]
    fn only_what_was_changed_is_said_again() {
        let changed = |fields: &[(&str, &str)]| {
            let sent = Sent(fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect());
            sent.changed(&script())
        };
        assert_eq!(changed(&[("text-1-0", "One.\r\nTwo. "), ("text-1-1", "Three."), ("text-9-9", "x")]), []);
        let edited = Changed { chapter: 1, segment: 1, why: Why::Edited("Four.".into()) };
        assert_eq!(
            changed(&[("text-1-0", "One.\r\nTwo."), ("text-1-1", "Four."), ("again-1-1", "on")]),
            [edited]
        );
        let again = Changed { chapter: 1, segment: 0, why: Why::AnotherTake };
        assert_eq!(changed(&[("again-1-0", "on")]), [again]);
    }
}
