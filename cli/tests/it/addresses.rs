//! Addresses that requests name: pages that become podcasts, and servers that are told of their end.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::webhook;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::fleet::{Fleet, Servers, Setup, until};

/// An answer that never comes: the connection stays open.
const SILENCE: &str = "silence";

/// A request as it arrived.
#[derive(Clone, Debug)]
struct Heard {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Heard {
    fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .unwrap_or_default()
    }
}

/// A server of somebody else's: it answers each request with the next answer, and with the last one from then on.
struct Elsewhere {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    _serving: JoinSet<()>,
}

impl Elsewhere {
    async fn start(answers: impl IntoIterator<Item = String>) -> anyhow::Result<Elsewhere> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let answers: Arc<Mutex<VecDeque<String>>> = Arc::new(Mutex::new(answers.into_iter().collect()));
        let mut serving = JoinSet::new();
        let log = heard.clone();
        let mut silent = Vec::new();
        serving.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                let Ok(request) = hear(&mut stream).await else { continue };
                log.lock().expect("no panic before").push(request);
                let answer = {
                    let mut answers = answers.lock().expect("no panic before");
                    if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }
                };
                match answer {
                    Some(answer) if answer == SILENCE => silent.push(stream),
                    answer => drop(stream.write_all(answer.unwrap_or_default().as_bytes()).await),
                }
            }
        });
        Ok(Elsewhere { address, heard, _serving: serving })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("no panic before").clone()
    }
}

async fn hear(stream: &mut BufReader<tokio::net::TcpStream>) -> anyhow::Result<Heard> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(Ok(0), |(_, n)| n.parse())?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Heard { path, headers, body })
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

fn page(content_type: &str, body: &str) -> String {
    answer("200 OK", &format!("content-type: {content_type}\r\n"), body)
}

fn moved(to: &str) -> String {
    answer("302 Found", &format!("location: {to}\r\n"), "")
}

/// Only the loopback address that is listed may be reached, so the test has something to reach and something not to.
fn setup() -> Setup {
    Setup::default().with("OUTBOUND__ALLOW", "127.0.0.1/32").with("POLICY__MAX_FAILURES", 3)
}

pub(crate) async fn a_page_becomes_a_podcast(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let article = "<html><head><title>Tides</title><script>bad()</script></head><body><h1>Tides</h1>\
                   <p>The moon pulls the sea twice a day.</p><p>The harbour falls dry in between.</p></body></html>";
    let site = Elsewhere::start([
        answer("503 Service Unavailable", "", ""),
        moved("/there"),
        page("text/html; charset=utf-8", article),
    ])
    .await?;
    let fleet = Fleet::start(servers, "page", setup()).await?;
    let id = fleet
        .submit(&json!({"source": {"url": site.url("/here")}, "language": "en", "format": "monologue"}))
        .await?;
    fleet.completed(&id).await?;
    let text =
        fleet.get(&format!("/v1/podcasts/{id}/transcript.txt")).await?.error_for_status()?.text().await?;
    ensure!(text.contains("The moon pulls the sea") && !text.contains("bad()"), "{text}");
    let paths: Vec<String> = site.heard().into_iter().map(|heard| heard.path).collect();
    ensure!(paths == ["/here", "/here", "/there"], "an answer of 503 is tried again: {paths:?}");
    fleet.at_rest().await?;
    fleet.stop().await
}

