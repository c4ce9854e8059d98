//! Agents: the calls of their own, and how clients see and steer them.

pub(super) mod claim;
pub(super) mod drain;
pub(super) mod get;
pub(super) mod heartbeat;
pub(super) mod join;
pub(super) mod list;
pub(super) mod register;
pub(super) mod remove;
pub(super) mod report;
pub(super) mod resume;

use titan_api::{agents::Agent, ids::AgentId};
use titan_lua::{
    Pool,
    agents::{DrainOutcome, GetAgent, SetDraining},
};

use crate::error::ApiError;

fn no_such_agent(id: &AgentId) -> ApiError {
    ApiError::NotFound(format!("there is no agent {id} in this pool"))
}

pub(crate) async fn get_agent(pool: &Pool, id: &AgentId) -> Result<Agent, ApiError> {
    GetAgent { agent: id }.run(pool).await?.ok_or_else(|| no_such_agent(id))
}

async fn set_draining(pool: &Pool, id: &AgentId, draining: bool) -> Result<Agent, ApiError> {
    match (SetDraining { agent: id, draining }).run(pool).await? {
        DrainOutcome::Done => get_agent(pool, id).await,
        DrainOutcome::NotFound => Err(no_such_agent(id)),
    }
}
