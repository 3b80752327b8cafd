//! Signing in with a key, signing out, and what a visitor prefers.

use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use common::access;
use common::store::sessions;
use maud::{Markup, html};
use serde::Deserialize;

use super::super::App;
use super::super::extract::Params;
use super::super::problem::Problem;
use super::frame::{self, Visit};
use super::layout::{Here, Page, token};
use super::words::Language;
use crate::keyring::Closed;

/// How long a session lasts.
const HOURS: i32 = 12;

#[derive(Clone, Debug, Default, Deserialize)]
pub(in crate::http) struct Next {
    next: Option<String>,
}

impl Next {
    /// Only to a page of ours: `//elsewhere` and `/\elsewhere` are other sites to a browser.
    fn place(&self) -> &str {
        let ours = |path: &&str| {
            path.starts_with('/')
                && !path[1..].starts_with(['/', '\\'])
                && !path.chars().any(|c| c.is_control() || c == '\\')
        };
        self.next.as_deref().filter(ours).unwrap_or("/podcasts")
    }
}

pub(in crate::http) async fn login(
    State(app): State<App>,
    visit: Visit,
    Params(next): Params<Next>,
) -> Response {
    if app.env.trusts_loopback {
        return Redirect::to("/podcasts").into_response();
    }
    page(visit, &next, None).into_response()
}

#[derive(Deserialize)]
pub(in crate::http) struct SignIn {
    key: String,
    next: Option<String>,
}

pub(in crate::http) async fn sign_in(
    State(app): State<App>,
    visit: Visit,
    headers: HeaderMap,
    Form(form): Form<SignIn>,
) -> Result<Response, Problem> {
    let next = Next { next: form.next };
    let key = match app.env.keyring.open(form.key.trim()).await {
        Ok(key) => key,
        Err(Closed::Unreadable) => return Err(Problem::unavailable()),
        Err(Closed::Malformed | Closed::Unknown) => {
            let refused =
                visit.language.t("That is no key that opens: it was mistyped, revoked, or has expired.");
            return Ok(page(visit, &next, Some(refused)).with_status(StatusCode::FORBIDDEN).into_response());
        }
    };
    let secret = access::secret().map_err(|error| Problem::unexpected(&error))?;
    let hash = access::hash(&secret);
    app.read(async |client| {
        let tx = client.transaction().await?;
        sessions::begin(&tx, &hash, key.id, HOURS).await?;
        Ok(tx.commit().await?)
    })
    .await?;
    tracing::info!(principal = key.principal, tenant = key.tenant, "somebody signed in to the dashboard");
    let mut response = Redirect::to(next.place()).into_response();
    frame::sign_in(&mut response, &headers, &secret, i64::from(HOURS) * 3600);
    Ok(response)
}

pub(in crate::http) async fn sign_out(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(secret) = frame::session(&headers) {
        let hash = access::hash(secret);
        app.read(async |client| sessions::end(client, &hash).await).await?;
        app.env.keyring.forget_session(&hash);
    }
    let mut response = Redirect::to("/login").into_response();
    frame::sign_out(&mut response, &headers);
    Ok(response)
}

#[derive(Debug, Deserialize)]
pub(in crate::http) struct Preferences {
    language: String,
    next: Option<String>,
}

pub(in crate::http) async fn preferences(headers: HeaderMap, Form(form): Form<Preferences>) -> Response {
    let mut response = Redirect::to(Next { next: form.next }.place()).into_response();
    if let Some(language) = Language::parse(&form.language) {
        frame::remember_language(&mut response, &headers, language);
    }
    response
}

fn page(visit: Visit, next: &Next, refused: Option<&str>) -> Page {
    let language = visit.language;
    let body: Markup = html! {
        div.narrow {
            h1 { (language.t("Sign in")) }
            @if let Some(refused) = refused {
                div.notice.bad role="alert" { p { (refused) } }
            }
            form.stack method="post" action="/login" {
                (token(&visit))
                input type="hidden" name="next" value=(next.place());
                label for="key" { (language.t("Your key")) }
                input #key type="password" name="key" required autocomplete="current-password" spellcheck="false"
                    autofocus placeholder="podfleet_…" aria-describedby="key-help";
                p.hint #key-help {
                    (language.t("An admin of your tenant makes keys, or whoever runs this server:"))
                    " " code { "podfleet keys create --tenant NAME --role submit" }
                }
                button type="submit" { (language.t("Sign in")) }
            }
        }
    };
    Page::new(visit, language.t("Sign in"), Here::Elsewhere, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        let check = |next: &str, place: &str| {
            assert_eq!(Next { next: Some(next.into()) }.place(), place, "{next:?}");
        };
        check("/podcasts?state=failed", "/podcasts?state=failed");
        for bad in
            ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "", "/a\r\nb", "/a\\b"]
        {
            check(bad, "/podcasts");
        }
    }
}
