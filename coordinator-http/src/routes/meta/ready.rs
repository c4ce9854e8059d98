//! `GET /api/v1/ready`: whether this copy can do its work, check by check.

use axum::{Json, extract::State};
use http::StatusCode;
use titan_api::health::{Readiness, Verdict};

use crate::state::AppState;

#[utoipa::path(
    get,
    path = "/api/v1/ready",
    operation_id = "ready",
    tag = "everyone",
    security(()),
    responses((status = 200, body = Readiness), (status = 503, description = "A check failed", body = Readiness))
)]
pub(crate) async fn handler(State(state): State<AppState>) -> (StatusCode, Json<Readiness>) {
    let checks = state.store.checks().await;
    let ready = checks.iter().all(|check| check.verdict != Verdict::Failed);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, checks }))
}
