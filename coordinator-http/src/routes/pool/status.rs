//! `GET /api/v1/status`: the pool at a glance.

use serde::Deserialize;
use titan_api::{limits, status::Status, time::Timestamp};
use titan_lua::{agents::ListAgents, pool::ReadStatus};
use utoipa::IntoParams;

use crate::{
    auth::callers::{AgentsRead, KeyCaller},
    error::ApiError,
    extract::ApiQuery,
    reply::Json,
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatusQuery {
    /// Whether to list the agents too: the first 500 by id.
    #[serde(default)]
    include_agents: bool,
}

/// The pool at a glance.
#[utoipa::path(
    get,
    path = "/api/v1/status",
    operation_id = "status",
    tag = "clients",
    params(StatusQuery),
    security(("api_key" = ["agents:read"]), ("admin" = [])),
    responses((status = 200, body = Status))
)]
pub(crate) async fn handler(
    caller: KeyCaller<AgentsRead>,
    ApiQuery(query): ApiQuery<StatusQuery>,
) -> Result<Json<Status>, ApiError> {
    let (agent_counts, job_counts, now_ms) = ReadStatus.run(&caller.pool).await?;
    let agents = if query.include_agents {
        Some(ListAgents { after: None, limit: limits::PAGE }.run(&caller.pool).await?)
    } else {
        None
    };
    let pool = caller.pool.name().clone();
    Ok(Json(Status { pool, at: Timestamp::from_ms(now_ms), agent_counts, job_counts, agents }))
}
