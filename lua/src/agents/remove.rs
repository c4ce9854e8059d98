//! `agents/remove`: an operator removes an agent for good.

use titan_api::ids::AgentId;

use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Frees, "agents/remove", uses [
    "calls", "key", "int", "later", "clock", "pool", "behind", later "event", "record", "sets", later "segment", "job",
    later "retention", later "ending", later "avoid", "terms", "agent", "room", "rank", later "fit", later "capable",
    later "held", later "session", later "place", later "binding", later "attempt", later "class", later "fair",
    later "line", "queue", later "dependencies", later "hold", later "catalog", "members", "breaker",
    later "serving", "settle", "due",
]);

/// Removes an agent: its credential is void, bound jobs go elsewhere at once, running ones when their leases end.
#[derive(Debug, Clone, Copy)]
pub struct RemoveAgent<'a> {
    /// The agent.
    pub agent: &'a AgentId,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoveOutcome {
    /// It is removed, now or before.
    Removed,
    /// No agent ever joined under that id.
    NotFound,
}

impl RemoveAgent<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<RemoveOutcome, StoreError> {
        let mut args = Args::new();
        args.push(self.agent.as_str()).push(pool.now());
        match pool.call_replicated(&SCRIPT, &args, &["removed"]).await?.0.as_str() {
            "removed" => Ok(RemoveOutcome::Removed),
            "not_found" => Ok(RemoveOutcome::NotFound),
            other => Err(unknown_word("agents/remove", other)),
        }
    }
}
