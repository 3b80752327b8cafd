//! Who may do what. The walk follows the producer's own table of routes: one that is added there is walked, or the test says
//! what it lacks to walk it.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use common::access::Role;
use common::amqp;
use common::config::Broker;
use common::topology;
use futures_util::StreamExt;
use producer::{Access, ROUTES, Route};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::fleet::{Fleet, Servers, Setup, until};

const PODFLEET: &str = env!("CARGO_BIN_EXE_podfleet");
const ANOTHER: &str = "0190a000-0000-7000-8000-000000000000";
const KEYS_ONLY: [(&str, &str); 1] = [("PODFLEET_TRUST_LOOPBACK", "false")];

/// Runs a command beside the database, as an operator would.
pub(crate) async fn command(
    fleet: &Fleet,
    arguments: &[&str],
) -> anyhow::Result<(Option<i32>, String, String)> {
    let output = Command::new(PODFLEET)
        .args(arguments)
        .envs(fleet.environment())
        .current_dir(&fleet.folder)
        .stdin(Stdio::null())
        .output()
        .await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

pub(crate) async fn make_key(
    fleet: &Fleet,
    tenant: &str,
    role: &str,
    more: &[&str],
) -> anyhow::Result<String> {
    let arguments = [&["keys", "create", "--tenant", tenant, "--role", role], more].concat();
    let (code, key, error) = command(fleet, &arguments).await?;
    ensure!(code == Some(0) && key.starts_with("podfleet_") && !key.contains('\n'), "{error}");
    Ok(key)
}

/// A fleet whose API opens with keys alone; its first key is made before its producer starts.
pub(crate) async fn with_keys(
    servers: &Arc<Servers>,
    name: &str,
    setup: Setup,
) -> anyhow::Result<(Fleet, String)> {
    let mut fleet = Fleet::start(servers, name, Setup { producers: 0, ..setup }).await?;
    let first = make_key(&fleet, "acme", "admin", &[]).await?;
    fleet.spawn_producer(&KEYS_ONLY).await?;
    Ok((fleet, first))
}

pub(crate) async fn submit(fleet: &Fleet, key: &str, body: &Value) -> anyhow::Result<String> {
    let answer =
        fleet.http.post(format!("{}/v1/podcasts", fleet.api)).bearer_auth(key).json(body).send().await?;
    ensure!(answer.status() == 202, "{}: {}", answer.status(), answer.text().await?);
    Ok(answer.json::<Value>().await?["id"].as_str().context("an id")?.to_owned())
}

pub(crate) async fn get(fleet: &Fleet, key: &str, path: &str) -> anyhow::Result<Value> {
    let answer = fleet.http.get(format!("{}{path}", fleet.api)).bearer_auth(key).send().await?;
    Ok(answer.error_for_status()?.json().await?)
}

pub(crate) async fn until_state(fleet: &Fleet, key: &str, id: &str, state: &str) -> anyhow::Result<()> {
    until(state, async || {
        let podcast = get(fleet, key, &format!("/v1/podcasts/{id}")).await?;
        Ok((podcast["state"] == state).then_some(()))
    })
    .await
}

/// What stands for `{id}` in the paths that begin so, one of each tenant's own.
type Ids = BTreeMap<&'static str, String>;

fn path(route: &Route, ids: &Ids) -> anyhow::Result<String> {
    if !route.path.contains("{id}") {
        let name = if route.path.starts_with("/voices") { "f2" } else { "icon.svg" };
        return Ok(route.path.replace("{name}", name));
    }
    let id = ids.iter().find(|(start, _)| route.path.starts_with(**start)).map(|(_, id)| id);
    let id = id.with_context(|| format!("the walk has no id for {}; give it one", route.path))?;
    let path = route.path.replace("{id}", id);
    ensure!(!path.contains('{'), "the walk cannot fill in {}", route.path);
    Ok(path)
}

fn elsewhere(ids: &Ids) -> Ids {
    ids.keys().map(|start| (*start, ANOTHER.to_owned())).collect()
}

/// A body that is understood, so that what is judged is the caller.
fn body(route: &Route) -> Value {
    match route.path {
        "/v1/podcasts" => json!({"source": {"text": "Walked."}}),
        "/v1/keys" => json!({"role": "viewer"}),
        "/v1/feed" => json!({"title": "Walked"}),
        "/v1/dead-letters/replay" => json!({"filter": {}, "reason": "walked", "dry_run": true}),
        "/v1/podcasts/{id}/priority" => json!({"priority": "low"}),
        "/v1/podcasts/{id}/erase" => json!({"reason": "walked", "dry_run": true}),
        "/v1/podcasts/{id}/revise" => json!({"segments": [{"chapter": 99, "segment": 0}]}),
        "/v1/pauses" => json!({"kind": "join", "lane": "low", "reason": "walked"}),
        "/v1/dead-letters/{id}/edit-replay" => json!({"reason": "walked", "payload": {}}),
        _ => json!({"reason": "walked"}),
    }
}

fn request(fleet: &Fleet, route: &Route, path: &str) -> RequestBuilder {
    let request = fleet.http.request(route.method.clone(), format!("{}{path}", fleet.api));
    if route.path.ends_with("/ws") {
        let websocket = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        return websocket.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    }
    match (route.method == "POST", route.page) {
        (true, true) => request
            .header("content-type", "application/x-www-form-urlencoded")
            .body("reason=walked&key=none&language=en&dry_run=on&text=Walked.&priority=high"),
        (true, false) => request.json(&body(route)),
        (false, _) => request,
    }
}

async fn first_piece(mut response: Response) -> anyhow::Result<String> {
    let piece = response.chunk().await?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&piece).into_owned())
}

