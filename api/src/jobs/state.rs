//! Where a job is in its life, and why an attempt ended.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Jobs that it depends on have not ended.
    Blocked,
    /// Its time has not come: it was submitted for later, or waits before its next attempt.
    Delayed,
    /// No agent can take it yet.
    Pending,
    /// Bound to an agent that has not claimed it yet.
    Scheduled,
    /// Claimed by an agent under a lease.
    Running,
    /// Ended well.
    Completed,
    /// Ended badly, attempts used up.
    Failed,
    /// Ended because somebody asked for it.
    Cancelled,
}

impl JobState {
    /// All states, in the order of a job's life.
    pub const ALL: [Self; 8] = [
        Self::Blocked,
        Self::Delayed,
        Self::Pending,
        Self::Scheduled,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The word used in JSON, in Redis and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Delayed => "delayed",
            Self::Pending => "pending",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }

    /// Whether nothing can happen to the job any more.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why an attempt ended other than well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The program exited with a code other than 0.
    ExitCode,
    /// A signal ended the program.
    Signal,
    /// The attempt ran longer than the job's `timeout_ms`.
    Timeout,
    /// The program needed more memory than the job may have.
    MemoryLimit,
    /// The program could not be started.
    StartFailed,
    /// The agent did not renew its lease in time.
    LeaseLost,
    /// The agent restarted and the attempt's processes are gone.
    AgentRestarted,
    /// The agent was removed from the pool.
    AgentRemoved,
    /// The policy of the agent's box does not allow the job.
    Refused,
    /// The agent handed the job back before it began, or when it left.
    Released,
    /// Somebody cancelled the job.
    Cancelled,
    /// A job that it depends on did not end well.
    DependencyFailed,
    /// The backend answered with an error of its own (5xx), broke off, or could not be reached. It counts against the
    /// model on that agent, not against the agent.
    BackendFailed,
    /// The backend refused the request itself (4xx); its status is the exit code, its answer the output. Another agent
    /// would say the same, so this ends the job.
    BackendRejected,
    /// The backend was silent for longer than the request allows.
    Stalled,
    /// No agent began it before its deadline.
    DeadlinePassed,
    /// Nobody brought its ticket to the agent while a place was kept for it there.
    TicketUnused,
    /// The model was not loaded in the time that the request allows, which says nothing about anybody.
    LoadTimeout,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 18] = [
        Self::ExitCode,
        Self::Signal,
        Self::Timeout,
        Self::MemoryLimit,
        Self::StartFailed,
        Self::LeaseLost,
        Self::AgentRestarted,
        Self::AgentRemoved,
        Self::Refused,
        Self::Released,
        Self::Cancelled,
        Self::DependencyFailed,
        Self::BackendFailed,
        Self::BackendRejected,
        Self::Stalled,
        Self::DeadlinePassed,
        Self::TicketUnused,
        Self::LoadTimeout,
    ];

    /// The word used in JSON, in Redis and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExitCode => "exit_code",
            Self::Signal => "signal",
            Self::Timeout => "timeout",
            Self::MemoryLimit => "memory_limit",
            Self::StartFailed => "start_failed",
            Self::LeaseLost => "lease_lost",
            Self::AgentRestarted => "agent_restarted",
            Self::AgentRemoved => "agent_removed",
            Self::Refused => "refused",
            Self::Released => "released",
            Self::Cancelled => "cancelled",
            Self::DependencyFailed => "dependency_failed",
            Self::BackendFailed => "backend_failed",
            Self::BackendRejected => "backend_rejected",
            Self::Stalled => "stalled",
            Self::DeadlinePassed => "deadline_passed",
            Self::TicketUnused => "ticket_unused",
            Self::LoadTimeout => "load_timeout",
        }
    }

    /// The reason of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == word)
    }
}
