//! API keys: a record each, stored under the key's public id.

use titan_api::{
    credentials::ApiKey,
    ids::{CredentialId, PoolName},
};

use crate::{Store, StoreError};

/// What is stored of a key: what people see, and the hash of its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// What people see.
    pub record: ApiKey,
    /// SHA-256 of the secret, in hex.
    pub secret_sha256: String,
}

/// Stores a new key.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn create(store: &Store, key: &StoredKey) -> Result<(), StoreError> {
    let _ = (store, key);
    todo!()
}

/// Reads a key; none if there is none, or it was revoked.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn get(store: &Store, id: &CredentialId) -> Result<Option<StoredKey>, StoreError> {
    let _ = (store, id);
    todo!()
}

/// Reads a page of a pool's keys, by id.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn list(
    store: &Store,
    pool: &PoolName,
    after: Option<&CredentialId>,
    limit: u32,
) -> Result<Vec<ApiKey>, StoreError> {
    let _ = (store, pool, after, limit);
    todo!()
}

/// Revokes a key of a pool; `false` if the pool has no such key.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn delete(store: &Store, pool: &PoolName, id: &CredentialId) -> Result<bool, StoreError> {
    let _ = (store, pool, id);
    todo!()
}
