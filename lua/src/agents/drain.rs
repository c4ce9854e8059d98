//! `agents/drain`: an operator drains an agent, or lets it take work again.

use titan_api::ids::AgentId;

use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Frees, "agents/drain", uses [
    "calls", "key", "int", "later", "clock", "pool", "behind", later "event", "record", "sets", later "segment", "job",
    later "retention", later "ending", later "avoid", "terms", "agent", "room", "rank", later "fit", later "capable",
    later "held", later "session", later "place", later "binding", later "attempt", later "class", later "fair",
    later "line", "queue", later "dependencies", later "hold", later "catalog", later "members", "breaker",
    later "serving", later "settle", "due",
]);

/// Drains or resumes an agent. Jobs bound to a draining agent go elsewhere; running ones finish.
#[derive(Debug, Clone, Copy)]
pub struct SetDraining<'a> {
    /// The agent.
    pub agent: &'a AgentId,
    /// `true` drains, `false` resumes.
    pub draining: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainOutcome {
    /// It is so, now or before.
    Done,
    /// There is no such agent.
    NotFound,
}

impl SetDraining<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<DrainOutcome, StoreError> {
        let mut args = Args::new();
        args.push(self.agent.as_str()).push(if self.draining { "1" } else { "" }).push(pool.now());
        match pool.call(&SCRIPT, &args).await?.0.as_str() {
            "done" => Ok(DrainOutcome::Done),
            "not_found" => Ok(DrainOutcome::NotFound),
            other => Err(unknown_word("agents/drain", other)),
        }
    }
}
