//! `agents/report`: what happened to attempts: starts, output, ends.

use std::collections::BTreeMap;

use titan_api::{
    ids::{AgentId, JobId, LeaseId},
    inference::{Receipt, Usage},
    limits::{OUTPUT_CHUNK_BYTES, RECEIPT_BYTES, RESULT_BYTES, TEXT_BYTES, USAGE},
    output::{Encoding, Stream},
    work::{Answer, Happening, Report},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use super::TurnedAway;
use crate::{
    Pool, StoreError,
    reply::{Reply, unknown_word},
    script::{Args, script},
};

script!(Frees, "agents/report", uses [
    "calls", "key", "int", "later", "clock", "pool", "behind", "event", "record", "sets", "segment", "job", "retention", "ending",
    later "avoid", "agent", "room", "rank", later "fit", later "capable", later "held", later "session",
    later "place", later "binding", "attempt", later "class", later "fair", later "line", "queue",
    later "dependencies", later "hold", later "catalog", later "members", later "breaker", later "serving",
    later "settle", "due", "caller", later "output", later "meter",
]);

/// Reports in one run of the script.
const CHUNK: usize = 64;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportOutcome {
    /// The batch was looked at.
    Reported(Reported),
    /// It was not.
    TurnedAway(TurnedAway),
}

/// What an agent is told in return.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reported {
    /// One answer for each report, in order. A report that is malformed in itself is `Invalid` without asking Redis.
    pub answers: Vec<Answer>,
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
        let (mut all, mut ends) = (Reported::default(), Ends::new());
        for chunk in self.reports.chunks(CHUNK) {
            match self.run_chunk(pool, chunk, &ends).await? {
                ReportOutcome::Reported(part) => {
                    ends.extend(chunk.iter().zip(&part.answers).filter_map(end_of_output));
                    all.answers.extend(part.answers);
                    (all.cancel, all.watched) = (part.cancel, part.watched);
                }
                turned_away @ ReportOutcome::TurnedAway(_) => return Ok(turned_away),
            }
        }
        Ok(ReportOutcome::Reported(all))
    }

    /// Reports of a lease that has an end already are answered by that alone, as the script does within one run.
    async fn run_chunk(&self, pool: &Pool, reports: &[Report], ends: &Ends) -> Result<ReportOutcome, StoreError> {
        let mut args = Args::new();
        args.push(self.agent.as_str()).push(self.epoch).push(pool.now());
        let known: Vec<_> = reports.iter().map(|report| ends.get(&report.lease.lease_id)).collect();
        let sent: Vec<_> =
            reports.iter().zip(&known).map(|(report, end)| end.is_none() && push(&mut args, report)).collect();
        // Output and starts may be lost with a failover: the job then runs anew.
        let words: &[&str] = if reports.iter().any(|report| is_end(&report.event)) { &["reported"] } else { &[] };
        let (word, mut reply) = pool.call_replicated(&SCRIPT, &args, words).await?;
        if let Some(turned_away) = TurnedAway::from_word(&word) {
            return Ok(ReportOutcome::TurnedAway(turned_away));
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
        Ok(ReportOutcome::Reported(Reported { answers, cancel: reply.jobs()?, watched: reply.flag()? }))
    }
}

/// Where the output of leases ends, once a chunk came that begins after that: whatever comes later in the same batch was said in
/// the belief that the chunk was taken.
type Ends = BTreeMap<LeaseId, u64>;

fn end_of_output((report, answer): (&Report, &Answer)) -> Option<(LeaseId, u64)> {
    match answer {
        Answer::OffsetMismatch { expected_offset } => Some((report.lease.lease_id.clone(), *expected_offset)),
        _ => None,
    }
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

/// Whether it ends an attempt.
fn is_end(event: &Happening) -> bool {
    !matches!(event, Happening::Started {} | Happening::Output { .. })
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
