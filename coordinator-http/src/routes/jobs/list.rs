//! `GET /api/v1/jobs`: the pool's jobs, newest first.

use serde::Deserialize;
use titan_api::{
    ids::AgentId,
    jobs::{JobList, JobState},
};
use titan_lua::jobs::ListJobs;
use utoipa::IntoParams;

use crate::{
    auth::callers::{JobsRead, KeyCaller},
    cursor::{self, List},
    error::ApiError,
    extract::ApiQuery,
    reply::Json,
    routes::page,
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobsQuery {
    /// Only jobs in this state.
    state: Option<JobState>,
    /// Only jobs whose latest attempt is this agent's.
    #[param(value_type = Option<String>)]
    agent: Option<AgentId>,
    /// Only jobs with this label, as `name=value`.
    label: Option<String>,
    /// Entries in the page, 1 to 500; 100 by default.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The pool's jobs, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/jobs",
    operation_id = "list_jobs",
    tag = "clients",
    params(JobsQuery),
    security(("api_key" = ["jobs:read"]), ("admin" = [])),
    responses((status = 200, body = JobList))
)]
pub(crate) async fn handler(
    caller: KeyCaller<JobsRead>,
    ApiQuery(query): ApiQuery<JobsQuery>,
) -> Result<Json<JobList>, ApiError> {
    let after = query.cursor.as_deref().map(|c| cursor::decode(List::Jobs, c)).transpose()?;
    let label = query.label.as_deref().map(label).transpose()?;
    let limit = page::limit(query.limit)?;
    let list = ListJobs { state: query.state, agent: query.agent.as_ref(), label, after: after.as_ref(), limit };
    let page = list.run(&caller.pool).await?;
    Ok(Json(JobList { jobs: page.jobs, next_cursor: page.next.map(|id| cursor::encode(List::Jobs, id)) }))
}

fn label(text: &str) -> Result<(&str, &str), ApiError> {
    text.split_once('=').ok_or_else(|| ApiError::BadRequest("label must be `name=value`".to_owned()))
}
