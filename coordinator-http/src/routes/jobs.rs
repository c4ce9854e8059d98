//! Jobs, as clients submit, see, cancel and retry them.

pub(super) mod batch;
pub(super) mod cancel;
pub(super) mod get;
pub(super) mod list;
pub(super) mod output;
pub(super) mod retry;
pub(super) mod submit;

use std::time::Duration;

use titan_api::{ids::JobId, limits};

use crate::{error::ApiError, state::AppState};

pub(crate) fn no_such_job(id: &JobId) -> ApiError {
    ApiError::NotFound(format!("there is no job {id} in this pool; ended jobs are forgotten after a while"))
}

/// How long a read may wait: what was asked for, or less where a held request costs money.
fn read_wait(state: &AppState, asked_ms: u64) -> Result<Duration, ApiError> {
    if asked_ms > limits::READ_WAIT_MS {
        return Err(ApiError::BadRequest(format!("wait_ms must be from 0 to {}", limits::READ_WAIT_MS)));
    }
    Ok(Duration::from_millis(asked_ms.min(state.pace.longest_read_wait_ms())))
}
