//! `tickets/use`: a ticket becomes an attempt of the agent that it was brought to.

use titan_api::{
    ids::{AgentId, JobId},
    inference::UsedTicket,
};

use crate::{
    Pool, StoreError,
    agents::{TurnedAway, nonce},
    reply::unknown_word,
    script::{Args, script},
};

script!(Frees, "tickets/use", uses [
    "calls", "key", "int", "later", "clock", "pool", "behind", later "event", "record", "sets", later "segment", "job",
    later "retention", later "ending", later "avoid", "terms", "agent", "room", "rank", later "fit", later "capable",
    later "held", later "session", later "place", later "binding", "attempt", later "class", later "fair",
    later "line", later "queue", later "dependencies", later "hold", later "catalog", later "members",
    later "breaker", later "serving", later "settle", "due", "caller",
]);

/// Uses a ticket. Repeating it gives the same lease.
#[derive(Debug, Clone, Copy)]
pub struct UseTicket<'a> {
    /// The agent.
    pub agent: &'a AgentId,
    /// Its incarnation, from its token.
    pub epoch: i64,
    /// The ticket's id.
    pub id: &'a JobId,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UseOutcome {
    /// It is a leased attempt.
    Leased(UsedTicket),
    /// It came late, and the agent has no room.
    Busy,
    /// It was used before, or is not for this agent.
    Gone,
    /// The agent was turned away.
    TurnedAway(TurnedAway),
}

impl UseTicket<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<UseOutcome, StoreError> {
        let mut args = Args::new();
        args.push(self.agent.as_str()).push(self.epoch).push(self.id.as_str()).push(nonce()?).push(pool.now());
        let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
        if let Some(turned_away) = TurnedAway::from_word(&word) {
            return Ok(UseOutcome::TurnedAway(turned_away));
        }
        match word.as_str() {
            "leased" => Ok(UseOutcome::Leased(UsedTicket {
                attempt: reply.parse()?,
                lease_id: reply.parse()?,
                lease_ttl_ms: pool.store().settings().lease_ttl_ms,
                model: reply.text()?,
            })),
            "busy" => Ok(UseOutcome::Busy),
            "gone" => Ok(UseOutcome::Gone),
            other => Err(unknown_word("tickets/use", other)),
        }
    }
}
