//! Liveness and readiness.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The reply to `GET /api/v1/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Always `healthy`: an unhealthy coordinator does not answer.
    pub status: String,
    /// `titancompute-coordinator`.
    pub service: String,
    /// Its version.
    pub version: String,
}

/// The reply to `GET /api/v1/ready`, with status 200 if ready and 503 if not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether no check failed.
    pub ready: bool,
    /// Each check.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// `reachable`, `writable`, `eviction_policy`, `persistence` or `scripts`.
    pub name: String,
    /// What came of it.
    pub verdict: Verdict,
    /// What was found, and what to do about it.
    pub detail: String,
    /// How long it took, milliseconds.
    pub latency_ms: f64,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is as it should be.
    Ok,
    /// It works, but data could be lost.
    Warning,
    /// It does not work.
    Failed,
    /// It could not be found out; the service hides it.
    Unknown,
}
