//! `POST /api/v1/agents/{id}/drain`: the agent takes no new work; what runs on it finishes.

use titan_api::{agents::Agent, ids::AgentId};

use crate::{
    auth::callers::{AgentsWrite, KeyCaller},
    error::ApiError,
    extract::{ApiPath, OptionalJson},
    reply::Json,
    routes::Nothing,
};

/// Has an agent take no new work; what runs on it finishes.
#[utoipa::path(
    post,
    path = "/api/v1/agents/{id}/drain",
    operation_id = "drain_agent",
    tag = "clients",
    params(("id" = String, Path, description = "The agent's id")),
    security(("api_key" = ["agents:write"]), ("admin" = [])),
    responses((status = 200, body = Agent))
)]
pub(crate) async fn handler(
    caller: KeyCaller<AgentsWrite>,
    ApiPath(id): ApiPath<AgentId>,
    _: OptionalJson<Nothing>,
) -> Result<Json<Agent>, ApiError> {
    super::set_draining(&caller.pool, &id, true).await.map(Json)
}
