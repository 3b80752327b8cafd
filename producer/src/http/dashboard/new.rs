//! A new podcast: an article goes in, with voices, a length and a place in the order; before it is sent, what it would come to.

use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use common::config::{Config, Engine};
use common::request::{
    Fault, MAX_SOURCE_BYTES, PodcastRequest, Priority, Source, SpeakerRequest, detect_language,
};
use common::store::showing;
use common::work::Format;
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

use super::super::App;
use super::super::problem::Problem;
use super::super::submit;
use super::frame::{Told, Visit, encoded, told};
use super::layout::{Here, Page, money, token, took};
use super::words::Language;
use crate::Caller;

/// What the form holds; what nobody filled in is an empty text.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::http) struct Wanted {
    /// Names this form: sent twice, it is one podcast.
    once: String,
    title: String,
    text: String,
    url: String,
    topic: String,
    language: String,
    format: String,
    minutes: String,
    priority: String,
    name1: String,
    voice1: String,
    name2: String,
    voice2: String,
    name3: String,
    voice3: String,
}

pub(in crate::http) async fn show(State(app): State<App>, visit: Visit) -> Page {
    let wanted = Wanted { once: Uuid::new_v4().to_string(), ..Wanted::default() };
    page(visit, &app.env.config, &wanted, None)
}

pub(in crate::http) async fn send(
    State(app): State<App>,
    caller: Caller,
    visit: Visit,
    Form(wanted): Form<Wanted>,
) -> Result<Response, Problem> {
    let request = match wanted.request() {
        Ok(request) => request,
        Err(fault) => {
            let page = page(visit, &app.env.config, &wanted, Some(&Told::of_form(vec![fault])));
            return Ok(page.with_status(StatusCode::UNPROCESSABLE_ENTITY).into_response());
        }
    };
    let body = serde_json::to_vec(&request).map_err(|error| Problem::unexpected(&error.into()))?;
    let key = Uuid::parse_str(&wanted.once).ok().map(|once| format!("page-{once}"));
    match submit::take(&app, caller, key, None, &body).await {
        Ok(receipt) => Ok(Redirect::to(&format!("/podcasts/{}", receipt.id)).into_response()),
        Err((_, problem)) => {
            let response = problem.into_response();
            let status = response.status();
            let Some(told) = told(response).await else { return Ok(status.into_response()) };
            let page = page(visit, &app.env.config, &wanted, Some(&told));
            Ok(page.with_status(status).into_response())
        }
    }
}

/// What it would come to, before it is sent.
pub(in crate::http) async fn estimate(
    State(app): State<App>,
    caller: Caller,
    visit: Visit,
    Form(wanted): Form<Wanted>,
) -> Result<Response, Problem> {
    // It only looks, though it is a form.
    let app = app.for_pages();
    let pace = app.read(async |client| showing::pace(client, &caller.tenant).await).await?;
    let estimate = Estimate::of(&app.env.config, &wanted, pace);
    let part = told_estimate(visit.language, &estimate);
    if visit.partial {
        return Ok(Html(part.into_string()).into_response());
    }
    let title = visit.language.t("What it would come to");
    let body =
        html! { h1 { (title) } (part) p.hint { (visit.language.t("Go back to send it, or to change it.")) } };
    Ok(Page::new(visit, title, Here::New, body).into_response())
}

impl Wanted {
    fn request(&self) -> Result<PodcastRequest, Fault> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let fault = |field: &str, reason: String| Fault {
            field: field.into(),
            reason,
            remedy: "Choose one that the form offers".into(),
        };
        let format = match given(&self.format) {
            None => None,
            Some(name) => Some(format_of(&name).ok_or_else(|| fault("format", format!("it is {name:?}")))?),
        };
        let priority = match self.priority.as_str() {
            "" => None,
            "high" => Some(Priority::High),
            "normal" => Some(Priority::Normal),
            "low" => Some(Priority::Low),
            other => return Err(fault("priority", format!("it is {other:?}"))),
        };
        let target_minutes = match given(&self.minutes) {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| fault("target_minutes", format!("it is {text:?}")))?),
        };
        let text = Some(self.text.clone()).filter(|text| !text.trim().is_empty());
        Ok(PodcastRequest {
            title: given(&self.title),
            topic: given(&self.topic),
            source: match (text, given(&self.url)) {
                (None, None) => None,
                (text, url) => Some(Source { text, url }),
            },
            language: given(&self.language),
            format,
            target_minutes,
            speakers: self.speakers(),
            priority,
            ..PodcastRequest::default()
        })
    }

    /// Up to the last one that somebody said something about. One without a name is called by his place.
    fn speakers(&self) -> Vec<SpeakerRequest> {
        let asked = [(&self.name1, &self.voice1), (&self.name2, &self.voice2), (&self.name3, &self.voice3)];
        let asked = &asked[..if self.format == "monologue" { 1 } else { 3 }];
        let count = asked.iter().rposition(|(name, voice)| !(name.trim().is_empty() && voice.is_empty()));
        let asked = asked.iter().take(count.map_or(0, |last| last + 1)).enumerate();
        let mut speakers: Vec<SpeakerRequest> = asked
            .map(|(i, (name, voice))| SpeakerRequest {
                name: if name.trim().is_empty() {
                    format!("Speaker {}", i + 1)
                } else {
                    name.trim().to_owned()
                },
                voice: Some(voice.to_string()).filter(|voice| !voice.is_empty()),
                role: None,
            })
            .collect();
        // Where two talk, nobody talks alone.
        if speakers.len() == 1 && self.format != "monologue" {
            speakers.push(SpeakerRequest { name: "Speaker 2".into(), voice: None, role: None });
        }
        speakers
    }
}

