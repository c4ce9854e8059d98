//! `agents/claim`: hands an agent the jobs that wait for it, each under a lease.

use titan_api::{
    agents::Measures,
    ids::{AgentId, JobId},
    limits::{MAX_JOBS, REQUESTS},
    work::{Claim, Lease},
};

use super::{TurnedAway, given, measures_json};
use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Frees, "agents/claim", uses [
    "calls", "key", "int", "later", "clock", "pool", "behind", later "event", "record", "sets", later "segment", "job",
    later "retention", later "ending", later "avoid", "terms", "agent", "room", "rank", later "fit", later "capable",
    later "held", later "session", later "place", later "binding", "attempt", later "class", later "fair",
    later "line", "queue", later "dependencies", later "probe", later "hold", later "catalog", later "members",
    later "breaker", later "serving", later "settle", "due", "caller", "measure", "claiming",
]);

/// One claim.
///
/// A caller that parks runs it again whenever the agent's [`crate::watch::Topic`] fires; as long as the number got no
/// lease, running it again is a fresh try.
#[derive(Debug, Clone, Copy)]
pub struct ClaimJobs<'a> {
    /// The agent.
    pub agent: &'a AgentId,
    /// Its incarnation, from its token.
    pub epoch: i64,
    /// The claim's number and how many leases it may bring.
    pub claim: Claim,
    /// What the box has left, if it was measured since the last call.
    pub measures: Option<&'a Measures>,
    /// For how long from now the agent can be handed a job at once, milliseconds: the time left that it parks, or
    /// `poll_after_ms` if that is at most a second, else 0.
    pub reachable_ms: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum ClaimOutcome {
    /// The claim was taken in.
    Claimed(Claimed),
    /// It was not.
    TurnedAway(TurnedAway),
}

/// What an agent is given.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Claimed {
    /// The leases of this claim's number.
    pub leases: Vec<Lease>,
    /// Jobs to cancel.
    pub cancel: Vec<JobId>,
    /// Whether somebody reads the output of one of its jobs.
    pub watched: bool,
}

impl ClaimJobs<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<ClaimOutcome, StoreError> {
        let mut args = Args::new();
        args.push(self.agent.as_str()).push(self.epoch);
        push_numbers(&mut args, self.claim)
            .push(self.measures.map(measures_json).transpose()?.unwrap_or_default())
            .push(self.reachable_ms)
            .push(nonce()?)
            .push(pool.now());
        let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
        if let Some(turned_away) = TurnedAway::from_word(&word) {
            return Ok(ClaimOutcome::TurnedAway(turned_away));
        }
        match word.as_str() {
            "claimed" => {
                let given = given::read(&mut reply, pool)?;
                let leases = given::readable(pool, self.agent, self.epoch, given).await?;
                Ok(ClaimOutcome::Claimed(Claimed { leases, cancel: reply.jobs()?, watched: reply.flag()? }))
            }
            other => Err(unknown_word("agents/claim", other)),
        }
    }
}

/// Adds a claim's number and what it is for, of which the script is given no more than it takes.
pub(super) fn push_numbers(args: &mut Args, claim: Claim) -> &mut Args {
    args.push(claim.claim).push(claim.free_slots.min(MAX_JOBS)).push(claim.free_requests.min(REQUESTS))
}

/// 128 random bits, in hex: a lease id must not be guessed, nor come again after Redis lost some writes.
pub(crate) fn nonce() -> Result<String, StoreError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| StoreError::Unavailable(format!("no randomness: {e}")))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
