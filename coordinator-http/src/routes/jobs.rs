//! Jobs, as clients submit, see, cancel and retry them.

pub(super) mod batch;
pub(super) mod cancel;
pub(super) mod get;
pub(super) mod list;
pub(super) mod retry;
pub(super) mod submit;

use titan_api::{
    credentials::Scope,
    ids::JobId,
    jobs::{JobKind, SubmitJob},
};

use crate::error::ApiError;

pub(crate) fn no_such_job(id: &JobId) -> ApiError {
    ApiError::NotFound(format!("there is no job {id} in this pool; ended jobs are forgotten after a while"))
}

/// Requests to models need the scope for that, too.
fn check_kinds(may_infer: bool, jobs: &[SubmitJob]) -> Result<(), ApiError> {
    if may_infer || jobs.iter().all(|job| job.kind == JobKind::Process) {
        return Ok(());
    }
    Err(ApiError::Forbidden(format!("the API key lacks the scope {}", Scope::Inference.as_str())))
}
