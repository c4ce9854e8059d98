//! `DELETE /api/v1/join-tokens/{id}`: revokes a join token. Agents that joined with it stay.

use axum::extract::State;
use http::StatusCode;
use titan_api::ids::CredentialId;
use titan_lua::credentials::join_tokens;

use crate::{auth::callers::AdminCaller, error::ApiError, extract::ApiPath, state::AppState};

/// Revokes a join token; agents that joined with it stay.
#[utoipa::path(
    delete,
    path = "/api/v1/join-tokens/{id}",
    operation_id = "delete_join_token",
    tag = "administrators",
    params(("id" = String, Path, description = "The token's id")),
    security(("admin" = [])),
    responses((status = 204, description = "Revoked"))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    caller: AdminCaller,
    ApiPath(id): ApiPath<CredentialId>,
) -> Result<StatusCode, ApiError> {
    if !join_tokens::delete(&state.store, &caller.pool, &id).await? {
        return Err(ApiError::NotFound(format!("pool {} has no join token {id}", caller.pool)));
    }
    Ok(StatusCode::NO_CONTENT)
}
