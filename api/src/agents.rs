//! Agents: how they join and register, what they say of themselves, and how clients see them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    ids::{AgentId, JobId, PoolName},
    time::Timestamp,
    work::HeldLease,
};

/// The body of `POST /api/v1/agents/join`; the bearer is the join token.
///
/// Repeating it with the same token and key gives the same agent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinRequest {
    /// The version of the protocol that the agent speaks.
    pub protocol: u32,
    /// The agent's Ed25519 public key: 32 bytes, base64url without padding.
    pub public_key: String,
    /// The id that the agent would like to have; one is made from the key if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
}

/// The reply to joining: what the agent keeps on its disk, beside its private key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinReply {
    /// The id under which the agent is known.
    pub agent_id: AgentId,
    /// The pool that it belongs to.
    pub pool: PoolName,
    /// The coordinator's signature over id, pool and public key (a JWT, EdDSA). It never expires.
    pub credential: String,
}

/// The body of `POST /api/v1/agents/register`, which carries no bearer: the proof is in the body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RegisterRequest {
    /// The version of the protocol that the agent speaks.
    pub protocol: u32,
    /// The credential got by joining.
    pub credential: String,
    /// A JWT (EdDSA, `typ` `titan-proof+jwt`) by the agent's key: `sub` the agent id, `aud`
    /// `titan-coordinator/register`, `jti` the instance id, `credential_sha256` the SHA-256 of `credential` in
    /// base64url, `iat` in seconds on the coordinator's clock. If the clocks differ by more than 60 s the answer is
    /// `clock-skew` with `server_time_ms`; make it again with that time.
    pub proof: String,
    /// A random name of this run of the agent. A repeat with the same one changes nothing; another one supersedes it.
    pub instance_id: String,
    /// What the box is and has.
    pub facts: Facts,
    /// Attempts that this run has taken over from the run before it; all others of the agent are taken to be gone.
    #[serde(default)]
    pub running: Vec<HeldLease>,
}

/// The reply to registering.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RegisterReply {
    /// The id under which the agent is known.
    pub agent_id: AgentId,
    /// The pool that it belongs to.
    pub pool: PoolName,
    /// The bearer for every further call.
    pub token: AgentToken,
    /// How to behave.
    pub settings: AgentSettings,
    /// Of the leases in `running`, those that are no longer current: end their processes.
    #[serde(default)]
    pub stop: Vec<HeldLease>,
}

/// The bearer for an agent's calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentToken {
    /// The token (a JWT, EdDSA).
    pub token: String,
    /// How long it is good for, milliseconds from now. A fresh one comes with a heartbeat in the second half.
    pub expires_in_ms: u64,
}

/// How the coordinator wants an agent to behave. All of it may change with any reply that carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentSettings {
    /// Milliseconds from one heartbeat to the next.
    pub heartbeat_interval_ms: u64,
    /// How long a lease lasts from its claim or renewal, milliseconds. Heartbeats renew what they list.
    pub lease_ttl_ms: u64,
    /// How long an attempt's processes get between SIGTERM and SIGKILL, milliseconds.
    pub kill_grace_ms: u64,
    /// `true`: claim with `wait_ms` and be parked. `false`: nobody parks; let the heartbeat carry reports and claim.
    pub parking: bool,
    /// The longest `wait_ms` of a claim.
    pub max_wait_ms: u64,
}

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
    pub seen: Vec<crate::ids::JobId>,
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

/// One agent, as clients see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// What the breaker says.
    pub state: AgentState,
    /// Why it says so.
    #[serde(default, skip_serializing_if = "Breaker::is_untroubled")]
    pub breaker: Breaker,
    /// Whether it takes no new work because somebody asked for that, or because it is shutting down.
    pub draining: bool,
    /// Its score for a process job without requirements, with the pool's weights; a degraded agent's is halved.
    pub score: f64,
    /// Attempts that it holds: bound, running, or ending.
    pub live_attempts: u32,
    /// Process jobs that it runs at once.
    pub max_jobs: u32,
    /// When it was last heard.
    pub last_seen_at: Timestamp,
    /// When it registered.
    pub registered_at: Timestamp,
    /// Smoothed round-trip time, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// Free main memory less what is reserved, megabytes.
    pub ram_free_mb: u64,
    /// Each GPU with its effective free memory, megabytes.
    #[serde(default)]
    pub gpus: Vec<AgentGpu>,
    /// The job that it keeps room for, since that was passed over for long: nothing else gets that but what is more urgent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_for: Option<crate::ids::JobId>,
    /// How its models have served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub speeds: Vec<crate::inference::ModelSpeed>,
    /// What it said when it registered, with the models that it told of last.
    pub facts: Facts,
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
    fn is_untroubled(&self) -> bool {
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

/// One GPU of an agent, as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentGpu {
    /// Its UUID.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Its memory, megabytes.
    pub vram_mb: u64,
    /// What is free of it: measured, less what live attempts are promised and do not use yet. Megabytes.
    pub vram_free_mb: u64,
}

/// One page of the list of agents, by id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentList {
    /// The agents of this page.
    pub agents: Vec<Agent>,
    /// Where the next page begins; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
