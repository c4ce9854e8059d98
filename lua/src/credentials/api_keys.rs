//! API keys: a record each, stored under the key's public id.

use serde::{Deserialize, Serialize};
use titan_api::{
    credentials::ApiKey,
    ids::{CredentialId, PoolName},
};

use super::index::{self, Record};
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
    note_that_some_were_made(store).await?;
    let mut set = redis::Cmd::new();
    let name = keys::api_key(&key.record.id);
    set.arg("SET").arg(&name).arg(json);
    store.write_replicated(&name, &set).await?;
    index::enter::<StoredKey>(store, &key.record.pool, &key.record.id).await
}

/// Reads a key; none if there is none, or it was revoked.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn get(store: &Store, id: &CredentialId) -> Result<Option<StoredKey>, StoreError> {
    StoredKey::read(store, id).await
}

/// Notes that keys were made, if that is not noted.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn note_that_some_were_made(store: &Store) -> Result<(), StoreError> {
    let mut set = redis::Cmd::new();
    set.arg("SET").arg(keys::API_KEYS_WERE_MADE).arg(1).arg("NX");
    store.connection().query::<Option<String>>(&set).await.map(drop)
}

/// Whether it is noted that keys were made. A Redis that has lost its data knows nothing of that, though all were revoked
/// before.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn were_some_made(store: &Store) -> Result<bool, StoreError> {
    let mut exists = redis::Cmd::new();
    exists.arg("EXISTS").arg(keys::API_KEYS_WERE_MADE);
    store.connection().query(&exists).await
}

/// Reads a page of a pool's keys, by id. A page is shorter than `limit` only if it is the last.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn list(
    store: &Store,
    pool: &PoolName,
    after: Option<&CredentialId>,
    limit: u32,
) -> Result<Vec<ApiKey>, StoreError> {
    let stored: Vec<StoredKey> = index::list(store, pool, after, limit).await?;
    Ok(stored.into_iter().map(|key| key.record).collect())
}

/// Revokes a key of a pool; `false` if the pool has no such key.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn delete(store: &Store, pool: &PoolName, id: &CredentialId) -> Result<bool, StoreError> {
    index::delete::<StoredKey>(store, pool, id).await
}

impl Record for StoredKey {
    fn key(id: &CredentialId) -> String {
        keys::api_key(id)
    }

    fn index(pool: &PoolName) -> String {
        keys::api_keys(pool)
    }

    fn pool(&self) -> &PoolName {
        &self.record.pool
    }

    async fn read(store: &Store, id: &CredentialId) -> Result<Option<Self>, StoreError> {
        let mut get = redis::Cmd::new();
        get.arg("GET").arg(keys::api_key(id));
        let json: Option<String> = store.connection().query(&get).await?;
        json.map(|json| serde_json::from_str(&json).map_err(|e| StoreError::Corrupt(format!("API key {id}: {e}"))))
            .transpose()
    }
}
