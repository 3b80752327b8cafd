//! Who is asking, and whether he may. Everything behind a route runs on behalf of the [`Caller`] that was found here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use common::access::{self, FeedToken, Role};
use common::store::feeds;
use common::store::keys::Key;

use super::dashboard::frame::session;
use super::problem::Problem;
use super::rate::{self, Rate, Subject};
use crate::accept::Limited;
use crate::keyring::Closed;
use crate::{Caller, Env};

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody: it tells nothing of any tenant.
    Public,
    /// Who has this role, or one above it.
    Needs(Role),
    /// Who has the role `viewer`, and players of podcasts: they send no keys, but the token of their feed.
    Plays,
}

impl Access {
    /// The lowest role that may. `None`: anybody may.
    pub fn role(self) -> Option<Role> {
        match self {
            Access::Public => None,
            Access::Needs(role) => Some(role),
            Access::Plays => Some(Role::Viewer),
        }
    }
}

/// Stands in front of a route.
pub(super) async fn admit(
    env: Arc<Env>,
    access: Access,
    page: bool,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(role) = access.role() else { return next.run(request).await };
    let looks = matches!(*request.method(), Method::GET | Method::HEAD);
    let token = if access == Access::Plays { feed_token(&request) } else { None };
    let caller = match token {
        Some(token) => with_token(&env, &token).await,
        None => caller(&env, request.headers(), page || looks).await,
    };
    let caller = match caller {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let rate = count(&env, &caller, Instant::now());
    let refusal = match rate {
        Some(Rate { wait: Some(wait), per_minute, .. }) => Some(too_many(per_minute, wait)),
        _ => check(&caller, role).err(),
    };
    let mut response = match refusal {
        Some(problem) => problem.into_response(),
        None => {
            request.extensions_mut().insert(caller.clone());
            next.run(request).await
        }
    };
    if page {
        // For the page that tells what went wrong.
        response.extensions_mut().insert(caller);
    }
    if let Some(rate) = rate {
        rate.tell(response.headers_mut());
    }
    response
}

/// Counts a request of a key that has a limit, and of its tenant; the scarcer of the two is told.
fn count(env: &Env, caller: &Caller, now: Instant) -> Option<Rate> {
    let of_key = caller.key.zip(caller.requests_per_minute);
    let of_key = of_key.map(|(key, per_minute)| env.rates.take(Subject::Key(key), per_minute, now));
    if of_key.is_some_and(|rate| rate.wait.is_some()) {
        return of_key;
    }
    let per_minute = env.keyring.limits(&caller.tenant, env.config.limits).requests_per_minute;
    let of_tenant =
        (per_minute > 0).then(|| env.rates.take(Subject::Tenant(caller.tenant.clone()), per_minute, now));
    of_key.into_iter().chain(of_tenant).min_by_key(|rate| (rate.wait.is_none(), rate.left))
}

fn too_many(per_minute: u32, wait: Duration) -> Problem {
    Problem::limited(&Limited {
        limit: "requests_per_minute",
        most: per_minute.into(),
        reason: format!("there were more than {per_minute} requests in a minute"),
        remedy: "Send fewer, or have the limit of the tenant or of the key raised",
        retry_after_seconds: rate::seconds(wait),
    })
}

/// A session opens the pages, whose forms prove where they come from, and what pages show of the API: the sound, the texts, the
/// events. It changes nothing there.
async fn caller(env: &Env, headers: &HeaderMap, session_opens: bool) -> Result<Caller, Problem> {
    match bearer(headers)? {
        Some(key) => opened(env.keyring.open(key).await),
        None if session_opens && !env.trusts_loopback && session(headers).is_some() => {
            opened(env.keyring.open_session(session(headers).unwrap_or_default()).await)
        }
        None if env.trusts_loopback && !is_forwarded(headers) => Ok(Caller::local()),
        None if env.trusts_loopback => {
            Err(unauthorized("A proxy has forwarded this, and only this machine is trusted without a key"))
        }
        None => Err(unauthorized("The request has no key")),
    }
}

fn opened(found: Result<Arc<Key>, Closed>) -> Result<Caller, Problem> {
    match found {
        Ok(key) => Ok(Caller {
            tenant: key.tenant.clone(),
            principal: key.principal.clone(),
            role: key.role,
            key: Some(key.id),
            requests_per_minute: key.requests_per_minute.and_then(|rate| u32::try_from(rate).ok()),
        }),
        Err(Closed::Malformed) => Err(unauthorized("What was sent is not a key of Podfleet")),
        Err(Closed::Unknown) => {
            Err(unauthorized("There is no such key, or it was revoked, or it has expired"))
        }
        Err(Closed::Unreadable) => Err(Problem::unavailable()),
    }
}

/// A token stands in the address. Whoever sends a key beside it is known by the key.
fn feed_token(request: &Request) -> Option<String> {
    if request.headers().contains_key(header::AUTHORIZATION) {
        return None;
    }
    let shown = request.uri().query()?.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    Some(shown.to_owned())
}

async fn with_token(env: &Env, shown: &str) -> Result<Caller, Problem> {
    let unknown = || unauthorized("There is no feed with this token, or it has another one by now");
    if !FeedToken::has_shape(shown) {
        return Err(unknown());
    }
    let hash = access::hash(shown);
    let found = env.store.run(async |client| feeds::by_token(client, &hash).await).await;
    let tenant = found.map_err(Problem::database)?.ok_or_else(unknown)?;
    Ok(Caller { tenant, principal: "feed".into(), role: Role::Viewer, key: None, requests_per_minute: None })
}

/// Nobody who shows a wrong key is taken for somebody without one.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), more) = (given.next(), given.next()) else { return Ok(None) };
    let key = value.to_str().ok().and_then(|text| {
        let (scheme, key) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    match (key, more) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(unauthorized("The header Authorization is not one bearer token")),
    }
}

/// Whoever is behind a proxy may be anywhere.
fn is_forwarded(headers: &HeaderMap) -> bool {
    ["forwarded", "x-forwarded-for", "x-real-ip"].iter().any(|name| headers.contains_key(*name))
}

fn unauthorized(reason: &str) -> Problem {
    let detail = format!(
        "{reason}. Send `Authorization: Bearer KEY`; `podfleet keys create` makes keys, and so does an admin of your tenant"
    );
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"podfleet\""))
}

