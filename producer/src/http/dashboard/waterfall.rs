//! Every attempt as a bar on the podcast's time, in a table that tells the same in words.

use common::store::showing::Attempt;
use jiff::Timestamp;
use maud::{Markup, html};

use super::figures::{span, stretch};
use super::layout::{money, took};
use super::words::Language;

/// `begin` is the podcast's acceptance, `end` its end, or now.
pub(super) fn waterfall(
    language: Language,
    attempts: &[Attempt],
    begin: Timestamp,
    end: Timestamp,
) -> Markup {
    let since = |time: Timestamp| ms(begin, time);
    let last = attempts.iter().map(|attempt| attempt.finished_at).max();
    let whole = since(last.map_or(end, |last| last.max(end)));
    html! {
        table.wide.waterfall {
            thead { tr {
                th scope="col" { (language.t("Work")) }
                th scope="col" { (language.t("When")) }
                th scope="col" { (language.t("Began after")) }
                th scope="col" { (language.t("Took")) }
                th scope="col" { (language.t("What came of it")) }
                th scope="col" { (language.t("Engine")) }
                th scope="col" { (language.t("Cost")) }
            } }
            tbody {
                @for attempt in attempts {
                    @let (from, to) = (since(attempt.started_at), since(attempt.finished_at));
                    tr {
                        th scope="row" data-label=(language.t("Work")) { (name(language, attempt)) }
                        td.drawn data-label=(language.t("When")) { (span(stretch(from, to, whole), shade(attempt))) }
                        td.number data-label=(language.t("Began after")) { (took(from)) }
                        td.number data-label=(language.t("Took")) { (took(to - from)) }
                        td data-label=(language.t("What came of it")) {
                            @if attempt.cached { (language.t("Found, not made again")) }
                            @else { (language.class(&attempt.class)) }
                            @if let Some(message) = &attempt.message { span.cause { (message) } }
                        }
                        td data-label=(language.t("Engine")) title=(attempt.worker) { (attempt.engine) }
                        td.number data-label=(language.t("Cost")) {
                            @if attempt.cached || attempt.cost_micros == 0 { "–" } @else { (money(attempt.cost_micros)) }
                        }
                    }
                }
            }
        }
    }
}

/// `Speech 2.14, attempt 2`: chapters and segments count from 1.
pub(super) fn name(language: Language, attempt: &Attempt) -> String {
    let place = match attempt.kind.as_str() {
        "script" | "mix" => format!(" {}", attempt.chapter + 1),
        "tts" => format!(" {}.{}", attempt.chapter + 1, attempt.segment + 1),
        _ => String::new(),
    };
    let part = if attempt.part > 0 {
        format!(", {} {}", language.t("part"), attempt.part + 1)
    } else {
        String::new()
    };
    let again = if attempt.attempt > 1 {
        format!(", {} {}", language.t("attempt"), attempt.attempt)
    } else {
        String::new()
    };
    format!("{}{place}{part}{again}", language.stage(&attempt.kind))
}

fn shade(attempt: &Attempt) -> &'static str {
    match attempt.class.as_str() {
        "success" if attempt.cached => "cached",
        "success" => "good",
        "returned" | "parked" | "unsupported" => "idle",
        "throttled" | "interrupted" => "wait",
        _ => "bad",
    }
}

fn ms(from: Timestamp, to: Timestamp) -> i64 {
    i64::try_from(to.duration_since(from).as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_named_as_people_count() {
        let attempt = |kind: &str, attempt, part| Attempt {
            kind: kind.into(),
            chapter: 1,
            segment: 13,
            generation: 1,
            attempt,
            part,
            engine: "e".into(),
            class: "success".into(),
            worker: "w".into(),
            started_at: Timestamp::UNIX_EPOCH,
            finished_at: Timestamp::UNIX_EPOCH,
            units: 0,
            cost_micros: 0,
            cached: false,
            message: None,
        };
        let name = |kind, number, part| name(Language::English, &attempt(kind, number, part));
        assert_eq!(name("tts", 2, 0), "Speech 2.14, attempt 2");
        assert_eq!(name("script", 1, 1), "Script 2, part 2");
        assert_eq!(name("join", 1, 0), "Episode");
    }
}
