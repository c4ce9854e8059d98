//! `agents/work`: what happened to attempts, and what their agents claim.
//!
//! Short calls of several agents at once share runs of the script, see [`crate::together`].

mod said;

use std::{pin::Pin, time::Instant};

use titan_api::{
    agents::Measures,
    ids::{AgentId, JobId},
    limits::{MAX_JOBS, REQUESTS},
    work::Claim,
};

use super::{
    TurnedAway,
    given::{self, Given},
    measures_json,
};
use crate::{
    Pool, Store, StoreError, latency,
    reply::{Reply, unknown_word},
    script::{Args, script},
    together::{CHUNK, Own, Shared, Together, Turn, within},
};

pub(super) use said::Said;

script!(Frees, "agents/work", uses [
    "calls", "key", "int", "later", "clock", "pool", "behind", "event", "record", "sets", "segment", "job", "retention", "ending",
    later "avoid", "terms", "agent", "room", "rank", later "fit", later "capable", later "held", later "session",
    later "place", later "binding", "attempt", later "class", later "fair", later "line", "queue",
    later "dependencies", later "probe", later "hold", later "catalog", later "members", later "breaker", later "serving",
    later "settle", "due", "caller", later "measure", later "output", later "meter", "claiming",
]);

/// What has so many reports, half of what a shared run has at most, or so many bytes, has a run for itself.
const SHARED_REPORTS: usize = CHUNK / 2;
const SHARED_BYTES: usize = 8 * 1_024;
/// What a call counts for at least, in reports.
const LEAST_WEIGHT: usize = 2;

/// What the agent claims once its reports are taken in.
#[derive(Debug, Clone, Copy)]
pub struct NextClaim {
    /// The claim's number and how many leases it may bring, with the room that the reports make.
    pub claim: Claim,
    /// For how long from now the agent can be handed a job at once if the claim brings nothing, milliseconds: until it comes
    /// again.
    pub reachable_ms: u64,
}

/// One call of an agent.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) agent: &'a AgentId,
    /// Its incarnation, from its token.
    pub(super) epoch: i64,
    pub(super) claim: Option<NextClaim>,
    pub(super) measures: Option<&'a Measures>,
    /// At most 64 reports, or 32 if it claims.
    pub(super) said: Vec<&'a Said<'a>>,
}

/// What its agent is told.
#[derive(Debug)]
pub(super) struct Told {
    /// An answer for each report.
    pub(super) answers: Reply,
    pub(super) given: Vec<Given>,
    pub(super) cancel: Vec<JobId>,
    pub(super) watched: bool,
}

impl Call<'_> {
    /// Has the script take it in, with calls of others if it may share a run.
    pub(super) async fn run(&self, pool: &Pool) -> Result<Result<Told, TurnedAway>, StoreError> {
        // Boxed without its type, since the compiler looks only so deep into one.
        let told: Pin<Box<dyn Future<Output = _> + Send + '_>> = Box::pin(self.run_in_turn(pool));
        let (word, mut told) = told.await?;
        if let Some(turned_away) = TurnedAway::from_word(&word) {
            return Ok(Err(turned_away));
        }
        if word != "heard" {
            return Err(unknown_word("agents/work", &word));
        }
        let (answers, given) = (told.line()?, given::read(&mut told, pool)?);
        Ok(Ok(Told { answers, given, cancel: told.jobs()?, watched: told.flag()? }))
    }

    async fn run_in_turn(&self, pool: &Pool) -> Result<OfOne, StoreError> {
        let args = self.args()?;
        if !self.may_share(pool, &args) {
            return self.run_by_itself(pool, &args).await;
        }
        let (begun, weight) = (Instant::now(), self.said.len().max(LEAST_WEIGHT));
        match Together::<Calls>::enter(pool, pool.now(), Own { args, weight }).await {
            Turn::Run(_running, own) => self.run_by_itself(pool, &own.args).await,
            Turn::Wait(told) => match within(pool, told).await? {
                Ok(Some(told)) => {
                    latency::note(begun.elapsed());
                    Ok(told)
                }
                // Anew, for a nonce of its own: a run with others may have used this one.
                Ok(None) | Err(_) => self.run_by_itself(pool, &self.args()?).await,
            },
        }
    }

    async fn run_by_itself(&self, pool: &Pool, args: &Args) -> Result<OfOne, StoreError> {
        // Output and starts may be lost with a failover: the job then runs anew. So may a claim, whose jobs go elsewhere.
        let awaited: &[&str] = if self.said.iter().any(|said| said.is_end()) { &["heard"] } else { &[] };
        let told = run_all(pool, &pool.now(), std::slice::from_ref(args), awaited).await?.pop().flatten();
        told.ok_or_else(|| StoreError::Corrupt("agents/work told nothing".to_owned()))
    }

    /// Its arguments, as they stand among those of others.
    fn args(&self) -> Result<Args, StoreError> {
        let mut args = Args::new();
        args.push(self.agent.as_str()).push(self.epoch);
        match self.claim {
            // The script is given no more than it takes.
            Some(NextClaim { claim: Claim { claim, free_slots, free_requests }, reachable_ms }) => {
                args.push(claim).push(free_slots.min(MAX_JOBS)).push(free_requests.min(REQUESTS));
                args.push(reachable_ms).push(nonce()?);
            }
            None => {
                for _ in 0..5 {
                    args.push("");
                }
            }
        }
        args.push(self.measures.map(measures_json).transpose()?.unwrap_or_default()).push(self.said.len());
        for said in &self.said {
            said.push(&mut args);
        }
        Ok(args)
    }

    /// Whether it may go along with others. A run must not be long; and where one comes to nothing, each runs again by itself,
    /// so only what may be done twice goes along.
    fn may_share(&self, pool: &Pool, args: &Args) -> bool {
        self.said.len() < SHARED_REPORTS
            && args.bytes() < SHARED_BYTES
            && !pool.store().connection().waits_for_replicas()
            && self.said.iter().all(|said| said.may_be_done_twice())
    }
}

/// The script's word for one agent, and the rest of what it tells it.
type OfOne = (String, Reply);

/// Runs the script once for these calls.
async fn run_all(pool: &Pool, now: &str, calls: &[Args], awaited: &[&str]) -> Result<Vec<Option<OfOne>>, StoreError> {
    let mut args = Args::new();
    args.push(now);
    for own in calls {
        args.append(own);
    }
    let (word, mut told) = pool.call_replicated(&SCRIPT, &args, awaited).await?;
    match word.as_str() {
        "heard" | "turned_away" => told.list()?.rest(|told| of_one(told.list()?)),
        other => Err(unknown_word("agents/work", other)),
    }
}

fn of_one(mut told: Reply) -> Result<Option<OfOne>, StoreError> {
    let word = told.text()?;
    Ok((word != "alone").then_some((word, told)))
}

/// 128 random bits, in hex: a lease id must not be guessed, nor come again after Redis lost some writes.
pub(crate) fn nonce() -> Result<String, StoreError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| StoreError::Unavailable(format!("no randomness: {e}")))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// Calls of several agents that share runs.
#[derive(Debug)]
pub(crate) struct Calls;

impl Shared for Calls {
    /// As [`Pool::now`] has it.
    type Common = String;
    /// None if it has to come by itself.
    type Told = Option<OfOne>;

    fn line(store: &Store) -> &Together<Self> {
        store.agent_calls()
    }

    async fn run(pool: &Pool, now: String, calls: Vec<Args>) -> Option<Vec<Option<OfOne>>> {
        run_all(pool, &now, &calls, &[]).await.ok()
    }
}
