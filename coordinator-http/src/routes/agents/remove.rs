//! `DELETE /api/v1/agents/{id}`: removes an agent for good; its credential is void. Repeating it is harmless.

use http::StatusCode;
use titan_api::ids::AgentId;
use titan_lua::agents::{RemoveAgent, RemoveOutcome};

use super::no_such_agent;
use crate::{
    auth::callers::{AgentsWrite, KeyCaller},
    error::ApiError,
    extract::ApiPath,
};

/// Removes an agent for good; its credential is void.
#[utoipa::path(
    delete,
    path = "/api/v1/agents/{id}",
    operation_id = "remove_agent",
    tag = "clients",
    params(("id" = String, Path, description = "The agent's id")),
    security(("api_key" = ["agents:write"]), ("admin" = [])),
    responses((status = 204, description = "Removed"))
)]
pub(crate) async fn handler(
    caller: KeyCaller<AgentsWrite>,
    ApiPath(id): ApiPath<AgentId>,
) -> Result<StatusCode, ApiError> {
    match (RemoveAgent { agent: &id }).run(&caller.pool).await? {
        RemoveOutcome::Removed => Ok(StatusCode::NO_CONTENT),
        RemoveOutcome::NotFound => Err(no_such_agent(&id)),
    }
}
