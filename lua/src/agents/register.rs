//! `agents/register`: a run of an agent takes its place in the registry.

use titan_api::{agents::Facts, ids::AgentId, work::HeldLease};

use crate::{Pool, StoreError};

/// Registers a run of an agent.
#[derive(Debug, Clone, Copy)]
pub struct RegisterAgent<'a> {
    /// The agent.
    pub agent: &'a AgentId,
    /// Its public key, base64url, out of its credential.
    pub public_key: &'a str,
    /// The random name of this run; the same name again changes nothing.
    pub instance_id: &'a str,
    /// What it is and has; already checked against the bounds of `titan_api::limits`.
    pub facts: &'a Facts,
    /// Attempts of an earlier run that this one has taken over.
    pub running: &'a [HeldLease],
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterOutcome {
    /// It is registered.
    Registered {
        /// The incarnation; goes into the agent's token and comes back with every call.
        epoch: i64,
        /// Of `running`, those that are no longer current.
        stop: Vec<HeldLease>,
    },
    /// An operator removed it.
    Removed,
    /// Another key has the id.
    Taken,
}

impl RegisterAgent<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<RegisterOutcome, StoreError> {
        let _ = pool;
        todo!()
    }
}
