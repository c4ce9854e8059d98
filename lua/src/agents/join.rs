//! `agents/join`: reserves an agent's id for its key.

use titan_api::ids::AgentId;

use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Writes, "agents/join", uses ["calls", "key", "clock", "pool"]);

/// Reserves `agent` for its public key. Repeating it is harmless.
#[derive(Debug, Clone, Copy)]
pub struct JoinAgent<'a> {
    /// The id to reserve.
    pub agent: &'a AgentId,
    /// The agent's public key, base64url.
    pub public_key: &'a str,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinOutcome {
    /// The id is the key's.
    Joined,
    /// Another key has the id.
    Taken,
    /// An operator removed the agent with this key; another key may have the id.
    Removed,
}

impl JoinAgent<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<JoinOutcome, StoreError> {
        let mut args = Args::new();
        args.push(self.agent.as_str()).push(self.public_key).push(pool.now());
        match pool.call_replicated(&SCRIPT, &args, &["joined"]).await?.0.as_str() {
            "joined" => Ok(JoinOutcome::Joined),
            "taken" => Ok(JoinOutcome::Taken),
            "removed" => Ok(JoinOutcome::Removed),
            other => Err(unknown_word("agents/join", other)),
        }
    }
}
