//! `jobs/retry`: tries a job again that failed or was cancelled.

use titan_api::{ids::JobId, jobs::JobState, limits::UNENDED_JOBS};

use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Writes, "jobs/retry", uses [
    "calls", "key", "int", "later", "clock", "pool", "behind", later "event", "record", "sets", later "segment", "job",
    later "retention", later "ending", later "avoid", "terms", "agent", "room", "rank", "fit", later "capable", later "held",
    later "session", "place", "binding", later "attempt", "class", later "fair", later "line", "queue",
    later "dependencies", later "hold", later "catalog", later "members", later "breaker", later "serving",
    later "settle", "due",
]);

/// Tries an ended job again with a new budget of attempts. Repeating it is harmless.
#[derive(Debug, Clone, Copy)]
pub struct RetryJob<'a> {
    /// The job.
    pub job: &'a JobId,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOutcome {
    /// It is in this state now; one that had not ended is left as it was.
    Done(JobState),
    /// It ended well, and stays so.
    Completed,
    /// It was cancelled, and its processes are not known to be gone yet.
    Ending,
    /// What the model was asked is not kept any more.
    Forgotten,
    /// There is no such job.
    NotFound,
}

impl RetryJob<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation; [`StoreError::Full`] if the pool can hold no more unended jobs.
    pub async fn run(&self, pool: &Pool) -> Result<RetryOutcome, StoreError> {
        let mut args = Args::new();
        args.push(self.job.as_str()).push(UNENDED_JOBS).push(pool.now());
        let (word, mut reply) = pool.call_replicated(&SCRIPT, &args, &["done"]).await?;
        match word.as_str() {
            "done" => {
                let state = reply.text()?;
                let state = JobState::from_word(&state).ok_or_else(|| unknown_word("jobs/retry", &state))?;
                Ok(RetryOutcome::Done(state))
            }
            "completed" => Ok(RetryOutcome::Completed),
            "ending" => Ok(RetryOutcome::Ending),
            "forgotten" => Ok(RetryOutcome::Forgotten),
            "not_found" => Ok(RetryOutcome::NotFound),
            "full" => Err(StoreError::full_of_jobs()),
            other => Err(unknown_word("jobs/retry", other)),
        }
    }
}