fn check(caller: &Caller, needed: Role) -> Result<(), Problem> {
    if caller.role >= needed {
        return Ok(());
    }
    Err(forbidden(caller, needed))
}

/// The caller is known, and may not do this.
pub(super) fn forbidden(caller: &Caller, needed: Role) -> Problem {
    let Caller { principal, role, .. } = caller;
    let detail = format!(
        "This needs the role {needed}, and the key \"{principal}\" has the role {role}. Ask an admin of your tenant for another key"
    );
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
        .with("needed", needed.as_str())
        .with("role", role.as_str())
}

/// A handler without a caller is a route that was left without a door: it answers nobody.
impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Caller, Problem> {
        parts.extensions.get().cloned().ok_or_else(|| {
            Problem::unexpected(&anyhow::anyhow!("the route {} has no door; this is a bug", parts.uri.path()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(header::HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_key_is_one_bearer_token() {
        let check = |pairs: &[(&'static str, &str)], expected: Result<Option<&str>, ()>| {
            let headers = headers(pairs);
            assert_eq!(bearer(&headers).map_err(drop), expected, "{pairs:?}");
        };
        check(&[], Ok(None));
        check(&[("authorization", "Bearer podfleet_1")], Ok(Some("podfleet_1")));
        check(&[("authorization", "bearer  podfleet_1 ")], Ok(Some("podfleet_1")));
        for bad in ["Bearer", "Basic YTpi", "podfleet_1", ""] {
            check(&[("authorization", bad)], Err(()));
        }
        check(&[("authorization", "Bearer a"), ("authorization", "Bearer b")], Err(()));
    }

    #[test]
    fn a_role_includes_those_below_it() {
        let caller = |role| Caller { role, ..Caller::local() };
        for (i, role) in Role::ALL.into_iter().enumerate() {
            for (j, needed) in Role::ALL.into_iter().enumerate() {
                assert_eq!(check(&caller(role), needed).is_ok(), i >= j, "{role} {needed}");
            }
        }
    }

    #[test]
    fn what_came_through_a_proxy_is_known() {
        assert!(!is_forwarded(&headers(&[("host", "localhost")])));
        for name in ["forwarded", "x-forwarded-for", "x-real-ip"] {
            assert!(is_forwarded(&headers(&[(name, "10.0.0.1")])), "{name}");
        }
    }
}
