//! A claim by itself: jobs that wait for an agent, each under a lease. The script is `agents/work`, see [`super::work`].

use titan_api::{
    agents::Measures,
    ids::{AgentId, JobId},
    work::{Claim, Lease},
};

use super::{
    TurnedAway, given,
    work::{Call, NextClaim},
};
use crate::{Pool, StoreError};

/// One claim.
///
/// A caller that parks runs it again whenever the agent's [`crate::watch::Topic`] fires; as long as the number got no
/// lease, running it again is a fresh try.
#[derive(Debug, Clone, Copy)]
pub struct ClaimJobs<'a> {
    /// The agent.
    pub agent: &'a AgentId,
    /// Its incarnation, from its token.
    pub epoch: i64,
    /// The claim's number and how many leases it may bring.
    pub claim: Claim,
    /// What the box has left, if it was measured since the last call.
    pub measures: Option<&'a Measures>,
    /// For how long from now the agent can be handed a job at once, milliseconds: the time left that it parks, or
    /// `poll_after_ms` if that is at most a second, else 0.
    pub reachable_ms: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum ClaimOutcome {
    /// The claim was taken in.
    Claimed(Claimed),
    /// It was not.
    TurnedAway(TurnedAway),
}

/// What an agent is given.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Claimed {
    /// The leases of this claim's number.
    pub leases: Vec<Lease>,
    /// Jobs to cancel.
    pub cancel: Vec<JobId>,
    /// Whether somebody reads the output of one of its jobs.
    pub watched: bool,
}

impl ClaimJobs<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<ClaimOutcome, StoreError> {
        let claim = Some(NextClaim { claim: self.claim, reachable_ms: self.reachable_ms });
        let call = Call { agent: self.agent, epoch: self.epoch, claim, measures: self.measures, said: Vec::new() };
        Ok(match call.run(pool).await? {
            Ok(told) => {
                let leases = given::readable(pool, self.agent, self.epoch, told.given).await?;
                ClaimOutcome::Claimed(Claimed { leases, cancel: told.cancel, watched: told.watched })
            }
            Err(why) => ClaimOutcome::TurnedAway(why),
        })
    }
}
