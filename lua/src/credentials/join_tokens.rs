//! Join tokens: counted use, remembered by the public keys that used them.

use titan_api::{
    credentials::JoinToken,
    ids::{AgentId, CredentialId, PoolName},
};

use crate::{Store, StoreError};

/// What is stored of a join token: what people see, and the hash of its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredJoinToken {
    /// What people see. `used_by` is empty when it is made.
    pub record: JoinToken,
    /// SHA-256 of the secret, in hex.
    pub secret_sha256: String,
}

/// What came of a use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UseOutcome {
    /// It is used, now or before by the same key.
    Used {
        /// The pool to join.
        pool: PoolName,
        /// The agent id that this key has under this token.
        agent: AgentId,
    },
    /// There is no such token, its secret is another, or it has expired.
    Invalid,
    /// Other keys have used it up.
    UsedUp,
}

/// Stores a new token.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn create(store: &Store, token: &StoredJoinToken) -> Result<(), StoreError> {
    let _ = (store, token);
    todo!()
}

/// Uses a token for a public key (base64url), atomically: of 100 parallel uses of a single-use token one succeeds.
/// The same key may use it again and gets the same agent id.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn use_once(
    store: &Store,
    id: &CredentialId,
    secret_sha256: &str,
    public_key: &str,
    agent: &AgentId,
) -> Result<UseOutcome, StoreError> {
    let _ = (store, id, secret_sha256, public_key, agent);
    todo!()
}

/// Reads a page of a pool's tokens, by id.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn list(
    store: &Store,
    pool: &PoolName,
    after: Option<&CredentialId>,
    limit: u32,
) -> Result<Vec<JoinToken>, StoreError> {
    let _ = (store, pool, after, limit);
    todo!()
}

/// Revokes a token of a pool; `false` if the pool has no such token.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn delete(store: &Store, pool: &PoolName, id: &CredentialId) -> Result<bool, StoreError> {
    let _ = (store, pool, id);
    todo!()
}
