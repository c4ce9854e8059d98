//! `usage/forget`: forgets what an API key has had of models.

use titan_api::ids::CredentialId;

use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Frees, "usage/forget", uses ["calls", "key", "clock", "pool"]);

/// Forgets it, after the key was revoked. What its last requests add after that is forgotten when nothing is added for
/// long, as that of any key.
#[derive(Debug, Clone, Copy)]
pub struct ForgetUsage<'a> {
    /// The key.
    pub key: &'a CredentialId,
}

impl ForgetUsage<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<(), StoreError> {
        let mut args = Args::new();
        args.push(self.key.as_str()).push(pool.now());
        let (word, _) = pool.call(&SCRIPT, &args).await?;
        if word == "forgotten" { Ok(()) } else { Err(unknown_word("usage/forget", &word)) }
    }
}
