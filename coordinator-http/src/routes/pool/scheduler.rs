//! `GET` and `PUT /api/v1/scheduler`: how the pool's agents are chosen.

use axum::extract::State;
use titan_api::scheduler::{Scheduler, SetScheduler};
use titan_lua::pool;

use crate::{
    auth::callers::AdminCaller, error::ApiError, extract::ApiJson, reply::Json, state::AppState, validate::Validate,
};

/// By which weights agents are chosen.
#[utoipa::path(
    get,
    path = "/api/v1/scheduler",
    operation_id = "get_scheduler",
    tag = "administrators",
    security(("admin" = [])),
    responses((status = 200, body = Scheduler))
)]
pub(crate) async fn get(State(state): State<AppState>, caller: AdminCaller) -> Result<Json<Scheduler>, ApiError> {
    Ok(Json(pool::GetScheduler.run(&state.store.pool(&caller.pool)).await?))
}

/// Chooses other weights.
#[utoipa::path(
    put,
    path = "/api/v1/scheduler",
    operation_id = "set_scheduler",
    tag = "administrators",
    request_body = SetScheduler,
    security(("admin" = [])),
    responses((status = 200, body = Scheduler))
)]
pub(crate) async fn set(
    State(state): State<AppState>,
    caller: AdminCaller,
    ApiJson(request): ApiJson<SetScheduler>,
) -> Result<Json<Scheduler>, ApiError> {
    request.validate()?;
    let weights = request.profile.weights().or(request.weights);
    let weights = weights.ok_or_else(|| ApiError::field("/weights", "profile `custom` needs weights"))?;
    let set = pool::SetScheduler { profile: request.profile, weights, strategy: request.strategy };
    Ok(Json(set.run(&state.store.pool(&caller.pool)).await?))
}
