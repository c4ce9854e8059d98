//! `jobs/list`: a page of jobs, newest first.

use titan_api::{
    ids::{AgentId, JobId},
    jobs::{JobState, JobSummary},
};

use crate::{Pool, StoreError};

/// Reads a page of jobs.
#[derive(Debug, Clone, Copy)]
pub struct ListJobs<'a> {
    /// Only jobs in this state.
    pub state: Option<JobState>,
    /// Only jobs whose latest attempt is this agent's.
    pub agent: Option<&'a AgentId>,
    /// Where the page before ended.
    pub after: Option<&'a JobId>,
    /// How many at most, 1 to 500.
    pub limit: u32,
}

/// A page of jobs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobSummary>,
    /// The last job that was looked at, if more follow. A page looks at 2,000 jobs at most.
    pub next: Option<JobId>,
}

impl ListJobs<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<JobPage, StoreError> {
        let _ = pool;
        todo!()
    }
}
