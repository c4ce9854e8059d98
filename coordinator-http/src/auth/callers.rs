//! The extractors by which a handler says whom it serves. Whoever else calls never reaches it.

use std::{fmt, marker::PhantomData, ops::Deref, sync::Arc};

use axum::extract::{FromRequestParts, RawPathParams};
use http::{header, request::Parts};
use titan_api::{
    credentials::Scope,
    ids::{AgentId, CredentialId, PoolName},
};
use titan_lua::{Pool, credentials::api_keys::StoredKey};

use super::{
    bearer::unauthorized,
    principal::{self, Principal},
    tokens::AgentClaims,
};
use crate::{error::ApiError, notes, quotas::Cost, state::AppState};

/// Whose body this is, by its credential; nobody's is that of who has none that was checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sender(pub(crate) String);

/// The administrator.
#[derive(Debug)]
pub(crate) struct AdminCaller {
    /// The pool that is meant.
    pub(crate) pool: PoolName,
}

impl FromRequestParts<AppState> for AdminCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        match principal::identify(state, &parts.headers).await? {
            Principal::Admin => {
                parts.extensions.insert(Sender("admin".to_owned()));
                Ok(Self { pool: principal::pool(&parts.headers, None)? })
            }
            other => Err(turned_down(&other, "this is for the administrator")),
        }
    }
}

/// A scope that a handler asks for, as a type.
pub(crate) trait Needs {
    /// The scope.
    const SCOPE: Scope;
}

macro_rules! scopes {
    ($($name:ident)*) => { $(
        /// The handler asks for the scope of the same name.
        #[derive(Debug)]
        pub(crate) struct $name;
        impl Needs for $name {
            const SCOPE: Scope = Scope::$name;
        }
    )* };
}

scopes!(JobsWrite JobsRead AgentsRead AgentsWrite MetricsRead EventsRead EventsWrite Inference);

/// The holder of an API key with scope `S`, or the administrator, who has every scope.
pub(crate) struct KeyCaller<S> {
    /// A handle on the pool that is meant.
    pub(crate) pool: Pool,
    /// Who it is, for fairness: the key's id, or `admin`.
    pub(crate) owner: String,
    /// Whether it is the administrator.
    pub(crate) is_admin: bool,
    /// Whether names of agents may be shown.
    pub(crate) sees_agents: bool,
    /// Whether it may ask models.
    pub(crate) may_infer: bool,
    scope: PhantomData<S>,
}

impl<S> fmt::Debug for KeyCaller<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCaller").field("owner", &self.owner).finish_non_exhaustive()
    }
}

impl<S: Needs> FromRequestParts<AppState> for KeyCaller<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let who = principal::identify(state, &parts.headers).await?;
        if let Principal::Key(key) = &who {
            spend(state, key, parts).await?;
        }
        let is_admin = matches!(who, Principal::Admin);
        let (owner, scopes, own) = match &who {
            Principal::Admin => ("admin".to_owned(), Scope::ALL.as_slice(), None),
            Principal::Key(key) => (key.record.id.to_string(), key.record.scopes.as_slice(), Some(&key.record.pool)),
            other => return Err(turned_down(other, "this is for API keys")),
        };
        if !scopes.contains(&S::SCOPE) {
            return Err(ApiError::Forbidden(format!("the API key lacks the scope {}", S::SCOPE.as_str())));
        }
        let pool = principal::pool(&parts.headers, own)?;
        state.pace.client_called(&pool);
        parts.extensions.insert(Sender(owner.clone()));
        let sees_agents = scopes.contains(&Scope::AgentsRead);
        let may_infer = scopes.contains(&Scope::Inference);
        Ok(Self { pool: state.store.pool(&pool), owner, is_admin, sees_agents, may_infer, scope: PhantomData })
    }
}

/// A request by an API key whose body's length is not known before it is read.
#[derive(Debug, Clone)]
pub(crate) struct Unweighed(Arc<StoredKey>);

