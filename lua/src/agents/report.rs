//! `agents/report`: what happened to attempts: starts, output, ends.

mod words;

use std::{collections::BTreeMap, pin::Pin, time::Instant};

use titan_api::{
    ids::{AgentId, JobId, LeaseId},
    limits::{MAX_JOBS, REQUESTS},
    work::{Answer, Claim, Happening, Lease, Report},
};

use super::{
    TurnedAway,
    claim::{nonce, push_numbers},
    given::{self, Given},
};
use crate::{
    Pool, Store, StoreError, latency,
    reply::{Reply, unknown_word},
    script::{Args, script},
    together::{Own, Shared, Together, Turn, within},
};

script!(Frees, "agents/report", uses [
    "calls", "key", "int", "later", "clock", "pool", "behind", "event", "record", "sets", "segment", "job", "retention", "ending",
    later "avoid", "terms", "agent", "room", "rank", later "fit", later "capable", later "held", later "session",
    later "place", later "binding", "attempt", later "class", later "fair", later "line", "queue",
    later "dependencies", later "probe", later "hold", later "catalog", later "members", later "breaker", later "serving",
    later "settle", "due", "caller", later "output", later "meter",
    later "claiming",
]);

/// Reports in one run of the script.
const CHUNK: usize = 64;
/// The same in a run that hands out jobs besides.
const CHUNK_WITH_CLAIM: usize = 32;

/// What weighs more than this half of a run, or has so many bytes, has one for itself.
const SHARED_WEIGHT: usize = CHUNK_WITH_CLAIM / 2;
const SHARED_BYTES: usize = 8 * 1_024;

/// Reports of one agent, done in order.
#[derive(Debug, Clone, Copy)]
pub struct ReportBatch<'a> {
    /// The agent.
    pub agent: &'a AgentId,
    /// Its incarnation, from its token.
    pub epoch: i64,
    /// The reports, at most `titan_api::limits::REPORTS`. Who has signed their receipts was checked before.
    pub reports: &'a [Report],
}

/// What the agent claims once its reports are taken in.
#[derive(Debug, Clone, Copy)]
pub struct NextClaim {
    /// The claim's number and how many leases it may bring, with the room that the reports make.
    pub claim: Claim,
    /// For how long from now the agent can be handed a job at once if the claim brings nothing, milliseconds: until it comes
    /// again.
    pub reachable_ms: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum ReportOutcome {
    /// The batch was looked at.
    Reported(Reported),
    /// It was not.
    TurnedAway(TurnedAway),
}

/// What an agent is told in return.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reported {
    /// One answer for each report, in order. A report that is malformed in itself is `Invalid` without asking Redis.
    pub answers: Vec<Answer>,
    /// The leases of the claim, if there was one.
    pub leases: Vec<Lease>,
    /// Jobs to cancel.
    pub cancel: Vec<JobId>,
    /// Whether somebody reads the output of one of its jobs.
    pub watched: bool,
}

