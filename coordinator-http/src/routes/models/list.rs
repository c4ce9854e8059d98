//! `GET /api/v1/models`: the models of the fleet, and how many agents have each.

use axum::extract::State;
use titan_api::inference::FleetModels;

use crate::{
    auth::callers::{Inference, KeyCaller},
    error::ApiError,
    reply::Json,
    state::AppState,
};

/// The models of the fleet, and how many agents have each.
#[utoipa::path(
    get,
    path = "/api/v1/models",
    operation_id = "fleet_models",
    tag = "clients",
    security(("api_key" = ["inference"]), ("admin" = [])),
    responses((status = 200, body = FleetModels))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: KeyCaller<Inference>,
) -> Result<Json<FleetModels>, ApiError> {
    Ok(Json(FleetModels { models: state.fleets.models(&caller.pool).await?.to_vec() }))
}
