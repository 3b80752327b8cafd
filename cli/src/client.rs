//! Podfleet's HTTP API, from the outside.

pub(crate) mod follow;
pub(crate) mod shapes;
mod sse;
#[cfg(test)]
pub(crate) mod stand_in;

use std::time::Duration;

use anyhow::Context;
use common::backoff::Reconnect;
use common::request::PodcastRequest;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::args::Server;
use crate::dev_file;
use crate::failure::{Failure, Problem};
use crate::output::remark;

const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// For an answer that is not a stream.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// The longest silence in a stream; the server says something every 15 s.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// How often a request that may be repeated is sent.
const TRIES: usize = 5;
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    api_key: Option<String>,
}

impl Client {
    /// The server that was named, else that of a running `podfleet dev`, else the default address.
    pub(crate) fn new(server: &Server) -> anyhow::Result<Client> {
        let running = || dev_file::running().map(|dev| dev.api);
        let address = server
            .server
            .clone()
            .filter(|named| !named.is_empty())
            .or_else(running)
            .unwrap_or_else(|| DEFAULT_SERVER.into());
        Client::at(&address, server.api_key.clone())
    }

    pub(crate) fn at(address: &str, api_key: Option<String>) -> anyhow::Result<Client> {
        let url =
            Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(url) = url else {
            let advice = format!("{address:?} is not the address of a server; write it as {DEFAULT_SERVER}");
            return Err(Failure::Usage(advice).into());
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("podfleet/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(SILENCE_LIMIT);
        if url.host_str().is_some_and(is_this_machine) {
            // A proxy for the outside world cannot reach this machine's loopback interface.
            builder = builder.no_proxy();
        }
        let http = builder.build().context("preparing the HTTP client")?;
        Ok(Client { http, base: url.as_str().trim_end_matches('/').to_owned(), api_key })
    }

    pub(crate) fn address(&self) -> &str {
        &self.base
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.json(self.request(Method::GET, path).timeout(ANSWER_LIMIT)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.json(self.request(Method::DELETE, path).timeout(ANSWER_LIMIT)).await
    }

    /// Sent once: what it changes happens at most once, and an answer that is lost can be looked up.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.json(self.request(Method::POST, path).timeout(ANSWER_LIMIT).json(body)).await
    }

    /// Sends a request for a podcast. While the server cannot be reached or is busy it is sent again, under the same
    /// key: however often it arrives, it is one podcast.
    pub(crate) async fn submit(&self, request: &PodcastRequest, key: &str) -> anyhow::Result<Value> {
        let mut backoff = Reconnect::default();
        for left in (0..TRIES).rev() {
            let post = self.request(Method::POST, "/v1/podcasts").timeout(ANSWER_LIMIT);
            let sent = post.header("idempotency-key", key).json(request).send().await;
            let (reason, wait) = match sent {
                Ok(answer) if left > 0 && is_busy(answer.status()) => {
                    let reason = format!("{} is busy ({})", self.base, answer.status());
                    (reason, retry_after(answer.headers()).unwrap_or_else(|| backoff.next_delay()))
                }
                Ok(answer) => return self.read(answer).await,
                Err(error) if left > 0 && !error.is_builder() => {
                    (format!("{} does not answer", self.base), backoff.next_delay())
                }
                Err(error) => return Err(self.unreachable(&error).into()),
            };
            remark(format_args!("{reason}; trying again in {:.1} s", wait.as_secs_f64()));
            tokio::time::sleep(wait).await;
        }
        unreachable!("the last round returns")
    }

    /// A body to read piece by piece: audio, transcripts.
    pub(crate) async fn stream(&self, path: &str) -> anyhow::Result<Response> {
        self.open(self.request(Method::GET, path)).await
    }

    /// The events of a podcast after `seq`.
    async fn events(&self, id: Uuid, seq: i64) -> anyhow::Result<Response> {
        let request = self.request(Method::GET, &format!("/v1/podcasts/{id}/events"));
        self.open(request.header(ACCEPT, "text/event-stream").header("last-event-id", seq)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.api_key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    async fn json(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        self.read(answer).await
    }

    async fn open(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refused(answer).await.into()) }
    }

    async fn read(&self, answer: Response) -> anyhow::Result<Value> {
        if !answer.status().is_success() {
            return Err(self.refused(answer).await.into());
        }
        let body = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        let advice =
            || format!("what answers at {} is not Podfleet; name the server with --server", self.base);
        serde_json::from_slice(&body).map_err(|_| Failure::Unreachable(advice()).into())
    }

    async fn refused(&self, answer: Response) -> Failure {
        let status = answer.status();
        let body = answer.bytes().await.unwrap_or_default();
        let problem = serde_json::from_slice::<Problem>(&body).unwrap_or_else(|_| Problem {
            title: status.canonical_reason().unwrap_or("the server refused the request").to_owned(),
            detail: format!("what answers at {} is not Podfleet; name the server with --server", self.base),
            ..Problem::default()
        });
        Failure::Refused(Problem { status: status.as_u16(), ..problem })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let base = &self.base;
        let remedy = "start it with `make dev`, or name another with --server";
        Failure::Unreachable(if error.is_connect() {
            format!("nothing answers at {base} ({}); {remedy}", root_cause(error))
        } else if error.is_timeout() {
            format!("{base} did not answer in time; look at its log, or try again")
        } else {
            format!("the connection to {base} broke ({}); try again", root_cause(error))
        })
    }
}

/// A filter as more of a query string, each field by its name; what was not given is left out.
pub(crate) fn more(filter: &impl Serialize) -> anyhow::Result<String> {
    let mut text = String::new();
    if let Value::Object(fields) = serde_json::to_value(filter)? {
        for (name, value) in fields {
            text.push_str(&format!("&{name}={}", encoded(value.as_str().unwrap_or_default())));
        }
    }
    Ok(text)
}

/// Everything but what is never special in a query (RFC 3986, "unreserved").
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn is_busy(status: StatusCode) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn retry_after(headers: &HeaderMap<HeaderValue>) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::stand_in::StandIn;
    use super::*;

    fn answer(status: &str, headers: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            body.len()
        )
    }

