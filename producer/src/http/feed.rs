//! A tenant's finished podcasts as a feed for players: `/feed.xml`. Players send no keys, so a feed has a token of its own,
//! which stands in its address and opens nothing but the feed and the files of its episodes.

mod rss;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use common::access::FeedToken;
use common::outbound::Address;
use common::request::Fault;
use common::store::feeds::{self, Settings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::App;
use super::dead_letters::body;
use super::extract::Params;
use super::problem::Problem;
use crate::Caller;

/// Episodes of a feed, the newest.
const LISTED: i64 = 200;
const MAX_TEXT: usize = 4_000;

/// What the query string of whatever a player fetches may say; the door has read it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TokenQuery")]
pub(super) struct WithToken {
    /// A feed's token, in the place of a key.
    pub(super) token: Option<String>,
}

pub(super) async fn rss(
    State(app): State<App>,
    caller: Caller,
    Params(WithToken { token }): Params<WithToken>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tenant = caller.tenant.as_str();
    let (settings, entries) = app
        .read(async |client| {
            Ok((feeds::settings(client, tenant).await?, feeds::entries(client, tenant, LISTED).await?))
        })
        .await?;
    let base = base(&app, &headers)?;
    let place = rss::Place { base: &base, token: token.as_deref() };
    let text = rss::feed(&place, tenant, &settings, &entries);
    Ok(([(header::CONTENT_TYPE, "application/rss+xml; charset=utf-8")], text).into_response())
}

/// What clients reach this server by: as configured, else as this one has.
fn base(app: &App, headers: &HeaderMap) -> Result<String, Problem> {
    if let Some(url) = &app.env.config.producer.public_url {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.filter(|host| host.parse::<Authority>().is_ok());
    host.map(|host| format!("http://{host}")).ok_or_else(|| {
        Problem::bad_request("Host", "it is missing", "Send it, or set PODFLEET__PRODUCER__PUBLIC_URL")
    })
}

/// What a feed says of itself.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Feed")]
pub(super) struct Shown {
    #[serde(flatten)]
    settings: Settings,
}

pub(super) async fn show(State(app): State<App>, caller: Caller) -> Result<Json<Shown>, Problem> {
    let settings = app.read(async |client| feeds::settings(client, &caller.tenant).await).await?;
    Ok(Json(Shown { settings }))
}

pub(super) async fn set(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Shown>, Problem> {
    let settings: Settings = body(&app, &headers, sent).await?;
    let faults = faults(&settings, &app.env.config.outbound);
    if !faults.is_empty() {
        return Err(Problem::faulty(StatusCode::UNPROCESSABLE_ENTITY, faults));
    }
    app.read(async |client| feeds::set(client, &caller.tenant, &settings, &caller.principal).await).await?;
    Ok(Json(Shown { settings }))
}

fn faults(settings: &Settings, outbound: &common::config::Outbound) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut refuse = |field: &str, reason: String, remedy: &str| {
        faults.push(Fault { field: field.into(), reason, remedy: remedy.into() });
    };
    for (field, text) in [
        ("title", &settings.title),
        ("description", &settings.description),
        ("author", &settings.author),
        ("email", &settings.email),
        ("language", &settings.language),
        ("category", &settings.category),
    ] {
        let Some(text) = text else { continue };
        if text.trim().is_empty() || text.chars().count() > MAX_TEXT {
            refuse(field, "it is empty or too long".into(), "Give up to 4,000 characters, or leave it out");
        } else if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            refuse(field, "it contains control characters".into(), "Remove them: XML has no place for them");
        }
    }
    for (field, url) in [("link", &settings.link), ("image_url", &settings.image_url)] {
        if let Some(Err(bad)) = url.as_ref().map(|url| Address::parse(url, outbound)) {
            refuse(field, bad.reason, bad.remedy);
        }
    }
    faults
}

/// A token that was just made. Nobody can show it again.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FeedAddress")]
pub(super) struct Made {
    token: String,
    /// What to give to a player.
    address: String,
}

/// The one before opens nothing any more, in every producer within five seconds.
pub(super) async fn new_token(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let base = base(&app, &headers)?;
    let fresh = FeedToken::make().map_err(|error| Problem::unexpected(&error))?;
    let (tenant, by) = (&caller.tenant, &caller.principal);
    app.read(async |client| feeds::set_token(client, tenant, Some(fresh.hash), by).await).await?;
    tracing::info!(tenant, by, "the token of a feed was exchanged");
    let address = format!("{base}/feed.xml?token={}", fresh.text);
    Ok((StatusCode::CREATED, Json(Made { token: fresh.text, address })).into_response())
}

/// From now on the feed opens with a key alone.
pub(super) async fn no_token(State(app): State<App>, caller: Caller) -> Result<StatusCode, Problem> {
    let (tenant, by) = (&caller.tenant, &caller.principal);
    app.read(async |client| feeds::set_token(client, tenant, None, by).await).await?;
    tracing::info!(tenant, by, "the token of a feed was taken away");
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_feed_cannot_say_is_refused_by_field() {
        let outbound = common::config::Outbound::default();
        let field = |settings: Settings| faults(&settings, &outbound).first().map(|one| one.field.clone());
        let good = Settings { title: Some("조수".into()), ..Settings::default() };
        assert_eq!(field(good.clone()), None);
        assert_eq!(field(Settings { title: Some(" ".into()), ..good.clone() }).as_deref(), Some("title"));
        let bell = Settings { author: Some("a\u{7}".into()), ..good.clone() };
        assert_eq!(field(bell).as_deref(), Some("author"));
        for bad in ["http://example.org/a.png", "https://127.0.0.1/a.png", "javascript:x", "a.png"] {
            let settings = Settings { image_url: Some(bad.into()), ..good.clone() };
            assert_eq!(field(settings).as_deref(), Some("image_url"), "{bad}");
        }
    }
}
