//! `agents/register`: a run of an agent takes its place in the registry.

use titan_api::{agents::Facts, ids::AgentId, work::HeldLease};

use serde_json::{Value, json};

use super::{lease_list, model_capabilities};
use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Writes, "agents/register", uses [
    "calls", "key", "int", "later", "clock", "pool", "behind", later "event", "record", "sets", later "segment", "job",
    later "retention", later "ending", later "avoid", "terms", "agent", "room", "rank", later "fit", "capable", later "held",
    later "session", later "place", later "binding", "attempt", "class", later "fair", later "line", later "queue",
    later "dependencies", later "hold", later "catalog", "members", "breaker", later "serving", later "settle",
    "due",
]);

/// Registers a run of an agent.
#[derive(Debug, Clone, Copy)]
pub struct RegisterAgent<'a> {
    /// The agent.
    pub agent: &'a AgentId,
    /// Its public key, base64url, out of its credential.
    pub public_key: &'a str,
    /// The random name of this run; the same name again changes nothing.
    pub instance_id: &'a str,
    /// What it is and has; already checked against the bounds of `titan_api::limits`.
    pub facts: &'a Facts,
    /// Attempts of an earlier run that this one has taken over.
    pub running: &'a [HeldLease],
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterOutcome {
    /// It is registered.
    Registered {
        /// The incarnation; goes into the agent's token and comes back with every call.
        epoch: i64,
        /// Of `running`, those that are no longer current.
        stop: Vec<HeldLease>,
        /// How many of those Redis must have known and has lost.
        lost: u64,
    },
    /// A newer run has superseded this one.
    Superseded,
    /// An operator removed it.
    Removed,
    /// Another key has the id.
    Taken,
}

impl RegisterAgent<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<RegisterOutcome, StoreError> {
        let mut args = Args::new();
        args.push(self.agent.as_str())
            .push(self.public_key)
            .push(self.instance_id)
            .push(capabilities(self.facts).to_string())
            .push(serde_json::to_string(self.facts).map_err(|e| StoreError::Corrupt(e.to_string()))?)
            .push(lease_list(self.running))
            .push(pool.now());
        let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
        match word.as_str() {
            "registered" => {
                Ok(RegisterOutcome::Registered { epoch: reply.parse()?, stop: reply.leases()?, lost: reply.parse()? })
            }
            "superseded" => Ok(RegisterOutcome::Superseded),
            "removed" => Ok(RegisterOutcome::Removed),
            "taken" => Ok(RegisterOutcome::Taken),
            other => Err(unknown_word("agents/register", other)),
        }
    }
}

/// What scheduling needs of the facts.
fn capabilities(facts: &Facts) -> Value {
    let gpus: Vec<Value> = facts.gpus.iter().map(|g| json!({ "uuid": g.uuid, "total": g.vram_mb })).collect();
    let mut capabilities = json!({
        "max_jobs": facts.max_jobs,
        "ram": facts.ram_mb,
        "cpus": u64::from(facts.cpus) * 1_000,
        "processes": facts.accepts_processes,
        "labels": facts.labels,
        "gpus": gpus,
        "models": model_capabilities(&facts.models),
        "endpoint": facts.endpoint,
        "price": facts.price_per_hour.unwrap_or(0.0),
    });
    if facts.ephemeral {
        capabilities["ephemeral"] = json!(true);
    }
    capabilities
}