fn format_of(name: &str) -> Option<Format> {
    FORMATS.into_iter().find(|format| format.as_str() == name)
}

const FORMATS: [Format; 4] = [Format::Dialogue, Format::Monologue, Format::Interview, Format::Debate];

/// What a podcast would come to, as far as it can be known before.
#[derive(Debug, PartialEq)]
struct Estimate {
    characters: usize,
    /// Of sound.
    minutes: f64,
    /// Until it is finished, from how long this tenant's last podcasts took. `None`: there was none yet.
    ready_ms: Option<i64>,
    /// Of speech and writing, by the engines' prices. `None`: no engine has a price.
    cost_micros: Option<i64>,
}

impl Estimate {
    fn of(config: &Config, wanted: &Wanted, per_minute_ms: Option<f64>) -> Estimate {
        let text = if wanted.text.trim().is_empty() { &wanted.topic } else { &wanted.text };
        let language = if wanted.language.is_empty() {
            detect_language(text).to_owned()
        } else {
            wanted.language.clone()
        };
        let tts = config.engines.get(&config.defaults.tts);
        let rate = tts.map_or(150, |engine| engine.rate(&language)).max(1);
        let source_minutes = units(text, &language) as f64 / f64::from(rate);
        let minutes = match wanted.minutes.trim().parse::<u16>() {
            Ok(minutes) => f64::from(minutes),
            Err(_) => source_minutes,
        };
        // A script has about as many characters as the source's share of the length.
        let characters = text.chars().count();
        let spoken = if source_minutes > 0.0 {
            characters as f64 * (minutes / source_minutes).min(1.5)
        } else {
            minutes * 900.0
        };
        let ready_ms = per_minute_ms.map(|each| (each * minutes) as i64);
        let cost_micros = cost(config, characters as f64, spoken);
        Estimate { characters, minutes, ready_ms, cost_micros }
    }
}

/// Prices are of a million units, so a unit's price is in millionths as it is. A token is about three characters.
fn cost(config: &Config, source: f64, spoken: f64) -> Option<i64> {
    let named = |name: &str| config.engines.get(name);
    let tts = named(&config.defaults.tts).map_or(0.0, |engine| engine.price_input * spoken);
    let writing = |engine: Option<&Engine>, output: f64| {
        engine.map_or(0.0, |engine| (engine.price_input * source + engine.price_output * output) / 3.0)
    };
    let outline = writing(named(&config.defaults.outline), spoken / 10.0);
    let script = writing(named(&config.defaults.script), spoken);
    let sum = tts + outline + script;
    (sum > 0.0).then_some(sum.ceil() as i64)
}

/// Words, or in Korean, Japanese and Chinese characters, of which a Korean one is a syllable.
fn units(text: &str, language: &str) -> usize {
    let primary = language.split('-').next().unwrap_or_default();
    if ["ko", "ja", "zh"].contains(&primary) {
        text.chars().filter(|c| c.is_alphanumeric()).count()
    } else {
        text.split_whitespace().count()
    }
}

fn told_estimate(language: Language, estimate: &Estimate) -> Markup {
    html! {
        div.notice {
            @if estimate.characters == 0 {
                p { (language.t("Put in a text first.")) }
            } @else {
                p { (language.f("{0} characters make about {1} minutes of sound.", &[&estimate.characters.to_string(), &format!("{:.1}", estimate.minutes)])) }
                p { @match estimate.ready_ms {
                    Some(ms) => (language.f("Ready in about {0}, as your last podcasts took; longer while others wait.", &[&took(ms)])),
                    None => (language.t("How long it takes is not known yet: you have no finished podcast to go by.")),
                } }
                p { @match estimate.cost_micros {
                    Some(micros) => (language.f("It costs about {0}.", &[&money(micros)])),
                    None => (language.t("It costs nothing: the engines have no price.")),
                } }
            }
        }
    }
}

