//! A job as it is shown: whole, why it waits, how it failed, and as a line of a list.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{JobKind, JobState, OnDependencyFailure, OnDisconnect, ProcessSpec, Reason, Requirements};
use crate::{
    ids::{AgentId, JobId},
    inference::{InferenceSpec, Usage},
    scheduler::RuledOut,
    time::Timestamp,
};

/// One job, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What kind of work it is.
    pub kind: JobKind,
    /// Where it is in its life.
    pub state: JobState,
    /// The agent that it is bound to, or that ran the latest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// The number of the latest attempt; 0 before the first.
    pub attempt: u32,
    /// How often it may be tried.
    pub max_attempts: u32,
    /// Higher goes first.
    pub priority: i32,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When the latest attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The exit code of the latest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the latest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why the latest attempt ended other than well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What the agent said about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether a cancellation was asked for and the attempt's processes are not known to be gone yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancelling: bool,
    /// Bytes that the latest attempt has written, both streams together.
    pub output_bytes: u64,
    /// The program. Only who submitted it, and the administrator, see the values of `env` and `stdin`; others see `***`,
    /// as everybody does for the values of `secret_env`.
    #[serde(default, skip_serializing_if = "ProcessSpec::is_absent")]
    pub process: ProcessSpec,
    /// What a model was asked. Its `body` is empty for all but who submitted it, and for everybody soon after the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inference: Option<InferenceSpec>,
    /// What the answer of a model took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The receipt that the client got of an answer to its ticket: a JWT, signed by the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// What it needs.
    pub requirements: Requirements,
    /// The agent ends an attempt that runs longer, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The wait before a second attempt, milliseconds.
    #[serde(default)]
    pub backoff_ms: u64,
    /// What becomes of an attempt whose agent is out of touch.
    #[serde(default)]
    pub on_disconnect: OnDisconnect,
    /// How long after its lease such an attempt may go on, milliseconds.
    #[serde(default)]
    pub disconnect_grace_ms: u64,
    /// When it is started at the earliest, while it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Jobs that have to end first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// How many of them have not ended yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<u32>,
    /// What becomes of it if one of them does not end well.
    #[serde(default)]
    pub on_dependency_failure: OnDependencyFailure,
    /// What the program wrote into the file that `TITAN_RESULT` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
    /// The submitter's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// GPUs that the latest attempt was given, by UUID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Who submitted it: the id of an API key, or `admin`.
    #[serde(default)]
    pub submitted_by: String,
    /// Why it is pending, while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// Attempts that ended other than well, oldest first, the latest 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<AttemptFailure>,
}

/// Why a job waits for an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// Its place in the line of jobs of its class (kind, number of GPUs, agent labels), from 1; a smaller job behind it may
    /// fit sooner.
    pub place: u64,
    /// How many jobs are in that line.
    pub line: u64,
    /// Since when it waits.
    pub since: Timestamp,
    /// The agent that keeps room for it, since it was passed over. Shown to keys with `agents:read` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<AgentId>,
    /// When it may start, as far as the latest ends of such jobs tell; absent where too few have ended, or where no agent
    /// could run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_start_at: Option<Timestamp>,
    /// What is in the way: how many agents each reason rules out now, the most first.
    pub ruled_out: Vec<RuledOut>,
    /// How many agents were looked at for `ruled_out`, at most 200.
    pub examined: u64,
    /// What hinders agents that could run it, in their own words; of at most 8 agents. Shown to keys with `agents:read` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hindered: Vec<HinderedAgent>,
}

/// An agent that asks for no such work, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HinderedAgent {
    /// The agent.
    pub agent_id: AgentId,
    /// What hinders it.
    pub hindered_by: Vec<String>,
}

/// One attempt that ended other than well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptFailure {
    /// The number of the attempt; 0 if the job was bound but never claimed.
    pub attempt: u32,
    /// Where it ran.
    pub agent_id: AgentId,
    /// When it ended.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
    /// Its exit code, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// What the agent said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// One line of the list of jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobSummary {
    /// Its id.
    pub id: JobId,
    /// What kind of work it is.
    pub kind: JobKind,
    /// Where it is in its life.
    pub state: JobState,
    /// The agent that it is bound to, or that ran the latest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// The number of the latest attempt.
    pub attempt: u32,
    /// Higher goes first.
    pub priority: i32,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When the latest attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The exit code of the latest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why the latest attempt ended other than well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The program and its arguments, cut to 60 bytes.
    pub command: String,
    /// The submitter's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// One page of the list of jobs, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobList {
    /// The jobs of this page. A filter may leave a page short, or empty, while more follow.
    pub jobs: Vec<JobSummary>,
    /// Where the next page begins; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
