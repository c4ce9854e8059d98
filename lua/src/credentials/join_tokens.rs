//! Join tokens: counted use, remembered by the public keys that used them.

use std::collections::HashMap;

use titan_api::{
    credentials::JoinToken,
    ids::{AgentId, CredentialId, PoolName},
    time::Timestamp,
};

use super::{
    create_join_token,
    index::{self, Record},
};
use crate::{Store, StoreError, keys};

pub use super::{
    forget_join_token_use::forget_use,
    use_join_token::{UseOutcome, use_once},
};

/// What the field of a public key's use begins with.
const BY: &str = "by:";

/// What is stored of a join token: what people see, and the hash of its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredJoinToken {
    /// What people see. `used_by` is empty when it is made.
    pub record: JoinToken,
    /// SHA-256 of the secret, in hex.
    pub secret_sha256: String,
}

/// Stores a new token. Redis forgets it by itself when it expires: what is lost then is good for nothing any more.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn create(store: &Store, token: &StoredJoinToken) -> Result<(), StoreError> {
    create_join_token::write(store, token).await?;
    index::enter::<JoinToken>(store, &token.record.pool, &token.record.id).await
}

/// Reads a page of a pool's tokens, by id. A page is shorter than `limit` only if it is the last.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn list(
    store: &Store,
    pool: &PoolName,
    after: Option<&CredentialId>,
    limit: u32,
) -> Result<Vec<JoinToken>, StoreError> {
    index::list(store, pool, after, limit).await
}

/// Revokes a token of a pool; `false` if the pool has no such token.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn delete(store: &Store, pool: &PoolName, id: &CredentialId) -> Result<bool, StoreError> {
    index::delete::<JoinToken>(store, pool, id).await
}

impl Record for JoinToken {
    fn key(id: &CredentialId) -> String {
        keys::join_token(id)
    }

    fn index(pool: &PoolName) -> String {
        keys::join_tokens(pool)
    }

    fn pool(&self) -> &PoolName {
        &self.pool
    }

    async fn read(store: &Store, id: &CredentialId) -> Result<Option<Self>, StoreError> {
        let mut get = redis::Cmd::new();
        get.arg("HGETALL").arg(keys::join_token(id));
        let fields: HashMap<String, String> = store.connection().query(&get).await?;
        if fields.is_empty() {
            return Ok(None);
        }
        view(id, &fields).map(Some).ok_or_else(|| StoreError::Corrupt(format!("join token {id}")))
    }
}

fn view(id: &CredentialId, fields: &HashMap<String, String>) -> Option<JoinToken> {
    let time = |name: &str| Some(Timestamp::from_ms(fields.get(name)?.parse().ok()?));
    let users = fields.iter().filter(|(name, _)| name.starts_with(BY));
    let mut used_by = users.map(|(_, agent)| AgentId::new(agent.clone()).ok()).collect::<Option<Vec<_>>>()?;
    used_by.sort();
    Some(JoinToken {
        id: id.clone(),
        pool: PoolName::new(fields.get("pool")?.clone()).ok()?,
        uses: fields.get("uses")?.parse().ok()?,
        used_by,
        created_at: time("created_ms")?,
        expires_at: time("expires_ms")?,
    })
}
