//! `agents/heartbeat`: an agent says that it lives, what it has left and what it holds.

use titan_api::{
    agents::{Measures, Model},
    ids::{AgentId, JobId},
    work::HeldLease,
};

use super::{TurnedAway, lease_list, measures_json, model_capabilities, models_json};
use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Frees, "agents/heartbeat", uses [
    "calls", "key", "int", "later", "clock", "pool", "behind", later "event", "record", "sets", later "segment", "job",
    later "retention", later "ending", later "avoid", "terms", "agent", "room", "rank", later "fit", later "capable",
    later "held", later "session", later "place", later "binding", "attempt", later "class", later "fair",
    later "line", "queue", later "dependencies", later "hold", later "catalog", later "members", "breaker",
    later "serving", later "settle", "due", "caller", "measure",
]);

/// One heartbeat.
#[derive(Debug, Clone, Copy)]
pub struct Heartbeat<'a> {
    /// The agent.
    pub agent: &'a AgentId,
    /// Its incarnation, from its token.
    pub epoch: i64,
    /// Rises with every heartbeat of a run.
    pub seq: u64,
    /// The last claim whose reply the agent has read.
    pub last_claim: u64,
    /// What it has left; already checked against the bounds of `titan_api::limits`.
    pub measures: &'a Measures,
    /// What it holds; each is renewed.
    pub leases: &'a [HeldLease],
    /// The models that it serves, if that changed; already checked likewise.
    pub models: Option<&'a [Model]>,
    /// Whether it wants no more work, since it is shutting down.
    pub leaving: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeartbeatOutcome {
    /// It was heard.
    Heard(Heard),
    /// It was not.
    TurnedAway(TurnedAway),
}

/// What an agent is told in return.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// Of its leases, those that are no longer current.
    pub stop: Vec<HeldLease>,
    /// Jobs to cancel.
    pub cancel: Vec<JobId>,
    /// Whether an operator drains it.
    pub draining: bool,
    /// Whether somebody reads the output of one of its jobs.
    pub watched: bool,
    /// How many of its leases Redis must have known and has lost; told once.
    pub lost: u64,
}

impl Heartbeat<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<HeartbeatOutcome, StoreError> {
        let mut args = Args::new();
        args.push(self.agent.as_str())
            .push(self.epoch)
            .push(self.seq)
            .push(self.last_claim)
            .push(measures_json(self.measures)?)
            .push(lease_list(self.leases))
            .push(if self.leaving { "1" } else { "" })
            .push(self.models.map(|models| model_capabilities(models).to_string()).unwrap_or_default())
            .push(self.models.map(models_json).transpose()?.unwrap_or_default())
            .push(pool.now());
        let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
        if let Some(turned_away) = TurnedAway::from_word(&word) {
            return Ok(HeartbeatOutcome::TurnedAway(turned_away));
        }
        match word.as_str() {
            "heard" => Ok(HeartbeatOutcome::Heard(Heard {
                stop: reply.leases()?,
                cancel: reply.jobs()?,
                draining: reply.flag()?,
                watched: reply.flag()?,
                lost: reply.parse()?,
            })),
            other => Err(unknown_word("agents/heartbeat", other)),
        }
    }
}
