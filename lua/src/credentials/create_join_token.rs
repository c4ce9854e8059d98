//! `credentials/create_join_token`: stores a join token.

use super::join_tokens::StoredJoinToken;
use crate::{
    Store, StoreError, keys,
    reply::unknown_word,
    script::{Args, script},
};

script!(Writes, "credentials/create_join_token", uses []);

/// Writes the record with its end, in one step: no token is ever without an end.
pub(super) async fn write(store: &Store, token: &StoredJoinToken) -> Result<(), StoreError> {
    let (record, key) = (&token.record, keys::join_token(&token.record.id));
    let mut args = Args::new();
    args.push(&token.secret_sha256).push(record.pool.as_str()).push(record.uses);
    args.push(record.created_at.as_ms()).push(record.expires_at.as_ms());
    let mut reply = store.run_replicated(&SCRIPT, &key, &args, &["created"]).await?;
    match reply.text()?.as_str() {
        "created" => Ok(()),
        other => Err(unknown_word("credentials/create_join_token", other)),
    }
}
