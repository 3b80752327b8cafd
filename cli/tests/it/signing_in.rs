//! Sessions of the dashboard, as HTTP: what a cookie opens, and what it does not.

use std::sync::Arc;

use anyhow::{Context, ensure};
use producer::ROUTES;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response};

use crate::access::{make_key, submit, with_keys};
use crate::fleet::{Fleet, Servers, Setup, until};

/// A browser as far as cookies and forms go.
struct Visitor {
    http: Client,
    api: String,
    cookies: Vec<(String, String)>,
    csrf: String,
}

impl Visitor {
    async fn new(fleet: &Fleet) -> anyhow::Result<Visitor> {
        let http = Client::builder().redirect(Policy::none()).build()?;
        let mut visitor = Visitor { http, api: fleet.api.clone(), cookies: Vec::new(), csrf: String::new() };
        visitor.look("/login").await?;
        Ok(visitor)
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.http.request(method, format!("{}{path}", self.api)).header("cookie", cookies.join("; "))
    }

    /// Keeps cookies, as a browser does; tells how they were set.
    fn keep(&mut self, response: &Response) -> Vec<String> {
        let set = response.headers().get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
        let set: Vec<String> = set.map(str::to_owned).collect();
        for cookie in &set {
            let (name, value) =
                cookie.split(';').next().and_then(|pair| pair.split_once('=')).unwrap_or_default();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        set
    }

    async fn look(&mut self, path: &str) -> anyhow::Result<(u16, String)> {
        let response = self.request(Method::GET, path).send().await?;
        self.keep(&response);
        let status = response.status().as_u16();
        let text = response.text().await?;
        if let Some((_, rest)) = text.split_once("name=\"csrf\" value=\"") {
            self.csrf = rest.split('"').next().unwrap_or_default().to_owned();
        }
        Ok((status, text))
    }

    async fn send(&mut self, path: &str, fields: &str) -> anyhow::Result<(Response, Vec<String>)> {
        let body = format!("csrf={}&{fields}", self.csrf);
        let form =
            self.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
        let response = form.body(body).send().await?;
        let set = self.keep(&response);
        Ok((response, set))
    }

    async fn sign_in(&mut self, key: &str) -> anyhow::Result<Vec<String>> {
        let (response, set) = self.send("/login", &format!("key={key}")).await?;
        ensure!(response.status() == 303, "{}", response.status());
        self.look("/podcasts").await?;
        Ok(set)
    }
}

pub(crate) async fn a_session_opens_what_its_key_opens_and_changes_nothing_by_itself(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let (fleet, admin) = with_keys(servers, "sessions", Setup { workers: 0, ..Setup::default() }).await?;
    let key = make_key(&fleet, "acme", "submit", &["--name", "editor"]).await?;
    let id = submit(&fleet, &admin, &serde_json::json!({"source": {"text": "One sentence."}})).await?;
    let mut visitor = Visitor::new(&fleet).await?;
    let (status, _) = visitor.look("/podcasts").await?;
    ensure!(status == 303, "whoever is not signed in is led away: {status}");
    let before = visitor.cookies.clone();
    let set = visitor.sign_in(&key).await?.join("\n");
    for wanted in ["podfleet_session=", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        ensure!(set.contains(wanted), "{wanted}: {set}");
    }
    ensure!(!set.contains("Secure"), "this machine is reached without TLS");
    let session = visitor.cookies.iter().find(|(name, _)| name == "podfleet_session").context("a session")?;
    ensure!(
        before.iter().all(|(_, value)| *value != session.1),
        "a secret that was there before opens nothing"
    );
    ensure!(
        fleet
            .count(&format!("select count(*) from sessions where encode(hash, 'hex') = '{}'", session.1))
            .await?
            == 0,
        "the secret itself is not kept"
    );
    ensure!(visitor.look(&format!("/podcasts/{id}")).await?.0 == 200);
    ensure!(visitor.look(&format!("/v1/podcasts/{id}")).await?.0 == 200, "what pages show of the API");

    // Everything that changes something wants its page's token, or a key.
    let csrf = std::mem::take(&mut visitor.csrf);
    for route in ROUTES.iter().filter(|route| route.method != Method::GET) {
        let path = route.path.replace("{id}", &id);
        let fields = "reason=x&csrf=0000000000000000000000000000000000000000000000000000000000000000";
        let sent = visitor
            .request(route.method.clone(), &path)
            .header("content-type", "application/x-www-form-urlencoded");
        let status = sent.body(fields).send().await?.status().as_u16();
        let expected: &[u16] = match route.access {
            _ if !route.page => &[401],
            _ => &[403],
        };
        ensure!(expected.contains(&status), "{} {}: {status}", route.method, route.path);
    }
    visitor.csrf = csrf;
    let foreign = visitor
        .request(Method::POST, &format!("/podcasts/{id}/cancel"))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("origin", "https://evil.example")
        .body(format!("csrf={}", visitor.csrf));
    ensure!(foreign.send().await?.status() == 403, "a page of another origin");
    let socket = visitor
        .request(Method::GET, &format!("/v1/podcasts/{id}/ws"))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("origin", "https://evil.example");
    ensure!(socket.send().await?.status() == 403, "a WebSocket of another origin");
    let (cancelled, _) = visitor.send(&format!("/podcasts/{id}/cancel"), "").await?;
    ensure!(cancelled.status() == 303, "{}", cancelled.status());

    let page = visitor.request(Method::GET, "/podcasts").send().await?;
    let policy = page.headers()["content-security-policy"].to_str()?;
    ensure!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    // A link on another site: the browser keeps the cookie back, and the page asks again from here.
    let link = visitor.http.get(format!("{}/podcasts", fleet.api)).header("sec-fetch-site", "cross-site");
    let link = link.header("sec-fetch-mode", "navigate").send().await?;
    ensure!(link.status() == 200 && link.headers().get("set-cookie").is_none());
    ensure!(link.text().await?.contains("http-equiv=\"refresh\""));
    // Behind a proxy that ends TLS, cookies are for TLS alone.
    let proxied =
        visitor.http.get(format!("{}/login", fleet.api)).header("x-forwarded-proto", "https").send().await?;
    ensure!(proxied.headers()["set-cookie"].to_str()?.ends_with("; Secure"));

    let kept = visitor.cookies.clone();
    let (left, _) = visitor.send("/logout", "").await?;
    ensure!(left.status() == 303);
    visitor.cookies = kept;
    ensure!(visitor.look("/podcasts").await?.0 == 303, "what was signed out of opens nothing, at once");

    visitor.sign_in(&key).await?;
    let rows = fleet.query("select id::text from api_keys where principal = 'editor'").await?;
    let revoked =
        fleet.http.delete(format!("{}/v1/keys/{}", fleet.api, rows[0].get::<_, &str>(0))).bearer_auth(&admin);
    revoked.send().await?.error_for_status()?;
    until("the session of a revoked key to end", async || {
        let status = visitor.request(Method::GET, "/podcasts").send().await?.status();
        Ok((status == 303).then_some(()))
    })
    .await?;
    fleet.stop().await
}
