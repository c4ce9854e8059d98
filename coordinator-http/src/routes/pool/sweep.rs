//! `POST /api/v1/sweep`: settles what is overdue in the pool, for a second at most.

use axum::extract::State;
use titan_api::status::Swept;

use crate::{
    auth::callers::AdminCaller, error::ApiError, extract::OptionalJson, reply::Json, routes::Nothing, state::AppState,
    timer,
};

/// Settles what is overdue in the pool, for a second at most.
#[utoipa::path(
    post,
    path = "/api/v1/sweep",
    operation_id = "sweep",
    tag = "administrators",
    security(("admin" = [])),
    responses((status = 200, body = Swept))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: AdminCaller,
    _: OptionalJson<Nothing>,
) -> Result<Json<Swept>, ApiError> {
    Ok(Json(timer::sweep(&state.store.pool(&caller.pool)).await?))
}
