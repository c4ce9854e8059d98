//! `pool/status`: counts of agents and jobs by state.

use titan_api::status::{AgentCounts, JobCounts};

use crate::{Pool, StoreError};

/// Counts agents and jobs.
#[derive(Debug, Clone, Copy)]
pub struct ReadStatus;

impl ReadStatus {
    /// Runs the script: the counts, and the time on the clock of Redis in milliseconds.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<(AgentCounts, JobCounts, i64), StoreError> {
        let _ = pool;
        todo!()
    }
}
