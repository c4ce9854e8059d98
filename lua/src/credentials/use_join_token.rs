//! `credentials/use_join_token`: uses a join token for a public key.

use titan_api::ids::{AgentId, CredentialId, PoolName};

use crate::{
    Store, StoreError, keys,
    reply::unknown_word,
    script::{Args, script},
};

script!(Writes, "credentials/use_join_token", uses["clock"]);

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

/// Uses a token for a public key (base64url), atomically: of 100 parallel uses of a single-use token one succeeds.
/// The same key may use it again and gets the same agent id. `use_id` is random and names this use.
///
/// # Errors
/// [`StoreError`], as for every operation.
pub async fn use_once(
    store: &Store,
    id: &CredentialId,
    secret_sha256: &str,
    public_key: &str,
    agent: &AgentId,
    use_id: &str,
) -> Result<UseOutcome, StoreError> {
    let key = keys::join_token(id);
    let mut args = Args::new();
    args.push(secret_sha256).push(public_key).push(agent.as_str()).push(use_id).push("");
    let mut reply = store.run_replicated(&SCRIPT, &key, &args, &["used"]).await?;
    match reply.text()?.as_str() {
        "used" => Ok(UseOutcome::Used { pool: reply.parse()?, agent: reply.parse()? }),
        "invalid" => Ok(UseOutcome::Invalid),
        "used_up" => Ok(UseOutcome::UsedUp),
        other => Err(unknown_word("credentials/use_join_token", other)),
    }
}
