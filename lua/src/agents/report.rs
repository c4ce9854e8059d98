//! What happened to attempts (starts, output, ends), perhaps with a claim. The script is `agents/work`, see [`super::work`].

use std::collections::BTreeMap;

use titan_api::{
    ids::{AgentId, JobId, LeaseId},
    work::{Answer, Lease, Report},
};

use super::{
    TurnedAway,
    given::{self, Given},
    work::{Call, NextClaim, Said},
};
use crate::{
    Pool, StoreError,
    reply::{Reply, unknown_word},
};

/// Reports of one agent in a run of the script.
const REPORTS_A_RUN: usize = 64;
/// The same in a run that hands out jobs besides.
const REPORTS_BESIDE_A_CLAIM: usize = 32;

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
        let mut chunks: Vec<_> = self.reports.chunks(REPORTS_A_RUN).collect();
        if claims && wait {
            chunks.push(&[]);
        } else if claims {
            let last = chunks.pop().unwrap_or_default();
            let (before, last) = last.split_at(last.len().saturating_sub(REPORTS_BESIDE_A_CLAIM));
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
        let said = reports.iter().zip(&known).map(|(report, end)| if end.is_none() { Said::of(report) } else { None });
        let said: Vec<_> = said.collect();
        let call = Call {
            agent: self.agent,
            epoch: self.epoch,
            claim: next,
            measures: None,
            said: said.iter().flatten().collect(),
        };
        let told = match call.run(pool).await? {
            Ok(told) => told,
            Err(why) => return Ok(Err(why)),
        };
        let mut answers = told.answers;
        let answers = said.iter().zip(known).map(|(said, end)| match end {
            Some(&expected_offset) => Ok(Answer::OffsetMismatch { expected_offset }),
            None if said.is_some() => answer(&mut answers),
            None => Ok(Answer::Invalid {}),
        });
        let answers = answers.collect::<Result<_, _>>()?;
        let reported = Reported { answers, leases: Vec::new(), cancel: told.cancel, watched: told.watched };
        Ok(Ok((reported, told.given)))
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

fn answer(reply: &mut Reply) -> Result<Answer, StoreError> {
    match reply.text()?.as_str() {
        "accepted" => Ok(Answer::Accepted {}),
        "stale" => Ok(Answer::StaleAttempt {}),
        "invalid" => Ok(Answer::Invalid {}),
        ends => ends
            .parse()
            .map(|expected_offset| Answer::OffsetMismatch { expected_offset })
            .map_err(|_| unknown_word("agents/work", ends)),
    }
}
