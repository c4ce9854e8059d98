//! `credentials/forget_join_token_use`: forgets for whom a join token was used.

use titan_api::ids::CredentialId;

use crate::{
    Store, StoreError, keys,
    reply::{Reply, unknown_word},
    script::{Args, script},
};

script!(Frees, "credentials/forget_join_token_use", uses []);

/// Lets a public key that could not join, since its agent id is taken, use the token once more with another wish. The use
/// named `use_id` stays spent, and nothing happens if the key has used the token by another call too. If this is never run,
/// the key needs another token.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn forget_use(store: &Store, id: &CredentialId, public_key: &str, use_id: &str) -> Result<(), StoreError> {
    let key = keys::join_token(id);
    let mut args = Args::new();
    args.push(public_key).push(use_id);
    let mut reply = Reply::new(SCRIPT.run(store.connection(), [&key, &key], &args).await?)?;
    match reply.text()?.as_str() {
        "forgotten" => Ok(()),
        other => Err(unknown_word("credentials/forget_join_token_use", other)),
    }
}
