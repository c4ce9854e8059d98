//! Ids that the coordinator makes.

use titan_api::ids::JobId;
use uuid::{NoContext, Timestamp, Uuid};

use crate::{error::ApiError, jitter};

/// A job's id: a UUID of version 7 on server time, so that ids sort by age whichever copy made them.
pub(crate) fn new_job_id(now_ms: i64) -> Result<JobId, ApiError> {
    let ms = u64::try_from(now_ms).unwrap_or(0);
    let nanos = u32::try_from(ms % 1_000 * 1_000_000).unwrap_or(0);
    let id = Uuid::new_v7(Timestamp::from_unix(NoContext, ms / 1_000, nanos));
    JobId::new(id.to_string()).map_err(|e| ApiError::Internal(e.to_string()))
}

/// The id of a request, by which its lines in logs are found: no secret, and no other request's.
pub(crate) fn request_id() -> String {
    format!("{:016x}{:016x}", jitter::number(), jitter::number())
}

/// A random name that nobody can guess, for a token or the use of one.
pub(crate) fn random_id() -> String {
    Uuid::new_v4().simple().to_string()
}
