//! What watches over the process asks.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use common::process;

use super::App;

pub(super) async fn alive() -> &'static str {
    process::ALIVE
}

pub(super) async fn ready(State(app): State<App>) -> (StatusCode, &'static str) {
    app.env.readiness.answer()
}

pub(super) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    process::rendered(&app.metrics)
}
