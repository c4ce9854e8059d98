//! `GET /v1/models`: the models that agents in service have, as OpenAI's clients expect them.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::{
    auth::callers::{Inference, KeyCaller},
    error::ApiError,
    state::AppState,
};

/// The models that can be asked now.
#[utoipa::path(
    get,
    path = "/v1/models",
    operation_id = "list_models",
    tag = "inference",
    security(("api_key" = ["inference"]), ("admin" = [])),
    responses((status = 200, description = "A list of models, as OpenAI has it", body = serde_json::Value))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: KeyCaller<Inference>,
) -> Result<Json<Value>, ApiError> {
    let models = state.fleets.models(&caller.pool).await?;
    let data: Vec<Value> = models.iter().filter(|model| model.agents > 0).map(super::entry).collect();
    Ok(Json(json!({ "object": "list", "data": data })))
}
