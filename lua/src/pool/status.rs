//! `pool/status`: counts of agents and jobs by state.

use titan_api::status::{AgentCounts, JobCounts};

use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Reads, "pool/status", uses ["calls", "key", "clock", "pool"]);

/// Counts agents and jobs.
#[derive(Debug, Clone, Copy)]
pub struct ReadStatus;

impl ReadStatus {
    /// Runs the script: the counts, and the time on the clock of Redis in milliseconds.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<(AgentCounts, JobCounts, i64), StoreError> {
        let mut args = Args::new();
        args.push(pool.now());
        let (word, mut r) = pool.call(&SCRIPT, &args).await?;
        if word != "status" {
            return Err(unknown_word("pool/status", &word));
        }
        let (now_ms, total) = (r.parse()?, r.parse::<u64>()?);
        let (degraded, half_open, offline): (u64, u64, u64) = (r.parse()?, r.parse()?, r.parse()?);
        let healthy = total.saturating_sub(degraded + half_open + offline);
        let (draining, guarded) = (r.parse()?, r.parse()?);
        let agents = AgentCounts { total, healthy, degraded, half_open, offline, draining, guarded };
        let jobs: u64 = r.parse()?;
        let (blocked, delayed, scheduled, running, ended) =
            (r.parse()?, r.parse()?, r.parse()?, r.parse()?, r.parse()?);
        let pending = jobs.saturating_sub(blocked + delayed + scheduled + running + ended);
        Ok((agents, JobCounts { blocked, delayed, pending, scheduled, running, ended }, now_ms))
    }
}
