//! Jobs, as clients submit, see, cancel and retry them.

pub(super) mod batch;
pub(super) mod cancel;
pub(super) mod get;
pub(super) mod list;
pub(super) mod output;
pub(super) mod retry;
pub(super) mod submit;

use titan_api::ids::JobId;

use crate::error::ApiError;

pub(crate) fn no_such_job(id: &JobId) -> ApiError {
    ApiError::NotFound(format!("there is no job {id} in this pool; ended jobs are forgotten after a while"))
}
