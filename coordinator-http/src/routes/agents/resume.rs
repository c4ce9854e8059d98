//! `POST /api/v1/agents/{id}/resume`: the agent takes work again.

use titan_api::{agents::Agent, ids::AgentId};

use crate::{
    auth::callers::{AgentsWrite, KeyCaller},
    error::ApiError,
    extract::{ApiPath, OptionalJson},
    reply::Json,
    routes::Nothing,
};

/// Has an agent take work again.
#[utoipa::path(
    post,
    path = "/api/v1/agents/{id}/resume",
    operation_id = "resume_agent",
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
    super::set_draining(&caller.pool, &id, false).await.map(Json)
}