impl ReportBatch<'_> {
    /// Runs the script, in as many chunks as its bounds need.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation. Chunks that ran before the error stay; a repeat is harmless. With
    /// [`StoreError::NotReplicated`] an end was taken in, and no replica has it yet.
    pub async fn run(&self, pool: &Pool) -> Result<ReportOutcome, StoreError> {
        Ok(match self.take_in(pool, None).await? {
            Ok((reported, _)) => ReportOutcome::Reported(reported),
            Err(why) => ReportOutcome::TurnedAway(why),
        })
    }

    /// The same, and claims once all reports are taken in.
    ///
    /// # Errors
    /// As [`Self::run`]. A repeat under the claim's number gets the same leases.
    pub async fn run_and_claim(&self, pool: &Pool, next: NextClaim) -> Result<ReportOutcome, StoreError> {
        Ok(match self.take_in(pool, Some(next)).await? {
            Ok((reported, given)) => {
                let leases = given::readable(pool, self.agent, self.epoch, given).await?;
                ReportOutcome::Reported(Reported { leases, ..reported })
            }
            Err(why) => ReportOutcome::TurnedAway(why),
        })
    }

    async fn take_in(&self, pool: &Pool, next: Option<NextClaim>) -> Result<TakenIn, StoreError> {
        let (mut all, mut given, mut ends) = (Reported::default(), Vec::new(), Ends::new());
        let chunks = self.chunks(next.is_some(), pool.store().connection().waits_for_replicas());
        let last = chunks.len().saturating_sub(1);
        for (n, chunk) in chunks.into_iter().enumerate() {
            match self.run_chunk(pool, chunk, &ends, next.filter(|_| n == last)).await? {
                Ok((part, its_given)) => {
                    ends.extend(chunk.iter().zip(&part.answers).filter_map(end_of_output));
                    all.answers.extend(part.answers);
                    (all.cancel, all.watched, given) = (part.cancel, part.watched, its_given);
                }
                Err(turned_away) => return Ok(Err(turned_away)),
            }
        }
        Ok(Ok((all, given)))
    }

    /// The reports of each run. A claim goes with the last, which has fewer; with none where reports wait for a replica, or jobs
    /// would be handed out to an agent that is told to come again.
    fn chunks(&self, claims: bool, wait: bool) -> Vec<&[Report]> {
        let mut chunks: Vec<_> = self.reports.chunks(CHUNK).collect();
        if claims && wait {
            chunks.push(&[]);
        } else if claims {
            let last = chunks.pop().unwrap_or_default();
            let (before, last) = last.split_at(last.len().saturating_sub(CHUNK_WITH_CLAIM));
            chunks.extend([before, last].into_iter().skip(usize::from(before.is_empty())));
        }
        chunks
    }

    /// Reports of a lease that has an end already are answered by that alone, as the script does within one run.
    async fn run_chunk(
        &self,
        pool: &Pool,
        reports: &[Report],
        ends: &Ends,
        next: Option<NextClaim>,
    ) -> Result<TakenIn, StoreError> {
        let known: Vec<_> = reports.iter().map(|report| ends.get(&report.lease.lease_id)).collect();
        let mut happened = Args::new();
        let sent: Vec<_> =
            reports.iter().zip(&known).map(|(r, end)| end.is_none() && words::push(&mut happened, r)).collect();
        let mut own = Args::new();
        own.push(self.agent.as_str()).push(self.epoch);
        push_claim(&mut own, next)?;
        own.push(sent.iter().filter(|sent| **sent).count()).append(&happened);
        // Boxed without its type, since the compiler looks only so deep into one.
        let told: Pin<Box<dyn Future<Output = _> + Send + '_>> = Box::pin(run_in_turn(pool, reports, next, own));
        let (word, mut reply) = told.await?;
        if let Some(turned_away) = TurnedAway::from_word(&word) {
            return Ok(Err(turned_away));
        }
        if word != "reported" {
            return Err(unknown_word("agents/report", &word));
        }
        let mut told = reply.line()?;
        let answers = sent.into_iter().zip(known).map(|(sent, end)| match end {
            Some(&expected_offset) => Ok(Answer::OffsetMismatch { expected_offset }),
            None if sent => answer(&mut told),
            None => Ok(Answer::Invalid {}),
        });
        let answers = answers.collect::<Result<_, _>>()?;
        let given = given::read(&mut reply, pool)?;
        let reported = Reported { answers, leases: Vec::new(), cancel: reply.jobs()?, watched: reply.flag()? };
        Ok(Ok((reported, given)))
    }
}

/// The script's word for one agent, and the rest of what it tells it.
type Told = (String, Reply);

/// What the script tells an agent: in a run with others, if there are some and that is to be.
async fn run_in_turn(pool: &Pool, reports: &[Report], next: Option<NextClaim>, own: Args) -> Result<Told, StoreError> {
    // Output and starts may be lost with a failover: the job then runs anew.
    let awaited: &[&str] = if reports.iter().any(|report| report.event.is_end()) { &["reported"] } else { &[] };
    let weight = weight(reports, next);
    if !may_share(pool, reports, weight, &own) {
        return run_by_itself(pool, &own, awaited).await;
    }
    let begun = Instant::now();
    // Should a run with others come to nothing.
    let again = own.clone();
    match Together::<Reports>::enter(pool, pool.now(), Own { args: own, weight }).await {
        Turn::Run(_running, own) => run_by_itself(pool, &own.args, awaited).await,
        Turn::Wait(told) => match within(pool, told).await? {
            Ok(Some(told)) => {
                latency::note(begun.elapsed());
                Ok(told)
            }
            Ok(None) | Err(_) => run_by_itself(pool, &again, awaited).await,
        },
    }
}

