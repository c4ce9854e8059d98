//! Records by id with an index by pool, so that nothing ever has to be searched for.
//!
//! The record is written first and removed first: an id in the index may point at nothing, never the other way round
//! for long, since making and revoking may both be repeated.

use titan_api::ids::CredentialId;

use crate::{Store, StoreError};

/// A page of an index, by id.
pub(super) async fn page(
    store: &Store,
    index: &str,
    after: Option<&CredentialId>,
    limit: u32,
) -> Result<Vec<CredentialId>, StoreError> {
    let from = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
    let mut cmd = redis::Cmd::new();
    cmd.arg("ZRANGEBYLEX").arg(index).arg(from).arg("+").arg("LIMIT").arg(0).arg(limit);
    let ids: Vec<String> = store.connection().query(&cmd).await?;
    ids.into_iter().map(|id| CredentialId::new(id).map_err(|e| StoreError::Corrupt(e.to_string()))).collect()
}

/// Enters an id.
pub(super) async fn enter(store: &Store, index: &str, id: &CredentialId) -> Result<(), StoreError> {
    let mut cmd = redis::Cmd::new();
    cmd.arg("ZADD").arg(index).arg(0).arg(id.as_str());
    store.connection().query::<i64>(&cmd).await.map(drop)
}

/// Whether an id is in the index.
pub(super) async fn holds(store: &Store, index: &str, id: &CredentialId) -> Result<bool, StoreError> {
    let mut cmd = redis::Cmd::new();
    cmd.arg("ZSCORE").arg(index).arg(id.as_str());
    Ok(store.connection().query::<Option<String>>(&cmd).await?.is_some())
}

/// Removes a record, and then its id.
pub(super) async fn remove(store: &Store, index: &str, record: &str, id: &CredentialId) -> Result<(), StoreError> {
    let mut del = redis::Cmd::new();
    del.arg("DEL").arg(record);
    store.connection().query::<i64>(&del).await?;
    let mut rem = redis::Cmd::new();
    rem.arg("ZREM").arg(index).arg(id.as_str());
    store.connection().query::<i64>(&rem).await.map(drop)
}
