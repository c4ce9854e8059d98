//! `GET /api/v1/models`: the models of the fleet, and how many agents have each.

use axum::Json;
use titan_api::inference::FleetModels;
use titan_lua::models::ListModels;

use crate::{
    auth::callers::{Inference, KeyCaller},
    error::ApiError,
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
pub(crate) async fn handler(caller: KeyCaller<Inference>) -> Result<Json<FleetModels>, ApiError> {
    Ok(Json(FleetModels { models: ListModels.run(&caller.pool).await? }))
}
