//! `GET /api/v1/ready`: whether this copy can do its work, check by check.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use titan_api::health::{Readiness, Verdict};

use crate::{auth::bearer, error, readiness::covered, reply::Json, state::AppState};

/// Whether this copy can do its work, check by check.
#[utoipa::path(
    get,
    path = "/api/v1/ready",
    operation_id = "ready",
    tag = "everyone",
    security(()),
    responses((status = 200, body = Readiness), (status = 503, description = "A check failed", body = Readiness))
)]
pub(crate) async fn handler(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let is_admin = bearer::of(&headers).is_ok_and(|token| state.admin.is(token));
    let checks = state.checked.checks(&state.store).await;
    let checks = if is_admin { checks } else { covered(checks) };
    let ready = checks.iter().all(|check| check.verdict != Verdict::Failed);
    let readiness = Json(Readiness { ready, checks });
    if ready {
        return readiness.into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, error::retry_after())], readiness).into_response()
}