fn page(visit: Visit, config: &Config, wanted: &Wanted, refused: Option<&Told>) -> Page {
    let language = visit.language;
    let tts = config.engines.get(&config.defaults.tts);
    let script = config.engines.get(&config.defaults.script);
    let body = html! {
        h1 { (language.t("New podcast")) }
        @if let Some(told) = refused { (told.notice(language)) }
        form.new method="post" action="/podcasts/new" {
            (token(&visit))
            input type="hidden" name="once" value=(wanted.once);
            div.stack {
                label for="text" { (language.t("Article")) }
                textarea #text name="text" rows="16" data-drop maxlength=(MAX_SOURCE_BYTES) aria-describedby="text-help" { "\n" (wanted.text) }
                p.hint #text-help { (language.t("Paste plain text, Markdown or HTML, or drop a file here. Headings become chapters.")) }
                input type="file" data-file-for="text" accept=".txt,.md,.html,text/*" aria-label=(language.t("Take the text from a file")) hidden;
                label for="url" { (language.t("Or the address of a page (choose its language)")) }
                input #url type="url" name="url" maxlength="2000" value=(wanted.url) placeholder="https://";
                @if !needs_source(script) {
                    label for="topic" { (language.t("Or only a topic")) }
                    input #topic name="topic" maxlength="2000" value=(wanted.topic);
                }
            }
            div.stack {
                label for="title" { (language.t("Title (may be left open)")) }
                input #title name="title" maxlength="300" value=(wanted.title);
                label for="language" { (language.t("Language")) }
                (languages(language, tts, &wanted.language))
                label for="format" { (language.t("Format")) }
                select #format name="format" {
                    @for format in formats(script) {
                        option value=(format.as_str()) selected[wanted.format == format.as_str()] { (language.format(format.as_str())) }
                    }
                }
                fieldset {
                    legend { (language.t("Speakers")) }
                    p.hint { (language.t("Names and voices may be left open. A monologue has one.")) }
                    @for (i, name, voice) in [(1, &wanted.name1, &wanted.voice1), (2, &wanted.name2, &wanted.voice2), (3, &wanted.name3, &wanted.voice3)] {
                        (speaker(language, tts, i, name, voice))
                    }
                }
                (hear(language, tts, &wanted.language))
                label for="minutes" { (language.t("Length in minutes (open: all of the text)")) }
                input #minutes type="number" name="minutes" min="1" max="180" value=(wanted.minutes);
                label for="priority" { (language.t("Priority")) }
                select #priority name="priority" {
                    @for priority in ["normal", "high", "low"] {
                        option value=(priority) selected[wanted.priority == priority] { (language.priority(priority)) }
                    }
                }
                div #estimate role="status" {}
                div {
                    button type="submit" { (language.t("Make the podcast")) } " "
                    button.second type="submit" formaction="/podcasts/new/estimate" hx-post="/podcasts/new/estimate" hx-target="#estimate" {
                        (language.t("What would it come to?"))
                    }
                }
            }
        }
    };
    Page::new(visit, language.t("New podcast"), Here::New, body)
}

fn needs_source(script: Option<&Engine>) -> bool {
    script.is_some_and(|engine| engine.needs_source)
}

fn formats(script: Option<&Engine>) -> Vec<Format> {
    let can = |format: &Format| {
        script.is_none_or(|engine| engine.formats.is_empty() || engine.formats.contains(format))
    };
    FORMATS.into_iter().filter(can).collect()
}

fn languages(language: Language, tts: Option<&Engine>, chosen: &str) -> Markup {
    let known = tts.map(|engine| engine.languages.as_slice()).unwrap_or_default();
    html! {
        @if known.is_empty() {
            input #language name="language" value=(chosen) placeholder="en, ko, …" autocomplete="off";
        } @else {
            select #language name="language" {
                option value="" { (language.t("As the text is")) }
                @for code in known { option value=(code) lang=(code) selected[chosen == code] { (in_itself(code)) } }
            }
        }
    }
}

fn speaker(language: Language, tts: Option<&Engine>, i: usize, name: &str, voice: &str) -> Markup {
    let voices = tts.map(|engine| engine.voices.as_slice()).unwrap_or_default();
    let number = i.to_string();
    html! {
        div.speaker {
            input name=(format!("name{i}")) maxlength="100" value=(name) autocomplete="off"
                aria-label=(language.f("Name of speaker {0}", &[&number])) placeholder=(language.f("Speaker {0}", &[&number]));
            @if voices.is_empty() {
                input name=(format!("voice{i}")) value=(voice) aria-label=(language.f("Voice of speaker {0}", &[&number])) placeholder=(language.t("Voice"));
            } @else {
                select name=(format!("voice{i}")) aria-label=(language.f("Voice of speaker {0}", &[&number])) {
                    option value="" { (language.t("Any voice")) }
                    @for known in voices { option value=(known) selected[voice == known] { (known) } }
                }
            }
        }
    }
}

