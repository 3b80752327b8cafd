//! A gate before a speech server: it refuses the texts it is told to refuse, until it is told otherwise.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) struct Gate {
    pub(crate) url: String,
    rules: Arc<Rules>,
    serving: JoinHandle<()>,
}

struct Rules {
    upstream: String,
    http: reqwest::Client,
    refused: Mutex<Option<(String, StatusCode)>>,
}

impl Gate {
    /// Before the server at `upstream`; lets everything through.
    pub(crate) async fn start(upstream: &str) -> anyhow::Result<Gate> {
        let rules = Arc::new(Rules {
            upstream: upstream.to_owned(),
            http: reqwest::Client::builder().no_proxy().build()?,
            refused: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a free port for a gate")?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().route("/v1/audio/speech", post(pass)).with_state(rules.clone());
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("serving until the test is over");
        });
        Ok(Gate { url, rules, serving })
    }

    /// From now on, texts with these words are answered with this status. 400 is for good, 503 may pass.
    pub(crate) fn refuse(&self, words: &str, status: u16) {
        let status = StatusCode::from_u16(status).expect("a status");
        *self.rules.refused() = Some((words.to_owned(), status));
    }

    /// From now on, everything passes.
    pub(crate) fn heal(&self) {
        *self.rules.refused() = None;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Rules {
    fn refused(&self) -> std::sync::MutexGuard<'_, Option<(String, StatusCode)>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pass(State(rules): State<Arc<Rules>>, headers: HeaderMap, body: Bytes) -> Response {
    let text = String::from_utf8_lossy(&body).into_owned();
    let refused = rules.refused().clone().filter(|(words, _)| text.contains(words));
    if let Some((_, status)) = refused {
        let error = r#"{"error": {"message": "a simulated fault", "type": "simulated"}}"#;
        return (status, [(header::RETRY_AFTER, "4")], error).into_response();
    }
    let mut forward = rules.http.post(format!("{}/v1/audio/speech", rules.upstream)).body(body);
    for name in [header::CONTENT_TYPE.as_str(), "idempotency-key"] {
        if let Some(value) = headers.get(name) {
            forward = forward.header(name, value);
        }
    }
    let answer = match forward.send().await {
        Ok(answer) => answer,
        Err(error) => return (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    };
    let status = answer.status();
    let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
    match (answer.bytes().await, kind) {
        (Ok(bytes), Some(kind)) => (status, [(header::CONTENT_TYPE, kind)], bytes).into_response(),
        (Ok(bytes), None) => (status, bytes).into_response(),
        (Err(error), _) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
