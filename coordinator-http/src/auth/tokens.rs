//! What the coordinator signs for agents: the credential that outlives everything, and the token of an hour.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use titan_api::{
    agents::AgentToken,
    ids::{AgentId, PoolName},
};

use super::keys::KeyRing;
use crate::{clock::Clock, error::ApiError, ids, state::AppState};

/// `iss` of everything that the coordinator signs.
pub(crate) const ISSUER: &str = "titan-coordinator";
/// How long an agent's token is good for, seconds.
pub(crate) const AGENT_TOKEN_TTL_S: i64 = 3_600;
/// How far the clocks of two coordinators may be apart, seconds.
pub(crate) const LEEWAY_S: i64 = 5;

const CREDENTIAL_TYP: &str = "titan-credential+jwt";
const CREDENTIAL_AUD: &str = "titan-coordinator/register";
const AGENT_TYP: &str = "titan-agent+jwt";
const AGENT_AUD: &str = "titan-coordinator/agents";

/// What a credential says: this key is this agent's, in this pool. It has no end; removing the agent ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credential {
    iss: String,
    aud: String,
    pub(crate) sub: AgentId,
    pub(crate) pool: PoolName,
    /// The agent's Ed25519 public key, base64url.
    pub(crate) public_key: String,
    iat: i64,
    /// Random, so that no two credentials are the same and a proof names exactly one.
    jti: String,
}

/// What an agent's token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AgentClaims {
    iss: String,
    aud: String,
    pub(crate) sub: AgentId,
    pub(crate) pool: PoolName,
    pub(crate) epoch: i64,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    jti: String,
    /// The key that it registered with, base64url, so that what it signs can be checked without asking Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) public_key: Option<String>,
}

impl AgentClaims {
    /// Whether half of the token's life is over, so that it is time for another.
    pub(crate) fn is_ageing(&self, now_s: i64) -> bool {
        now_s - self.iat >= (self.exp - self.iat) / 2
    }

    fn holds(&self, now_s: i64) -> bool {
        let named = self.iss == ISSUER && self.aud == AGENT_AUD;
        let life_s = self.exp.saturating_sub(self.iat);
        let begun = self.iat <= now_s + LEEWAY_S && self.nbf.is_none_or(|nbf| nbf <= now_s + LEEWAY_S);
        named && begun && (1..=AGENT_TOKEN_TTL_S).contains(&life_s) && now_s < self.exp.saturating_add(LEEWAY_S)
    }
}

/// Signs a credential.
pub(crate) fn issue_credential(
    keys: &KeyRing,
    clock: &Clock,
    agent: &AgentId,
    pool: &PoolName,
    public_key: &str,
) -> Result<String, ApiError> {
    let credential = Credential {
        iss: ISSUER.to_owned(),
        aud: CREDENTIAL_AUD.to_owned(),
        sub: agent.clone(),
        pool: pool.clone(),
        public_key: public_key.to_owned(),
        iat: clock.now_s(),
        jti: ids::random_id(),
    };
    keys.sign(CREDENTIAL_TYP, &credential).ok_or_else(cannot_sign)
}

/// Checks a credential.
pub(crate) fn verify_credential(keys: &KeyRing, clock: &Clock, text: &str) -> Result<Credential, ApiError> {
    keys.verify(text, CREDENTIAL_TYP)
        .ok()
        .filter(|c: &Credential| c.iss == ISSUER && c.aud == CREDENTIAL_AUD && c.iat <= clock.now_s() + LEEWAY_S)
        .ok_or_else(|| ApiError::Unauthorized("the credential is not one of this coordinator; join again".to_owned()))
}

/// Signs a token for an agent. It is known to this copy, which need not check its own signature when the agent calls.
pub(crate) fn issue_agent_token(
    state: &AppState,
    agent: &AgentId,
    pool: &PoolName,
    epoch: i64,
    public_key: Option<&str>,
) -> Result<AgentToken, ApiError> {
    let iat = state.clock.now_s();
    let claims = AgentClaims {
        iss: ISSUER.to_owned(),
        aud: AGENT_AUD.to_owned(),
        sub: agent.clone(),
        pool: pool.clone(),
        epoch,
        iat,
        exp: iat + AGENT_TOKEN_TTL_S,
        nbf: None,
        jti: ids::random_id(),
        public_key: public_key.map(str::to_owned),
    };
    let token = state.keys.sign(AGENT_TYP, &claims).ok_or_else(cannot_sign)?;
    state.known.remember_agent(&token, Arc::new(claims), iat);
    Ok(AgentToken { token, expires_in_ms: AGENT_TOKEN_TTL_S.unsigned_abs() * 1_000 })
}

/// Checks a token of an agent; none if it is not good, for whatever reason.
pub(crate) fn verify_agent_token(keys: &KeyRing, clock: &Clock, text: &str) -> Option<AgentClaims> {
    keys.verify(text, AGENT_TYP).ok().filter(|claims: &AgentClaims| claims.holds(clock.now_s()))
}

fn cannot_sign() -> ApiError {
    ApiError::Internal("a token could not be signed".to_owned())
}