/// Each voice, to be heard; the script has them speak the language that is chosen.
fn hear(language: Language, tts: Option<&Engine>, chosen: &str) -> Markup {
    let voices = tts.map(|engine| engine.voices.as_slice()).unwrap_or_default();
    let spoken = if chosen.is_empty() { language.code() } else { chosen };
    html! {
        @if !voices.is_empty() {
            details {
                summary { (language.t("Listen to the voices")) }
                ul.voices { @for voice in voices {
                    li { span { (voice) }
                        audio controls preload="none" data-voice=(voice) src=(format!("/voices/{}?language={}", encoded(voice), encoded(spoken)))
                            aria-label=(language.f("Voice {0}", &[voice])) {} }
                } }
            }
        }
    }
}

/// Languages that people know by their own names; any other stands as its code.
pub(super) fn in_itself(code: &str) -> &str {
    let names = [
        ("en", "English"),
        ("ko", "한국어"),
        ("de", "Deutsch"),
        ("fr", "Français"),
        ("es", "Español"),
        ("it", "Italiano"),
        ("pt", "Português"),
        ("nl", "Nederlands"),
        ("pl", "Polski"),
        ("sv", "Svenska"),
        ("da", "Dansk"),
        ("nb", "Norsk"),
        ("fi", "Suomi"),
        ("cs", "Čeština"),
        ("hu", "Magyar"),
        ("ro", "Română"),
        ("el", "Ελληνικά"),
        ("tr", "Türkçe"),
        ("ru", "Русский"),
        ("uk", "Українська"),
        ("id", "Bahasa Indonesia"),
        ("vi", "Tiếng Việt"),
        ("ja", "日本語"),
        ("zh", "中文"),
    ];
    names.iter().find(|(known, _)| *known == code).map_or(code, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_open_is_not_sent() {
        let wanted = Wanted { text: "Hello.".into(), ..Wanted::default() };
        let request = wanted.request().unwrap();
        assert_eq!(
            serde_json::to_value(&request).unwrap(),
            serde_json::json!({"source": {"text": "Hello."}})
        );
    }

    #[test]
    fn speakers_are_as_many_as_were_named() {
        let speakers = |wanted: Wanted| -> Vec<String> {
            wanted.request().unwrap().speakers.into_iter().map(|speaker| speaker.name).collect()
        };
        let named = |format: &str| Wanted {
            format: format.into(),
            name1: "Ada".into(),
            voice3: "f2".into(),
            ..Wanted::default()
        };
        assert_eq!(speakers(named("dialogue")), ["Ada", "Speaker 2", "Speaker 3"]);
        assert_eq!(speakers(named("monologue")), ["Ada"]);
        let one = Wanted { name1: "Ada".into(), ..Wanted::default() };
        assert_eq!(speakers(one), ["Ada", "Speaker 2"]);
    }

    #[test]
    fn what_the_form_does_not_offer_is_refused_by_field() {
        let field = |wanted: Wanted| wanted.request().unwrap_err().field;
        assert_eq!(field(Wanted { format: "opera".into(), ..Wanted::default() }), "format");
        assert_eq!(field(Wanted { minutes: "ten".into(), ..Wanted::default() }), "target_minutes");
        assert_eq!(field(Wanted { priority: "now".into(), ..Wanted::default() }), "priority");
    }

    #[test]
    fn an_estimate_goes_by_words_prices_and_what_podcasts_took() {
        let mut config = Config::default();
        let engines = serde_json::json!({
            "voice": {"type": "openai", "kinds": "tts", "url": "http://a", "price_input": 15.0, "rates": {"en": 150}},
            "extractive": {"type": "extractive", "kinds": "outline,script"},
        });
        config.engines = serde_json::from_value(engines).unwrap();
        config.defaults.tts = "voice".into();
        let wanted = Wanted { text: "word ".repeat(300), language: "en".into(), ..Wanted::default() };
        let estimate = Estimate::of(&config, &wanted, Some(2_500.0));
        let expected =
            Estimate { characters: 1_500, minutes: 2.0, ready_ms: Some(5_000), cost_micros: Some(22_500) };
        assert_eq!(estimate, expected);
        let half = Wanted { minutes: "1".into(), ..wanted };
        assert_eq!(Estimate::of(&config, &half, None).cost_micros, Some(11_250));
        assert_eq!(units("안녕하세요, 여러분.", "ko"), 8);
    }
}
