//! `jobs/submit`: accepts a job and places it at once if an agent is at hand.

use titan_api::{
    ids::{AgentId, JobId},
    jobs::SubmitJob,
    scheduler::{Explanation, RuledOut},
};

use crate::{Pool, StoreError};

/// Submits a job. Repeating it with the same id is harmless.
#[derive(Debug, Clone, Copy)]
pub struct Submit<'a> {
    /// The id that the caller made for it.
    pub job: &'a JobId,
    /// The job; already checked against the bounds of `titan_api::limits`.
    pub spec: &'a SubmitJob,
    /// Who submits: the id of the API key, or `admin`.
    pub owner: &'a str,
    /// Whether to explain the choice.
    pub explain: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum SubmitOutcome {
    /// An agent was at hand, and the job is bound to it.
    Scheduled {
        /// The agent.
        agent: AgentId,
        /// Its score for this job when it was chosen, 0 to 1.
        score: f64,
        /// How it was chosen, if that was asked for.
        explanation: Option<Explanation>,
    },
    /// The job waits for an agent.
    Pending {
        /// Why nobody took it, if that was asked for.
        explanation: Option<Explanation>,
    },
    /// No registered agent could ever run it, and nothing was written.
    Unserved {
        /// How many agents each requirement rules out.
        ruled_out: Vec<RuledOut>,
    },
}

impl Submit<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<SubmitOutcome, StoreError> {
        let _ = pool;
        todo!()
    }
}
