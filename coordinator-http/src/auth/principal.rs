//! Who a bearer belongs to, whatever it is used for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{Digest, SHA256, digest};
use http::HeaderMap;
use titan_api::{
    headers as names,
    ids::{CredentialId, PoolName},
};
use titan_lua::credentials::api_keys::{self, StoredKey};

use super::{
    bearer::{self, unauthorized},
    cache::Cache,
    secrets::{self, API_KEY, JOIN_TOKEN},
    tokens::{self, AgentClaims},
};
use crate::{error::ApiError, state::AppState};

/// How long an API key is believed without asking Redis: a revoked one works this long at most.
const KEY_BELIEVED: Duration = Duration::from_secs(5);
/// How many API keys and how many agent tokens are remembered.
const REMEMBERED: usize = 20_000;

/// The SHA-256 of a token, by which it is remembered.
type TokenHash = [u8; 32];

/// Credentials that were found good a short while ago.
#[derive(Debug)]
pub(crate) struct Known {
    keys: Cache<TokenHash, Arc<StoredKey>>,
    agents: Cache<TokenHash, Arc<AgentClaims>>,
    /// Whether this copy has found any API key, and whether it is noted in Redis that there were some.
    found_keys: AtomicBool,
    noted_keys: AtomicBool,
}

impl Default for Known {
    fn default() -> Self {
        let (keys, agents) = (Cache::new(REMEMBERED), Cache::new(REMEMBERED));
        Self { keys, agents, found_keys: AtomicBool::new(false), noted_keys: AtomicBool::new(false) }
    }
}

impl Known {
    /// Forgets an API key that this copy has revoked.
    pub(crate) fn forget_key(&self, id: &CredentialId) {
        self.keys.forget(|key| key.record.id == *id);
    }

    /// Remembers whose a token is that is known to be good. Checking a signature costs 50 µs, so what was good stays good until
    /// it expires.
    pub(super) fn remember_agent(&self, token: &str, claims: Arc<AgentClaims>, now_s: i64) {
        if let Some(hash) = key_of(&digest(&SHA256, token.as_bytes())) {
            self.keep_agent(hash, claims, now_s);
        }
    }

    /// Whose a token is that is known to be good still. The cache's own clock does not tell: it stands while the machine sleeps.
    fn agent(&self, hash: &TokenHash, now_s: i64) -> Option<Arc<AgentClaims>> {
        self.agents.get(hash).filter(|claims| now_s < claims.exp)
    }

    fn keep_agent(&self, hash: TokenHash, claims: Arc<AgentClaims>, now_s: i64) {
        let left_s = u64::try_from(claims.exp - now_s).unwrap_or(0);
        self.agents.put(hash, claims, Instant::now() + Duration::from_secs(left_s));
    }
}

/// Who calls.
#[derive(Debug)]
pub(crate) enum Principal {
    /// The administrator.
    Admin,
    /// The holder of an API key.
    Key(Arc<StoredKey>),
    /// An agent.
    Agent(Arc<AgentClaims>),
    /// The holder of something that looks like a join token; using it is the only way to check it.
    Joiner { id: CredentialId, secret_sha256: String },
}

/// Finds out who calls.
pub(crate) async fn identify(state: &AppState, headers: &HeaderMap) -> Result<Principal, ApiError> {
    let token = bearer::of(headers)?;
    let sha256 = digest(&SHA256, token.as_bytes());
    if state.admin.has(&sha256) {
        return Ok(Principal::Admin);
    }
    let hash = key_of(&sha256).ok_or_else(not_good)?;
    if let Some(key) = state.known.keys.get(&hash) {
        return Some(key).filter(|key| is_current(state, key)).map(Principal::Key).ok_or_else(not_good);
    }
    if let Some((id, secret_sha256)) = secrets::take_apart(API_KEY, token) {
        // Boxed, since the future of every request has room for what its extractors wait for.
        let key = Arc::new(Box::pin(api_key(state, &id, &secret_sha256)).await?);
        state.known.keys.put(hash, Arc::clone(&key), Instant::now() + KEY_BELIEVED);
        return Ok(Principal::Key(key));
    }
    if let Some((id, secret_sha256)) = secrets::take_apart(JOIN_TOKEN, token) {
        return Ok(Principal::Joiner { id, secret_sha256 });
    }
    agent(state, token, hash).map(Principal::Agent).ok_or_else(not_good)
}

