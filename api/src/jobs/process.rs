//! A program, and what a job needs of the agent that runs it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::secret::Secret;

/// A program to run: an argument vector, never a shell line.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessSpec {
    /// The program and its arguments. Every key of the pool that reads jobs sees them, and so does every account of the
    /// box that runs them: secrets belong into `secret_env`.
    pub command: Vec<String>,
    /// Variables added to the job's environment. Their values are shown to the key that submitted the job and to the
    /// administrator alone; others get `***`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// More such variables, whose values are shown to nobody again: replies have `***` in their place.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_env: BTreeMap<String, Secret>,
    /// Where it runs; the attempt's own empty folder by default.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// Text for its standard input, which is otherwise empty. It is shown to those alone who see the values of `env`.
    #[serde(default)]
    pub stdin: Option<String>,
}

impl ProcessSpec {
    /// Whether there is no program at all, as in a job of another kind.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        *self == Self::default()
    }
}

/// What a job needs of an agent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Requirements {
    /// How many GPUs.
    pub gpus: u32,
    /// Megabytes of memory on each of those GPUs.
    pub vram_mb: u64,
    /// Whether it has those GPUs to itself: it gets only GPUs that no other job is on, and nothing else is placed on them.
    pub exclusive: bool,
    /// Megabytes of main memory.
    pub ram_mb: u64,
    /// CPUs, in fractions if need be.
    pub cpus: f64,
    /// Labels that the agent must carry, with these values.
    pub agent_labels: BTreeMap<String, String>,
}
