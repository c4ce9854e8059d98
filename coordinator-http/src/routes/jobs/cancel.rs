//! `POST /api/v1/jobs/{id}/cancel`: ends a job. Repeating it is harmless.

use titan_api::{
    ids::JobId,
    jobs::{CancelJob, CancelledJob},
};
use titan_lua::jobs::{self, CancelOutcome};

use super::no_such_job;
use crate::{
    auth::callers::{JobsWrite, KeyCaller},
    error::ApiError,
    extract::{ApiPath, OptionalJson},
    reply::Json,
};

/// Cancels a job; repeating it is harmless.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{id}/cancel",
    operation_id = "cancel_job",
    tag = "clients",
    params(("id" = String, Path, description = "The job's id")),
    request_body(content = Option<CancelJob>, description = "May be left out"),
    security(("api_key" = ["jobs:write"]), ("admin" = [])),
    responses((status = 200, body = CancelledJob))
)]
pub(crate) async fn handler(
    caller: KeyCaller<JobsWrite>,
    ApiPath(id): ApiPath<JobId>,
    _: OptionalJson<CancelJob>,
) -> Result<Json<CancelledJob>, ApiError> {
    match (jobs::CancelJob { job: &id }).run(&caller.pool).await? {
        CancelOutcome::Done { state, cancelling } => Ok(Json(CancelledJob { id, state, cancelling })),
        CancelOutcome::NotFound => Err(no_such_job(&id)),
    }
}
