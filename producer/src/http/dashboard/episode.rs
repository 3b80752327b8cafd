//! The player: the sound, its chapters, and a transcript that follows it.

use common::blobs::Blobs;
use common::store::reading::Summary;
use common::work::Episode;
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::clock;
use super::words::Language;

/// A transcript and the chapters, as they lie beside the sound.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) lines: Vec<Line>,
    pub(super) chapters: Vec<Chapter>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    speaker: String,
    start_time: f64,
    end_time: f64,
    body: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Chapter {
    start_time: f64,
    title: String,
}

/// Reads both. An episode can be heard without them, so what cannot be read is left out, and told in the log.
pub(super) async fn texts(blobs: &Blobs, episode: &Episode) -> Texts {
    #[derive(Deserialize)]
    struct Transcript {
        segments: Vec<Line>,
    }
    #[derive(Deserialize)]
    struct Chapters {
        chapters: Vec<Chapter>,
    }
    let read = async || -> anyhow::Result<Texts> {
        let transcript: Transcript = serde_json::from_slice(&blobs.get(&episode.transcript_json).await?)?;
        let chapters: Chapters = serde_json::from_slice(&blobs.get(&episode.chapters_json).await?)?;
        Ok(Texts { lines: transcript.segments, chapters: chapters.chapters })
    };
    read().await.unwrap_or_else(|error| {
        tracing::error!(error = format!("{error:#}"), "the transcript of a finished podcast cannot be read");
        Texts::default()
    })
}

/// What names the sound: the page keeps its player while this stays the same.
pub(super) fn version(podcast: &Summary) -> String {
    match &podcast.episode {
        Some(episode) => episode.audio.clone(),
        None if can_be_heard(podcast) => "as it comes".into(),
        None => "none".into(),
    }
}

fn can_be_heard(podcast: &Summary) -> bool {
    podcast.state == "running" && podcast.first_audio_ms.is_some()
}

pub(super) fn episode(language: Language, podcast: &Summary, texts: &Texts) -> Markup {
    let this = format!("/v1/podcasts/{}", podcast.id);
    let title = podcast.title.as_deref().unwrap_or_default();
    html! {
        section #episode data-version=(version(podcast)) {
            @if let Some(episode) = &podcast.episode {
                h2 { (language.t("Listen")) }
                audio controls preload="metadata" data-player aria-label=(title) src=(format!("{this}/audio")) {}
                @if texts.chapters.len() > 1 {
                    ol.chapters aria-label=(language.t("Chapters")) {
                        @for chapter in &texts.chapters {
                            li { button type="button" data-seek=(format!("{:.3}", chapter.start_time)) {
                                span.at { (at(chapter.start_time)) } " " (chapter.title)
                            } }
                        }
                    }
                }
                p.downloads {
                    (language.t("Download:"))
                    @for (file, name) in files(language) {
                        " " a href=(format!("{this}/{file}")) download=(format!("{title} {file}")) { (name) }
                    }
                    span.hint { " " (language.f("{0}, {1} MB", &[&clock(episode.duration_ms), &megabytes(episode.bytes)])) }
                }
                (transcript(language, texts))
            } @else if can_be_heard(podcast) {
                h2 { (language.t("Listen while it is made")) }
                audio controls preload="none" src=(format!("{this}/audio?partial=true")) aria-label=(title) {}
                p.hint { (language.t("What is spoken already plays at once; the rest follows as it comes.")) }
            }
        }
    }
}

fn transcript(language: Language, texts: &Texts) -> Markup {
    let mut chapters = texts.chapters.iter().peekable();
    html! {
        h2 { (language.t("Transcript")) }
        div.transcript data-transcript tabindex="0" role="region" aria-label=(language.t("Transcript")) {
            @for line in &texts.lines {
                @while let Some(chapter) = chapters.next_if(|chapter| chapter.start_time <= line.start_time + 0.001) {
                    h3 { (chapter.title) }
                }
                p.line data-start=(format!("{:.3}", line.start_time)) data-end=(format!("{:.3}", line.end_time)) {
                    button.at type="button" data-seek=(format!("{:.3}", line.start_time))
                        aria-label=(language.f("Play from {0}", &[&at(line.start_time)])) { (at(line.start_time)) }
                    span { b { (line.speaker) } " " (line.body) }
                }
            }
        }
    }
}

fn files(language: Language) -> [(&'static str, &'static str); 5] {
    [
        ("audio", language.t("sound (MP3)")),
        ("transcript.vtt", "WebVTT"),
        ("transcript.srt", "SRT"),
        ("transcript.txt", language.t("text")),
        ("chapters.json", language.t("chapters")),
    ]
}

fn at(seconds: f64) -> String {
    clock((seconds.max(0.0) * 1000.0) as u64)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}
