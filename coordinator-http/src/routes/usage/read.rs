//! `GET /api/v1/usage`: what the calling key has had of models.

use titan_api::inference::KeyUsage;
use titan_lua::usage::ReadUsage;

use crate::{
    auth::callers::{Inference, KeyCaller},
    error::ApiError,
    reply::Json,
};

/// What the calling key has had of each model.
#[utoipa::path(
    get,
    path = "/api/v1/usage",
    operation_id = "usage",
    tag = "clients",
    security(("api_key" = ["inference"]), ("admin" = [])),
    responses((status = 200, body = KeyUsage))
)]
pub(crate) async fn handler(caller: KeyCaller<Inference>) -> Result<Json<KeyUsage>, ApiError> {
    Ok(Json(ReadUsage { owner: &caller.owner }.run(&caller.pool).await?))
}
