//! `GET /v1/models/{id}`: one model, as OpenAI's clients expect it. Its name may hold slashes.

use axum::extract::State;
use serde_json::Value;

use crate::{
    auth::callers::{Inference, KeyCaller},
    error::ApiError,
    extract::ApiPath,
    reply::Json,
    state::AppState,
};

/// One model that can be asked now.
#[utoipa::path(
    get,
    path = "/v1/models/{*id}",
    operation_id = "get_model",
    tag = "inference",
    params(("id" = String, Path, description = "The model's name")),
    security(("api_key" = ["inference"]), ("admin" = [])),
    responses((status = 200, description = "A model, as OpenAI has it", body = serde_json::Value))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: KeyCaller<Inference>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Value>, ApiError> {
    let models = state.fleets.models(&caller.pool).await?;
    let found = models.iter().find(|model| model.agents > 0 && model.model.name == id);
    found.map(|model| Json(super::list_models::entry(model))).ok_or_else(|| {
        ApiError::ModelNotFound(format!(
            "no agent of this pool has a model {id:?}; `GET /v1/models` lists those there are"
        ))
    })
}
