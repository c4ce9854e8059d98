//! Jobs, as clients submit, see, cancel and retry them.

pub(super) mod batch;
pub(super) mod cancel;
pub(super) mod get;
pub(super) mod list;
pub(super) mod output;
pub(super) mod retry;
pub(super) mod stream;
pub(super) mod submit;

use std::time::Duration;

use titan_api::{
    credentials::Scope,
    ids::JobId,
    jobs::{JobKind, SubmitJob},
    limits,
};
use titan_lua::output::About;

use crate::{error::ApiError, state::AppState};

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

/// What a model answers is shown to who asked, and to nobody else.
fn check_reader(owner: &str, about: &About) -> Result<(), ApiError> {
    if about.kind == JobKind::Process || about.owner == owner {
        return Ok(());
    }
    Err(ApiError::Forbidden("what a model answers is shown to the key that asked only".to_owned()))
}

/// How long a read may wait: what was asked for, or less where a held request costs money.
fn read_wait(state: &AppState, asked_ms: u64) -> Result<Duration, ApiError> {
    if asked_ms > limits::READ_WAIT_MS {
        return Err(ApiError::BadRequest(format!("wait_ms must be from 0 to {}", limits::READ_WAIT_MS)));
    }
    Ok(Duration::from_millis(asked_ms.min(state.pace.longest_read_wait_ms())))
}
