//! `GET /api/v1/agents`: the pool's agents, by id.

use titan_api::agents::AgentList;
use titan_lua::agents::ListAgents;

use crate::{
    auth::callers::{AgentsRead, KeyCaller},
    cursor::List,
    error::ApiError,
    extract::ApiQuery,
    reply::Json,
    routes::page::{self, Page},
};

/// The pool's agents, by id.
#[utoipa::path(
    get,
    path = "/api/v1/agents",
    operation_id = "list_agents",
    tag = "clients",
    params(Page),
    security(("api_key" = ["agents:read"]), ("admin" = [])),
    responses((status = 200, body = AgentList))
)]
pub(crate) async fn handler(
    caller: KeyCaller<AgentsRead>,
    ApiQuery(page): ApiQuery<Page>,
) -> Result<Json<AgentList>, ApiError> {
    let (limit, after) = (page.limit()?, page.after(List::Agents)?);
    let mut agents = ListAgents { after: after.as_ref(), limit: page::to_read(limit) }.run(&caller.pool).await?;
    let next_cursor = page::cut(List::Agents, &mut agents, limit, |agent| agent.id.clone());
    Ok(Json(AgentList { agents, next_cursor }))
}