async fn text(response: Response) -> anyhow::Result<(u16, String)> {
    let status = response.status().as_u16();
    let is_stream = response.headers().get("content-type").is_some_and(|value| value == "text/event-stream");
    // A WebSocket that was opened has no end, and neither has a page's stream.
    let text = match status {
        101 => String::new(),
        _ if is_stream => first_piece(response).await?,
        _ => response.text().await?,
    };
    Ok((status, text))
}

pub(crate) async fn every_route_is_walked_with_every_role(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let setup = Setup { workers: 0, ..Setup::default() }.with("OUTBOUND__ALLOW", "127.0.0.1/32");
    let (mut fleet, admin) = with_keys(servers, "walk", setup).await?;
    // A letter, and a replay of letters, before there is anybody to make podcasts.
    let late = json!({"source": {"text": "Too late."}, "deadline_seconds": 1});
    let failed = submit(&fleet, &admin, &late).await?;
    until_state(&fleet, &admin, &failed, "failed").await?;
    let letters = get(&fleet, &admin, "/v1/dead-letters").await?;
    let letter = letters["dead_letters"][0]["id"].as_str().context("a letter")?.to_owned();
    let none = json!({"filter": {"kind": "mix"}, "reason": "to have one"});
    let replay = fleet.http.post(format!("{}/v1/dead-letters/replay", fleet.api)).bearer_auth(&admin);
    let replay: Value = replay.json(&none).send().await?.error_for_status()?.json().await?;
    fleet.spawn("worker", &[]).await?;
    // Nobody answers at that address.
    let told = json!({"source": {"text": "One sentence. Another."}, "callback_url": "http://127.0.0.1:9/"});
    let podcast = submit(&fleet, &admin, &told).await?;
    until_state(&fleet, &admin, &podcast, "completed").await?;
    let webhook = get(&fleet, &admin, &format!("/v1/podcasts/{podcast}/webhooks")).await?;
    let pause = fleet.http.post(format!("{}/v1/pauses", fleet.api)).bearer_auth(&admin);
    let pause = pause.json(&json!({"engine": "noop", "reason": "to have one"}));
    let pause: Value = pause.send().await?.error_for_status()?.json().await?;
    let key_of = |list: &Value| list["keys"][0]["id"].as_str().map(str::to_owned);
    let own: Ids = BTreeMap::from([
        ("/v1/podcasts/", podcast.clone()),
        ("/v1/dead-letters/", letter),
        ("/v1/replays/", replay["id"].as_str().context("a replay")?.to_owned()),
        ("/v1/webhooks/", webhook["webhooks"][0]["id"].as_str().context("a webhook")?.to_owned()),
        ("/v1/pauses/", pause["id"].as_str().context("a pause")?.to_owned()),
        ("/v1/keys/", key_of(&get(&fleet, &admin, "/v1/keys").await?).context("a key")?),
    ]);
    // Pages are about the same things.
    let of_pages = own.iter().filter_map(|(start, id)| Some((start.strip_prefix("/v1")?, id.clone())));
    let own: Ids = own.clone().into_iter().chain(of_pages).collect();
    let mut keys = Vec::new();
    for tenant in ["rival", "acme"] {
        for role in Role::ALL {
            keys.push((tenant, role, make_key(&fleet, tenant, role.as_str(), &["--name", tenant]).await?));
        }
    }
    strangers(&fleet, &own).await?;
    for (tenant, role, key) in keys.iter().filter(|(tenant, ..)| *tenant == "rival") {
        for route in ROUTES.iter().filter(|route| !is_for_anybody(route)) {
            let about = format!("{tenant} {role} {} {}", route.method, route.path);
            let (status, got) =
                text(request(&fleet, route, &path(route, &own)?).bearer_auth(key).send().await?).await?;
            match route.access {
                access if access.role().is_some_and(|needed| *role < needed) => {
                    ensure!(status == 403, "{about}: {status} {got}")
                }
                _ if route.path.contains("{id}") => {
                    let nowhere = path(route, &elsewhere(&own))?;
                    let unknown =
                        text(request(&fleet, route, &nowhere).bearer_auth(key).send().await?).await?.1;
                    let id = own.values().find(|id| got.contains(*id)).context(about.clone())?;
                    ensure!(status == 404, "{about}: {status} {got}");
                    ensure!(
                        got.replace(id, ANOTHER) == unknown,
                        "{about}: it tells that there is one: {got}"
                    );
                }
                _ => {
                    ensure!((200..300).contains(&status), "{about}: {status} {got}");
                    let leaked = own.values().find(|id| got.contains(*id));
                    ensure!(leaked.is_none() && !got.contains("acme"), "{about}: {got}");
                }
            }
        }
    }
    ensure!(
        fleet.count("select count(*) from audit where principal = 'rival' and tenant <> 'rival'").await? == 0
    );
    until_state(&fleet, &admin, &podcast, "completed").await?;
    // What reads is walked before what changes.
    for looks in [true, false] {
        for route in ROUTES.iter().filter(|route| (route.method == "GET") == looks && !is_for_anybody(route))
        {
            for (tenant, role, key) in keys.iter().filter(|(tenant, ..)| *tenant == "acme") {
                let sent = request(&fleet, route, &path(route, &own)?).bearer_auth(key).send().await?;
                let (status, got) = text(sent).await?;
                let about = format!("{tenant} {role} {} {}: {status} {got}", route.method, route.path);
                let allowed = route.access.role().is_none_or(|needed| *role >= needed);
                ensure!(allowed != matches!(status, 401 | 403 | 404), "{about}");
                ensure!(status < 500, "{about}");
                if looks && allowed {
                    ensure!(matches!(status, 101 | 200..300), "{about}");
                }
            }
        }
    }
    payloads(&fleet, &own, &keys).await?;
    fleet.stop().await
}

