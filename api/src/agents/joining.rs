//! How an agent joins a pool and registers, and what it is told.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Facts;
use crate::{
    ids::{AgentId, PoolName},
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
