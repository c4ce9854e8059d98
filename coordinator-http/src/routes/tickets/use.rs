//! `POST /api/v1/agents/{id}/tickets/{request_id}/use`: a client has brought an agent a ticket. Repeating it is harmless.

use titan_api::{
    ids::{AgentId, JobId},
    inference::UsedTicket,
};
use titan_lua::tickets::{UseOutcome, UseTicket};

use crate::{auth::callers::AgentCaller, error::ApiError, extract::ApiPath, reply::Json};

/// Makes an attempt of a ticket that a client has brought to the agent.
#[utoipa::path(
    post,
    path = "/api/v1/agents/{id}/tickets/{request_id}/use",
    operation_id = "agent_use_ticket",
    tag = "agents",
    params(
        ("id" = String, Path, description = "The agent's id"),
        ("request_id" = String, Path, description = "The ticket's `jti`")
    ),
    security(("agent" = [])),
    responses((status = 200, body = UsedTicket))
)]
pub(crate) async fn handler(
    agent: AgentCaller,
    ApiPath((_, request_id)): ApiPath<(AgentId, JobId)>,
) -> Result<Json<UsedTicket>, ApiError> {
    let used = UseTicket { agent: agent.id(), epoch: agent.epoch(), id: &request_id }.run(&agent.pool).await?;
    match used {
        UseOutcome::Leased(lease) => Ok(Json(lease)),
        UseOutcome::Busy => Err(ApiError::NoPlace),
        UseOutcome::Gone => Err(ApiError::TicketGone),
        UseOutcome::TurnedAway(why) => Err(why.into()),
    }
}