/// Forms that sign in and out and choose a language: they change nothing of a tenant's, and want their page's token.
fn is_for_anybody(route: &Route) -> bool {
    route.page && route.method == "POST" && route.access == Access::Public
}

/// Without a key, or with one that was never made.
async fn strangers(fleet: &Fleet, own: &Ids) -> anyhow::Result<()> {
    let never_made = format!("podfleet_{}_{}", "0".repeat(8), "0".repeat(64));
    for shown in [None, Some("Bearer letmein".to_owned()), Some(format!("Bearer {never_made}"))] {
        for route in ROUTES {
            let mut sent = request(fleet, route, &path(route, own)?);
            if let Some(shown) = &shown {
                sent = sent.header("authorization", shown);
            }
            let response = sent.send().await?;
            let led_to = response.url().path().to_owned();
            let challenge = response.headers().contains_key("www-authenticate");
            let (status, got) = text(response).await?;
            let about = format!("{shown:?} {} {}: {status} {got}", route.method, route.path);
            match route.access {
                Access::Public if is_for_anybody(route) => {
                    ensure!(shown.is_some() || status == 403, "{about}")
                }
                // The way in leads on to a page that judges what was shown.
                Access::Public if route.path == "/" => ensure!(matches!(status, 200 | 401), "{about}"),
                Access::Public => ensure!(status == 200, "{about}"),
                Access::Needs(_) if route.page && shown.is_none() => {
                    ensure!(status == 200 && led_to == "/login", "{about}: led to {led_to}")
                }
                Access::Needs(_) | Access::Plays => {
                    ensure!(status == 401 && challenge && got.contains("keys create"), "{about}")
                }
            }
        }
    }
    Ok(())
}

