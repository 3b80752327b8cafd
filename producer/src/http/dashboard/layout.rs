//! What all pages share: the head, the navigation, the foot, and small things that stand in many of them.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use common::access::Role;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::frame::Visit;
use super::words::Language;

/// Where in the navigation a page stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Here {
    Podcasts,
    New,
    Now,
    DeadLetters,
    Elsewhere,
}

pub(in crate::http) struct Page {
    visit: Visit,
    title: String,
    here: Here,
    body: Markup,
    status: StatusCode,
}

impl Page {
    pub(super) fn new(visit: Visit, title: impl Into<String>, here: Here, body: Markup) -> Page {
        Page { visit, title: title.into(), here, body, status: StatusCode::OK }
    }

    pub(super) fn with_status(self, status: StatusCode) -> Page {
        Page { status, ..self }
    }

    fn whole(&self) -> Markup {
        let language = self.visit.language;
        // What stands in htmx's way of a strict policy is switched off; errors are shown where the answer would be.
        let htmx = r#"{"includeIndicatorStyles":false,"allowEval":false,"allowScriptTags":false,"historyCacheSize":0,"responseHandling":[{"code":"204","swap":false},{"code":"...","swap":true}]}"#;
        html! {
            (DOCTYPE)
            html lang=(language.code()) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Podfleet" }
                    link rel="icon" type="image/svg+xml" href=(assets::address("icon.svg"));
                    link rel="stylesheet" href=(assets::address("dashboard.css"));
                    meta name="htmx-config" content=(htmx);
                    script src=(assets::address("htmx.js")) defer {}
                    script src=(assets::address("dashboard.js")) defer {}
                }
                body hx-headers=(format!(r#"{{"x-csrf-token":"{}"}}"#, self.visit.csrf)) {
                    a.skip href="#main" { (language.t("Skip to the content")) }
                    (header(&self.visit, self.here))
                    main #main tabindex="-1" { (self.body) }
                    (footer(&self.visit))
                }
            }
        }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        (self.status, Html(self.whole().into_string())).into_response()
    }
}

fn header(visit: &Visit, here: Here) -> Markup {
    let language = visit.language;
    let link = |place: Here, address: &str, name: &str| {
        html! { a href=(address) aria-current=[(here == place).then_some("page")] { (name) } }
    };
    html! {
        header.top {
            a.brand href="/podcasts" { (assets::mark()) "Podfleet" }
            @if let Some(caller) = &visit.caller {
                nav aria-label=(language.t("Pages")) {
                    (link(Here::Podcasts, "/podcasts", language.t("Podcasts")))
                    @if caller.role >= Role::Submit { (link(Here::New, "/podcasts/new", language.t("New"))) }
                    (link(Here::Now, "/now", language.t("Now")))
                    (link(Here::DeadLetters, "/dead-letters", language.t("Dead letters")))
                }
                div.who {
                    @if caller.key.is_some() {
                        span title=(language.t("Your key and its role")) { (caller.principal) " · " (caller.tenant) " · " (caller.role.as_str()) }
                        form method="post" action="/logout" {
                            (token(visit))
                            button.quiet type="submit" { (language.t("Sign out")) }
                        }
                    } @else {
                        span title=(language.t("Whoever uses this machine is the admin of the tenant default, without a key. Not for production.")) {
                            (language.t("Signed in: this machine is trusted"))
                        }
                    }
                }
            }
        }
    }
}

fn footer(visit: &Visit) -> Markup {
    let language = visit.language;
    html! {
        footer {
            form method="post" action="/preferences" {
                (token(visit))
                input type="hidden" name="next" value=(visit.path);
                @for other in Language::ALL {
                    button.quiet type="submit" name="language" value=(other.code()) lang=(other.code())
                        aria-pressed=(if other == language { "true" } else { "false" }) { (other.name()) }
                }
            }
            // The script fills it in: without one, times are in UTC.
            button.quiet type="button" data-times hidden data-utc=(language.t("Times in UTC")) data-local=(language.t("Times in local time")) {}
            span.version { "Podfleet " (env!("CARGO_PKG_VERSION")) }
        }
    }
}

/// What every form begins with.
pub(super) fn token(visit: &Visit) -> Markup {
    html! { input type="hidden" name="csrf" value=(visit.csrf); }
}

/// In the place of a figure that the database did not tell in time.
pub(super) fn missing(language: Language) -> Markup {
    html! { p.notice.warn { (language.t("This could not be read in time. The rest of the page is as it is; look again in a moment.")) } }
}

/// A time, in UTC; the script shows it in local time to whoever wants that.
pub(super) fn time(at: Timestamp) -> Markup {
    let exact = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    html! { time datetime=(exact) { (at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()) } }
}

/// `1:02:03`, or `2:03`.
pub(super) fn clock(ms: u64) -> String {
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// How long something took: `240 ms`, `3.2 s`, `4 min 10 s`.
pub(super) fn took(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{} ms", ms.max(0)),
        1_000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms / 1000 % 60),
        _ => format!("{} h {} min", ms / 3_600_000, ms / 60_000 % 60),
    }
}

/// Millionths of the currency unit; which one is a matter of the configuration.
pub(super) fn money(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let (whole, part) = (micros / 1_000_000, micros % 1_000_000);
    if micros == 0 || part % 10_000 == 0 {
        format!("{sign}{whole}.{:02}", part / 10_000)
    } else {
        format!("{sign}{whole}.{part:06}").trim_end_matches('0').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_money_are_written_as_people_do() {
        assert_eq!((clock(62_000), clock(3_723_000)), ("1:02".into(), "1:02:03".into()));
        let written = [-5, 240, 3_250, 250_000, 3_900_000].map(took);
        assert_eq!(written, ["0 ms", "240 ms", "3.2 s", "4 min 10 s", "1 h 5 min"]);
        let written = [0, 1_500_000, 12_340, -1].map(money);
        assert_eq!(written, ["0.00", "1.50", "0.01234", "-0.000001"]);
    }
}