pub(crate) async fn a_page_leads_nowhere_that_is_private(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let fleet = Fleet::start(servers, "private", setup()).await?;
    // What can be seen in the address is refused at once, with the field.
    for bad in [
        "http://169.254.169.254/latest/meta-data/",
        "https://127.0.0.2/",
        "https://2130706434/",
        "https://[::ffff:a9fe:a9fe]/",
        "https://user:secret@example.org/",
        "file:///etc/passwd",
    ] {
        for field in ["source.url", "callback_url"] {
            let mut request = json!({"source": {"text": "Hello."}, "language": "en"});
            match field {
                "source.url" => request["source"] = json!({"url": bad}),
                _ => request["callback_url"] = json!(bad),
            }
            let refused = fleet.post(&request).await?;
            ensure!(refused.status() == 422, "{bad}: {}", refused.status());
            let problem: Value = refused.json().await?;
            ensure!(problem["errors"][0]["field"] == field, "{bad}: {problem}");
        }
    }
    let unread = fleet.post(&json!({"source": {"url": "https://example.org/"}})).await?;
    ensure!(
        unread.status() == 422 && unread.text().await?.contains("language"),
        "its language cannot be known"
    );
    // What shows only when it is fetched ends the podcast, for good, and says why.
    let secret = Elsewhere::start([page("text/plain", "the secret of this machine")]).await?;
    let inner = secret.url("/secret").replace("127.0.0.1", "127.0.0.2");
    let large = "Much too long. ".repeat(100_000);
    let cases = [
        (moved("http://169.254.169.254/latest/meta-data/"), "leads elsewhere"),
        (moved(&inner), "leads elsewhere"),
        (moved("file:///etc/passwd"), "leads elsewhere"),
        (page("application/pdf", "%PDF"), "only HTML"),
        (page("text/plain", &large), "larger than"),
        (page("text/plain", " "), "is empty"),
        (answer("404 Not Found", "", "nothing here"), "404"),
    ];
    for (answer, words) in cases {
        let site = Elsewhere::start([answer]).await?;
        let id = fleet.submit(&json!({"source": {"url": site.url("/")}, "language": "en"})).await?;
        let podcast = fleet.ended(&id).await?;
        ensure!(podcast["state"] == "failed", "{words}: {podcast}");
        ensure!(podcast["failure"].to_string().contains(words), "{words}: {}", podcast["failure"]);
        ensure!(site.heard().len() == 1, "{words}: it is asked once, and nothing that it leads to");
    }
    ensure!(secret.heard().is_empty());
    fleet.stop().await
}

