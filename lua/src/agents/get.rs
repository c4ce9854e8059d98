//! `agents/get`: one agent.

use titan_api::{agents::Agent, ids::AgentId};

use crate::{Pool, StoreError};

/// Reads one agent.
#[derive(Debug, Clone, Copy)]
pub struct GetAgent<'a> {
    /// The agent.
    pub agent: &'a AgentId,
}

impl GetAgent<'_> {
    /// Runs the script; none if there is no such agent.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<Option<Agent>, StoreError> {
        let _ = pool;
        todo!()
    }
}
