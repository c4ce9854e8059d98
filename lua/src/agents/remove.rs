//! `agents/remove`: an operator removes an agent for good.

use titan_api::ids::AgentId;

use crate::{Pool, StoreError};

/// Removes an agent: its credential is void, bound jobs go elsewhere at once, running ones when their leases end.
#[derive(Debug, Clone, Copy)]
pub struct RemoveAgent<'a> {
    /// The agent.
    pub agent: &'a AgentId,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoveOutcome {
    /// It is removed, now or before.
    Removed,
    /// No agent ever joined under that id.
    NotFound,
}

impl RemoveAgent<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<RemoveOutcome, StoreError> {
        let _ = pool;
        todo!()
    }
}
