//! `agents/report`: what happened to attempts: starts, output, ends.

use titan_api::{
    ids::{AgentId, JobId},
    work::{Answer, Report},
};

use super::TurnedAway;
use crate::{Pool, StoreError};

/// Reports of one agent, done in order.
#[derive(Debug, Clone, Copy)]
pub struct ReportBatch<'a> {
    /// The agent.
    pub agent: &'a AgentId,
    /// Its incarnation, from its token.
    pub epoch: i64,
    /// The reports, at most `titan_api::limits::REPORTS`.
    pub reports: &'a [Report],
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportOutcome {
    /// The batch was looked at.
    Reported(Reported),
    /// It was not.
    TurnedAway(TurnedAway),
}

/// What an agent is told in return.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reported {
    /// One answer for each report, in order. A report that is malformed in itself is `Invalid` without asking Redis.
    pub answers: Vec<Answer>,
    /// Jobs to cancel.
    pub cancel: Vec<JobId>,
    /// Whether somebody reads the output of one of its jobs.
    pub watched: bool,
}

impl ReportBatch<'_> {
    /// Runs the script, in as many chunks as its bounds need.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation. Chunks that ran before the error stay; a repeat is harmless.
    pub async fn run(&self, pool: &Pool) -> Result<ReportOutcome, StoreError> {
        let _ = pool;
        todo!()
    }
}
