//! An agent as clients see it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AgentState, Breaker, Facts, Hindrance};
use crate::{
    ids::{AgentId, JobId},
    inference::ModelSpeed,
    time::Timestamp,
};

/// One agent, as clients see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// What the breaker says.
    pub state: AgentState,
    /// Why it says so.
    #[serde(default, skip_serializing_if = "Breaker::is_untroubled")]
    pub breaker: Breaker,
    /// Whether it takes no new work because somebody asked for that, or because it is shutting down.
    pub draining: bool,
    /// Whether it has said that it stops. Once it holds no attempts it is gone, though its state says so only when it was
    /// not heard for the whole timeout.
    #[serde(default)]
    pub leaving: bool,
    /// Its score for a process job without requirements, with the pool's weights; a degraded agent's is halved.
    pub score: f64,
    /// Attempts that it holds: bound, running, or ending.
    pub live_attempts: u32,
    /// Process jobs that it runs at once.
    pub max_jobs: u32,
    /// When it was last heard.
    pub last_seen_at: Timestamp,
    /// When it registered.
    pub registered_at: Timestamp,
    /// Smoothed round-trip time, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// Free main memory less what is reserved, megabytes.
    pub ram_free_mb: u64,
    /// Each GPU with its effective free memory, megabytes.
    #[serde(default)]
    pub gpus: Vec<AgentGpu>,
    /// The job that it keeps room for, since that was passed over for long: nothing else gets that but what is more urgent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_for: Option<JobId>,
    /// What keeps it from asking for work, as it said last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hindered_by: Vec<Hindrance>,
    /// How its models have served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub speeds: Vec<ModelSpeed>,
    /// What it said when it registered, with the models that it told of last.
    pub facts: Facts,
}

/// One GPU of an agent, as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentGpu {
    /// Its UUID.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Its memory, megabytes.
    pub vram_mb: u64,
    /// What is free of it: measured, less what live attempts are promised and do not use yet. Megabytes.
    pub vram_free_mb: u64,
}

/// One page of the list of agents, by id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentList {
    /// The agents of this page.
    pub agents: Vec<Agent>,
    /// Where the next page begins; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
