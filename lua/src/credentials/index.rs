//! Records by id with an index by pool, so that nothing ever has to be searched for.
//!
//! The record is written first and removed first: an id in the index may point at nothing, never the other way round
//! for long, since making and revoking may both be repeated.

use titan_api::ids::{CredentialId, PoolName};

use crate::{Store, StoreError};

/// What is kept as a record with an index beside it.
pub(super) trait Record: Sized + Send {
    /// The key of one record.
    fn key(id: &CredentialId) -> String;
    /// The key of a pool's index.
    fn index(pool: &PoolName) -> String;
    /// The pool that it is for.
    fn pool(&self) -> &PoolName;
    /// Reads a record; none if there is none.
    fn read(store: &Store, id: &CredentialId) -> impl Future<Output = Result<Option<Self>, StoreError>> + Send;
}

/// A page of a pool's records, by id. It is shorter than `limit` only if it is the last: ids that point at nothing,
/// left by a token that expired or a revocation that was cut short, are removed and made up for.
pub(super) async fn list<R: Record>(
    store: &Store,
    pool: &PoolName,
    after: Option<&CredentialId>,
    limit: u32,
) -> Result<Vec<R>, StoreError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut records, mut after) = (Vec::new(), after.cloned());
    while records.len() < limit {
        let wanted = limit - records.len();
        let ids = page(store, &R::index(pool), after.as_ref(), wanted).await?;
        for id in &ids {
            match R::read(store, id).await {
                Ok(Some(record)) => records.push(record),
                Ok(None) => remove::<R>(store, pool, id).await?,
                // It is good for nothing, and must not hide the others.
                Err(StoreError::Corrupt(_)) => {}
                Err(e) => return Err(e),
            }
        }
        if ids.len() < wanted {
            break;
        }
        after = ids.into_iter().next_back();
    }
    Ok(records)
}

/// Removes a record of a pool; `false` if the pool has no such record.
pub(super) async fn delete<R: Record>(store: &Store, pool: &PoolName, id: &CredentialId) -> Result<bool, StoreError> {
    let known = holds(store, &R::index(pool), id).await?
        || R::read(store, id).await?.is_some_and(|record| record.pool() == pool);
    if known {
        remove::<R>(store, pool, id).await?;
    }
    Ok(known)
}

/// Enters an id.
pub(super) async fn enter<R: Record>(store: &Store, pool: &PoolName, id: &CredentialId) -> Result<(), StoreError> {
    let (mut cmd, index) = (redis::Cmd::new(), R::index(pool));
    cmd.arg("ZADD").arg(&index).arg(0).arg(id.as_str());
    store.write_replicated(&index, &cmd).await.map(drop)
}

async fn page(
    store: &Store,
    index: &str,
    after: Option<&CredentialId>,
    limit: usize,
) -> Result<Vec<CredentialId>, StoreError> {
    let from = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
    let mut cmd = redis::Cmd::new();
    cmd.arg("ZRANGEBYLEX").arg(index).arg(from).arg("+").arg("LIMIT").arg(0).arg(limit);
    let ids: Vec<String> = store.connection().query(&cmd).await?;
    ids.into_iter().map(|id| CredentialId::new(id).map_err(|e| StoreError::Corrupt(e.to_string()))).collect()
}

async fn holds(store: &Store, index: &str, id: &CredentialId) -> Result<bool, StoreError> {
    let mut cmd = redis::Cmd::new();
    cmd.arg("ZSCORE").arg(index).arg(id.as_str());
    Ok(store.connection().query::<Option<String>>(&cmd).await?.is_some())
}

/// Removes a record, and then its id. If no replica learns of the first, the id stays, so that a repeat waits again.
async fn remove<R: Record>(store: &Store, pool: &PoolName, id: &CredentialId) -> Result<(), StoreError> {
    let (mut del, key) = (redis::Cmd::new(), R::key(id));
    del.arg("DEL").arg(&key);
    store.write_replicated(&key, &del).await?;
    let mut rem = redis::Cmd::new();
    rem.arg("ZREM").arg(R::index(pool)).arg(id.as_str());
    store.connection().query::<i64>(&rem).await.map(drop)
}
