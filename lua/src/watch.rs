//! Waiting for a change without holding a connection: one subscription connection serves all waiters of a process.

use titan_api::ids::{AgentId, JobId};

use crate::{Pool, StoreError};

/// What can be waited for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A job was bound to the agent, or one of its jobs was cancelled.
    Agent(AgentId),
    /// The job changed its state or wrote output.
    Job(JobId),
}

/// A registered waiter. Register first, then check, then wait: so no change is missed.
#[derive(Debug)]
pub struct Watch {}

impl Watch {
    /// Waits for the next change since the last call, or since the registration. It also returns, spread over a second,
    /// after the subscription connection was lost and is back, since changes may have been missed.
    pub async fn changed(&mut self) {
        todo!()
    }
}

impl Pool {
    /// Registers a waiter.
    ///
    /// # Errors
    /// [`StoreError`] if the subscription could not be made.
    pub async fn watch(&self, topic: Topic) -> Result<Watch, StoreError> {
        let _ = topic;
        todo!()
    }
}
