//! Jobs as clients submit and see them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    ids::{AgentId, JobId},
    inference::{InferenceSpec, Usage},
    scheduler::{Explanation, RuledOut},
    secret::Secret,
    time::Timestamp,
};

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
    /// The model was not loaded in the time that the request allows, which says nothing about anybody.
    LoadTimeout,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 17] = [
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
            Self::LoadTimeout => "load_timeout",
        }
    }

    /// The reason of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == word)
    }
}

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
    /// The agent that is kept free for it, since it was passed over. Shown to keys with `agents:read` only.
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

/// One page of the list of jobs, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobList {
    /// The jobs of this page. A filter may leave a page short, or empty, while more follow.
    pub jobs: Vec<JobSummary>,
    /// Where the next page begins; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
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
