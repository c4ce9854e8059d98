//! API keys and join tokens, made and revoked by administrators.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    ids::{AgentId, CredentialId, PoolName},
    time::Timestamp,
};

/// What an API key may do in its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
pub enum Scope {
    /// Submit and cancel jobs.
    #[serde(rename = "jobs:write")]
    JobsWrite,
    /// Read jobs and their output.
    #[serde(rename = "jobs:read")]
    JobsRead,
    /// See agents, their names and the pool's status.
    #[serde(rename = "agents:read")]
    AgentsRead,
    /// Drain, resume and remove agents.
    #[serde(rename = "agents:write")]
    AgentsWrite,
    /// Read `/metrics`: figures of the pool, and of the copy of the coordinator that answers.
    #[serde(rename = "metrics:read")]
    MetricsRead,
    /// Ask models, see which there are, and what the key has had of them.
    #[serde(rename = "inference")]
    Inference,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 6] =
        [Self::JobsWrite, Self::JobsRead, Self::AgentsRead, Self::AgentsWrite, Self::MetricsRead, Self::Inference];

    /// The word used in JSON and in Redis.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JobsWrite => "jobs:write",
            Self::JobsRead => "jobs:read",
            Self::AgentsRead => "agents:read",
            Self::AgentsWrite => "agents:write",
            Self::MetricsRead => "metrics:read",
            Self::Inference => "inference",
        }
    }

    /// The scope of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }
}

/// The body of `POST /api/v1/keys`. The key is for the pool that `X-Titan-Pool` names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"name": "me", "scopes": ["jobs:write", "jobs:read", "agents:read"]}))]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// What it is for, in the maker's words.
    #[serde(default)]
    pub name: String,
    /// What it may do; at least one.
    pub scopes: Vec<Scope>,
    /// How long it is good for, milliseconds; for ever if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    /// How much it may do in a time.
    #[serde(default, skip_serializing_if = "KeyLimits::is_default")]
    pub limits: KeyLimits,
}

impl CreateKey {
    /// A key that never expires and has the usual limits.
    #[must_use]
    pub fn new(name: impl Into<String>, scopes: Vec<Scope>) -> Self {
        Self { name: name.into(), scopes, expires_in_ms: None, limits: KeyLimits::default() }
    }
}

/// How much an API key may do in a time; for what is absent the coordinator's settings say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyLimits {
    /// Requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Quota>,
    /// Bytes of the bodies that are sent with them; a body that is longer than the quota costs the whole of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<Quota>,
}

impl KeyLimits {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// So much at once, and as much again in the course of each window: half of a window after everything was used, half of
/// it is there again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// How much, at least 1.
    pub quota: u64,
    /// In what time, milliseconds, 1 second to 1 day.
    pub window_ms: u64,
}

/// A new API key. Its secret is shown here and never again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedKey {
    /// The key itself, for `Authorization: Bearer`.
    pub key: String,
    /// What is stored of it.
    #[serde(flatten)]
    pub record: ApiKey,
}

/// What is stored of an API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiKey {
    /// Its public part.
    pub id: CredentialId,
    /// What it is for.
    pub name: String,
    /// The pool that it belongs to.
    pub pool: PoolName,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops being good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// How much it may do in a time, where that was said when it was made.
    #[serde(default, skip_serializing_if = "KeyLimits::is_default")]
    pub limits: KeyLimits,
}

/// The reply to `GET /api/v1/keys`: those of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    /// The keys of this page.
    pub keys: Vec<ApiKey>,
    /// Where the next page begins; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// The body of `POST /api/v1/join-tokens`. The token is for the pool that `X-Titan-Pool` names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"uses": 1, "expires_in_ms": 600_000}))]
#[serde(deny_unknown_fields)]
pub struct CreateJoinToken {
    /// How many agents may join with it, 1 (the default) to 10,000.
    #[serde(default = "one")]
    pub uses: u32,
    /// How long it is good for, milliseconds; 10 minutes by default, 30 days at most.
    #[serde(default = "ten_minutes")]
    pub expires_in_ms: u64,
}

fn one() -> u32 {
    1
}

fn ten_minutes() -> u64 {
    600_000
}

impl Default for CreateJoinToken {
    fn default() -> Self {
        Self { uses: one(), expires_in_ms: ten_minutes() }
    }
}

/// A new join token. Its secret is shown here and never again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedJoinToken {
    /// The token itself, for `TITAN_JOIN_TOKEN` or `--join-token-file`.
    pub token: String,
    /// What is stored of it.
    #[serde(flatten)]
    pub record: JoinToken,
}

/// What is stored of a join token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinToken {
    /// Its public part.
    pub id: CredentialId,
    /// The pool that agents join with it.
    pub pool: PoolName,
    /// How many agents may join with it.
    pub uses: u32,
    /// The agents that have.
    pub used_by: Vec<AgentId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops being good.
    pub expires_at: Timestamp,
}

/// The reply to `GET /api/v1/join-tokens`: those of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinTokenList {
    /// The tokens of this page.
    pub join_tokens: Vec<JoinToken>,
    /// Where the next page begins; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
