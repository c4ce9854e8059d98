//! What is submitted, alone or in a batch, and the replies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{JobKind, JobState, ProcessSpec, Requirements};
use crate::{
    ids::{AgentId, JobId},
    inference::InferenceSpec,
    scheduler::Explanation,
    time::Timestamp,
};

/// The body of `POST /api/v1/jobs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"kind": "process", "process": {"command": ["sh", "-c", "echo hello"]}}))]
#[serde(deny_unknown_fields)]
pub struct SubmitJob {
    /// What kind of work it is.
    pub kind: JobKind,
    /// The program to run, for a job of kind `process`.
    #[serde(default, skip_serializing_if = "ProcessSpec::is_absent")]
    pub process: ProcessSpec,
    /// The request, for a job of kind `inference`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inference: Option<InferenceSpec>,
    /// What the agent must have, and what the job takes of it.
    #[serde(default)]
    pub requirements: Requirements,
    /// −1000 to 1000; higher goes first.
    #[serde(default)]
    pub priority: i32,
    /// How often it may be tried, 1 to 100. Attempts that an agent never began are not counted.
    #[serde(default = "default_max_attempts")]
    pub max_attempts: u32,
    /// The agent ends an attempt that runs longer, in milliseconds. No limit by default.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// How long to wait before a second attempt, milliseconds, at most an hour; twice as long before each further one. Half
    /// of it is chosen by chance. Only attempts that the job itself ended badly wait.
    #[serde(default = "default_backoff_ms")]
    pub backoff_ms: u64,
    /// What becomes of an attempt whose agent is out of touch.
    #[serde(default)]
    pub on_disconnect: OnDisconnect,
    /// With `on_disconnect: keep`, how long after its lease an attempt may go on unseen, milliseconds.
    #[serde(default)]
    pub disconnect_grace_ms: u64,
    /// The job is not started before.
    #[serde(default)]
    pub not_before: Option<Timestamp>,
    /// Jobs that have to end first, by their ids or, in a batch, by the `ref` of one in the same batch.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// What becomes of the job if one of those does not end well.
    #[serde(default)]
    pub on_dependency_failure: OnDependencyFailure,
    /// The name by which other jobs of the same batch refer to this one.
    #[serde(default, rename = "ref")]
    pub reference: Option<String>,
    /// The submitter's own labels; they decide nothing.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Accept the job even if no registered agent could ever run it.
    #[serde(default)]
    pub allow_unserved: bool,
}

impl Default for SubmitJob {
    fn default() -> Self {
        Self {
            kind: JobKind::default(),
            process: ProcessSpec::default(),
            inference: None,
            requirements: Requirements::default(),
            priority: 0,
            max_attempts: default_max_attempts(),
            timeout_ms: None,
            backoff_ms: default_backoff_ms(),
            on_disconnect: OnDisconnect::default(),
            disconnect_grace_ms: 0,
            not_before: None,
            depends_on: Vec::new(),
            on_dependency_failure: OnDependencyFailure::default(),
            reference: None,
            labels: BTreeMap::new(),
            allow_unserved: false,
        }
    }
}

fn default_max_attempts() -> u32 {
    3
}

fn default_backoff_ms() -> u64 {
    1_000
}

/// What becomes of an attempt whose agent is out of touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDisconnect {
    /// The agent ends it with its lease, and another may start it again soon after.
    #[default]
    Stop,
    /// It goes on until `disconnect_grace_ms` after its lease, and nobody else starts it before.
    Keep,
}

/// What becomes of a job if one that it depends on does not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDependencyFailure {
    /// It is cancelled.
    #[default]
    Cancel,
    /// It runs all the same.
    Run,
}

impl OnDependencyFailure {
    /// The word used in JSON and in Redis.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Run => "run",
        }
    }
}

/// The body of `POST /api/v1/jobs/batch`: all of the jobs are accepted, or none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitBatch {
    /// The jobs, at most 1,000.
    pub jobs: Vec<SubmitJob>,
}

/// The reply to `POST /api/v1/jobs/batch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SubmittedBatch {
    /// The jobs, in the order in which they were sent.
    pub jobs: Vec<SubmittedJob>,
}

/// The reply to `POST /api/v1/jobs`, with `Location` set to the job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SubmittedJob {
    /// The new job's id.
    pub id: JobId,
    /// `scheduled` if an agent was at hand, else `pending`, or `blocked` or `delayed` by its conditions. A repeat with the
    /// same `Idempotency-Key` tells the state that the job is in by then.
    pub state: JobState,
    /// The agent that it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// How the agent was chosen, with `?explain=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}
