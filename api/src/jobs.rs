//! Jobs as clients submit and see them.

mod job;
mod process;
mod state;
mod submission;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::{
    job::{AttemptFailure, HinderedAgent, Job, JobList, JobSummary, Waiting},
    process::{ProcessSpec, Requirements},
    state::{JobState, Reason},
    submission::{OnDependencyFailure, OnDisconnect, SubmitBatch, SubmitJob, SubmittedBatch, SubmittedJob},
};
use crate::ids::JobId;

/// What kind of work a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// A program with arguments, run on the agent's box without a shell.
    #[default]
    Process,
    /// A request to a model, in the words of OpenAI's interface, answered by a backend on the agent's box.
    Inference,
}

impl JobKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Process, Self::Inference];

    /// The word used in JSON and in Redis.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Inference => "inference",
        }
    }

    /// The kind of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// The body of `POST /api/v1/jobs/{id}/cancel`; an empty object will do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelJob {}

/// The reply to a cancellation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelledJob {
    /// The job's id.
    pub id: JobId,
    /// The state that it is in now; one that had ended before keeps its end.
    pub state: JobState,
    /// Whether its processes still have to be ended by the agent.
    pub cancelling: bool,
}

/// The body of `POST /api/v1/jobs/{id}/retry`; an empty object will do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryJob {}

/// The reply to a retry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetriedJob {
    /// The job's id.
    pub id: JobId,
    /// The state that it is in now; one that had not ended goes on as it was.
    pub state: JobState,
}
