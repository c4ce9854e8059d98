//! Ids that the coordinator makes.

use std::cell::RefCell;

use titan_api::ids::JobId;
use uuid::{Builder, Uuid};

use crate::{auth::secrets::random, error::ApiError, jitter};

/// Random bytes in a job's id.
const RANDOM_BYTES: usize = 10;
/// Jobs for whose ids the system is asked for randomness at once: that takes it longer than all the rest of an id.
const AT_ONCE: usize = 64;

thread_local! {
    /// Random bytes that no id has yet.
    static RANDOM: RefCell<Vec<[u8; RANDOM_BYTES]>> = const { RefCell::new(Vec::new()) };
}

/// A job's id: a UUID of version 7 on server time, so that ids sort by age whichever copy made them.
pub(crate) fn new_job_id(now_ms: i64) -> Result<JobId, ApiError> {
    let id = Builder::from_unix_timestamp_millis(u64::try_from(now_ms).unwrap_or(0), &random_bytes()?);
    JobId::new(id.into_uuid().to_string()).map_err(|e| ApiError::Internal(e.to_string()))
}

fn random_bytes() -> Result<[u8; RANDOM_BYTES], ApiError> {
    RANDOM.with_borrow_mut(|left| {
        if let Some(bytes) = left.pop() {
            return Ok(bytes);
        }
        let more = random::<{ RANDOM_BYTES * AT_ONCE }>()?;
        left.extend(more.as_chunks().0);
        left.pop().ok_or_else(|| ApiError::Internal("no random numbers".to_owned()))
    })
}

/// The id of a request, by which its lines in logs are found: no secret, and no other request's.
pub(crate) fn request_id() -> String {
    format!("{:032x}", u128::from(jitter::number()) << 64 | u128::from(jitter::number()))
}

/// A random name that nobody can guess, for a token or the use of one.
pub(crate) fn random_id() -> String {
    Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_uuids_of_version_7_that_sort_by_their_time_and_none_comes_twice() {
        let ids: BTreeSet<_> = (0..3 * AT_ONCE).map(|_| new_job_id(1_000).unwrap()).collect();
        assert_eq!(ids.len(), 3 * AT_ONCE);
        let later = new_job_id(1_001).unwrap();
        assert!(ids.iter().all(|id| *id < later));
        let id: Uuid = later.as_str().parse().unwrap();
        assert_eq!((id.get_version_num(), id.get_timestamp().unwrap().to_unix()), (7, (1, 1_000_000)));
    }
}
