//! What the breaker says of an agent, and why.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ids::JobId, time::Timestamp};

/// What the breaker says of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Full traffic.
    Healthy,
    /// Its score is halved.
    Degraded,
    /// One trial at a time.
    HalfOpen,
    /// No new work.
    Offline,
}

impl AgentState {
    /// The word used in JSON, in Redis and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::HalfOpen => "half_open",
            Self::Offline => "offline",
        }
    }

    /// The state of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Healthy, Self::Degraded, Self::HalfOpen, Self::Offline].into_iter().find(|s| s.as_str() == word)
    }
}

impl std::fmt::Display for AgentState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why an agent is in its state. Of an agent that nothing was ever wrong with, all of it is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Breaker {
    /// How often the state has changed; outcomes of attempts that began before the last change move nothing.
    pub epoch: u64,
    /// Why it is not healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Trouble>,
    /// Failures in a row that say something about the agent.
    #[serde(skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// For an agent that failures took offline: when it may be tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cool_down_until: Option<Timestamp>,
    /// For a half-open agent: the job that tries it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial_job_id: Option<JobId>,
    /// It is in service, though its failures would take it offline, because half of the pool is offline for that
    /// already.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub guarded: bool,
}

impl Breaker {
    pub(super) fn is_untroubled(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// What is wrong with an agent that is not healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Its heartbeats are late.
    Lateness,
    /// It was not heard for the whole timeout, or is back from that.
    Silence,
    /// It fails what it is given.
    Failures,
}

impl Trouble {
    /// The word used in JSON and in Redis.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lateness => "lateness",
            Self::Silence => "silence",
            Self::Failures => "failures",
        }
    }

    /// The cause of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Lateness, Self::Silence, Self::Failures].into_iter().find(|s| s.as_str() == word)
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
