//! Ways in which a call fails, and what each means for the agent.

use std::time::Duration;

use titan_api::problem::{Problem, ProblemType};

/// A call that gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The coordinator refused it and said why.
    #[error("{problem}")]
    Refused {
        problem: Box<Problem>,
        /// When to come back, if it said so.
        retry_after: Option<Duration>,
    },
    /// Nobody answered, or something that is no coordinator did.
    #[error("{cause}")]
    NoAnswer { cause: String },
}

impl CallError {
    /// The type of the problem, if a coordinator of this version named it.
    pub(crate) fn problem_type(&self) -> Option<ProblemType> {
        match self {
            Self::Refused { problem, .. } => problem.problem_type(),
            Self::NoAnswer { .. } => None,
        }
    }

    /// Whether the same call may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Refused { problem, .. } => {
                matches!(problem.status, 408 | 429)
                    || problem.status >= 500
                    || problem.problem_type() == Some(ProblemType::ClockSkew)
            }
            Self::NoAnswer { .. } => true,
        }
    }

    /// Whether another coordinator may be in a better position to answer.
    pub(crate) fn is_of_this_coordinator(&self) -> bool {
        match self {
            Self::Refused { problem, .. } => problem.status >= 500,
            Self::NoAnswer { .. } => true,
        }
    }

    /// Whether the coordinator does not know the agent, or its token, any more.
    pub(crate) fn wants_registration(&self) -> bool {
        matches!(self.problem_type(), Some(ProblemType::UnknownAgent | ProblemType::Unauthorized))
    }

    /// How long the coordinator asked to wait before the next call.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::NoAnswer { .. } => None,
        }
    }

    /// What the failure means if the agent must stop because of it.
    pub(crate) fn fatal(&self) -> Option<Fatal> {
        match self.problem_type()? {
            ProblemType::Superseded => Some(Fatal::Superseded),
            ProblemType::AgentRemoved => Some(Fatal::Removed),
            _ => None,
        }
    }
}

/// What a loop does about a call of its that failed.
#[derive(Debug)]
pub(crate) enum Setback {
    /// Make it again after a wait; at least this long, if the coordinator asked for it.
    Later(Option<Duration>),
    /// The same call will always be refused.
    Refused,
    /// The agent is stopping; make no more calls.
    Stopping,
}

/// Why an agent stops by itself and is not to be started again as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fatal {
    #[error(
        "another agent has registered with this one's identity, so this one stops. If it was not you who started it \
         elsewhere, the state folder was copied: remove the folder `identity` in the copy and join there as a new agent"
    )]
    Superseded,
    #[error(
        "an operator removed this agent from the pool. To have the box back, remove the folder `identity` in the \
         agent's state folder and start it with a new join token"
    )]
    Removed,
}
