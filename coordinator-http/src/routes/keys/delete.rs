//! `DELETE /api/v1/keys/{id}`: revokes an API key. Other copies of the coordinator believe it for 5 s at most.

use axum::extract::State;
use http::StatusCode;
use titan_api::ids::CredentialId;
use titan_lua::{credentials::api_keys, usage::ForgetUsage};

use crate::{auth::callers::AdminCaller, error::ApiError, extract::ApiPath, state::AppState};

/// Revokes an API key.
#[utoipa::path(
    delete,
    path = "/api/v1/keys/{id}",
    operation_id = "delete_key",
    tag = "administrators",
    params(("id" = String, Path, description = "The key's id")),
    security(("admin" = [])),
    responses((status = 204, description = "Revoked"))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: AdminCaller,
    ApiPath(id): ApiPath<CredentialId>,
) -> Result<StatusCode, ApiError> {
    if !api_keys::delete(&state.store, &caller.pool, &id).await? {
        return Err(ApiError::NotFound(format!("pool {} has no API key {id}", caller.pool)));
    }
    state.known.forget_key(&id);
    // The key is gone whatever comes of this; what stays is forgotten when nothing was added for long.
    if let Err(e) = (ForgetUsage { key: &id }).run(&state.store.pool(&caller.pool)).await {
        tracing::warn!(key.id = %id, error = %e, "the usage of a revoked API key is kept for now");
    }
    Ok(StatusCode::NO_CONTENT)
}
