//! How a job ended: what is said about it, and what exit code follows.

use std::time::Duration;

use titan_api::{
    client::{ClientError, Reply},
    ids::JobId,
    jobs::{Job, JobState},
};
use tokio::time::Instant;

use crate::{failure::Failure, render::jobs::ended_with, session::Session};

/// How long one call waits; the coordinator allows 20 s.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// Between two calls of a coordinator that does not wait.
const PAUSE: Duration = Duration::from_millis(500);

/// Waits until a job has ended.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn job(session: &Session, id: &JobId) -> Result<Reply<Job>, Failure> {
    loop {
        if let Some(job) = poll(session, id, LONGEST_WAIT).await? {
            return Ok(job);
        }
    }
}

/// Waits until a job has ended, but not past `deadline`.
///
/// # Errors
/// [`Failure::TimedOut`] at the deadline; else as for every command.
pub async fn job_by(session: &Session, id: &JobId, deadline: Instant) -> Result<Reply<Job>, Failure> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if let Some(job) = poll(session, id, left.min(LONGEST_WAIT)).await? {
            return Ok(job);
        }
        if left.is_zero() {
            return Err(Failure::TimedOut(format!("job {id} has not ended in that time; it goes on")));
        }
    }
}

/// One call; none if the job has not ended.
async fn poll(session: &Session, id: &JobId, wait: Duration) -> Result<Option<Reply<Job>>, Failure> {
    let began = Instant::now();
    let mut found = session.client.job(id, Some(wait)).await;
    if matches!(found, Err(ClientError::Unreachable { .. })) {
        // The connection that was kept may have been closed just then; the second try makes a new one.
        found = session.client.job(id, Some(wait)).await;
    }
    let job = found.map_err(session.failed(format!("wait for job {id}")))?;
    if job.state.is_ended() {
        return Ok(Some(job));
    }
    // Whatever the coordinator makes of `wait_ms`, it is not asked again at once.
    tokio::time::sleep(PAUSE.saturating_sub(began.elapsed()).min(wait)).await;
    Ok(None)
}

/// Success if the job ended well.
///
/// # Errors
/// [`Failure::JobEnded`] says how it ended otherwise.
pub fn verdict(job: &Job) -> Result<(), Failure> {
    match job.state {
        JobState::Completed => Ok(()),
        _ => Err(Failure::JobEnded(sentence(job))),
    }
}

/// How the job ended, in one sentence.
#[must_use]
pub fn sentence(job: &Job) -> String {
    let agent = job.agent_id.as_ref().map(|agent| format!(" on {agent}")).unwrap_or_default();
    let how = match ended_with(job) {
        how if how.is_empty() || job.state == JobState::Cancelled => String::new(),
        how => format!(" with {how}"),
    };
    let tries = if job.attempt > 1 { format!(" in attempt {}", job.attempt) } else { String::new() };
    let message = job.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    format!("job {} {}{agent}{how}{tries}{message}", job.id, job.state)
}
