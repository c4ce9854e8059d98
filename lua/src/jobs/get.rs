//! `jobs/get`: one job.

use titan_api::{ids::JobId, jobs::Job};

use crate::{Pool, StoreError};

/// Reads one job.
#[derive(Debug, Clone, Copy)]
pub struct GetJob<'a> {
    /// The job.
    pub job: &'a JobId,
}

impl GetJob<'_> {
    /// Runs the script; none if there is no such job.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<Option<Job>, StoreError> {
        let _ = pool;
        todo!()
    }
}