impl Unweighed {
    /// Takes the bytes of the body from the key's quota, once they are known.
    pub(crate) async fn spend(&self, state: &AppState, body_bytes: usize) -> Result<(), ApiError> {
        let body_bytes = u64::try_from(body_bytes).unwrap_or(u64::MAX);
        take(state, &self.0, Cost { requests: 0, body_bytes }).await
    }
}

/// Takes the request from what its key may do.
async fn spend(state: &AppState, key: &Arc<StoredKey>, parts: &mut Parts) -> Result<(), ApiError> {
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    if length.is_none() {
        parts.extensions.insert(Unweighed(Arc::clone(key)));
    }
    take(state, key, Cost { requests: 1, body_bytes: length.unwrap_or(0) }).await
}

async fn take(state: &AppState, key: &StoredKey, cost: Cost) -> Result<(), ApiError> {
    let spent = state.quotas.spend(&state.store, &key.record, cost).await;
    if let Err(ApiError::TooMany(exhausted)) = &spent {
        state.metrics.over_quota.count(exhausted.policy);
    }
    if let Some(standing) = spent? {
        notes::note(|notes| notes.standing = Some(standing));
    }
    Ok(())
}

/// An agent, whatever is in the path.
#[derive(Debug)]
pub(crate) struct AgentBearer {
    /// A handle on its pool.
    pub(crate) pool: Pool,
    claims: Arc<AgentClaims>,
}

impl AgentBearer {
    /// The agent.
    pub(crate) fn id(&self) -> &AgentId {
        &self.claims.sub
    }

    /// The pool's name.
    pub(crate) fn pool_name(&self) -> &PoolName {
        &self.claims.pool
    }

    /// Its incarnation.
    pub(crate) fn epoch(&self) -> i64 {
        self.claims.epoch
    }

    /// The key that it registered with, base64url; none if its token was signed before tokens named one.
    pub(crate) fn public_key(&self) -> Option<&str> {
        self.claims.public_key.as_deref()
    }

    /// Whether it is time for a fresh token.
    pub(crate) fn needs_token(&self, now_s: i64) -> bool {
        self.claims.is_ageing(now_s)
    }
}

impl FromRequestParts<AppState> for AgentBearer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let claims = match principal::identify(state, &parts.headers).await? {
            Principal::Agent(claims) => claims,
            other => return Err(turned_down(&other, "this is for agents")),
        };
        principal::pool(&parts.headers, Some(&claims.pool))?;
        parts.extensions.insert(Sender(claims.sub.to_string()));
        Ok(Self { pool: state.store.pool(&claims.pool), claims })
    }
}

/// The agent whose id is in the path.
#[derive(Debug)]
pub(crate) struct AgentCaller(AgentBearer);

impl Deref for AgentCaller {
    type Target = AgentBearer;

    fn deref(&self) -> &AgentBearer {
        &self.0
    }
}

impl FromRequestParts<AppState> for AgentCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let agent = AgentBearer::from_request_parts(parts, state).await?;
        let path = RawPathParams::from_request_parts(parts, state).await;
        let named = path.map_err(|_| ApiError::BadRequest("the path is malformed".to_owned()))?;
        if !named.iter().any(|(name, value)| name == "id" && value == agent.id().as_str()) {
            return Err(ApiError::Forbidden("the token is another agent's".to_owned()));
        }
        Ok(Self(agent))
    }
}

/// The holder of a join token that is not checked yet.
#[derive(Debug)]
pub(crate) struct JoinCaller {
    /// The token's id.
    pub(crate) id: CredentialId,
    /// The hash of its secret.
    pub(crate) secret_sha256: String,
}

impl FromRequestParts<AppState> for JoinCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        match principal::identify(state, &parts.headers).await? {
            Principal::Joiner { id, secret_sha256 } => Ok(Self { id, secret_sha256 }),
            other => Err(turned_down(&other, "joining needs a join token")),
        }
    }
}

/// A join token that is used for anything but joining was never checked, so it counts as no credential at all.
fn turned_down(caller: &Principal, whom: &str) -> ApiError {
    match caller {
        Principal::Joiner { .. } => unauthorized("a join token is good for joining only"),
        _ => ApiError::Forbidden(format!("the credential is good, but {whom}")),
    }
}
