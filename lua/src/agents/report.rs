//! `agents/report`: what happened to attempts: starts, output, ends.

use std::collections::BTreeMap;

use titan_api::{
    ids::{AgentId, JobId, LeaseId},
    inference::{Receipt, Usage},
    limits::{OUTPUT_CHUNK_BYTES, RECEIPT_BYTES, RESULT_BYTES, TEXT_BYTES, USAGE},
    output::{Encoding, Stream},
    work::{Answer, Claim, Happening, Lease, Report},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use super::{
    TurnedAway,
    claim::{nonce, push_numbers},
    given::{self, Given},
};
use crate::{
    Pool, StoreError,
    reply::{Reply, unknown_word},
    script::{Args, script},
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
        let mut args = Args::new();
        args.push(self.agent.as_str()).push(self.epoch).push(pool.now());
        push_claim(&mut args, next)?;
        let known: Vec<_> = reports.iter().map(|report| ends.get(&report.lease.lease_id)).collect();
        let sent: Vec<_> =
            reports.iter().zip(&known).map(|(report, end)| end.is_none() && push(&mut args, report)).collect();
        // Output and starts may be lost with a failover: the job then runs anew.
        let words: &[&str] = if reports.iter().any(|report| report.event.is_end()) { &["reported"] } else { &[] };
        let (word, mut reply) = pool.call_replicated(&SCRIPT, &args, words).await?;
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

/// Adds one report to the arguments, unless it is malformed in itself.
fn push(args: &mut Args, report: &Report) -> bool {
    let Some((event, values)) = event(report) else {
        return false;
    };
    args.push(report.lease.job_id.as_str()).push(report.lease.attempt).push(report.lease.lease_id.as_str()).push(event);
    for value in values {
        args.push(value);
    }
    true
}

/// The script's word for what happened, with its four values.
fn event(report: &Report) -> Option<(&'static str, [Vec<u8>; 4])> {
    let none = <[Vec<u8>; 4]>::default;
    Some(match &report.event {
        Happening::Started {} => ("started", none()),
        Happening::Completed { result, message, usage } => {
            let [result, usage] = [result_text(result.as_ref())?, usage_text(usage.as_ref())?];
            match &report.receipt {
                Some(receipt) => {
                    let [receipt, model] = receipt_texts(receipt)?;
                    ("receipted", [result, usage, receipt, model])
                }
                None => ("completed", [result, usage, text_of(message.as_ref()), Vec::new()]),
            }
        }
        Happening::Cancelled {} => ("cancelled", none()),
        Happening::Released {} => ("released", none()),
        Happening::Output { offset, stream, data, encoding } => {
            let bytes = match encoding {
                Encoding::Utf8 => data.clone().into_bytes(),
                Encoding::Base64 => STANDARD.decode(data).ok()?,
            };
            let stream = if *stream == Stream::Stdout { b"o" } else { b"e" };
            // Lua counts exactly only up to 2^53.
            let fits = !bytes.is_empty() && bytes.len() <= OUTPUT_CHUNK_BYTES && *offset < 1 << 52;
            fits.then(|| ("output", [offset.to_string().into_bytes(), stream.to_vec(), bytes, Vec::new()]))?
        }
        Happening::Failed { reason, exit_code, signal, message } => {
            let number = |n: &Option<i32>| n.map(|n| n.to_string()).unwrap_or_default().into_bytes();
            let reason = reason.as_str().as_bytes().to_vec();
            ("failed", [reason, number(exit_code), number(signal), text_of(message.as_ref())])
        }
    })
}

/// A result as it is kept: none if there is none, nothing at all if it is too long.
fn result_text(result: Option<&serde_json::Value>) -> Option<Vec<u8>> {
    let text = result.map(ToString::to_string).unwrap_or_default();
    (text.len() <= RESULT_BYTES).then(|| text.into_bytes())
}

/// A usage as it is kept: none if there is none, nothing at all if it is beyond belief.
fn usage_text(usage: Option<&Usage>) -> Option<Vec<u8>> {
    let Some(usage) = usage else { return Some(Vec::new()) };
    let Usage { prompt_tokens, completion_tokens, first_token_ms, generation_ms, load_ms } = usage;
    let figures = [prompt_tokens, completion_tokens, first_token_ms, generation_ms, load_ms];
    if figures.into_iter().flatten().any(|figure| *figure > USAGE) {
        return None;
    }
    serde_json::to_vec(usage).ok()
}

/// A receipt as it is kept, and the model that it names; nothing if it can be none.
fn receipt_texts(receipt: &str) -> Option<[Vec<u8>; 2]> {
    let claims = receipt.split('.').nth(1).filter(|_| receipt.len() <= RECEIPT_BYTES)?;
    let claims: Receipt = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    Some([receipt.as_bytes().to_vec(), claims.model.into_bytes()])
}

/// What an agent says, as much of it as is kept.
fn text_of(message: Option<&String>) -> Vec<u8> {
    message.map(|message| cut(message, TEXT_BYTES)).unwrap_or_default().as_bytes().to_vec()
}

/// The longest beginning of `text` that has at most `bytes` bytes.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
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
