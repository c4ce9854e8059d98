//! What a box has left.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ids::JobId, jobs::JobKind};

/// What a box has left, by its own measurement.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Measures {
    /// Each GPU.
    #[serde(default)]
    pub gpus: Vec<GpuMeasure>,
    /// Free main memory, megabytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ram_free_mb: Option<u64>,
    /// Busy part of all CPUs, 0 to 1. Shown, not scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_load: Option<f64>,
    /// Smoothed round-trip time of the agent's own calls, milliseconds, without the time spent waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// Jobs whose memory use this measurement includes.
    #[serde(default)]
    pub seen: Vec<JobId>,
    /// What keeps the agent from asking for work; at most 8, none where all is well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hindered_by: Vec<Hindrance>,
}

/// Something on a box that keeps its agent from asking for work of a kind, or from all of it that the box is there for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hindrance {
    /// What kind of work it keeps away.
    pub kind: JobKind,
    /// What it is, in words for people: at most 256 bytes.
    pub why: String,
}

/// What one GPU has left.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct GpuMeasure {
    /// Its UUID.
    pub uuid: String,
    /// Free memory, megabytes; 0 while the GPU does not answer, so that nothing is placed on it.
    pub free_mb: u64,
    /// Of the memory in use, what the agent's own attempts use, megabytes; absent where that can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by_attempts_mb: Option<u64>,
    /// Busy part of its time, 0 to 1. Shown, not scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilization: Option<f64>,
    /// Its temperature, degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<u32>,
}
