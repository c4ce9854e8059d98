//! `jobs/cancel`: ends a job, or tells its agent to end it.

use titan_api::{ids::JobId, jobs::JobState};

use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Frees, "jobs/cancel", uses [
    "calls", "key", "int", "later", "clock", "pool", "behind", later "event", "record", "sets", later "segment", "job", "retention",
    "ending", later "avoid", "terms", "agent", "room", "rank", later "fit", later "capable", later "held", later "session",
    later "place", later "binding", later "attempt", later "class", later "fair", later "line", "queue",
    later "dependencies", later "hold", later "catalog", later "members", later "breaker", later "serving",
    later "settle", "due",
]);

/// Cancels a job. Repeating it is harmless; a job that has ended stays as it is.
#[derive(Debug, Clone, Copy)]
pub struct CancelJob<'a> {
    /// The job.
    pub job: &'a JobId,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// There is such a job.
    Done {
        /// The state that it is in now: `cancelled`, or how it had ended before.
        state: JobState,
        /// Whether the agent still has to end its processes.
        cancelling: bool,
    },
    /// There is none.
    NotFound,
}

impl CancelJob<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<CancelOutcome, StoreError> {
        let mut args = Args::new();
        args.push(self.job.as_str()).push(pool.now());
        let (word, mut reply) = pool.call_replicated(&SCRIPT, &args, &["done"]).await?;
        match word.as_str() {
            "done" => {
                let state = reply.text()?;
                let state = JobState::from_word(&state).ok_or_else(|| unknown_word("jobs/cancel", &state))?;
                Ok(CancelOutcome::Done { state, cancelling: reply.flag()? })
            }
            "not_found" => Ok(CancelOutcome::NotFound),
            other => Err(unknown_word("jobs/cancel", other)),
        }
    }
}
