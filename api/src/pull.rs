//! Pulling: an agent gets a model onto its box, by the backend that can.
//!
//! A pull is a job that only one agent can do. So that it takes the way of every request to a model, such an agent serves
//! one more model, whose name is its own id behind [`PULLER`]; lists of models leave it out.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::AgentId;

/// What the name of every such model begins with, and that of no other.
pub const PULLER: &str = "pull@";

/// The model that stands for pulling on that agent.
#[must_use]
pub fn puller(agent: &AgentId) -> String {
    format!("{PULLER}{agent}")
}

/// Whether a model's name stands for pulling.
#[must_use]
pub fn is_puller(name: &str) -> bool {
    name.starts_with(PULLER)
}

/// The body of `POST /api/v1/models/pull`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"model": "llama3.1:8b", "agent_id": "box-1"}))]
#[serde(deny_unknown_fields)]
pub struct PullModel {
    /// The model, as the backend's library calls it.
    pub model: String,
    /// The agent whose box is to have it.
    pub agent_id: AgentId,
}

/// One line of what a pull writes, as JSON: how far it is, at most one a second and the last one always.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PullProgress {
    /// What the backend is doing, in its own words, for example `pulling 6a0746a1ec1a`; `success` at last.
    pub status: String,
    /// Bytes of the part that is being fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// Bytes of it that are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_bytes: Option<u64>,
}
