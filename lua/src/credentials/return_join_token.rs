//! `credentials/return_join_token`: undoes a use of a join token.

use titan_api::ids::CredentialId;

use crate::{
    Store, StoreError, keys,
    reply::{Reply, unknown_word},
    script::{Args, script},
};

script!(Frees, "credentials/return_join_token", uses []);

/// Gives back the use of a token by a public key that could not join after all, since its agent id is taken. If this is
/// never run, the token is worth one use less.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn return_use(store: &Store, id: &CredentialId, public_key: &str) -> Result<(), StoreError> {
    let key = keys::join_token(id);
    let mut args = Args::new();
    args.push(public_key);
    let mut reply = Reply::new(SCRIPT.run(store.connection(), [&key, &key], &args).await?)?;
    match reply.text()?.as_str() {
        "returned" => Ok(()),
        other => Err(unknown_word("credentials/return_join_token", other)),
    }
}
