//! `GET /v1/models`: the models that agents in service have, as OpenAI's clients expect them.

use axum::extract::State;
use serde_json::{Value, json};
use titan_api::inference::FleetModel;

use crate::{
    auth::callers::{Inference, KeyCaller},
    error::ApiError,
    reply::Json,
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
    let data: Vec<Value> = models.iter().filter(|model| model.agents > 0).map(entry).collect();
    Ok(Json(json!({ "object": "list", "data": data })))
}

/// A model as OpenAI's clients see it.
pub(super) fn entry(model: &FleetModel) -> Value {
    json!({
        "id": model.model.name,
        "object": "model",
        "created": model.since.as_ms() / 1_000,
        "owned_by": if model.model.backend.is_empty() { "titan" } else { &model.model.backend },
    })
}
