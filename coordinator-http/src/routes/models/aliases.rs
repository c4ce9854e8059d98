//! `GET` and `PUT /api/v1/models/aliases`: public names that stand for the names that agents have for a model.

use axum::extract::State;
use titan_api::inference::ModelAliases;
use titan_lua::models::{ReadAliases, SetAliases};

use crate::{
    auth::callers::AdminCaller, error::ApiError, extract::ApiJson, reply::Json, state::AppState, validate::Validate,
};

/// The aliases of models.
#[utoipa::path(
    get,
    path = "/api/v1/models/aliases",
    operation_id = "get_aliases",
    tag = "administrators",
    security(("admin" = [])),
    responses((status = 200, body = ModelAliases))
)]
pub(crate) async fn get(State(state): State<AppState>, admin: AdminCaller) -> Result<Json<ModelAliases>, ApiError> {
    Ok(Json(ReadAliases.run(&state.store.pool(&admin.pool)).await?))
}

/// Sets all aliases of models; agents are known by them within seconds.
#[utoipa::path(
    put,
    path = "/api/v1/models/aliases",
    operation_id = "set_aliases",
    tag = "administrators",
    request_body = ModelAliases,
    security(("admin" = [])),
    responses((status = 200, body = ModelAliases))
)]
pub(crate) async fn set(
    State(state): State<AppState>,
    admin: AdminCaller,
    ApiJson(aliases): ApiJson<ModelAliases>,
) -> Result<Json<ModelAliases>, ApiError> {
    aliases.validate()?;
    let set = SetAliases { aliases: &aliases }.run(&state.store.pool(&admin.pool)).await?;
    state.fleets.forget(&admin.pool);
    state.alarm.within(std::time::Duration::ZERO);
    Ok(Json(set))
}