pub(crate) async fn an_end_is_told_and_signed(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let fleet = Fleet::start(servers, "webhooks", setup()).await?;
    let receiver =
        Elsewhere::start([answer("500 Internal Server Error", "", ""), answer("204 No Content", "", "")])
            .await?;
    let ask = async |more: Value| -> anyhow::Result<String> {
        let mut request =
            json!({"source": {"text": "It is told when this is made."}, "metadata": {"order": "17"}});
        request.as_object_mut().context("an object")?.extend(more.as_object().cloned().unwrap_or_default());
        fleet.submit(&request).await
    };
    let id = ask(json!({"callback_url": receiver.url("/done?token=t")})).await?;
    fleet.completed(&id).await?;
    let webhooks = async |id: &str| -> anyhow::Result<Value> {
        let list: Value =
            fleet.get(&format!("/v1/podcasts/{id}/webhooks")).await?.error_for_status()?.json().await?;
        Ok(list["webhooks"][0].clone())
    };
    let delivered = until("the webhook", async || {
        let webhook = webhooks(&id).await?;
        Ok((webhook["state"] == "delivered").then_some(webhook))
    })
    .await?;
    ensure!(
        delivered["attempts"] == 2 && delivered["history"][0]["result"] == "500 Internal Server Error",
        "{delivered}"
    );
    let heard = receiver.heard();
    ensure!(heard.len() == 2 && heard[0].body == heard[1].body, "the same body twice");
    ensure!(heard.iter().all(|heard| heard.header("webhook-id") == delivered["message_id"]), "one id");
    let told: Value = serde_json::from_slice(&heard[1].body)?;
    ensure!(told["type"] == "podcast.completed" && told["data"]["podcast"] == id.as_str(), "{told}");
    let secrets = async || -> anyhow::Result<Vec<Vec<u8>>> {
        let found: Value = fleet.get("/v1/webhooks/secret").await?.error_for_status()?.json().await?;
        let text = found["secrets"].as_array().context("secrets")?.iter().filter_map(Value::as_str);
        text.map(|secret| Ok(STANDARD.decode(secret.strip_prefix("whsec_").context("whsec_")?)?)).collect()
    };
    let check = |heard: &Heard, secrets: &[Vec<u8>]| -> anyhow::Result<()> {
        let at = Timestamp::from_second(heard.header("webhook-timestamp").parse()?)?;
        ensure!(at.duration_since(Timestamp::now()).unsigned_abs() < Duration::from_secs(300), "{at}");
        let expected = webhook::signatures(secrets, heard.header("webhook-id"), at, &heard.body);
        ensure!(heard.header("webhook-signature") == expected, "{heard:?}");
        Ok(())
    };
    let first = secrets().await?;
    ensure!(first.len() == 1);
    check(&heard[1], &first)?;
    // A new secret signs beside the old one, and a replay sends the same again.
    let rotate = fleet.http.post(format!("{}/v1/webhooks/secret/rotate", fleet.api)).send().await?;
    ensure!(rotate.status() == 200);
    let both = secrets().await?;
    ensure!(both.len() == 2 && both[1] == first[0] && both[0] != first[0]);
    let replay = format!("{}/v1/webhooks/{}/replay", fleet.api, delivered["id"].as_str().context("an id")?);
    fleet.http.post(replay).send().await?.error_for_status()?;
    until("the replay", async || Ok((receiver.heard().len() == 3).then_some(()))).await?;
    let again = &receiver.heard()[2];
    ensure!(again.body == heard[1].body && again.header("webhook-id") == heard[1].header("webhook-id"));
    check(again, &both)?;
    // A failure is told, too; whoever answers 410 is told nothing more; a redirect is no yes.
    let gone = Elsewhere::start([answer("410 Gone", "", "")]).await?;
    let missing = Elsewhere::start([answer("404 Not Found", "", "")]).await?;
    let hopeless =
        json!({"callback_url": gone.url("/"), "source": {"url": missing.url("/")}, "language": "en"});
    let failed = ask(hopeless).await?;
    ensure!(fleet.ended(&failed).await?["state"] == "failed");
    let state = async |id: &str, state: &str| -> anyhow::Result<Value> {
        until(state, async || {
            let webhook = webhooks(id).await?;
            Ok((webhook["state"] == state).then_some(webhook))
        })
        .await
    };
    ensure!(state(&failed, "disabled").await?["event"] == "failed");
    let next = ask(json!({"callback_url": gone.url("/")})).await?;
    fleet.ended(&next).await?;
    state(&next, "disabled").await?;
    ensure!(gone.heard().len() == 1, "410 is the last that it is asked");
    let elsewhere = Elsewhere::start([moved("http://169.254.169.254/")]).await?;
    let moved = ask(json!({"callback_url": elsewhere.url("/")})).await?;
    fleet.completed(&moved).await?;
    until("an attempt", async || Ok((!elsewhere.heard().is_empty()).then_some(()))).await?;
    let webhook = until("its result", async || {
        let webhook = webhooks(&moved).await?;
        Ok((!webhook["history"][0].is_null()).then_some(webhook))
    })
    .await?;
    ensure!(webhook["state"] == "waiting" && webhook["history"][0]["result"] == "302 Found", "{webhook}");
    fleet.stop().await
}

/// A producer that is killed before its webhook is answered leaves it to another one.
pub(crate) async fn a_webhook_outlives_its_producer(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let mut fleet =
        Fleet::start(servers, "webhook-killed", setup().with("OUTBOUND__TIMEOUT_MS", 8_000)).await?;
    let receiver = Elsewhere::start([SILENCE.to_owned(), answer("200 OK", "", "")]).await?;
    let request = json!({"source": {"text": "Somebody tells it."}, "callback_url": receiver.url("/")});
    let id = fleet.submit(&request).await?;
    until("the first attempt", async || Ok((receiver.heard().len() == 1).then_some(()))).await?;
    fleet.role("producer").signal(nix::sys::signal::Signal::SIGKILL);
    fleet.spawn_producer(&[]).await?;
    until("the second attempt", async || Ok((receiver.heard().len() == 2).then_some(()))).await?;
    let heard = receiver.heard();
    ensure!(heard[0].header("webhook-id") == heard[1].header("webhook-id") && heard[0].body == heard[1].body);
    until("its result", async || {
        let list: Value = fleet.get(&format!("/v1/podcasts/{id}/webhooks")).await?.json().await?;
        Ok((list["webhooks"][0]["state"] == "delivered").then_some(()))
    })
    .await?;
    fleet.abandon().await
}
