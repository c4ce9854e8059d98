//! API keys: a record each, stored under the key's public id.

use serde::{Deserialize, Serialize};
use titan_api::{
    credentials::ApiKey,
    ids::{CredentialId, PoolName},
};

use super::index;
use crate::{Store, StoreError, keys};

/// What is stored of a key: what people see, and the hash of its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    let json = serde_json::to_string(key).map_err(|e| StoreError::Corrupt(e.to_string()))?;
    let mut set = redis::Cmd::new();
    set.arg("SET").arg(keys::api_key(&key.record.id)).arg(json);
    store.connection().query::<String>(&set).await?;
    index::enter(store, &keys::api_keys(&key.record.pool), &key.record.id).await
}

/// Reads a key; none if there is none, or it was revoked.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn get(store: &Store, id: &CredentialId) -> Result<Option<StoredKey>, StoreError> {
    let mut get = redis::Cmd::new();
    get.arg("GET").arg(keys::api_key(id));
    let json: Option<String> = store.connection().query(&get).await?;
    json.map(|json| serde_json::from_str(&json).map_err(|e| StoreError::Corrupt(format!("API key {id}: {e}"))))
        .transpose()
}

/// Reads a page of a pool's keys, by id. A page may be shorter than `limit` only if it is the last.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn list(
    store: &Store,
    pool: &PoolName,
    after: Option<&CredentialId>,
    limit: u32,
) -> Result<Vec<ApiKey>, StoreError> {
    let mut records = Vec::new();
    for id in index::page(store, &keys::api_keys(pool), after, limit).await? {
        match get(store, &id).await? {
            Some(key) => records.push(key.record),
            // A revocation that was cut short; finish it.
            None => index::remove(store, &keys::api_keys(pool), &keys::api_key(&id), &id).await?,
        }
    }
    Ok(records)
}

/// Revokes a key of a pool; `false` if the pool has no such key.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn delete(store: &Store, pool: &PoolName, id: &CredentialId) -> Result<bool, StoreError> {
    let listed = index::holds(store, &keys::api_keys(pool), id).await?;
    let stored = get(store, id).await?.is_some_and(|key| key.record.pool == *pool);
    if listed || stored {
        index::remove(store, &keys::api_keys(pool), &keys::api_key(id), id).await?;
    }
    Ok(listed || stored)
}
