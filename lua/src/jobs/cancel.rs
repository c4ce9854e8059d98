//! `jobs/cancel`: ends a job, or tells its agent to end it.

use titan_api::{ids::JobId, jobs::JobState};

use crate::{Pool, StoreError};

/// Cancels a job. Repeating it is harmless; a job that has ended stays as it is.
#[derive(Debug, Clone, Copy)]
pub struct CancelJob<'a> {
    /// The job.
    pub job: &'a JobId,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// There is such a job.
    Done {
        /// The state that it is in now: `cancelled`, or how it had ended before.
        state: JobState,
        /// Whether the agent still has to end its processes.
        cancelling: bool,
    },
    /// There is none.
    NotFound,
}

impl CancelJob<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<CancelOutcome, StoreError> {
        let _ = pool;
        todo!()
    }
}
