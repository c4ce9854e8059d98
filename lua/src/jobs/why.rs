//! `jobs/why`: why a job waits for an agent.

use titan_api::{
    ids::JobId,
    jobs::{HinderedAgent, Waiting},
    time::Timestamp,
};

use super::explanation::ruled_out;
use crate::{
    Pool, StoreError,
    reply::{Reply, unknown_word},
    script::{Args, script},
};

script!(Reads, "jobs/why", uses [
    "calls", "key", "int", "clock", "pool", "record", "job", "avoid", "terms", "agent", "room", "rank", "fit", "capable", "class", "explain"
]);

/// Finds out why a job waits.
#[derive(Debug, Clone, Copy)]
pub struct WhyWaiting<'a> {
    /// The job.
    pub job: &'a JobId,
}

impl WhyWaiting<'_> {
    /// Runs the script; none if the job does not wait for an agent.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<Option<Waiting>, StoreError> {
        let mut args = Args::new();
        args.push(self.job.as_str()).push(pool.now());
        let (word, mut r) = pool.call(&SCRIPT, &args).await?;
        match word.as_str() {
            "waiting" => Ok(Some(Waiting {
                place: r.parse()?,
                line: r.parse()?,
                since: Timestamp::from_ms(r.parse()?),
                holds: r.some()?,
                may_start_at: r.some()?.map(Timestamp::from_ms),
                ruled_out: ruled_out(r.list()?)?,
                examined: r.parse()?,
                hindered: r.list()?.rest(hindered)?,
            })),
            "not_waiting" => Ok(None),
            other => Err(unknown_word("jobs/why", other)),
        }
    }
}

fn hindered(reply: &mut Reply) -> Result<HinderedAgent, StoreError> {
    let mut r = reply.list()?;
    Ok(HinderedAgent { agent_id: r.parse()?, hindered_by: r.list()?.rest(Reply::text)? })
}
