//! How a job ended: what is said about it, and what exit code follows.

use std::time::Duration;

use clap::Args;
use titan_api::{
    client::{ClientError, Reply},
    ids::JobId,
    jobs::{Job, JobState, Reason},
    problem::ProblemType,
};
use tokio::time::{Instant, timeout_at};

use crate::{
    failure::Failure,
    patience::{Patience, Trouble, is_too_often},
    render::jobs::ended_with,
    session::Session,
};

/// How long one call waits; the coordinator allows 20 s.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// The exit code if the job's program had none.
const WITHOUT_CODE: u8 = 3;
/// By how much an answer may come behind the deadline that it was asked for.
const ANSWER_SPARE: Duration = Duration::from_secs(1);
/// Between two calls of a coordinator that does not wait.
const PAUSE: Duration = Duration::from_millis(500);

/// Waits until a job has ended, and its processes with it.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn job(session: &Session, id: &JobId) -> Result<Reply<Job>, Failure> {
    job_by(session, id, None).await
}

/// Waits until a job has ended, but not past a deadline, if there is one.
///
/// # Errors
/// [`Failure::TimedOut`] at the deadline; else as for every command.
pub async fn job_by(session: &Session, id: &JobId, deadline: Option<Instant>) -> Result<Reply<Job>, Failure> {
    let ended = until_ended(session, id, deadline);
    let Some(deadline) = deadline else { return ended.await };
    timeout_at(deadline + ANSWER_SPARE, ended).await.unwrap_or_else(|_| {
        let what = format!("the coordinator did not say within that time whether job {id} has ended");
        Err(Failure::TimedOut(what))
    })
}

/// A coordinator that has answered once may be away for a while, so it is first asked for an answer at once, and so it is when it
/// is back.
async fn until_ended(session: &Session, id: &JobId, deadline: Option<Instant>) -> Result<Reply<Job>, Failure> {
    let (mut trouble, mut has_answered, mut ends_late) = (Trouble::new(Patience::default()), false, false);
    loop {
        let left = deadline.map_or(LONGEST_WAIT, |deadline| deadline.saturating_duration_since(Instant::now()));
        let began = Instant::now();
        let wait = if has_answered && !trouble.is_there() { left.min(LONGEST_WAIT) } else { Duration::ZERO };
        match ask(session, id, wait).await {
            Ok(job) if job.state.is_ended() && !job.cancelling => {
                trouble.is_over(session);
                return Ok(job);
            }
            Ok(job) if has_answered || job.cancelling => {
                if job.cancelling && !std::mem::replace(&mut ends_late, true) {
                    session.remark(&format!("[titan: job {id} is {}, and its processes are being ended]", job.state));
                }
                has_answered = true;
                trouble.is_over(session);
                // Whatever the coordinator makes of `wait_ms`, it is not asked again at once.
                tokio::time::sleep(PAUSE.saturating_sub(began.elapsed()).min(left)).await;
            }
            Ok(_) => has_answered = true,
            Err(error) if has_answered && is_missing(&error) => return Err(gone(id)),
            Err(error) if (has_answered || is_too_often(&error)) && trouble.may_pass(&error) => {
                trouble.rest(session, Some(&error)).await;
            }
            Err(error) => return Err(session.failed(format!("wait for job {id}"))(error)),
        }
        if left.is_zero() {
            return Err(Failure::TimedOut(if ends_late {
                format!("job {id} was cancelled, and its processes have not ended in that time")
            } else {
                format!("job {id} has not ended in that time; it goes on")
            }));
        }
    }
}

/// Whether the coordinator says that there is no such job.
pub(crate) fn is_missing(error: &ClientError) -> bool {
    error.problem().is_some_and(|problem| problem.problem_type() == Some(ProblemType::NotFound))
}

/// That a job is not there any more, which had not ended when it was seen last; the coordinator cannot know that it was.
pub(crate) fn gone(id: &JobId) -> Failure {
    Failure::Missing(format!(
        "job {id} is gone, and had not ended when it was seen last: Redis has probably lost data, of which `titan events --topic \
         agent.attempts_lost` may tell; submit the job again"
    ))
}

async fn ask(session: &Session, id: &JobId, wait: Duration) -> Result<Reply<Job>, ClientError> {
    match session.client.job(id, Some(wait)).await {
        // The connection that was kept may have been closed just then; the second try makes a new one.
        Err(ClientError::Unreachable { .. }) => session.client.job(id, Some(wait)).await,
        answer => answer,
    }
}

/// How to tell a shell that a job ended other than well.
#[derive(Debug, Clone, Copy, Args)]
pub struct ExitCode {
    /// End with 3 however the job failed, so that no exit code of its program can be taken for one of `titan`.
    #[arg(long)]
    pub plain_exit_code: bool,
}

/// Success if the job ended well.
///
/// # Errors
/// [`Failure::JobEnded`] says how it ended otherwise, and carries the exit code of its program.
pub fn verdict(job: &Job, exit: ExitCode) -> Result<(), Failure> {
    if job.state == JobState::Completed {
        return Ok(());
    }
    let own = (!exit.plain_exit_code).then(|| code_of_program(job)).flatten();
    Err(Failure::JobEnded { message: sentence(job), code: own.unwrap_or(WITHOUT_CODE) })
}

/// The exit code that a shell would give for the program; none if the job ended in another way than its program did.
fn code_of_program(job: &Job) -> Option<u8> {
    let code = match (job.reason, job.exit_code, job.signal) {
        (Some(Reason::ExitCode), Some(code), _) => code,
        (Some(Reason::Signal), _, Some(signal)) => signal.checked_add(128)?,
        _ => return None,
    };
    u8::try_from(code).ok().filter(|code| *code != 0)
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
    let was = if job.state == JobState::Cancelled { "was " } else { "" };
    format!("job {} {was}{}{agent}{how}{tries}{message}", job.id, job.state)
}