async fn api_key(state: &AppState, id: &CredentialId, secret_sha256: &str) -> Result<StoredKey, ApiError> {
    let key = stored_key(state, id).await?;
    let is_good = is_current(state, &key) && secrets::same_hash(&key.secret_sha256, secret_sha256);
    if is_good { Ok(key) } else { Err(not_good()) }
}

fn is_current(state: &AppState, key: &StoredKey) -> bool {
    key.record.expires_at.is_none_or(|at| at.as_ms() > state.clock.now_ms())
}

/// Reads what is stored of an API key. That there is nothing says that it is not good, unless Redis has lost its data, as one that
/// was killed and is back before its replica takes over: then no key is known, and that there were some neither.
async fn stored_key(state: &AppState, id: &CredentialId) -> Result<StoredKey, ApiError> {
    let known = &state.known;
    if let Some(key) = api_keys::get(&state.store, id).await? {
        known.found_keys.store(true, Ordering::Relaxed);
        if !known.noted_keys.load(Ordering::Relaxed) && api_keys::note_that_some_were_made(&state.store).await.is_ok() {
            known.noted_keys.store(true, Ordering::Relaxed);
        }
        return Ok(key);
    }
    if !known.found_keys.load(Ordering::Relaxed) || api_keys::were_some_made(&state.store).await? {
        return Err(not_good());
    }
    known.noted_keys.store(false, Ordering::Relaxed);
    Err(ApiError::KeysLost)
}

fn agent(state: &AppState, token: &str, hash: TokenHash) -> Option<Arc<AgentClaims>> {
    let now_s = state.clock.now_s();
    if let Some(claims) = state.known.agent(&hash, now_s) {
        return Some(claims);
    }
    let claims = Arc::new(tokens::verify_agent_token(&state.keys, &state.clock, token)?);
    state.known.keep_agent(hash, Arc::clone(&claims), now_s);
    Some(claims)
}

fn key_of(sha256: &Digest) -> Option<TokenHash> {
    sha256.as_ref().try_into().ok()
}

/// One answer for every bearer that is not good: why would help only those who guess.
fn not_good() -> ApiError {
    unauthorized("the credential is wrong, expired or revoked")
}

/// The pool that a call is about: the one that the credential is for, or, for the administrator, the one that
/// `X-Titan-Pool` names.
pub(crate) fn pool(headers: &HeaderMap, own: Option<&PoolName>) -> Result<PoolName, ApiError> {
    let mut values = headers.get_all(names::POOL).iter();
    let named = values.next().map(|value| value.to_str().ok().and_then(|text| text.parse::<PoolName>().ok()));
    if values.next().is_some() || named == Some(None) {
        return Err(ApiError::BadRequest(
            "X-Titan-Pool must be one name of 1 to 63 characters of a-z 0-9 -".to_owned(),
        ));
    }
    match (own, named.flatten()) {
        (None, named) => Ok(named.unwrap_or_default()),
        (Some(own), Some(named)) if *own != named => {
            Err(ApiError::Forbidden("the credential is for another pool than X-Titan-Pool names".to_owned()))
        }
        (Some(own), _) => Ok(own.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_that_is_known_is_good_until_it_expires_on_the_clock_of_the_pools() {
        let (known, token) = (Known::default(), "a token");
        let claims = json!({
            "iss": "i", "aud": "a", "sub": "box-1", "pool": "default", "epoch": 1, "iat": 1_000, "exp": 4_600, "jti": "t",
        });
        known.remember_agent(token, Arc::new(serde_json::from_value(claims).unwrap()), 1_000);
        let is_known = |text: &str, now_s| {
            let hash = key_of(&digest(&SHA256, text.as_bytes())).unwrap();
            known.agent(&hash, now_s).is_some()
        };
        assert!(is_known(token, 4_599) && !is_known(token, 4_600), "no time has passed here");
        assert!(!is_known("a Token", 1_000));
    }
}
