//! `output/append`: what an attempt writes, out of an upload.

use titan_api::{ids::AgentId, work::HeldLease};

use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Frees, "output/append", uses ["calls", "key", "int", "clock", "pool", "behind", "record", "sets", "segment", "job", "retention", "output"]);

/// Appends to the output of an attempt. Repeating it is harmless.
#[derive(Debug, Clone, Copy)]
pub struct AppendOutput<'a> {
    /// The agent.
    pub agent: &'a AgentId,
    /// Its attempt.
    pub lease: &'a HeldLease,
    /// Bytes that the attempt wrote before, less than 2^52.
    pub offset: u64,
    /// The bytes, at most `titan_api::limits::OUTPUT_CHUNK_BYTES`.
    pub data: &'a [u8],
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It is kept, and the output ends here.
    Appended(u64),
    /// It begins after the end of the output, which is here.
    Gap(u64),
    /// No answer of a model is that long.
    TooLong,
    /// The attempt is no longer current.
    Stale,
}

impl AppendOutput<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<AppendOutcome, StoreError> {
        let mut args = Args::new();
        args.push(self.agent.as_str())
            .push(self.lease.job_id.as_str())
            .push(self.lease.attempt)
            .push(self.lease.lease_id.as_str())
            .push(self.offset)
            .push(self.data)
            .push(pool.now());
        let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
        match word.as_str() {
            "appended" => Ok(AppendOutcome::Appended(reply.parse()?)),
            "gap" => Ok(AppendOutcome::Gap(reply.parse()?)),
            "too_long" => Ok(AppendOutcome::TooLong),
            "stale" => Ok(AppendOutcome::Stale),
            other => Err(unknown_word("output/append", other)),
        }
    }
}
