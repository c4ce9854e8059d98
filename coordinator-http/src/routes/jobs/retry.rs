//! `POST /api/v1/jobs/{id}/retry`: tries a job again that failed or was cancelled. Repeating it is harmless.

use titan_api::{
    ids::JobId,
    jobs::{JobKind, RetriedJob, RetryJob},
};
use titan_lua::jobs::{self, GetJob, RetryOutcome};

use super::no_such_job;
use crate::{
    auth::callers::{JobsWrite, KeyCaller},
    error::ApiError,
    extract::{ApiPath, OptionalJson},
    reply::Json,
};

/// Begins a job that failed or was cancelled anew.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{id}/retry",
    operation_id = "retry_job",
    tag = "clients",
    params(("id" = String, Path, description = "The job's id")),
    request_body(content = Option<RetryJob>, description = "May be left out"),
    security(("api_key" = ["jobs:write"]), ("admin" = [])),
    responses((status = 200, body = RetriedJob))
)]
pub(crate) async fn handler(
    caller: KeyCaller<JobsWrite>,
    ApiPath(id): ApiPath<JobId>,
    _: OptionalJson<RetryJob>,
) -> Result<Json<RetriedJob>, ApiError> {
    may_retry(&caller, &id).await?;
    match (jobs::RetryJob { job: &id }).run(&caller.pool).await? {
        RetryOutcome::Done(state) => Ok(Json(RetriedJob { id, state })),
        RetryOutcome::Completed => {
            Err(ApiError::Conflict(format!("job {id} ended well; submit it again to run it again")))
        }
        RetryOutcome::Ending => {
            Err(ApiError::Conflict(format!("the processes of job {id} are not gone yet; try again in a moment")))
        }
        RetryOutcome::Forgotten => Err(ApiError::Conflict(format!(
            "what job {id} asked a model is not kept any more, or its answer went to another client: ask anew"
        ))),
        RetryOutcome::NotFound => Err(no_such_job(&id)),
    }
}

/// Whether the caller may have it tried again. A request to a model is charged to whoever asked, and its answer is theirs.
async fn may_retry(caller: &KeyCaller<JobsWrite>, id: &JobId) -> Result<(), ApiError> {
    let job = GetJob { job: id }.run(&caller.pool).await?.ok_or_else(|| no_such_job(id))?;
    if caller.is_admin || job.kind == JobKind::Process {
        Ok(())
    } else if !caller.may_infer {
        Err(ApiError::Forbidden("a request to a model is tried again by a key with the scope inference".to_owned()))
    } else if job.submitted_by != caller.owner {
        Err(ApiError::Forbidden("a request to a model is tried again by whoever asked it".to_owned()))
    } else {
        Ok(())
    }
}
