//! The HTTP API. Every error is a problem (RFC 9457) that says what happened and what to do next.
//!
//! [`routes`] is the table of all there is and who may use it; [`door`] finds out who asks; [`guard`] keeps web pages out.

mod acts;
mod asyncapi;
pub(crate) mod checks;
mod dashboard;
mod dead_letters;
mod docs;
mod door;
mod episode;
mod erase;
mod etag;
mod extract;
mod feed;
mod files;
mod fleet;
pub mod fuzzing;
mod guard;
mod health;
mod keys;
mod limits;
mod openapi;
mod paging;
mod pauses;
mod podcasts;
mod problem;
mod range;
pub(crate) mod rate;
mod replays;
mod routes;
mod server;
mod submit;
mod watch;
mod webhooks;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use common::store::Store;
use deadpool_postgres::Object;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tracing::Instrument;

use crate::Env;
use crate::accept::Intake;
use crate::listen::Listeners;
use problem::Problem;

use dashboard::looks::Looks;
use dashboard::voices::Samples;
pub use dashboard::voices::Say;
pub use door::Access;
pub use routes::{ROUTES, Route};

/// From the request's head to the response's head; bodies of responses may stream for longer.
const REQUEST: Duration = Duration::from_secs(10);
/// Bodies of requests held in memory at a time, in KiB.
const BODIES_KIB: usize = 64 * 1024;

/// What the handlers work with.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) env: Arc<Env>,
    pub(crate) intake: Intake,
    /// Memory for bodies, in KiB: whoever finds none left is asked to come back.
    pub(crate) memory: Arc<Semaphore>,
    metrics: PrometheusHandle,
    pub(crate) listeners: Listeners,
    samples: Samples,
    looks: Looks,
    /// What its handlers read over: the connections of the API, or those of the pages.
    reads: Store,
}

impl App {
    pub(crate) fn new(
        env: Arc<Env>,
        intake: Intake,
        listeners: Listeners,
        say: Say,
        metrics: PrometheusHandle,
    ) -> App {
        let memory = Arc::new(Semaphore::new(BODIES_KIB));
        let reads = env.store.clone();
        let (samples, looks) = (Samples::new(say), Looks::default());
        App { env, intake, memory, metrics, listeners, samples, looks, reads }
    }

    /// For what is only looked at.
    fn for_pages(&self) -> App {
        App { reads: self.env.pages.clone(), ..self.clone() }
    }

    /// Reads from the database.
    async fn read<T>(&self, work: impl AsyncFnOnce(&mut Object) -> anyhow::Result<T>) -> Result<T, Problem> {
        if !self.env.readiness.is_ready() {
            return Err(Problem::unavailable());
        }
        self.reads.run(work).await.map_err(Problem::database)
    }
}

/// Serves the API until shutdown, and then finishes what is under way.
pub(crate) async fn serve(
    listener: TcpListener,
    app: App,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "the API is served");
    server::run(listener, router(app), shutdown).await
}

fn router(app: App) -> Router {
    let trusts_loopback = app.env.trusts_loopback;
    let guard = move |request, next| guard::refuse_foreign_pages(trusts_loopback, request, next);
    routes::router(&app)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(etag::tag))
        .layer(middleware::from_fn(guard))
        .layer(middleware::from_fn(bound))
        .layer(CatchPanicLayer::custom(on_panic))
        .layer(SetResponseHeaderLayer::if_not_present(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .layer(CompressionLayer::new().compress_when(is_compressible()))
        .layer(middleware::map_response(etag::weaken))
        .layer(middleware::from_fn(in_a_span))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
}

/// Sound is compressed already; what comes bit by bit must not wait for more.
fn is_compressible() -> impl Predicate {
    SizeAbove::new(1_024)
        .and(NotForContentType::const_new("audio/"))
        .and(NotForContentType::SSE)
        .and(NotForContentType::IMAGES)
}

/// What is logged for a request bears the id that its answer has.
async fn in_a_span(request: Request, next: Next) -> Response {
    let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let span = tracing::info_span!("request", id, method = %request.method(), path = request.uri().path());
    next.run(request).instrument(span).await
}

async fn not_found(request: Request) -> Problem {
    let detail = format!("There is nothing at {}. The API begins at /v1/podcasts", request.uri().path());
    Problem::new(StatusCode::NOT_FOUND, "not-found", detail)
}

async fn method_not_allowed(method: Method, request: Request) -> Problem {
    let detail = format!("{} cannot be used on {}", method, request.uri().path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
}

/// Bounds the time to the head of a response.
async fn bound(request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    match tokio::time::timeout(REQUEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let advice = if changes {
                "Whether it took effect is not known: send it again with the same Idempotency-Key, and it takes effect once"
            } else {
                "Try again in a moment"
            };
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "timeout",
                format!("There was no answer in {REQUEST:?}. {advice}"),
            )
            .retry_after(2)
            .into_response()
        }
    }
}

/// The panic hook has told the rest on stderr.
#[allow(clippy::needless_pass_by_value)]
fn on_panic(panic: Box<dyn Any + Send>) -> Response {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = text, "a handler panicked; this is a bug");
    Problem::internal().into_response()
}