    #[tokio::test]
    async fn a_submission_is_repeated_under_the_same_key() {
        let busy = answer("503 Service Unavailable", "retry-after: 0\r\n", "{}");
        let accepted = answer("202 Accepted", "", r#"{"id": "x", "replayed": true}"#);
        // A connection that closes without an answer, a busy server, then one that accepts.
        let server = StandIn::start(vec![String::new(), busy, accepted]).await;
        let client = Client::at(&server.address, Some("k3y".into())).unwrap();
        let answered = client.submit(&PodcastRequest::default(), "the-key").await.unwrap();
        assert_eq!(answered["replayed"], true);
        let requests = server.requests().await;
        assert_eq!(requests.len(), 3);
        for request in requests {
            assert!(request.contains("idempotency-key: the-key\r\n"), "{request}");
            assert!(request.contains("authorization: Bearer k3y\r\n"), "{request}");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_not_repeated() {
        let refusal = answer(
            "422 Unprocessable Content",
            "content-type: application/problem+json\r\n",
            r#"{"title": "No", "errors": [{"field": "language", "reason": "it is zz", "remedy": "Use ko"}]}"#,
        );
        let server = StandIn::start(vec![refusal]).await;
        let client = Client::at(&server.address, None).unwrap();
        let error = client.submit(&PodcastRequest::default(), "k").await.unwrap_err();
        let Some(Failure::Refused(problem)) = error.downcast_ref() else { panic!("{error:#}") };
        assert_eq!((problem.status, problem.errors[0].remedy.as_str()), (422, "Use ko"));
        assert_eq!(server.requests().await.len(), 1);
    }

    #[tokio::test]
    async fn a_closed_port_is_explained() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = Client::at(&address, None).unwrap().get("/v1/podcasts").await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("nothing answers at {address} (")), "{error}");
        assert!(error.contains("make dev") && error.contains("--server"), "{error}");
    }

    #[tokio::test]
    async fn a_stranger_is_recognised() {
        let server =
            StandIn::start(vec![answer("200 OK", "", "<html>"), answer("404 Not Found", "", "<html>")]).await;
        let client = Client::at(&server.address, None).unwrap();
        for _ in 0..2 {
            let error = client.get("/v1/podcasts").await.unwrap_err().to_string();
            assert!(error.contains("is not Podfleet"), "{error}");
        }
    }

    #[test]
    fn addresses_may_have_a_path_and_must_be_http() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::at("https://example.org/podfleet/", None).unwrap();
        assert_eq!(client.address(), "https://example.org/podfleet");
        for bad in ["localhost:8080", "ftp://x", "", "http://"] {
            assert!(Client::at(bad, None).is_err(), "{bad}");
        }
    }
}
