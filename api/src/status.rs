//! The pool at a glance, and the settling of what is overdue.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{agents::Agent, ids::PoolName, time::Timestamp};

/// The reply to `GET /api/v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The pool.
    pub pool: PoolName,
    /// The time on the clock of Redis.
    pub at: Timestamp,
    /// Agents by state.
    pub agent_counts: AgentCounts,
    /// Jobs by state.
    pub job_counts: JobCounts,
    /// The agents, with `?include_agents=true`: the first 500 by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<Vec<Agent>>,
}

/// How many agents are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct AgentCounts {
    /// All of them.
    pub total: u64,
    /// Full traffic.
    pub healthy: u64,
    /// Half their score.
    pub degraded: u64,
    /// On trial.
    pub half_open: u64,
    /// No new work.
    pub offline: u64,
    /// Of all of them, those that drain.
    pub draining: u64,
}

/// How many jobs are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct JobCounts {
    /// Jobs that they depend on have not ended.
    #[serde(default)]
    pub blocked: u64,
    /// Their time has not come.
    #[serde(default)]
    pub delayed: u64,
    /// No agent can take them yet.
    pub pending: u64,
    /// Bound to an agent.
    pub scheduled: u64,
    /// Running.
    pub running: u64,
    /// Ended and not yet forgotten.
    pub ended: u64,
}

/// The reply to `POST /api/v1/sweep`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Swept {
    /// How many overdue things were settled.
    pub settled: u64,
    /// Whether more is overdue than one call settles.
    pub more: bool,
    /// When the next thing falls due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
}