/// Who looks at what people wrote needs more than to look.
async fn payloads(fleet: &Fleet, own: &Ids, keys: &[(&str, Role, String)]) -> anyhow::Result<()> {
    let path = format!("{}/v1/dead-letters/{}?payload=true", fleet.api, own["/v1/dead-letters/"]);
    for (_, role, key) in keys.iter().filter(|(tenant, ..)| *tenant == "acme") {
        let status = fleet.http.get(&path).bearer_auth(key).send().await?.status().as_u16();
        ensure!(status == if *role < Role::Support { 403 } else { 200 }, "{role}: {status}");
    }
    Ok(())
}

pub(crate) async fn without_a_key_no_producer_starts(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let setup = Setup { producers: 0, workers: 0, collectors: 0, ..Setup::default() };
    let fleet = Fleet::start(servers, "no-keys", setup).await?;
    let mut closed: Vec<(String, String)> =
        fleet.environment().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    closed.push(("PODFLEET_TRUST_LOOPBACK".into(), "false".into()));
    let start = async |more: &[(&str, &str)]| -> anyhow::Result<(Option<i32>, String)> {
        let output = Command::new(PODFLEET)
            .arg("producer")
            .envs(closed.iter().cloned())
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(crate::fleet::PATIENCE, output).await.context("it runs")??;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let (code, said) = start(&[]).await?;
    ensure!(code == Some(2) && said.contains("podfleet keys create"), "{code:?} {said}");
    // Trust reaches no further than this machine.
    let beyond = [("PODFLEET_TRUST_LOOPBACK", "true"), ("PODFLEET__PRODUCER__BIND", "0.0.0.0:0")];
    let (code, said) = start(&beyond).await?;
    ensure!(code == Some(2) && said.contains("--trust-loopback"), "{code:?} {said}");
    fleet.stop().await
}

pub(crate) async fn a_revoked_key_opens_nothing_after_five_seconds(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let (mut fleet, admin) = with_keys(servers, "revoked", Setup { workers: 0, ..Setup::default() }).await?;
    fleet.spawn_producer(&KEYS_ONLY).await?;
    let key = make_key(&fleet, "acme", "submit", &["--name", "short-lived"]).await?;
    let id = submit(&fleet, &key, &json!({"source": {"text": "Somebody watches this."}})).await?;
    let ask = async |api: &str, key: &str| -> anyhow::Result<u16> {
        Ok(fleet.http.get(format!("{api}/v1/podcasts")).bearer_auth(key).send().await?.status().as_u16())
    };
    for api in &fleet.apis {
        ensure!(ask(api, &key).await? == 200, "a key opens at once, in every producer");
    }
    let events = format!("{}/v1/podcasts/{id}/events", fleet.api);
    let mut stream = fleet
        .http
        .get(events)
        .bearer_auth(&key)
        .timeout(Duration::from_secs(60))
        .send()
        .await?
        .bytes_stream();
    stream.next().await.context("the first event")??;
    until("the use of a key to be known", async || {
        let used =
            "select count(*) from api_keys where principal = 'short-lived' and last_used_at is not null";
        Ok((fleet.count(used).await? == 1).then_some(()))
    })
    .await?;
    let rows = fleet.query("select id::text from api_keys where principal = 'short-lived'").await?;
    let (code, _, error) = command(&fleet, &["keys", "revoke", rows[0].get(0)]).await?;
    ensure!(code == Some(0), "{error}");
    let revoked = Instant::now();
    while let Some(piece) = stream.next().await {
        piece?;
    }
    ensure!(revoked.elapsed() < Duration::from_secs(5), "the stream ended after {:?}", revoked.elapsed());
    for api in &fleet.apis {
        until("a refusal", async || Ok((ask(api, &key).await? == 401).then_some(()))).await?;
    }
    ensure!(revoked.elapsed() < Duration::from_secs(5), "refused after {:?}", revoked.elapsed());
    println!("  a revoked key was refused everywhere after {:.1?}", revoked.elapsed());
    ensure!(ask(&fleet.api, &admin).await? == 200);
    let brief = make_key(&fleet, "acme", "viewer", &["--expires", "3s"]).await?;
    ensure!(ask(&fleet.api, &brief).await? == 200);
    until("a key to expire", async || Ok((ask(&fleet.api, &brief).await? == 401).then_some(()))).await?;
    // Neither keys nor their secrets are kept anywhere.
    for key in [&admin, &key, &brief] {
        let secret = key.rsplit('_').next().context("a secret")?;
        for table in ["api_keys", "audit"] {
            let found = format!("select count(*) from {table} t where t::text like '%{secret}%'");
            ensure!(fleet.count(&found).await? == 0, "{table} holds a secret");
        }
    }
    ensure!(
        fleet.count("select count(*) from audit where action in ('key.create', 'key.revoke')").await? == 4
    );
    fleet.abandon().await
}

/// Who publishes as a user of the broker finds its podcasts with a key of that tenant, and nobody else does.
pub(crate) async fn tenants_of_the_broker_see_their_podcasts_over_http(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let (fleet, stranger) =
        with_keys(servers, "amqp-tenant", Setup { workers: 0, ..Setup::default() }).await?;
    let broker = Broker { url: fleet.environment()["PODFLEET__BROKER__URL"].clone(), ..Broker::default() };
    let user = reqwest::Url::parse(&broker.url)?.username().to_owned();
    let key = make_key(&fleet, &user, "viewer", &[]).await?;
    fleet.until_intake().await?;
    let connection = amqp::connect(&broker, "test").await?;
    let channel = amqp::confirming_channel(&connection, broker.timeout()).await?;
    let properties =
        amqp::persistent_json().with_message_id("theirs".into()).with_user_id(user.as_str().into());
    let body = br#"{"source": {"text": "Published by a user of the broker."}}"#;
    let timeout = Duration::from_secs(10);
    let confirm = amqp::publish(&channel, topology::REQUESTS_EXCHANGE, "", body, properties, timeout).await?;
    amqp::confirmed(confirm, timeout).await?;
    let id = until("the podcast", async || {
        let list = get(&fleet, &key, "/v1/podcasts").await?;
        Ok(list["podcasts"][0]["id"].as_str().map(str::to_owned))
    })
    .await?;
    let list = get(&fleet, &stranger, "/v1/podcasts").await?;
    ensure!(list["podcasts"] == json!([]), "{list}");
    let one = fleet.http.get(format!("{}/v1/podcasts/{id}", fleet.api)).bearer_auth(&stranger).send().await?;
    ensure!(one.status() == 404);
    connection.close(200, "bye".into()).await?;
    fleet.stop().await
}
