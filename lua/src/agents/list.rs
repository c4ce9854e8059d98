//! `agents/list`: a page of the registry, by id.

use titan_api::{agents::Agent, ids::AgentId};

use crate::{Pool, StoreError};

/// Reads a page of agents.
#[derive(Debug, Clone, Copy)]
pub struct ListAgents<'a> {
    /// The last agent of the page before.
    pub after: Option<&'a AgentId>,
    /// How many at most, 1 to 500.
    pub limit: u32,
}

impl ListAgents<'_> {
    /// Runs the script. Fewer agents than `limit` means that none follow.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<Vec<Agent>, StoreError> {
        let _ = pool;
        todo!()
    }
}
