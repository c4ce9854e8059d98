//! `titan jobs …`: looking at jobs, following, cancelling and retrying them.

mod attempts;
pub mod cancel;
pub mod ended;
pub mod logs;
pub mod ls;
pub mod retry;
pub mod show;
mod tail;
pub mod wait;

use clap::Subcommand;
use titan_api::ids::JobId;

use crate::{failure::Failure, session::Session};

/// What to do with jobs.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// List jobs, newest first.
    Ls(ls::Options),
    /// Show one job.
    Show(show::Options),
    /// Print what a job has written.
    Logs(logs::Options),
    /// Wait for a job to end.
    Wait(wait::Options),
    /// Cancel jobs.
    Cancel(cancel::Options),
    /// Begin jobs anew that failed or were cancelled.
    Retry(retry::Options),
}

/// Does it.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Ls(options) => ls::run(&session, options).await,
        Command::Show(options) => show::run(&session, &options).await,
        Command::Logs(options) => logs::run(&session, &options).await,
        Command::Wait(options) => wait::run(&session, &options).await,
        Command::Cancel(options) => cancel::run(&session, &options).await,
        Command::Retry(options) => retry::run(&session, &options).await,
    }
}

/// Does something with one job after the other. Where one is refused it goes on: of the first the command tells at its end, of the
/// others at once. If the coordinator does not answer, it stops.
async fn one_by_one(
    session: &Session,
    jobs: &[JobId],
    each: impl AsyncFn(&JobId) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut verdict = Ok(());
    for job in jobs {
        let done = each(job).await;
        let is_over = done.as_ref().is_err_and(|failure| !failure.is_about_one());
        if let (Err(_), Err(failure)) = (&verdict, &done) {
            session.remark(&format!("error: {failure}"));
        }
        verdict = verdict.and(done);
        if is_over {
            break;
        }
    }
    verdict
}