async fn run_by_itself(pool: &Pool, own: &Args, awaited: &[&str]) -> Result<Told, StoreError> {
    let told = run_all(pool, &pool.now(), std::slice::from_ref(own), awaited).await?.pop().flatten();
    told.ok_or_else(|| StoreError::Corrupt("agents/report told nothing".to_owned()))
}

/// Runs the script once for these agents. None for one that has to report by itself.
async fn run_all(pool: &Pool, now: &str, each: &[Args], awaited: &[&str]) -> Result<Vec<Option<Told>>, StoreError> {
    let mut args = Args::new();
    args.push(now);
    for own in each {
        args.append(own);
    }
    let (word, mut reply) = pool.call_replicated(&SCRIPT, &args, awaited).await?;
    match word.as_str() {
        "reported" | "turned_away" => reply.list()?.rest(|reply| told(reply.list()?)),
        other => Err(unknown_word("agents/report", other)),
    }
}

/// What one agent is told, its word first.
fn told(mut reply: Reply) -> Result<Option<Told>, StoreError> {
    let word = reply.text()?;
    Ok((word != "failed").then_some((word, reply)))
}

/// How many reports, or jobs that are handed out, take a run as long.
fn weight(reports: &[Report], next: Option<NextClaim>) -> usize {
    let slots = next.map_or(0, |next| next.claim.free_slots.min(MAX_JOBS) + next.claim.free_requests.min(REQUESTS));
    usize::try_from(slots).unwrap_or(usize::MAX).min(CHUNK_WITH_CLAIM).max(reports.len()).max(1)
}

/// Whether reports may go along with those of other agents: a run must not be long, and where one comes to nothing, what it has
/// done for an agent is done again by itself, so that only such go along as it does no harm to do twice.
fn may_share(pool: &Pool, reports: &[Report], weight: usize, own: &Args) -> bool {
    let is_harmless = |report: &Report| match &report.event {
        Happening::Started {} => true,
        Happening::Completed { usage, .. } => usage.is_none() && report.receipt.is_none(),
        _ => false,
    };
    weight <= SHARED_WEIGHT
        && own.bytes() <= SHARED_BYTES
        && !pool.store().connection().waits_for_replicas()
        && reports.iter().all(is_harmless)
}

/// Reports of several agents that share runs.
#[derive(Debug)]
pub(crate) struct Reports;

impl Shared for Reports {
    /// As [`Pool::now`] has it.
    type Common = String;
    /// None if it has to report by itself.
    type Told = Option<Told>;

    fn line(store: &Store) -> &Together<Self> {
        store.reports()
    }

    async fn run(pool: &Pool, now: String, each: Vec<Args>) -> Option<Vec<Option<Told>>> {
        run_all(pool, &now, &each, &[]).await.ok()
    }
}

/// What a run was told, and what its claim was given.
type TakenIn = Result<(Reported, Vec<Given>), TurnedAway>;

/// Where the output of leases ends, once a chunk came that begins after that: whatever comes later in the same batch was said in
/// the belief that the chunk was taken.
type Ends = BTreeMap<LeaseId, u64>;

fn end_of_output((report, answer): (&Report, &Answer)) -> Option<(LeaseId, u64)> {
    match answer {
        Answer::OffsetMismatch { expected_offset } => Some((report.lease.lease_id.clone(), *expected_offset)),
        _ => None,
    }
}

/// Adds what is claimed to the arguments.
fn push_claim(args: &mut Args, next: Option<NextClaim>) -> Result<(), StoreError> {
    match next {
        Some(NextClaim { claim, reachable_ms }) => {
            push_numbers(args, claim).push(reachable_ms).push(nonce()?);
        }
        None => {
            for _ in 0..5 {
                args.push("");
            }
        }
    }
    Ok(())
}

fn answer(reply: &mut Reply) -> Result<Answer, StoreError> {
    match reply.text()?.as_str() {
        "accepted" => Ok(Answer::Accepted {}),
        "stale" => Ok(Answer::StaleAttempt {}),
        "invalid" => Ok(Answer::Invalid {}),
        ends => ends
            .parse()
            .map(|expected_offset| Answer::OffsetMismatch { expected_offset })
            .map_err(|_| unknown_word("agents/report", ends)),
    }
}
