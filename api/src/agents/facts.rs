//! What a box is and has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a box is and has. Everything that the agent reports later is clamped to this.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Facts {
    /// The box's name.
    pub hostname: String,
    /// Operating system, for example `linux`, and its version.
    pub os: String,
    /// Processor architecture, for example `x86_64`.
    pub arch: String,
    /// The processor's name.
    #[serde(default)]
    pub cpu_model: String,
    /// Logical CPUs.
    pub cpus: u32,
    /// Main memory, megabytes.
    pub ram_mb: u64,
    /// GPUs and other accelerators.
    #[serde(default)]
    pub gpus: Vec<Gpu>,
    /// Models that its backends serve.
    #[serde(default)]
    pub models: Vec<Model>,
    /// Whether it takes process jobs.
    #[serde(default)]
    pub accepts_processes: bool,
    /// How many process jobs it runs at once, 1 to 64.
    pub max_jobs: u32,
    /// Where clients can reach it directly, if they can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Labels that jobs may ask for.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Changes whenever the box boots.
    #[serde(default)]
    pub boot_id: String,
    /// The agent's version.
    pub version: String,
    /// Versions of what jobs depend on, by name, for example `nvidia_driver`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<String, String>,
    /// What the box can hold a job to: `ram`, `cpus`, `processes`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enforces: Vec<String>,
    /// What an hour of the box costs, in any currency that is the same for the whole pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_per_hour: Option<f64>,
    /// Whether the box is there for a while only: the agent is forgotten an hour after it was heard last, not after
    /// `AGENT_RETENTION`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ephemeral: bool,
}

/// One GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gpu {
    /// Its UUID; unique on the box.
    pub uuid: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its memory, megabytes.
    pub vram_mb: u64,
}

/// One model that a backend serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Model {
    /// The public name.
    pub name: String,
    /// Megabytes of GPU memory that it takes when it is loaded; 0 if it is loaded already.
    #[serde(default)]
    pub vram_mb: u64,
    /// How many requests it serves at once, 1 to 256.
    pub parallel: u32,
    /// Whether it is in memory now, so that a request need not wait for that.
    #[serde(default)]
    pub loaded: bool,
    /// What serves it: `ollama`, `vllm`, `llamacpp` or `openai`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub backend: String,
    /// Megabytes of its file, where the backend tells that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_mb: Option<u64>,
}
