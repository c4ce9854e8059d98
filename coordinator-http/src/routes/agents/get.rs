//! `GET /api/v1/agents/{id}`: one agent.

use titan_api::{agents::Agent, ids::AgentId};

use crate::{
    auth::callers::{AgentsRead, KeyCaller},
    error::ApiError,
    extract::ApiPath,
    reply::Json,
};

/// One agent.
#[utoipa::path(
    get,
    path = "/api/v1/agents/{id}",
    operation_id = "get_agent",
    tag = "clients",
    params(("id" = String, Path, description = "The agent's id")),
    security(("api_key" = ["agents:read"]), ("admin" = [])),
    responses((status = 200, body = Agent))
)]
pub(crate) async fn handler(
    caller: KeyCaller<AgentsRead>,
    ApiPath(id): ApiPath<AgentId>,
) -> Result<Json<Agent>, ApiError> {
    super::get_agent(&caller.pool, &id).await.map(Json)
}
